"""The delivery service ``smtp`` with a fake reactor, a fake DNS and far ends that a test speaks for."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network
from random import Random
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.delivery.smtp import SmtpDelivery
from mta.delivery.smtp_options import SmtpOptions
from mta.delivery.values import Batch
from mta.dns.fake import FakeResolver
from mta.envelope import Destination, Envelope, Origin, Outcome, Recipient
from mta.plugin import Services
from mta.reply import Reply
from mta.routing.values import Route

ZONE = """
b.example MX 10 mx1.b.example
b.example MX 20 mx2.b.example
mx1.b.example A 192.0.2.1
mx2.b.example A 192.0.2.2
six.example AAAA 2001:db8::6
null.example MX 0 .
inside.example A 10.0.0.7
"""
EHLO = b"250-mx.b.example\r\n250-PIPELINING\r\n250-SIZE 5000\r\n250 8BITMIME\r\n"
CLOSED = Reply.of(451, "4.3.0", "not reported")


class Chunks:
    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def next(self) -> bytes:
        octets, self._octets = self._octets, b""
        return octets

    def close(self) -> None:
        pass


class Message:
    """As a spool gives it."""

    id = "0123456789ABC"

    def __init__(self, octets: bytes, sender: str, **envelope: Any) -> None:
        self.octets = octets
        self.size = len(octets)
        self.envelope = Envelope(
            origin=Origin(listener="mx", protocol="ESMTP"),
            reverse_path=Address.parse(sender) if sender else None,
            arrived=0,
            **envelope,
        )

    def header(self, edits: Sequence[Any] = ()) -> bytes:
        head, end, _ = self.octets.partition(b"\r\n\r\n")
        return head + end

    def open(self, prefix: bytes = b"", edits: Sequence[Any] = ()) -> Chunks:
        return Chunks(prefix + self.octets)


class Transport(StringTransport):
    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True


class FarEnd:
    """One connection that the service has opened, from the far end's side."""

    def __init__(self, reactor: MemoryReactorClock, number: int) -> None:
        self.address, self.port, self._factory, self.timeout, self.source = reactor.tcpClients[number]
        self.connector = reactor.connectors[number]
        self.transport = Transport()

    def accept(self, *turns: bytes) -> FarEnd:
        protocol = self._factory.buildProtocol(IPv4Address("TCP", self.address, self.port))
        assert protocol is not None
        self.protocol = protocol
        self.protocol.makeConnection(self.transport)
        return self.say(*turns)

    def greet(self, ehlo: bytes = EHLO) -> FarEnd:
        self.accept(b"220 mx.b.example\r\n")
        self.heard()
        return self.say(ehlo)

    def refuse(self) -> None:
        self._factory.clientConnectionFailed(self.connector, Failure(ConnectionRefusedError()))

    def say(self, *turns: bytes) -> FarEnd:
        for turn in turns:
            self.protocol.dataReceived(turn)
        return self

    def take(self) -> FarEnd:
        """One message to one recipient."""
        return self.say(b"250 ok\r\n250 ok\r\n354 go\r\n", b"250 2.0.0 taken\r\n")

    def close(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionDone()))

    def heard(self) -> bytes:
        octets = self.transport.value()
        self.transport.clear()
        return octets


class ServiceCase(SynchronousTestCase):
    service_type: type[SmtpDelivery] = SmtpDelivery
    options_type: type[SmtpOptions] = SmtpOptions

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.resolver = FakeResolver(ZONE)
        self.service = self.make()

    def make(self, **options: Any) -> SmtpDelivery:
        options.setdefault("private_networks", (ip_network("192.0.2.0/24"),))
        is_own = options.pop("is_own", lambda address: False)
        services = Services(
            name="internet",
            hostname="out.a.example",
            reactor=self.reactor,
            now=lambda: 0,
            random=Random(1),
            resolver=self.resolver,
            in_thread=lambda work, *args: succeed(work(*args)),
            table=lambda name: self.fail("no table is needed"),
            emit=lambda event, id: None,
            is_own=is_own,
        )
        return self.service_type(self.options_type(**options), services)

    def batch(
        self,
        *addresses: str,
        hop: str = "b.example",
        octets: bytes = b"Subject: x\r\n\r\nx\r\n",
        sender: str = "ann@a.example",
        **envelope: Any,
    ) -> Batch:
        destination = Destination("internet", hop)
        recipients = [
            Recipient(id=number, address=found, original=found, destination=destination, due=0)
            for number, found in enumerate(_address(text) for text in addresses or ("bob@b.example",))
        ]
        message: Any = Message(octets, sender, **envelope)
        return Batch(message, recipients, Route(destination=destination), 1e9)

    def deliver(self, batch: Batch) -> Deferred[None]:
        return self.service.deliver(batch)

    def far(self, number: int = -1) -> FarEnd:
        """The connection of this number; the last one."""
        return FarEnd(self.reactor, number)

    @property
    def opened(self) -> int:
        return len(self.reactor.tcpClients)

    def outcomes(self, batch: Batch) -> list[Outcome]:
        self.assertEqual(batch.pending, ())
        return sorted(batch.close(CLOSED), key=lambda outcome: outcome.recipient)

    def told(self, batch: Batch) -> list[tuple[str, int, str, str]]:
        """(status, code, scope, stage) of each recipient."""
        return [
            (outcome.status.value, outcome.reply.code, outcome.scope.value, outcome.attempt["stage"])
            for outcome in self.outcomes(batch)
        ]

    def wait(self, seconds: int) -> None:
        self.reactor.pump([1.0] * seconds)


def _address(text: str) -> Address:
    """Also what no grammar lets through."""
    local, _, domain = text.rpartition("@")
    return Address(local, domain)
