"""The dialogue files against the running daemon over real sockets: whole, in one segment, byte by byte.

See tests/dialogues/README.rst.  A client who may relay is one at 127.0.1.1, all others are at 127.0.2.1.  The queue
is at rest, so that what was accepted can be counted in the spool.
"""

from __future__ import annotations

import socket
import unittest
from collections.abc import Callable
from typing import BinaryIO, ClassVar

from tests.dialogues.reading import FILES, Dialogue, load
from tests.integration.tools import DEADLINE, Daemon

#: As tests/unit/smtp/harness.py has them.
CONFIGURATION = """\
[domains."relayed.example"]
relay = true

[relay]
networks = ["127.0.1.0/24"]

[queue]
active = 0

[limits]
message_size = "100000B"
recipients = 5
connections = 10
connections_per_client = 3
header = "4096B"
data_line = "2000B"
command_line = "512B"
errors = 10
idle_commands = 20
transactions = 50
received_hops = 5
"""
RELAY_CLIENT = "10.1.2.3"


class Connection:
    """A client's end: reads the last line of each reply."""

    def __init__(self, port: int, client: str) -> None:
        source = "127.0.1.1" if client == RELAY_CLIENT else "127.0.2.1"
        self.sock = socket.create_connection(("127.0.0.1", port), DEADLINE, source_address=(source, 0))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file: BinaryIO = self.sock.makefile("rb")

    def replies(self, count: int) -> list[str]:
        found: list[str] = []
        while len(found) < count:
            line = self.file.readline().decode("ascii")
            if not line:
                break
            if line[3:4] != "-":
                found.append(line.rstrip("\r\n"))
        return found

    def rest(self, closed: bool) -> bytes:
        """What else comes up to the end of the connection, which the server must make if it is to be closed."""
        if not closed:
            self.sock.setblocking(False)
            found: bytes | None = self.file.read(1)
            if found is not None:  # there is more, or an end
                return found or b"the server has closed"
            self.sock.settimeout(DEADLINE)
            self.sock.shutdown(socket.SHUT_WR)
        return self.file.read()

    def close(self) -> None:
        self.file.close()
        self.sock.close()


class Dialogues(unittest.TestCase):
    """One test a file and way of sending; made below."""

    daemon: ClassVar[Daemon]

    @classmethod
    def setUpClass(cls) -> None:
        cls.daemon = cls.enterClassContext(Daemon(CONFIGURATION, start=False))
        cls.daemon.folder.joinpath("aliases").write_text("info: bob\nloop: loop2\nloop2: loop\n")
        cls.daemon.folder.joinpath("mailboxes").write_text("ann\nbob\npostmaster\n")
        cls.daemon.start()

    def count(self) -> int:
        return len({row["id"] for row in self.daemon.queue()})

    def same(self, expected: list[str], got: list[str]) -> None:
        self.assertEqual(len(expected), len(got), (expected, got))
        for want, reply in zip(expected, got, strict=True):
            self.assertTrue(reply.startswith(want), (want, reply, got))

    def run_dialogue(self, dialogue: Dialogue, say: Callable[[Connection, Dialogue], None]) -> None:
        before = self.count()
        connection = Connection(self.daemon.port, dialogue.client)
        try:
            say(connection, dialogue)
            self.assertEqual(connection.rest(dialogue.closed), b"", "nothing but the replies")
        finally:
            connection.close()
        if dialogue.messages is not None:
            self.assertEqual(self.count() - before, dialogue.messages)

    def step_by_step(self, connection: Connection, dialogue: Dialogue) -> None:
        for sent, expected in dialogue.steps:
            connection.sock.sendall(sent)
            self.same(expected, connection.replies(len(expected)))

    def one_segment(self, connection: Connection, dialogue: Dialogue) -> None:
        connection.sock.sendall(dialogue.octets)
        self.same(dialogue.replies, connection.replies(len(dialogue.replies)))

    def byte_by_byte(self, connection: Connection, dialogue: Dialogue) -> None:
        for sent, expected in dialogue.steps:
            for place in range(len(sent)):
                connection.sock.sendall(sent[place : place + 1])
            self.same(expected, connection.replies(len(expected)))


def _make(way: str, dialogue: Dialogue) -> Callable[[Dialogues], None]:
    def test(self: Dialogues) -> None:
        self.run_dialogue(dialogue, getattr(self, way))

    return test


for _path in FILES:
    for _way in ("step_by_step", "one_segment", "byte_by_byte"):
        _name = f"test_{_path.stem.replace('-', '_')}_{_way}"
        setattr(Dialogues, _name, _make(_way, load(_path)))
