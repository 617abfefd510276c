"""The whole way of a failure: queue, report, report of the report, and the end of it; on a fake clock."""

from __future__ import annotations

from collections.abc import Callable
from email import message_from_bytes
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.bounce.decide import NOBODY_LEFT
from mta.bounce.reporter import Reports
from mta.delivery.expansion import Expanded
from mta.delivery.values import Batch, Limits
from mta.dns.fake import FakeResolver
from mta.envelope import Envelope, Origin, Outcome, Right, Status
from mta.message.reading import read_whole
from mta.queue.manager import Manager, Setup
from mta.queue.notices import TRIES
from mta.queue.retry import RetryRule
from mta.reply import Reply, TemporaryFailure
from mta.routing.ask import Answerer
from mta.routing.recipients import Forward, Leads, lead
from mta.routing.router import Router
from mta.routing.rules import DomainRule, RoutingRules
from mta.routing.tables import MemoryTable
from mta.routing.values import Route
from mta.spool.memory import MemorySpool
from mta.spool.values import Change, ChangeKind, Selection

ANN, BOB = Address("ann", "a.example"), Address("bob", "b.example")
POSTMASTER = Address("postmaster", "ours.example")
REFUSED = Reply.of(550, "5.1.1", "No such user")
LATER = Reply.of(451, "4.2.0", "Later")
DOWN = TemporaryFailure(Reply.of(451, "4.3.0", "table out of order"))


class Service:
    """Takes what ``refuses`` lets it take, and keeps it: (recipient, reverse-path, octets)."""

    def __init__(self, name: str, refuses: Callable[[Address], bool]) -> None:
        self.name = name
        self.refuses = refuses
        self.deferred: set[Address] = set()
        self.taken: list[tuple[Address, Address | None, bytes]] = []

    def limits(self, route: Route) -> Limits:
        return Limits()

    async def deliver(self, batch: Batch) -> None:
        octets = await read_whole(batch.message)
        for recipient in batch.recipients:
            if recipient.address in self.deferred:
                batch.report(Outcome(recipient=recipient.id, status=Status.DEFERRED, reply=LATER))
                continue
            refused = self.refuses(recipient.address)
            if not refused:
                self.taken.append((recipient.address, batch.message.envelope.reverse_path, octets))
            status = Status.FAILED if refused else Status.DELIVERED
            reply = REFUSED if refused else Reply.of(250, "2.0.0", "Ok")
            batch.report(Outcome(recipient=recipient.id, status=status, reply=reply))

    async def stop(self, deadline: float) -> None: ...


