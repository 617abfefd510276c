"""Times that a sender, or a client, asks for: held until (RFC 4865), delivered by (RFC 2852), now (RFC 1985)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.delivery.values import Batch, Limits
from mta.dns.fake import FakeResolver
from mta.envelope import Destination, Envelope, Origin, Outcome, Recipient, Scope, Status
from mta.events import Event
from mta.interfaces import IMessage
from mta.queue.conclude import Report
from mta.queue.manager import Manager, Setup
from mta.queue.retry import RetryRule
from mta.queue.untried import TOO_LATE
from mta.reply import Reply
from mta.routing.ask import Answerer
from mta.routing.router import Router
from mta.routing.rules import RoutingRules
from mta.routing.values import Route
from mta.spool.memory import MemorySpool
from mta.spool.values import Selection

MINUTE = 60_000
DAY = 24 * 60 * MINUTE
LATER = Reply.of(451, "4.7.1", "Greylisted")
DOWN = Reply.of(421, "4.4.1", "No connection")


class FarEnd:
    """A delivery service that gives one reply to all."""

    name = "internet"
    reply = Reply.of(250, "2.0.0", "Ok")

    def __init__(self) -> None:
        self.tried: list[str] = []

    def limits(self, route: Route) -> Limits:
        return Limits()

    async def deliver(self, batch: Batch) -> None:
        self.tried += [str(recipient.address) for recipient in batch.recipients]
        status = Status.RELAYED if self.reply.positive else Status.DEFERRED
        batch.report_all(status, self.reply, Scope.HOST if self.reply.code == 421 else Scope.RECIPIENT)

    def stop(self, deadline: float) -> Deferred[None]:
        return succeed(None)


class Reports:
    """Notes who would be told of what."""

    def __init__(self) -> None:
        self.failed: list[tuple[str, str]] = []
        self.replies: list[str] = []

    async def report(self, message: IMessage, failed: Sequence[tuple[Recipient, Outcome]], now: int) -> Report:
        self.failed += [(str(recipient.address), outcome.status.value) for recipient, outcome in failed]
        self.replies += [str(outcome.reply) for _, outcome in failed]
        return Report()


class Times(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.spool = MemorySpool(now=self.now)
        self.far = FarEnd()
        self.reports = Reports()
        self.events: list[Event] = []
        rules = RoutingRules(
            postmaster=Address("postmaster", "ours.example"),
            services=frozenset({"internet"}),
            final=frozenset(),
            domains={},
        )
        self.manager = Manager(
            owner="test",
            spool=self.spool,
            setup=Setup(
                router=Router(rules),
                answerer=Answerer({}, FakeResolver()),
                services={"internet": self.far},
                retry=RetryRule(after=(60, 3600), jitter=0.0, expire_after=5 * 86400),
                active=1000,
            ),
            reporter=self.reports,
            reactor=self.clock,
            now=self.now,
            random=Random(1),
            emit=lambda event, id: self.events.append(event),
        )
        self.manager.start()
        self.clock.advance(0)

    def now(self) -> int:
        return 1_700_000_000_000 + round(self.clock.seconds() * 1000)

    def accept(self, text: str = "x@b.example", **envelope: Any) -> str:
        incoming = self.spool.begin(0)
        incoming.write(b"Subject: x\r\n\r\nhello\r\n")
        address = Address.parse(text)
        due = max(self.now(), envelope.get("hold_until", 0))
        there = Destination("internet", address.domain)
        incoming.add_recipients([Recipient(id=0, address=address, original=address, destination=there, due=due)])
        plain = Envelope(
            origin=Origin(listener="mx", protocol="ESMTP"),
            reverse_path=Address.parse("s@a.example"),
            arrived=self.now(),
        )
        incoming.seal(replace(plain, **envelope), (), ())
        self.manager.take(self.successResultOf(self.spool.commit(incoming, self.manager.birth_claim())))
        return incoming.id

    def pass_time(self, milliseconds: int, step: float = 10.0) -> None:
        for _ in range(round(milliseconds / 1000 / step)):
            self.clock.advance(step)

    def queued(self) -> int:
        totals = self.successResultOf(self.spool.audit())
        self.assertEqual(totals.unaccounted, 0)
        return totals.queued

    def test_held_until_its_time_and_sent_then(self) -> None:
        # RFC 4865
        self.accept(hold_until=self.now() + 90 * MINUTE)
        self.pass_time(89 * MINUTE)
        self.assertEqual(self.far.tried, [])
        self.pass_time(2 * MINUTE)
        self.assertEqual(self.far.tried, ["x@b.example"])
        self.assertEqual(self.queued(), 0)

    def test_expiry_of_what_was_held_counts_from_its_release(self) -> None:
        # RFC 4865
        self.far.reply = LATER
        self.accept(hold_until=self.now() + 10 * DAY)
        self.pass_time(15 * DAY - 20 * MINUTE, 600)
        self.assertEqual(self.reports.failed, [])
        self.pass_time(40 * MINUTE, 60)
        self.assertEqual(self.reports.failed, [("x@b.example", "expired")])

    def test_returned_when_the_senders_time_is_over(self) -> None:
        # RFC 2852 4.1.4, mode R
        self.far.reply = LATER
        self.accept(deliver_by=self.now() + 10 * MINUTE, by_mode="R")
        self.pass_time(9 * MINUTE)
        self.assertEqual(self.reports.failed, [])
        self.pass_time(2 * MINUTE)
        self.assertEqual(self.reports.failed, [("x@b.example", "expired")])
        self.assertEqual(self.queued(), 0)

    def test_not_delivered_late_to_who_wants_it_back(self) -> None:
        # RFC 2852 4.1.4, mode R
        self.far.reply = LATER
        self.accept(deliver_by=self.now() + 10 * MINUTE, by_mode="R")
        self.pass_time(2 * MINUTE)
        tried = len(self.far.tried)
        self.far.reply = Reply.of(250, "2.0.0", "Ok")
        self.pass_time(9 * MINUTE)
        self.assertEqual(len(self.far.tried), tried)
        self.assertIn(str(TOO_LATE), str(self.reports.replies))

    def test_late_mail_is_delivered_all_the_same_in_mode_n(self) -> None:
        # RFC 2852 4.1.3, mode N
        self.far.reply = LATER
        self.accept(deliver_by=self.now() + 10 * MINUTE, by_mode="N")
        self.pass_time(20 * MINUTE)
        self.far.reply = Reply.of(250, "2.0.0", "Ok")
        self.pass_time(80 * MINUTE)
        self.assertEqual(self.queued(), 0)
        # Told that it is late, once.  RFC 2852 4.1.4.2, RFC 3461 5.2.2 (e): no more once the time is over.
        self.assertEqual([status for _, status in self.reports.failed], ["deferred"])

    def test_etrn_tries_now_what_waits(self) -> None:
        # RFC 1985
        self.far.reply = LATER
        for text in ("1@b.example", "2@b.example", "3@deep.b.example", "4@other.example"):
            self.accept(text)
        self.far.reply = Reply.of(250, "2.0.0", "Ok")
        self.far.tried.clear()
        self.assertEqual(self.successResultOf(self.manager.flush("b.example", False)), 2)
        self.clock.advance(0.1)
        self.assertEqual(sorted(self.far.tried), ["1@b.example", "2@b.example"])
        self.assertEqual(self.successResultOf(self.manager.flush("b.example", True)), 1)
        self.clock.advance(0.1)
        self.assertEqual(len(self.far.tried), 3)
        self.assertEqual(self.queued(), 1)

    def test_etrn_ends_the_rest_of_a_destination(self) -> None:
        # RFC 1985
        self.far.reply = DOWN
        for n in range(12):
            self.accept(f"{n}@b.example")
            self.clock.advance(0.5)
        self.far.reply = Reply.of(250, "2.0.0", "Ok")
        self.far.tried.clear()
        self.assertEqual(self.successResultOf(self.manager.flush("b.example", False)), 12)
        self.pass_time(1000, 0.1)
        self.assertEqual(len(self.far.tried), 12)
        (*rows,) = self.successResultOf(self.spool.page(Selection(), None, 20))
        self.assertEqual(rows, [])
