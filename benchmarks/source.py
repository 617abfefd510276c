"""Sends the mail of a benchmark: ``python -m benchmarks.source PORT RUN LOAD``.

So many sessions at once with marked messages (``marked.py``), each waiting for every reply as ``smtp-source`` does, but
that the recipients of one message go together; ``kept`` sends all messages of a session on one connection, else each
has its own.  It prints when it began and when the last 250 came, by the monotonic clock.  Any other reply than 250 ends
it with status 1 and is shown: what was accepted is exactly ``messages``.  TLS sessions are never resumed: all clients
are strangers.

``send`` runs it, in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import socket
import ssl
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import ClassVar, Final, NamedTuple

from benchmarks.marked import VARIANTS, Mark
from benchmarks.sockets import Line, Loop

#: Bodies up to this long are joined with their header into one write.
TOGETHER: Final = 65536
#: So many RCPT of one message are sent at once (RFC 2920): else the row with 100,000 would measure round trips.
PIPELINED: Final = 100


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is sent."""

    messages: int
    size: int = 1024
    sessions: int = 50
    kept: bool = True
    tls: bool = False
    #: Each message goes to so many.
    recipients: int = 1
    #: Or to one of so many, in turn.
    mailboxes: int = 1
    domain: str = "far.example"
    #: ``NAME:PASSWORD``: each session logs in (AUTH PLAIN), in TLS.
    login: str = ""

    def addresses(self, number: int) -> list[str]:
        """Of the message with that number."""
        if self.recipients > 1:
            return [f"to{one}@{self.domain}" for one in range(self.recipients)]
        return [f"to{number % self.mailboxes}@{self.domain}"]


class Client(Line):
    """One session: a coroutine that is woken by each reply."""

    load: ClassVar[Load]
    run: ClassVar[str]
    port: ClassVar[int]
    context: ClassVar[ssl.SSLContext | None] = None
    numbers: ClassVar[Iterator[int]]
    left: ClassVar[int]
    ended: ClassVar[float] = 0.0

    def __init__(self, loop: Loop, number: int) -> None:
        super().__init__(loop, socket.create_connection(("127.0.0.1", self.port), timeout=60))
        self._in = b""
        self._talk = self._session(number)
        self._expected = next(self._talk)

    def received(self, data: bytes) -> None:
        self._in += data
        while (end := self._in.find(b"\n")) >= 0:
            line, self._in = self._in[:end], self._in[end + 1 :]
            if line[3:4] == b"-":
                continue
            if not line.startswith(self._expected):
                fail(f"the server said {line.decode(errors='replace')!r}")
            self._go_on()

    def _go_on(self) -> None:
        try:
            self._expected = next(self._talk)
        except StopIteration:
            self.close()
            start(self.loop)

    def encrypted(self) -> None:
        self._go_on()

    def lost(self) -> None:
        fail("the server closed a connection")

    def _session(self, number: int | None) -> Iterator[bytes]:
        """Yields how the reply that it waits for must begin."""
        yield b"220"
        self.write(b"EHLO client.example\r\n")
        yield b"250"
        if self.context is not None:
            self.write(b"STARTTLS\r\n")
            yield b"220"
            self.encrypt(self.context, server=False)
            yield b""  # what wakes it is the end of the handshake
            self.write(b"EHLO client.example\r\n")
            yield b"250"
        if self.load.login:
            said = "\0" + self.load.login.replace(":", "\0", 1)
            self.write(b"AUTH PLAIN " + b64encode(said.encode()) + b"\r\n")
            yield b"235"
        while number is not None:
            yield from self._message(number)
            number = next(self.numbers, None) if self.load.kept else None
        self.write(b"QUIT\r\n")
        yield b"221"

    def _message(self, number: int) -> Iterator[bytes]:
        self.write(b"MAIL FROM:<from@sender.example>\r\n")
        yield b"250"
        addresses = self.load.addresses(number)
        for start in range(0, len(addresses), PIPELINED):
            some = addresses[start : start + PIPELINED]
            self.write(b"".join(f"RCPT TO:<{address}>\r\n".encode() for address in some))
            for _ in some:
                yield b"250"
        self.write(b"DATA\r\n")
        yield b"354"
        header, body = Mark(self.run, number, self.load.size).wire()
        if len(body) < TOGETHER:
            self.write(header + body)
        else:
            self.write(header)
            self.write(body)
        yield b"250"
        Client.left -= 1
        Client.ended = time.monotonic()


def start(loop: Loop) -> None:
    """One more session if there is a message for it; after the last one the loop ends."""
    number = next(Client.numbers, None)
    if number is not None:
        Client(loop, number)
    elif not loop.lines:
        loop.stop()


def fail(why: str) -> None:
    print(why, file=sys.stderr)
    raise SystemExit(1)


class Sent(NamedTuple):
    """When a load began, and when its last 250 came, by the monotonic clock."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


def send(port: int, run: str, load: Load) -> Sent:
    """Run the program below; raises ``SystemExit`` with what was answered if not all was accepted."""
    command = [sys.executable, "-m", "benchmarks.source", str(port), run, json.dumps(asdict(load))]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"the load of {run} was not accepted: {done.stderr.strip()[-500:]}")
    return Sent(*json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description="Sends the mail of a benchmark.")
    parser.add_argument("port", type=int)
    parser.add_argument("run", help="what the messages are marked with")
    parser.add_argument("load", help="the fields of Load, as JSON")
    chosen = parser.parse_args()
    load = Load(**json.loads(chosen.load))
    Client.port, Client.run, Client.load, Client.left = chosen.port, chosen.run, load, load.messages
    Client.numbers = iter(range(load.messages))
    if load.tls:
        Client.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        Client.context.check_hostname, Client.context.verify_mode = False, ssl.CERT_NONE
    for number in range(min(load.messages, VARIANTS)):
        Mark(chosen.run, number, load.size).wire()  # made before the clock runs
    loop = Loop()
    began = time.monotonic()
    for _ in range(min(load.sessions, load.messages)):
        start(loop)
    loop.run()
    if Client.left:
        fail(f"{Client.left} messages were not sent")
    print(json.dumps([began, Client.ended]))


if __name__ == "__main__":
    main()
