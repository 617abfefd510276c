"""The delivery service ``smtp`` by the contract of all, with a far end that takes everything."""

from __future__ import annotations

from typing import Any

from delivery_contract import DeliveryContract, services
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from mta.delivery.smtp import SmtpDelivery
from mta.delivery.smtp_options import SmtpOptions
from mta.dns.fake import FakeResolver
from mta.envelope import Destination
from mta.routing.values import Route
from mta.smtp.wire import CommandSplitter, DataDecoder

REPLIES = {b"EHLO": b"250-x\r\n250 PIPELINING\r\n", b"DATA": b"354 go\r\n", b"QUIT": b"221 bye\r\n"}


class Transport(StringTransport):
    def abortConnection(self) -> None:
        raise AssertionError("there is no reason to end the connection")


class Network(Clock):
    """A reactor whose every connection leads to a server that takes all."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[End] = []

    def connectTCP(self, host: str, port: int, factory: Any, **options: Any) -> None:
        protocol = factory.buildProtocol(IPv4Address("TCP", host, port))
        self.ends.append(End(protocol))

    def run(self) -> None:
        while sum(end.turn() for end in self.ends):
            pass


class End:
    def __init__(self, protocol: Any) -> None:
        self.transport = Transport()
        self.protocol = protocol
        self.splitter = CommandSplitter(1000)
        self.data: DataDecoder | None = None
        protocol.makeConnection(self.transport)
        self.out = b"220 x\r\n"

    def turn(self) -> bool:
        out, self.out = self.out, b""
        if out:
            self.protocol.dataReceived(out)
        octets = self.transport.value()
        self.transport.clear()
        if self.data is None:
            self.splitter.feed(octets)
        else:
            self.take(octets)
        while self.data is None and (line := self.splitter.next_line()) is not None:
            verb = line[:4].upper()
            self.out += REPLIES.get(verb, b"250 ok\r\n")
            if verb == b"DATA":
                self.data = DataDecoder(1000)
                self.take(self.splitter.take_rest())
        return bool(out or octets)

    def take(self, octets: bytes) -> None:
        assert self.data is not None
        self.data.feed(octets)
        if self.data.done:
            self.splitter.feed(self.data.rest)
            self.data = None
            self.out += b"250 2.0.0 taken\r\n"


class SmtpContract(DeliveryContract, SynchronousTestCase):
    def make_service(self) -> Any:
        self.network = Network()
        resolver = FakeResolver("b.example MX 10 mx.b.example\nmx.b.example A 192.0.2.1")
        return SmtpDelivery(SmtpOptions(), services(reactor=self.network, resolver=resolver))

    def make_route(self) -> Route:
        return Route(destination=Destination("out", "b.example"))

    def done(self, awaitable: Any) -> Any:
        deferred = awaitable if isinstance(awaitable, Deferred) else Deferred.fromCoroutine(awaitable)
        self.network.run()
        return self.successResultOf(deferred)
