"""The delivery service ``smtp`` on real sockets, against aiosmtpd: a server that we did not write."""

from __future__ import annotations

import time
from collections.abc import Generator
from ipaddress import ip_network
from random import Random
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from tools import free_port
from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.trial.unittest import TestCase

from mta.address import Address
from mta.delivery.smtp import SmtpDelivery
from mta.delivery.smtp_options import SmtpOptions
from mta.delivery.values import Batch
from mta.dns.fake import FakeResolver
from mta.envelope import Destination, Origin, Outcome, Recipient
from mta.envelope import Envelope as OurEnvelope
from mta.plugin import Services
from mta.reply import LOCAL_ERROR
from mta.routing.values import Route

SMALL = b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n\xc3\xa9\r\n"
LARGE = b"Subject: large\r\n\r\n" + b".0123456789 abcdefghijklmnopqrstuvwxyz\r\n" * 100_000


class Chunks:
    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._place = 0

    def next(self) -> bytes:
        piece = self._octets[self._place : self._place + 100_000]
        self._place += len(piece)
        return piece

    def close(self) -> None:
        pass


class Message:
    id = "0123456789ABC"

    def __init__(self, octets: bytes, **envelope: Any) -> None:
        self.octets = octets
        self.size = len(octets)
        self.envelope = OurEnvelope(
            origin=Origin(listener="mx", protocol="ESMTP"),
            reverse_path=Address("ann", "a.example"),
            arrived=0,
            eight_bit=not octets.isascii(),
            **envelope,
        )

    def header(self, edits: Any = ()) -> bytes:
        return self.octets.partition(b"\r\n\r\n")[0]

    def open(self, prefix: bytes = b"", edits: Any = ()) -> Chunks:
        return Chunks(prefix + self.octets)


class Handler:
    """Keeps what it takes; some addresses it does not know."""

    def __init__(self) -> None:
        self.taken: list[tuple[list[str], bytes]] = []
        self.sessions: set[int] = set()

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("nobody"):
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        self.taken.append((list(envelope.rcpt_tos), content))
        self.sessions.add(id(session))
        return "250 2.0.0 taken"


class Sending(TestCase):
    """The service on the reactor of the process, and batches to send."""

    timeout = 30
    service: SmtpDelivery

    def make_service(self, port: int, **more: Any) -> SmtpDelivery:
        services = Services(
            name="internet",
            hostname="out.a.example",
            reactor=reactor,
            now=lambda: time.time_ns() // 1_000_000,
            random=Random(1),
            resolver=FakeResolver("b.example MX 10 mx.b.example\nmx.b.example A 127.0.0.1"),
            in_thread=lambda work, *args: self.fail("nothing blocks"),
            table=lambda name: self.fail("no table is needed"),
            emit=lambda event, id: None,
        )
        options = SmtpOptions(port=port, private_networks=(ip_network("127.0.0.0/8"),), **more)
        service = SmtpDelivery(options, services)
        self.addCleanup(lambda: Deferred.fromCoroutine(service.stop(5)))
        return service

    @inlineCallbacks
    def deliver(
        self, octets: bytes, *addresses: str, **envelope: Any
    ) -> Generator[Deferred[None], None, list[Outcome]]:
        route = Route(destination=Destination("internet", "b.example"))
        recipients = [
            Recipient(id=number, address=found, original=found, destination=route.destination, due=0)
            for number, found in enumerate(Address.parse(address, utf8=True) for address in addresses)
        ]
        message: Any = Message(octets, **envelope)
        batch = Batch(message, recipients, route, 1e12)
        yield self.service.deliver(batch)
        self.assertEqual(batch.pending, ())
        return sorted(batch.close(LOCAL_ERROR), key=lambda outcome: outcome.recipient)


class Aiosmtpd(Sending):
    def setUp(self) -> None:
        self.handler = Handler()
        port = free_port()
        server = Controller(self.handler, hostname="127.0.0.1", port=port, data_size_limit=8_000_000, decode_data=False)
        server.start()
        self.addCleanup(server.stop)
        self.service = self.make_service(port)

    @inlineCallbacks
    def test_messages_arrive_as_they_were(self) -> Generator[Deferred[Any], Any, None]:
        for octets in (SMALL, LARGE, SMALL):
            outcomes = yield self.deliver(octets, "bob@b.example", "nobody@b.example")
            self.assertEqual([outcome.status for outcome in outcomes], ["relayed", "failed"])
            self.assertEqual(self.handler.taken[-1], (["bob@b.example"], octets))
        self.assertEqual(len(self.handler.sessions), 1)

    @inlineCallbacks
    def test_nobody_is_left(self) -> Generator[Deferred[Any], Any, None]:
        outcomes = yield self.deliver(SMALL, "nobody@b.example")
        self.assertEqual(str(outcomes[0].reply), "550 5.1.1 no such mailbox")
        self.assertEqual(self.handler.taken, [])
        outcomes = yield self.deliver(SMALL, "bob@b.example")
        self.assertEqual(outcomes[0].status, "relayed")

    @inlineCallbacks
    def test_too_big(self) -> Generator[Deferred[Any], Any, None]:
        outcomes = yield self.deliver(b"x" * 8_000_001, "bob@b.example")
        self.assertEqual(outcomes[0].reply.enhanced, "5.3.4")

    @inlineCallbacks
    def test_nobody_listens(self) -> Generator[Deferred[Any], Any, None]:
        self.service = self.make_service(free_port())
        outcomes = yield self.deliver(SMALL, "bob@b.example")
        self.assertEqual((outcomes[0].status, outcomes[0].reply.enhanced), ("deferred", "4.4.1"))
        self.assertIn("refused", outcomes[0].reply.text)


class International(Sending):
    """aiosmtpd with SMTPUTF8 and without it."""

    def start(self, smtputf8: bool) -> None:
        self.handler = Handler()
        port = free_port()
        server = Controller(self.handler, hostname="127.0.0.1", port=port, decode_data=False, enable_SMTPUTF8=smtputf8)
        server.start()
        self.addCleanup(server.stop)
        self.service = self.make_service(port)

    @inlineCallbacks
    def test_address_and_header_arrive(self) -> Generator[Deferred[Any], Any, None]:
        # RFC 6531 3.4
        self.start(smtputf8=True)
        octets = "Subject: gr\xfc\xdfe\r\n\r\nx\r\n".encode()
        outcomes = yield self.deliver(octets, "b\xf8b@b.example", smtputf8=True)
        self.assertEqual(outcomes[0].status, "relayed", outcomes[0].reply)
        self.assertEqual(self.handler.taken, [(["b\xf8b@b.example"], octets)])

    @inlineCallbacks
    def test_host_without_it(self) -> Generator[Deferred[Any], Any, None]:
        # RFC 6531 3.2
        self.start(smtputf8=False)
        outcomes = yield self.deliver(SMALL, "b\xf8b@b.example", "bob@b.example", smtputf8=True)
        self.assertEqual([outcome.status for outcome in outcomes], ["failed", "relayed"])
        self.assertEqual(outcomes[0].reply.enhanced, "5.6.7")
