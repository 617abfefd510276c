"""Where the mail of a benchmark goes to: ``python -m benchmarks.sink PORT [--tls FILE]``.

It takes every message, and looks whether it is whole and has come once: ``marked.py``.  Whoever sends it ``STAT RUN``
is told of that run as JSON: see ``Tally``.  It offers what the large providers and Postfix itself do, PIPELINING and
CHUNKING among it, and with ``--tls`` (key and certificate) STARTTLS, without which it takes nothing then.

``Sink`` is the handle that the benchmark has of such a process.
"""

from __future__ import annotations

import argparse
import json
import socket
import ssl
import subprocess
import sys
import time
from typing import Any, ClassVar, Final

from benchmarks.marked import look, unstuffed
from benchmarks.sockets import Line, Loop
from tests.integration.surroundings import free_port, wait_for

#: Where all servers keep their mail: on a disk, where /tmp often is memory, in which a sync costs nothing.
SPOOLS: Final = "/var/tmp"
END: Final = b"\r\n.\r\n"
_OK: Final = b"250 2.1.0 Ok\r\n"


class Tally:
    """What came of one run.  A copy is one message for one recipient."""

    def __init__(self) -> None:
        self.copies = 0
        self.damaged = 0
        self.last = 0.0
        self.transactions = 0
        self.seen: set[tuple[int, bytes]] = set()

    def add(self, number: int, whole: bool, recipients: list[bytes]) -> None:
        self.last = time.monotonic()
        self.transactions += 1
        self.copies += len(recipients)
        self.damaged += not whole
        self.seen.update((number, recipient) for recipient in recipients)

    def told(self) -> dict[str, Any]:
        """``distinct``: without those that had come before; ``last``: when, by the monotonic clock."""
        shown = {name: value for name, value in vars(self).items() if name != "seen"}
        return {**shown, "distinct": len(self.seen)}


class Server(Line):
    """One session; so lax that it is cheap: what it serves is known."""

    tallies: ClassVar[dict[str, Tally]] = {}
    context: ClassVar[ssl.SSLContext | None] = None

    def __init__(self, loop: Loop, sock: socket.socket) -> None:
        super().__init__(loop, sock)
        self._in = bytearray()
        self._data = False
        self._chunk = -1  # octets of the chunk that is coming; -1: none is
        self._last = False
        self._chunks = bytearray()
        self._recipients: list[bytes] = []
        self._clear = True
        self.write(b"220 sink.example ESMTP\r\n")

    def received(self, data: bytes) -> None:
        self._in += data
        replies = bytearray()
        while self._in:
            if self._data:
                # Only what is new is searched, and the four octets before it.
                end = self._in.find(END, max(len(self._in) - len(data) - 4, 0)) if not replies else self._in.find(END)
                if end < 0:
                    break
                self._take(unstuffed(self._in[: end + 2]))
                del self._in[: end + 5]
                self._data = False
                replies += b"250 2.0.0 Ok\r\n"
                continue
            if self._chunk >= 0:
                if len(self._in) < self._chunk:
                    break
                replies += self._end_chunk()
                continue
            end = self._in.find(b"\n")
            if end < 0:
                break
            line = bytes(self._in[:end]).rstrip(b"\r")
            del self._in[: end + 1]
            if (reply := self._command(line)) is None:
                return
            replies += reply
        if replies:
            self.write(replies)

    def _command(self, line: bytes) -> bytes | None:
        """The reply; ``None``: it is written, and no more commands follow."""
        verb = line[:4].upper()
        if verb == b"RCPT":
            self._recipients.append(line[line.find(b"<") + 1 : line.rfind(b">")])
            return _OK
        if verb == b"DATA":
            self._data = True
            return b"354 Go on\r\n"
        if verb == b"BDAT":
            # RFC 3030 2
            words = line.split()
            self._chunk, self._last = int(words[1]), words[-1].upper() == b"LAST"
            return b""
        if verb == b"EHLO":
            starttls = b"250-STARTTLS\r\n" if self.context and self._clear else b""
            extensions = b"250-PIPELINING\r\n250-8BITMIME\r\n250-CHUNKING\r\n" + starttls
            return b"250-sink.example\r\n" + extensions + b"250 ENHANCEDSTATUSCODES\r\n"
        if verb == b"STAR" and self.context and self._clear:
            self._clear = False
            self.write(b"220 2.0.0 Go on\r\n")
            self.encrypt(self.context, server=True)
            return None
        if verb == b"QUIT":
            self.write(b"221 2.0.0 Bye\r\n")
            self.close()
            return None
        if verb == b"STAT":
            return json.dumps(self.tallies.get(line[5:].decode(), Tally()).told()).encode() + b"\r\n"
        if verb == b"MAIL" and self.context and self._clear:
            return b"530 5.7.0 Issue STARTTLS first\r\n"
        if verb in (b"MAIL", b"RSET"):
            self._recipients = []
        return _OK

    def _end_chunk(self) -> bytes:
        self._chunks += self._in[: self._chunk]
        del self._in[: self._chunk]
        self._chunk = -1
        if self._last:
            self._take(bytes(self._chunks))
            self._chunks = bytearray()
        return b"250 2.0.0 Ok\r\n"

    def _take(self, octets: bytes) -> None:
        found = look(octets)
        if found is not None:
            self.tallies.setdefault(found.run, Tally()).add(found.number, found.whole, self._recipients)
        self._recipients = []


class Sink:
    """The process, and what it says; it listens when this is made."""

    def __init__(self, tls: str = "") -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "benchmarks.sink", str(self.port), *(["--tls", tls] if tls else [])]
        self._process = subprocess.Popen(command)
        wait_for(self._answers, "the sink to listen")

    def _answers(self) -> bool:
        try:
            return bool(self.told("start") or True)
        except OSError:
            if self._process.poll() is not None:
                raise SystemExit("the sink does not start") from None
            return False

    def told(self, run: str) -> dict[str, Any]:
        """Of a run so far: the figures of ``Tally``."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            replies = connection.makefile("rb")
            replies.readline()
            connection.sendall(f"STAT {run}\r\n".encode())
            figures: dict[str, Any] = json.loads(replies.readline())
            return figures

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="Takes and checks the mail of a benchmark.")
    parser.add_argument("port", type=int)
    parser.add_argument("--tls", help="key and certificate in PEM: STARTTLS is offered")
    chosen = parser.parse_args()
    if chosen.tls:
        Server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        Server.context.load_cert_chain(chosen.tls)
    loop = Loop()
    loop.listen(chosen.port, Server)
    loop.run()


if __name__ == "__main__":
    main()
