"""What one outbound transaction costs on a kept connection: ``python -m benchmarks.client``.

The delivery service ``smtp`` with all it does (batch, pool, client, outcomes) against a far end in memory that
says what a server says; neither sockets nor the far end's work are in the figure.  It prints CPU per transaction,
for a host with PIPELINING and one without.
"""

from __future__ import annotations

import argparse
import statistics
import time
from random import Random
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mta.address import Address
from mta.delivery.smtp import SmtpDelivery
from mta.delivery.smtp_options import SmtpOptions
from mta.delivery.values import Batch
from mta.dns.fake import FakeResolver
from mta.envelope import Destination, Envelope, Origin, Recipient
from mta.plugin import Services
from mta.routing.values import Route

BODY = (b"Subject: a message of the benchmark\r\n\r\n" + b"The quick brown fox jumps over it. \r\n" * 30)[:1024]
ROUTE = Route(destination=Destination("internet", "b.example"))
BOB = Address("bob", "b.example")
RECIPIENT = Recipient(id=0, address=BOB, original=BOB, destination=ROUTE.destination, due=0)
TAKEN = b"250 2.0.0 Ok: queued as %d\r\n"
PIPELINED = ((b"250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n", TAKEN), b"PIPELINING")
STEPWISE = ((b"250 2.1.0 Ok\r\n", b"250 2.1.5 Ok\r\n", b"354 End data\r\n", TAKEN), b"HELP")


class Chunks:
    def __init__(self) -> None:
        self._octets = BODY

    def next(self) -> bytes:
        octets, self._octets = self._octets, b""
        return octets

    def close(self) -> None:
        pass


class Message:
    id = "0123456789ABC"
    size = len(BODY)
    envelope = Envelope(
        origin=Origin(listener="mx", protocol="ESMTP"), reverse_path=Address("ann", "a.example"), arrived=0
    )

    def open(self) -> Chunks:
        return Chunks()


class Transport:
    """Takes what is written, and throws it away."""

    def write(self, data: bytes) -> None: ...
    def registerProducer(self, producer: Any, streaming: bool) -> None: ...
    def unregisterProducer(self) -> None: ...
    def loseConnection(self) -> None: ...

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.200", 40000)


class Network(Clock):
    """A reactor whose one connection is kept at hand."""

    protocol: Any = None

    def connectTCP(self, host: str, port: int, factory: Any, **options: Any) -> None:
        self.protocol = factory.buildProtocol(IPv4Address("TCP", host, port))
        self.protocol.makeConnection(Transport())


def run(messages: int, turns: tuple[bytes, ...], keyword: bytes) -> float:
    """Seconds of CPU a transaction."""
    network = Network()
    services = Services(
        name="internet",
        hostname="out.a.example",
        reactor=network,
        now=lambda: 0,
        random=Random(1),
        resolver=FakeResolver("b.example MX 10 mx.b.example\nmx.b.example A 192.0.2.1"),
        in_thread=Deferred,
        table=dict[str, Any]().__getitem__,
        emit=lambda event, id: None,
    )
    service = SmtpDelivery(SmtpOptions(messages=messages + 2), services)
    message: Any = Message()
    begun = 0.0
    for number in range(messages + 1):
        if number == 1:  # the first one connects
            begun = time.process_time()
        batch = Batch(message, (RECIPIENT,), ROUTE, 1e9)
        service.deliver(batch)
        client = network.protocol
        if number == 0:
            client.dataReceived(b"220 mx.b.example ESMTP\r\n")
            client.dataReceived(b"250-mx.b.example\r\n250-SIZE 50000000\r\n250 " + keyword + b"\r\n")
        for turn in turns[:-1]:
            client.dataReceived(turn)
        client.dataReceived(turns[-1] % number)
        assert not batch.pending
    return (time.process_time() - begun) / messages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    for name, (turns, keyword) in (("pipelined", PIPELINED), ("step by step", STEPWISE)):
        cost = statistics.median(run(arguments.messages, turns, keyword) for _ in range(arguments.runs))
        print(f"{name:13} {cost * 1000:.4f} ms of CPU a transaction, {1 / cost:,.0f} a second on one core")


if __name__ == "__main__":
    main()
