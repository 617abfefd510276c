"""The dialogue files against the running daemon over real sockets: whole, in one segment, byte by byte; in clear,
after STARTTLS and over implicit TLS.

See tests/dialogues/README.rst.  A client who may relay is one at 127.0.1.1, who may say XCLIENT one at 127.0.3.1, all
others are at 127.0.2.1.  The queue is at rest, so that what was accepted can be counted in the spool.
"""

from __future__ import annotations

import socket
import ssl
import unittest
from collections.abc import Callable
from typing import BinaryIO, ClassVar

from tests.dialogues.reading import ADDRESSES, FILES, Dialogue, load
from tests.integration.tools import DEADLINE, Daemon, free_port

#: As tests/unit/smtp/harness.py has them.
CONFIGURATION = """\
[domains."relayed.example"]
relay = true

[relay]
networks = ["127.0.1.0/24", "10.0.0.0/8"]

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
future_release = "1h"
"""
OTHERS = """
[[listen]]
name = "{service}"
endpoint = "tcp:{port}:interface=127.0.0.1"
service = "{service}"
"""
#: For ``listener: submission``.
SUBMISSION = """
[accounts.main]
type = "file"
path = "accounts"
"""
ACCOUNTS = """\
{"name": "ann", "addresses": ["ann@ours.example"], "delegated": ["office@foreign.example"]}
{"name": "bob", "addresses": ["bob@ours.example"], "message_size": 2000, "recipients": 2}
"""
IMPLICIT = """
[[listen]]
name = "{service}-implicit"
endpoint = "tcp:{port}:interface=127.0.0.1"
service = "{service}"
tls = "implicit"
"""
SOURCES = {"10.1.2.3": "127.0.1.1", "198.51.100.7": "127.0.3.1"}


class Connection:
    """A client's end: reads the last line of each reply."""

    def __init__(self, port: int, client: str) -> None:
        source = SOURCES.get(client, "127.0.2.1")
        self.sock = socket.create_connection(("127.0.0.1", port), DEADLINE, source_address=(source, 0))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file: BinaryIO = self.sock.makefile("rb")

    def replies(self, count: int) -> list[str]:
        found: list[str] = []
        while len(found) < count:
            line = self.file.readline().decode("utf-8")
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


def unverified() -> ssl.SSLContext:
    """A client that takes any certificate, as MTAs do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Encrypted(Connection):
    """The same over TLS: from the first octet, or after the greeting, which is then the first reply all the same."""

    sock: ssl.SSLSocket

    def __init__(self, port: int, client: str, implicit: bool) -> None:
        super().__init__(port, client)
        self._greeting: list[str] = []
        if not implicit:
            self._greeting = super().replies(1)
            self.sock.sendall(b"STARTTLS\r\n")
            (ready,) = super().replies(1)
            assert ready.startswith("220 "), ready
        self.file.close()
        self.sock = unverified().wrap_socket(self.sock)
        self.file = self.sock.makefile("rb")

    def replies(self, count: int) -> list[str]:
        greeting, self._greeting = self._greeting[:count], self._greeting[count:]
        return greeting + super().replies(count - len(greeting))

    def rest(self, closed: bool) -> bytes:
        if closed:
            return self.file.read()
        self.sock.setblocking(False)
        try:
            found: bytes = self.file.peek(1)  # type: ignore[attr-defined]
        except ssl.SSLWantReadError:
            self.sock.settimeout(DEADLINE)
            self.sock.unwrap()  # raises where anything but the end comes
            return b""
        return found or b"the server has closed"


class Dialogues(unittest.TestCase):
    """One test a file and way of sending; made below."""

    daemon: ClassVar[Daemon]
    other_ports: ClassVar[dict[str, int]]
    implicit_ports: ClassVar[dict[str, int]]

    @classmethod
    def setUpClass(cls) -> None:
        cls.other_ports = {service: free_port() for service in ("lmtp", "submission")}
        cls.implicit_ports = {service: free_port() for service in ("mx", *cls.other_ports)}
        more = CONFIGURATION + ADDRESSES.read_text(encoding="utf-8")
        for service, port in cls.other_ports.items():
            more += OTHERS.format(service=service, port=port)
        more += SUBMISSION
        for service, port in cls.implicit_ports.items():
            more += IMPLICIT.format(service=service, port=port)
        cls.daemon = cls.enterClassContext(Daemon(more, start=False))
        cls.daemon.change('service = "mx"\n', 'service = "mx"\nxclient = ["127.0.3.1"]\nxforward = ["127.0.3.1"]\n')
        cls.daemon.change('service = "submission"\n', 'service = "submission"\nxclient = ["127.0.3.1"]\n')
        cls.daemon.folder.joinpath("aliases").write_text("info: bob\nloop: loop2\nloop2: loop\n")
        cls.daemon.folder.joinpath("mailboxes").write_text("ann\nbob\npostmaster\n")
        accounts = cls.daemon.folder.joinpath("accounts")
        accounts.touch(0o600)
        accounts.write_text(ACCOUNTS)
        cls.daemon.start()

    def count(self) -> int:
        return len({row["id"] for row in self.daemon.queue()})

    def same(self, expected: list[str], got: list[str]) -> None:
        self.assertEqual(len(expected), len(got), (expected, got))
        for want, reply in zip(expected, got, strict=True):
            self.assertTrue(reply.startswith(want), (want, reply, got))

    def connect(self, dialogue: Dialogue, tls: str) -> Connection:
        if tls == "implicit":
            return Encrypted(self.implicit_ports[dialogue.listener], dialogue.client, True)
        port = self.other_ports.get(dialogue.listener, self.daemon.port)
        return Encrypted(port, dialogue.client, False) if tls else Connection(port, dialogue.client)

    def run_dialogue(self, dialogue: Dialogue, tls: str, say: Callable[[Connection, Dialogue], None]) -> None:
        before = self.count()
        connection = self.connect(dialogue, tls)
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
                try:
                    connection.sock.sendall(sent[place : place + 1])
                except OSError:
                    if not dialogue.closed:  # where it is, that may come before the last octet
                        raise
            self.same(expected, connection.replies(len(expected)))


def _make(way: str, dialogue: Dialogue, tls: str) -> Callable[[Dialogues], None]:
    def test(self: Dialogues) -> None:
        self.run_dialogue(dialogue, tls, getattr(self, way))

    return test


for _path in FILES:
    _dialogue = load(_path)
    for _tls in ("", "starttls", "implicit"):
        if _dialogue.tls == ("no" if _tls else "yes"):
            continue
        for _way in ("step_by_step", "one_segment", "byte_by_byte"):
            _name = f"test_{_path.stem.replace('-', '_')}_{_way}" + (f"_{_tls}" if _tls else "")
            setattr(Dialogues, _name, _make(_way, _dialogue, _tls))