class WholeWay(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.spool = MemorySpool(now=self.now)
        self.refused: set[Address] = {BOB}
        self.internet = Service("internet", lambda address: address in self.refused)
        self.local = Service("local", lambda address: address in self.refused)
        self.table_down = False
        rules = RoutingRules(
            postmaster=POSTMASTER,
            services=frozenset({"internet", "local"}),
            final=frozenset({"local"}),
            domains={
                "ours.example": DomainRule(name="ours.example", mailboxes="boxes", aliases="aliases", deliver="local")
            },
        )
        self.router = Router(rules)
        tables = {
            "boxes": MemoryTable({"postmaster": ""}),
            "aliases": MemoryTable({"team": "bob@b.example, carl@c.example", "one": "carl@c.example"}),
        }
        self.answerer = Answerer(tables, FakeResolver())
        self.manager = Manager(
            owner="test",
            spool=self.spool,
            setup=Setup(
                router=self.router,
                answerer=self.answerer,
                services={"internet": self.internet, "local": self.local, Expanded.name: Expanded()},
                retry=RetryRule(after=(60,), jitter=0.0, expire_after=86400),
                active=100,
            ),
            reporter=Reports(self.spool, self.lead, "mx.ours.example", POSTMASTER),
            reactor=self.clock,
            now=self.now,
            random=Random(1),
            emit=lambda event, id: None,
        )
        self.manager.start()
        self.clock.advance(0)

    def now(self) -> int:
        return 1_700_000_000_000 + round(self.clock.seconds() * 1000)

    async def lead(self, address: Address) -> Leads:
        if self.table_down:
            raise DOWN
        return await lead(self.router, self.answerer, (Forward(address),), {}, self.now())

    def send(self, sender: Address | None, to: Address, notify: str = "", **more: Any) -> str:
        incoming = self.spool.begin(0)
        incoming.write(b"Subject: hello\r\n\r\nbody\r\n")
        leads = self.successResultOf(
            Deferred.fromCoroutine(lead(self.router, self.answerer, [Forward(to, notify=notify)], {}, self.now()))
        )
        incoming.add_recipients(leads.recipients)
        envelope = Envelope(
            origin=Origin(listener="mx", protocol="ESMTP"),
            reverse_path=sender,
            arrived=self.now(),
            rights=frozenset({Right.NETWORK}),
            **more,
        )
        incoming.seal(envelope, (), ())
        self.manager.take(self.successResultOf(self.spool.commit(incoming, self.manager.birth_claim())))
        for _ in range(10):
            self.clock.advance(1)
        return incoming.id

    def story(self, id: str) -> str:
        return "\n".join(map(str, self.successResultOf(self.spool.story(id))))

    def held(self) -> list[tuple[Address, str]]:
        rows = self.successResultOf(self.spool.page(Selection(held=True), None, 10))
        return [(row.recipient.original, row.recipient.hold) for row in rows]

    def assert_accounted(self) -> None:
        self.assertEqual(self.successResultOf(self.spool.audit()).unaccounted, 0)

    def test_the_sender_gets_the_report(self) -> None:
        id = self.send(ANN, BOB)
        ((to, reverse_path, octets),) = self.internet.taken
        self.assertEqual((to, reverse_path), (ANN, None))
        parsed = message_from_bytes(octets)
        self.assertEqual(parsed.get_content_type(), "multipart/report")
        self.assertIn("to ann@a.example: failed", self.story(id))
        self.assertEqual(self.held(), [])
        self.assert_accounted()

    def test_a_report_that_fails_is_told_to_the_postmaster(self) -> None:
        # RFC 5321 6.1
        self.refused.add(ANN)
        self.send(ANN, BOB)
        self.assertEqual(self.internet.taken, [])
        ((to, reverse_path, octets),) = self.local.taken
        self.assertEqual((to, reverse_path), (POSTMASTER, None))
        self.assertIn(b"Final-Recipient: rfc822; ann@a.example", octets)
        self.assert_accounted()

    def test_when_the_postmaster_fails_as_well_it_ends_held(self) -> None:
        self.refused |= {ANN, POSTMASTER}
        self.send(ANN, BOB)
        self.assertEqual((self.internet.taken, self.local.taken), ([], []))
        self.assertEqual(self.held(), [(POSTMASTER, NOBODY_LEFT)])
        self.assert_accounted()

    def test_nothing_goes_to_the_null_sender(self) -> None:
        # RFC 5321 4.5.5
        self.send(None, BOB)
        self.assertEqual([to for to, *_ in self.local.taken], [POSTMASTER])
        self.assertEqual(self.internet.taken, [])

    def test_success_is_told_to_who_asked_for_it(self) -> None:
        # RFC 3461 4.1
        self.refused.clear()
        self.send(ANN, BOB)
        id = self.send(ANN, BOB, notify="SUCCESS")
        self.assertEqual([to for to, *_ in self.internet.taken], [BOB, BOB, ANN])
        self.assertIn(b"Action: delivered\r\n", self.internet.taken[2][2])
        self.assertIn("to ann@a.example: delivered", self.story(id))
        self.assert_accounted()

    def test_an_address_with_several_targets_is_told_as_expanded(self) -> None:
        # RFC 3461 5.2.7.3 (c)
        team = Address("team", "ours.example")
        id = self.send(ANN, team, notify="SUCCESS,FAILURE")
        reports = [octets for to, _, octets in self.internet.taken if to == ANN]
        actions = sorted(line for octets in reports for line in octets.split(b"\r\n") if line.startswith(b"Action:"))
        self.assertEqual(actions, [b"Action: expanded", b"Action: failed"])
        self.assertIn("carl@c.example: delivered", self.story(id))
        self.send(ANN, team, notify="SUCCESS")  # without FAILURE its targets tell nothing
        self.assertEqual(len([to for to, *_ in self.internet.taken if to == ANN]), 3)
        self.assert_accounted()

    def test_an_address_with_one_target_passes_the_wish_on(self) -> None:
        # RFC 3461 5.2.7.2
        self.send(ANN, Address("one", "ours.example"), notify="SUCCESS")
        self.assertIn(b"Action: delivered\r\n", self.internet.taken[-1][2])
        self.assert_accounted()

    def test_delay_is_told_once(self) -> None:
        # RFC 2852 4.1.3
        self.internet.deferred = {BOB}
        self.send(ANN, BOB, by_mode="N", deliver_by=self.now() + 30_000)
        self.clock.pump([1] * 300)
        ((to, _, octets),) = self.internet.taken
        self.assertEqual(to, ANN)
        self.assertIn(b"Action: delayed\r\nStatus: 4.4.7\r\n", octets)
        self.assert_accounted()

    def test_what_should_come_back_in_time_does(self) -> None:
        # RFC 2852 4.1.3, RFC 3463 3.5
        self.internet.deferred = {BOB}
        self.send(ANN, BOB, by_mode="R", deliver_by=self.now() + 30_000)
        self.clock.pump([1] * 300)
        ((to, _, octets),) = self.internet.taken
        self.assertEqual(to, ANN)
        self.assertIn(b"Action: failed\r\nStatus: 5.4.7\r\n", octets)
        self.assert_accounted()

    def test_a_report_that_could_not_be_routed_goes_out_later(self) -> None:
        self.table_down = True
        self.send(ANN, BOB)
        self.assertEqual([to for to, *_ in self.internet.taken], [ANN])
        self.assert_accounted()

    def test_a_report_that_cannot_be_written_is_tried_again(self) -> None:
        self.no_reports()
        id = self.send(ANN, BOB)
        self.assertEqual((self.internet.taken, self.held()), ([], []))
        self.patch(self.spool, "begin", MemorySpool.begin.__get__(self.spool))
        self.clock.pump([1] * 200)
        self.assertEqual([to for to, *_ in self.internet.taken], [ANN])
        self.assertEqual(self.story(id).count("to ann@a.example: failed"), 1)
        self.flushLoggedErrors(TemporaryFailure)
        self.assert_accounted()

    def test_a_failure_whose_report_can_never_be_written_is_held(self) -> None:
        self.no_reports()
        id = self.send(ANN, BOB)
        self.clock.pump([10] * 400)
        self.assertEqual(len(self.flushLoggedErrors(TemporaryFailure)), 1 + TRIES)
        ((original, reason),) = self.held()
        self.assertEqual(original, BOB)
        self.assertIn("disk full", reason)
        self.assert_accounted()
        # Released, it is tried again, and told.
        self.patch(self.spool, "begin", MemorySpool.begin.__get__(self.spool))
        self.successResultOf(self.spool.change(Selection(ids=(id,)), Change(ChangeKind.RELEASE), "root"))
        self.clock.pump([1] * 100)
        self.assertEqual([to for to, *_ in self.internet.taken], [ANN])
        self.assert_accounted()

    def no_reports(self) -> None:
        begin, first = self.spool.begin, [True]

        def refuse(room: int) -> Any:
            if first.pop() if first else False:
                return begin(room)  # the message itself
            raise TemporaryFailure(Reply.of(452, "4.3.1", "disk full"))

        self.patch(self.spool, "begin", refuse)
