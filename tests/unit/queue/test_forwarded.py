"""Forwarded mail in the queue: in whose name it leaves, what its story says, and whom its bounce reaches."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from whole_queue import ANN, HOUR, LATER, NEVER, OK, POSTMASTER, WholeQueue

from mta.address import Address
from mta.admin.story import told
from mta.delivery.values import Batch
from mta.dns.fake import FakeResolver
from mta.envelope import Envelope, Origin
from mta.message.reading import read_whole
from mta.queue.setup import Setup
from mta.routing.ask import Answerer
from mta.routing.forwarding import Forwarding, ForwardRule, Rewriting
from mta.routing.patterns import DomainPatterns
from mta.routing.recipients import Forward, lead
from mta.routing.router import Router
from mta.routing.rules import DomainRule, RoutingRules
from mta.routing.srs import Srs, day_of
from mta.routing.tables import MemoryTable

ZONE = """
a.example TXT "v=spf1 mx -all"
bank.example TXT "v=spf1 mx -all"
_dmarc.bank.example TXT "v=DMARC1; p=reject"
"""
ALIASES = {"info": "bob@y.example", "two": "bob@y.example, eve@z.example, ann@ours.example"}
LETTER = b"From: Ann <%s>\r\nSubject: x\r\n\r\nhello\r\n"


class Forwarded(WholeQueue):
    rules: tuple[ForwardRule, ...] = ()

    def setUp(self) -> None:
        self.srs = Srs(domain="srs.ours.example", keys=(b"tops3cr3t",))
        super().setUp()

    def begin(self, **more: Any) -> None:
        domains = {
            "ours.example": DomainRule(name="ours.example", aliases="aliases", mailboxes="boxes", deliver="internet"),
            "srs.ours.example": DomainRule(name="srs.ours.example"),
        }
        self.router = Router(
            RoutingRules(postmaster=POSTMASTER, services=frozenset({"internet"}), domains=domains, srs=self.srs)
        )
        tables = {"aliases": MemoryTable(ALIASES), "boxes": MemoryTable({"ann": "", "postmaster": ""})}
        self.dns = FakeResolver(ZONE)
        self.answerer = Answerer(tables, self.dns)
        self.sent: list[tuple[str, str, bytes]] = []
        deliver = self.far.deliver

        async def noted(batch: Batch) -> None:
            octets = await read_whole(batch.message)
            assert len(octets) == batch.message.size
            to = " ".join(str(recipient.address) for recipient in batch.recipients)
            self.sent.append((str(batch.message.envelope.reverse_path or ""), to, octets))
            await deliver(batch)

        self.far.deliver = noted  # type: ignore[method-assign]
        super().begin(**more)

    def setup(self, **more: Any) -> Setup:
        ours = frozenset({"ours.example", "srs.ours.example"})
        return super().setup(forwarding=Forwarding(srs=self.srs, ours=ours, rules=self.rules), **more)

    def forward(self, to: str, sender: str | None = ANN) -> str:
        """As a session does it: expanded and routed, then committed."""
        address = Address.parse(to)
        leads = self.successResultOf(
            Deferred.fromCoroutine(lead(self.router, self.answerer, (Forward(address),), {}, self.now()))
        )
        incoming = self.spool.begin(0)
        incoming.write(LETTER % (sender or "daemon@a.example").encode())
        incoming.add_recipients(leads.recipients)
        envelope = Envelope(
            origin=Origin(listener="mx", protocol="ESMTP", client="192.0.2.1"),
            reverse_path=None if sender is None else Address.parse(sender),
            arrived=self.now(),
        )
        incoming.seal(envelope, (), leads.events)
        lease = self.successResultOf(self.spool.commit(incoming, self.manager.birth_claim(leads, envelope)))
        self.manager.take(lease, leads)
        return incoming.id

    def path(self, sender: str = ANN) -> str:
        return str(self.srs.forward(Address.parse(sender), day_of(self.now())))

    def explained(self, id: str) -> str:
        story = self.successResultOf(self.spool.story(id))
        return "\n".join(told(story))

    def test_one_that_goes_out_at_once(self) -> None:
        id = self.forward("info@ours.example")
        self.assertEqual(self.sent, [(self.path(), "bob@y.example", LETTER % ANN.encode())])
        self.assertIn(
            f"bob@y.example -> internet, SRS (a.example has SPF -all); from <{self.path()}>", self.explained(id)
        )

    def test_the_author_too(self) -> None:
        id = self.forward("info@ours.example", "x@bank.example")
        ((path, _, octets),) = self.sent
        self.assertEqual(path, self.path("x@bank.example"))
        self.assertTrue(
            octets.startswith(b'From: "Ann via ours.example"\r\n <info@ours.example>\r\nReply-To: Ann <x@bank')
        )
        self.assertIn(
            "From changed, SRS (bank.example has DMARC p=reject and no signature of its own)", self.explained(id)
        )

    def test_each_recipient_by_itself(self) -> None:
        self.rules = (
            ForwardRule("z", DomainPatterns(["z.example"]), DomainPatterns(["*"]), frozenset(), Rewriting.NONE),
        )
        self.manager.configure(self.setup())
        id = self.forward("two@ours.example")
        self.assertEqual(
            {(path, to) for path, to, _ in self.sent},
            {(self.path(), "bob@y.example"), (ANN, "eve@z.example"), (ANN, "ann@ours.example")},
        )
        self.assertIn("eve@z.example -> internet, unchanged (rule z)\n", self.explained(id))

    def test_a_null_sender_stays_and_plain_mail_asks_nothing(self) -> None:
        self.forward("info@ours.example", None)
        self.send("bob@y.example")
        self.assertEqual([path for path, _, _ in self.sent], ["", ANN])
        self.assertEqual(self.dns.questions, {})

    def test_every_try_has_the_same_sender(self) -> None:
        self.far.answer = lambda recipient: LATER
        self.forward("info@ours.example")
        path = self.path()
        self.pass_time(30 * HOUR, 600)
        self.far.answer = lambda recipient: OK
        self.pass_time(2 * HOUR, 600)
        self.assertGreater(len(self.sent), 5)
        self.assertEqual({sender for sender, _, _ in self.sent}, {path})
        self.assert_accounted()

    def test_while_dns_is_asked_it_waits(self) -> None:
        self.dns.hold()
        self.forward("info@ours.example")
        self.assertEqual(self.sent, [])
        self.dns.release()
        self.assertEqual([path for path, _, _ in self.sent], [self.path()])

    def test_our_own_bounce_goes_to_the_sender(self) -> None:
        self.far.answer = lambda recipient: NEVER
        self.forward("info@ours.example")
        self.pass_time(60)
        (report,) = self.reports(ANN)
        self.assertIn("info@ours.example", report.as_string())
        self.assertNotIn("SRS0", report.as_string())
        self.assert_accounted()

    def test_a_reload_turns_it_off_and_on(self) -> None:
        self.manager.configure(super().setup())
        self.forward("info@ours.example")
        self.manager.configure(self.setup())
        self.forward("info@ours.example")
        self.assertEqual([path for path, _, _ in self.sent], [ANN, self.path()])

    def test_a_service_that_fails_gets_the_same_again(self) -> None:
        self.far.answer = lambda recipient: RuntimeError("broken")
        self.forward("info@ours.example")
        path = self.path()
        self.flushLoggedErrors(RuntimeError)
        self.far.answer = lambda recipient: OK
        self.pass_time(HOUR, 60)
        self.flushLoggedErrors(RuntimeError)
        self.assertEqual([path for path, _, _ in self.sent], [path, path])
