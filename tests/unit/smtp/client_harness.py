"""A client on a fake clock, the far end's side of its wire, and messages in pieces."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mta.envelope import Scope
from mta.smtp.client import SmtpClient
from mta.smtp.client_values import Outgoing, Sent, Timeouts
from mta.smtp.ticker import Ticker

EHLO = b"250-mx.b.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250 8BITMIME\r\n"
PLAIN = b"250 mx.b.example\r\n"


class Chunks:
    """A message in pieces; a Deferred among them makes the reader wait."""

    def __init__(self, pieces: list[Any]) -> None:
        self.pieces = list(pieces)
        self.closed = False

    def next(self) -> Any:
        return self.pieces.pop(0) if self.pieces else b""

    def close(self) -> None:
        self.closed = True


class Transport(StringTransport):
    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True


class ClientCase(SynchronousTestCase):
    """A client on a fake clock, and the server's side of its wire."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.ticker = Ticker(self.clock.seconds, self.clock.callLater)
        self.client, self.transport = self.connect()

    def connect(self) -> tuple[SmtpClient, Transport]:
        client, transport = SmtpClient("out.a.example", Timeouts(), self.clock.seconds, self.ticker), Transport()
        client.makeConnection(transport)
        return client, transport

    def server(self, *turns: bytes) -> None:
        """What the server says, one turn after the other: it has seen what a turn made us send."""
        for octets in turns:
            self.client.dataReceived(octets)

    def seen(self) -> bytes:
        octets = self.transport.value()
        self.transport.clear()
        return octets

    def ready(self, ehlo: bytes = EHLO) -> None:
        self.server(b"220 mx.b.example\r\n")
        self.assertEqual(self.seen(), b"EHLO out.a.example\r\n")
        self.server(ehlo)
        self.assertIs(self.successResultOf(self.client.ready), self.client)

    def send(self, *rcpts: str, pieces: list[Any] | None = None) -> Deferred[Sent]:
        self.chunks = Chunks([b"Subject: x\r\n\r\n.dot\r\n"] if pieces is None else pieces)
        names = tuple(f"RCPT TO:<{rcpt}>".encode() for rcpt in rcpts or ("bob@b.example",))
        return self.client.send(Outgoing(b"MAIL FROM:<ann@a.example>", names, lambda: self.chunks))

    def lose(self) -> None:
        self.client.connectionLost(Failure(ConnectionDone()))

    def codes(self, sent: Deferred[Sent]) -> list[tuple[int, str, Scope]]:
        self.result = self.successResultOf(sent)
        return [(a.reply.code, a.stage, a.scope) for a in self.result.answers]

    def wait(self, seconds: int) -> None:
        self.clock.pump([1.0] * seconds)
