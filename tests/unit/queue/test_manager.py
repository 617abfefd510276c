"""The queue manager on a fake clock with the memory spool: what becomes of mail, and when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.delivery.values import Batch, Limits
from mta.dns.fake import FakeResolver
from mta.envelope import Destination, Envelope, Origin, Outcome, Recipient, Right, Scope, Status
from mta.events import Event
from mta.interfaces import IMessage
from mta.queue.conclude import Report
from mta.queue.destination import DEAD_AFTER, REST
from mta.queue.manager import Manager, Setup
from mta.queue.refill import SLICE
from mta.queue.retry import RetryRule
from mta.reply import Reply, TemporaryFailure
from mta.routing.ask import Answerer
from mta.routing.recipients import Leads
from mta.routing.router import Router
from mta.routing.rules import DomainRule, RoutingRules
from mta.routing.tables import MemoryTable
from mta.routing.values import Route
from mta.spool.memory import MemorySpool
from mta.spool.values import Change, ChangeKind, Selection

HOUR = 3600.0
DAY = 24 * HOUR
OK = Reply.of(250, "2.0.0", "Ok")
LATER = Reply.of(451, "4.7.1", "Greylisted")
NEVER = Reply.of(550, "5.1.1", "No such user")
DOWN = Reply.of(421, "4.4.1", "No connection")


class Delivery:
    """A delivery service that does what it is told and keeps what it was given."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.batches: list[Batch] = []
        self.answer: Callable[[Batch, Recipient], Reply | Exception | None] = lambda batch, recipient: OK
        self.scope = Scope.RECIPIENT
        self.attempt: dict[str, str] = {}
        self.wait: list[Deferred[None]] | None = None

    def limits(self, route: Route) -> Limits:
        return Limits(recipients=3, concurrency=4)

    async def deliver(self, batch: Batch) -> None:
        self.batches.append(batch)
        if self.wait is not None:
            waiting: Deferred[None] = Deferred()
            self.wait.append(waiting)
            await waiting
        for recipient in batch.recipients:
            answer = self.answer(batch, recipient)
            if isinstance(answer, Exception):
                raise answer
            if answer is not None:
                status = Status.RELAYED if answer.positive else Status.FAILED if answer.permanent else Status.DEFERRED
                batch.report(
                    Outcome(recipient=recipient.id, status=status, reply=answer, scope=self.scope, attempt=self.attempt)
                )

    def stop(self, deadline: float) -> Deferred[None]:
        return succeed(None)

    def addresses(self) -> list[str]:
        return [str(recipient.address) for batch in self.batches for recipient in batch.recipients]


class Reports:
    """Notes who would be told."""

    def __init__(self) -> None:
        self.failed: list[tuple[str, str]] = []
        self.hold = ""

    async def report(self, message: IMessage, failed: Sequence[tuple[Recipient, Outcome]], now: int) -> Report:
        self.failed += [(str(recipient.address), outcome.status.value) for recipient, outcome in failed]
        return Report(hold=self.hold)


class ManagerCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.wall = 1_700_000_000_000
        self.spool = MemorySpool(now=self.now)
        self.internet, self.local = Delivery("internet"), Delivery("local")
        self.reports = Reports()
        self.events: list[Event] = []
        self.boxes = MemoryTable({"ann": "", "bob": ""})
        self.manager = self.make()
        self.manager.start()
        self.clock.advance(0)

    def now(self) -> int:
        return self.wall + round(self.clock.seconds() * 1000)

    def setup(self, active: int = 1000, services: Any = None, domains: Any = None) -> Setup:
        services = services or {"internet": self.internet, "local": self.local}
        if domains is None:
            domains = {"ours.example": DomainRule(name="ours.example", mailboxes="boxes", deliver="local")}
        rules = RoutingRules(
            postmaster=Address("ann", "ours.example"),
            services=frozenset(services),
            final=frozenset({"local"}),
            domains=domains,
        )
        return Setup(
            router=Router(rules),
            answerer=Answerer({"boxes": self.boxes}, FakeResolver()),
            services=services,
            retry=RetryRule(after=(60, 300, 1800), jitter=0.0, expire_after=5 * DAY),
            active=active,
        )

    def make(self, **options: Any) -> Manager:
        return Manager(
            owner="test",
            spool=self.spool,
            setup=self.setup(**options),
            reporter=self.reports,
            reactor=self.clock,
            now=self.now,
            random=Random(1),
            emit=lambda event, id: self.events.append(event),
        )

    def accept(self, *addresses: str, sender: str = "s@a.example", claim: bool = True) -> str:
        incoming = self.spool.begin(0)
        incoming.write(b"Subject: x\r\n\r\nhello\r\n")
        recipients = []
        for number, text in enumerate(addresses):
            address = Address.parse(text)
            service = "local" if address.domain == "ours.example" else "internet"
            recipients.append(
                Recipient(
                    id=number,
                    address=address,
                    original=address,
                    destination=Destination(service, address.domain),
                    due=self.now(),
                )
            )
        incoming.add_recipients(recipients)
        envelope = Envelope(
            origin=Origin(listener="mx", protocol="ESMTP"),
            reverse_path=Address.parse(sender),
            arrived=self.now(),
            rights=frozenset({Right.NETWORK}),
        )
        incoming.seal(envelope, (), ())
        leads = Leads(tuple(recipients), (), tuple(Route(destination=one.destination) for one in recipients))
        lease = self.successResultOf(
            self.spool.commit(incoming, self.manager.birth_claim(leads, envelope) if claim else None)
        )
        self.manager.take(lease)
        return incoming.id

    def totals(self) -> dict[str, int]:
        totals = self.successResultOf(self.spool.audit())
        self.assertEqual(totals.unaccounted, 0)
        ended = {status: count for status, count in totals.ended.items() if count}
        return {
            **ended,
            **({"queued": totals.queued} if totals.queued else {}),
            **({"held": totals.held} if totals.held else {}),
        }

    def pass_time(self, seconds: float, step: float = 30.0) -> None:
        for _ in range(round(seconds / step)):
            self.clock.advance(step)


class Delivering(ManagerCase):
    def test_message_goes_out_at_once(self) -> None:
        self.accept("x@b.example")
        self.assertEqual(self.internet.addresses(), ["x@b.example"])
        self.assertEqual(self.totals(), {"relayed": 1})
        self.assertEqual(self.manager.schedule.size, 0)

    def test_recipients_of_one_route_travel_together_within_the_limit(self) -> None:
        self.accept("1@b.example", "2@b.example", "3@b.example", "4@b.example", "1@c.example", "ann@ours.example")
        sizes = sorted(len(batch.recipients) for batch in self.internet.batches)
        self.assertEqual(sizes, [1, 1, 3])
        self.assertEqual(self.local.addresses(), ["ann@ours.example"])
        self.assertEqual(self.totals(), {"relayed": 6})

    def test_deferred_is_tried_again_by_the_rule(self) -> None:
        self.internet.answer = lambda batch, recipient: LATER
        self.accept("x@b.example")
        self.assertEqual(self.totals(), {"queued": 1})
        for seconds, tries in ((59, 1), (2, 2), (298, 2), (3, 3), (1790, 3), (20, 4)):
            self.pass_time(seconds, 1)
            self.assertEqual(len(self.internet.batches), tries)
        self.internet.answer = lambda batch, recipient: OK
        self.pass_time(1900)
        self.assertEqual(self.totals(), {"relayed": 1})
        self.assertEqual(self.reports.failed, [])

    def test_many_deferrals_of_one_destination_are_each_tried_at_their_time(self) -> None:
        self.internet.answer = lambda batch, recipient: LATER
        for n in range(20):
            self.accept(f"{n}@b.example")
            self.clock.advance(0.5)
        self.internet.answer = lambda batch, recipient: OK
        self.pass_time(75, 1)
        self.assertEqual(self.totals(), {"relayed": 20})

    def test_only_the_deferred_recipient_is_tried_again(self) -> None:
        self.internet.answer = lambda batch, recipient: LATER if recipient.address.local == "2" else OK
        self.accept("1@b.example", "2@b.example")
        self.pass_time(61, 1)
        self.assertEqual([len(batch.recipients) for batch in self.internet.batches], [2, 1])
        self.assertEqual(self.totals(), {"relayed": 1, "queued": 1})

    def test_failed_is_reported_to_the_sender_with_the_outcome(self) -> None:
        self.internet.answer = lambda batch, recipient: NEVER
        self.accept("x@b.example")
        self.assertEqual(self.reports.failed, [("x@b.example", "failed")])
        self.assertEqual(self.totals(), {"failed": 1})

    def test_given_up_after_its_time_with_a_last_try_at_the_end(self) -> None:
        self.internet.answer = lambda batch, recipient: LATER
        self.accept("x@b.example")
        self.pass_time(5 * DAY - 60)
        tries = len(self.internet.batches)
        self.assertEqual(self.reports.failed, [])
        self.pass_time(120)
        self.assertEqual(self.reports.failed, [("x@b.example", "expired")])
        self.assertEqual(self.totals(), {"expired": 1})
        self.assertEqual(len(self.internet.batches), tries + 1)

    def test_nothing_ends_whose_report_cannot_be_made(self) -> None:
        self.internet.answer = lambda batch, recipient: NEVER

        async def report(*args: Any) -> Report:
            raise ValueError("bug")

        self.patch(self.reports, "report", report)
        self.accept("x@b.example")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(self.totals(), {"queued": 1})

    def test_who_cannot_be_told_is_held(self) -> None:
        self.internet.answer = lambda batch, recipient: NEVER
        self.reports.hold = "nobody to tell"
        self.accept("x@b.example")
        self.assertEqual(self.totals(), {"held": 1})
        self.pass_time(DAY, 600)
        self.assertEqual(len(self.internet.batches), 1)


class Trouble(ManagerCase):
    def test_service_that_raises_is_a_deferral(self) -> None:
        self.internet.answer = lambda batch, recipient: ValueError("bug")
        self.accept("x@b.example")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(self.totals(), {"queued": 1})

    def test_service_that_says_nothing_is_a_deferral(self) -> None:
        self.internet.answer = lambda batch, recipient: None
        self.accept("x@b.example")
        self.assertEqual(self.totals(), {"queued": 1})

    def test_service_without_end_is_stopped(self) -> None:
        self.internet.wait = []
        self.accept("x@b.example")
        self.pass_time(HOUR + 60)
        self.assertEqual(self.totals(), {"queued": 1})
        (row,) = self.successResultOf(self.spool.page(Selection(), None, 10))
        self.assertIn("took too long", row.recipient.progress["reply"])

    def test_stop_cuts_off_what_does_not_end(self) -> None:
        self.internet.wait = []
        self.accept("x@b.example")
        stopped = Deferred.fromCoroutine(self.manager.stop(10))
        self.clock.advance(9)
        self.assertNoResult(stopped)
        self.clock.advance(1)
        self.successResultOf(stopped)
        self.assertEqual(self.totals(), {"queued": 1})

    def test_stop_gives_its_time_to_deliveries_of_the_configuration_before(self) -> None:
        self.internet.wait = []
        self.accept("x@b.example")
        self.manager.configure(self.setup(services={"internet": Delivery("internet"), "local": self.local}))
        stopped = Deferred.fromCoroutine(self.manager.stop(10))
        self.clock.advance(5)
        self.internet.wait[0].callback(None)
        self.successResultOf(stopped)
        self.assertEqual(self.totals(), {"relayed": 1})

    def test_stop_waits_for_what_runs_though_nothing_can_be_given_back(self) -> None:
        self.internet.wait = []
        for n in range(9):
            self.accept(f"{n}@b.example")
        self.spool.fail_next("release", TemporaryFailure(Reply.of(451, "4.3.0", "disk")))
        stopped = Deferred.fromCoroutine(self.manager.stop(10))
        self.clock.advance(5)
        self.assertNoResult(stopped)
        for waiting in self.internet.wait:
            waiting.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(len(self.flushLoggedErrors(TemporaryFailure)), 1)
        self.assertEqual(self.totals(), {"relayed": 4, "queued": 5})

    def test_stop_does_not_wait_for_ever_for_the_disk(self) -> None:
        self.internet.wait = []
        self.accept("x@b.example")
        self.spool.hold()
        self.internet.wait[0].callback(None)
        stopped = Deferred.fromCoroutine(self.manager.stop(10))
        self.clock.advance(12)
        self.assertNoResult(stopped)
        self.clock.advance(5)
        self.successResultOf(stopped)

    def test_stop_does_not_wait_for_ever_for_a_service(self) -> None:
        self.patch(self.local, "stop", lambda deadline: Deferred())
        stopped = Deferred.fromCoroutine(self.manager.stop(10))
        self.clock.advance(10)
        self.successResultOf(stopped)
        self.flushLoggedErrors()

    def test_wall_clock_that_jumps_sends_nothing_twice(self) -> None:
        # As after the sleep of a virtual machine: leases are over by the wall clock, what they are for is not.
        self.internet.wait = []
        for n in range(9):
            self.accept(f"{n}@b.example")
        self.wall += round(6 * HOUR * 1000)
        self.pass_time(180)
        while self.internet.wait:
            self.internet.wait.pop(0).callback(None)
        self.pass_time(180)
        self.assertEqual(sorted(self.internet.addresses()), [f"{n}@b.example" for n in range(9)])
        self.assertEqual(self.totals(), {"relayed": 9})

    def test_table_that_cannot_answer_is_a_deferral(self) -> None:
        self.accept("ann@ours.example", claim=False)
        self.boxes.failing = "no disk"
        self.pass_time(5, 1)
        self.assertEqual(self.local.batches, [])
        self.assertEqual(self.totals(), {"queued": 1})
        self.boxes.failing = ""
        self.pass_time(120)
        self.assertEqual(self.totals(), {"relayed": 1})

    def test_dead_destination_rests_and_holds_nobody_else_up(self) -> None:
        self.internet.scope = Scope.HOST
        self.internet.answer = lambda batch, recipient: DOWN if recipient.address.domain == "dead.example" else OK
        for n in range(DEAD_AFTER):
            self.accept(f"{n}@dead.example")
        tried = len(self.internet.batches)
        self.accept("more@dead.example")
        self.accept("x@b.example")
        self.assertEqual(len(self.internet.batches), tried + 1)
        self.assertIn("suspended", [event.code for event in self.events])
        self.internet.answer = lambda batch, recipient: OK
        self.pass_time(REST + 2, 1)
        self.assertEqual(self.totals(), {"relayed": DEAD_AFTER + 2})

    def test_spool_that_cannot_be_asked_is_asked_again(self) -> None:
        self.spool.fail_next("due", TemporaryFailure(Reply.of(451, "4.3.0", "disk")))
        self.accept("x@b.example", claim=False)
        self.pass_time(20, 1)
        self.assertEqual(self.totals(), {"relayed": 1})

    def test_outcome_waits_for_the_spool_and_is_not_lost(self) -> None:
        self.internet.wait = []
        self.accept("x@b.example")
        self.spool.hold()
        self.internet.wait[0].callback(None)
        self.pass_time(600)
        self.spool.let_go()
        self.assertEqual(self.totals(), {"relayed": 1})
        self.assertEqual(len(self.internet.batches), 1)


class FullSet(ManagerCase):
    """The active set is for destinations that can be delivered to."""

    def test_new_mail_for_a_dead_destination_does_not_fill_it(self) -> None:
        self.manager.configure(self.setup(active=10))
        self.internet.scope = Scope.HOST
        self.internet.answer = lambda batch, recipient: DOWN if recipient.address.domain == "dead.example" else OK
        for n in range(DEAD_AFTER + 30):
            self.accept(f"{n}@dead.example")
            self.clock.advance(0.1)
        self.pass_time(10, 1)
        self.assertLess(self.manager.schedule.size, 10)
        self.accept("x@b.example")
        self.assertEqual(self.totals(), {"relayed": 1, "queued": DEAD_AFTER + 30})

    def test_new_mail_for_a_slow_destination_takes_half_of_it(self) -> None:
        self.manager.configure(self.setup(active=1000))
        self.internet.wait = []
        for n in range(1200):
            self.accept(f"{n}@slow.example")
        self.assertLess(self.manager.schedule.size, 600)
        self.accept("ann@ours.example")
        self.assertEqual(self.local.addresses(), ["ann@ours.example"])
        while self.internet.wait:
            self.internet.wait.pop(0).callback(None)
            self.clock.advance(1)
        self.assertEqual(self.totals(), {"relayed": 1201})
        self.assertEqual(self.manager.schedule.size, 0)

    def test_backlog_of_one_destination_does_not_shut_out_the_next(self) -> None:
        self.manager.configure(self.setup(active=SLICE))
        self.internet.wait = []
        for n in range(5 * SLICE):
            self.accept(f"{n}@first.example", claim=False)
        self.accept("x@last.example", claim=False)
        self.pass_time(2, 1)
        for _ in range(2 * SLICE):
            self.internet.wait.pop(0).callback(None)
            self.clock.advance(0.01)
        self.assertIn("x@last.example", self.internet.addresses())

    def test_what_waits_for_a_table_counts(self) -> None:
        slow: list[Deferred[Any]] = []

        def lookup(key: str) -> Deferred[Any]:
            slow.append(Deferred())
            return slow[-1]

        self.manager.configure(self.setup(active=250))
        self.patch(self.boxes, "lookup", lookup)
        for _ in range(3 * SLICE):
            self.accept("ann@ours.example", claim=False)
        self.pass_time(60, 1)
        self.assertLessEqual(len(slow), 250 + SLICE)
        while slow:
            slow.pop().callback("")
            self.clock.advance(0.1)
        self.assertEqual(self.totals(), {"relayed": 3 * SLICE})
        self.assertEqual(self.manager.schedule.size, 0)

    def test_what_is_routed_anew_to_a_dead_destination_does_not_fill_it(self) -> None:
        domains = {f"{n}.example": DomainRule(name=f"{n}.example", deliver="local") for n in range(20)}
        self.local.scope = Scope.DESTINATION
        self.local.answer = lambda batch, recipient: DOWN
        self.manager.configure(self.setup(active=10, domains=domains))
        for _ in range(DEAD_AFTER):
            self.accept("x@0.example", claim=False)
            self.pass_time(2, 1)
        for n in range(20):
            self.accept(f"x@{n}.example", claim=False)
        self.pass_time(20, 1)
        self.assertLess(self.manager.schedule.size, 10)
        self.accept("x@b.example")
        self.assertEqual(self.internet.addresses(), ["x@b.example"])
        self.local.answer = lambda batch, recipient: OK
        self.pass_time(600, 10)
        self.assertEqual(self.totals(), {"relayed": DEAD_AFTER + 21})
        self.assertEqual(self.manager.schedule.size, 0)

    def test_destinations_that_failed_are_not_remembered_for_ever(self) -> None:
        self.internet.answer = lambda batch, recipient: NEVER
        self.internet.scope = Scope.HOST
        for n in range(20):
            self.accept(f"x@{n}.example")
        self.pass_time(2 * HOUR)
        self.assertEqual(self.manager.schedule.lanes, {})


class Configuration(ManagerCase):
    def test_reload_while_a_recipient_is_being_routed(self) -> None:
        slow: list[Deferred[Any]] = []

        def lookup(key: str) -> Deferred[Any]:
            slow.append(Deferred())
            return slow[-1]

        self.patch(self.boxes, "lookup", lookup)
        self.accept("ann@ours.example", "bob@ours.example")
        del self.boxes.lookup
        spare = Delivery("spare")
        domains = {"ours.example": DomainRule(name="ours.example", mailboxes="boxes", deliver="spare")}
        self.manager.configure(self.setup(services={"internet": self.internet, "spare": spare}, domains=domains))
        while slow:
            slow.pop(0).callback("")
        self.pass_time(120)
        self.assertEqual(spare.addresses(), ["ann@ours.example", "bob@ours.example"])
        self.assertEqual(self.totals(), {"relayed": 2})
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_reload_that_stops_the_queue_stops_what_waits_in_memory_too(self) -> None:
        self.internet.wait = []
        for n in range(9):
            self.accept(f"{n}@b.example")
        self.manager.configure(self.setup(active=0))
        for waiting in self.internet.wait:
            waiting.callback(None)
        self.pass_time(300, 1)
        self.assertEqual(self.totals(), {"relayed": 4, "queued": 5})
        self.assertEqual(self.manager.schedule.size, 0)
        self.internet.wait = None
        self.manager.configure(self.setup())
        self.pass_time(60, 1)
        self.assertEqual(self.totals(), {"relayed": 9})

    def test_lanes_take_the_new_limit_of_their_service(self) -> None:
        self.internet.wait = []
        for n in range(4):
            self.accept(f"{n}@b.example")  # all under way: nothing waits in the lane
        self.internet.limits = lambda route: Limits(concurrency=1)  # type: ignore[method-assign]
        self.manager.configure(self.setup())
        for n in range(4, 9):
            self.accept(f"{n}@b.example")
        for waiting in self.internet.wait[:4]:
            waiting.callback(None)
        self.assertEqual(len(self.internet.wait), 5)

    def test_service_that_cannot_say_its_limits_does_not_lose_the_mail(self) -> None:
        def limits(route: Route) -> Limits:
            raise ValueError("bug")

        old = self.internet.limits
        self.internet.limits = limits  # type: ignore[method-assign]
        self.accept("1@b.example", "2@b.example")
        self.accept("3@b.example")
        self.assertTrue(self.flushLoggedErrors(ValueError))
        self.internet.limits = old  # type: ignore[method-assign]
        self.pass_time(120)
        self.assertEqual(self.totals(), {"relayed": 3})
        self.assertEqual(self.manager.schedule.size, 0)

    def test_mailbox_that_vanished_is_held_with_the_reason(self) -> None:
        self.accept("ann@ours.example", claim=False)
        del self.boxes.entries["ann"]
        self.pass_time(3, 1)
        self.assertEqual(self.totals(), {"held": 1})
        (row,) = self.successResultOf(self.spool.page(Selection(), None, 10))
        self.assertIn("mailbox", row.recipient.hold)

    def test_service_that_vanished_is_held_and_goes_on_when_it_is_back(self) -> None:
        self.internet.answer = lambda batch, recipient: LATER
        self.accept("ann@ours.example", "x@b.example")
        self.manager.configure(self.setup(services={"local": self.local}))
        self.pass_time(90, 1)
        self.assertEqual(self.totals(), {"relayed": 1, "held": 1})
        self.internet.answer = lambda batch, recipient: OK
        self.manager.configure(self.setup())
        self.successResultOf(self.spool.change(Selection(), Change(ChangeKind.RELEASE), "test"))
        self.manager.poke()
        self.pass_time(60, 1)
        self.assertEqual(self.totals(), {"relayed": 2})

    def test_corrected_route_frees_waiting_mail(self) -> None:
        self.internet.answer = lambda batch, recipient: LATER
        self.accept("x@b.example")
        domains = {"b.example": DomainRule(name="b.example", deliver="local")}
        self.manager.configure(self.setup(domains=domains))
        self.pass_time(61, 1)
        self.assertEqual(self.local.addresses(), ["x@b.example"])
        self.assertEqual(self.totals(), {"relayed": 1})

    def test_reload_ends_the_rest_of_a_destination(self) -> None:
        self.internet.scope = Scope.HOST
        self.internet.answer = lambda batch, recipient: DOWN
        for n in range(DEAD_AFTER):
            self.accept(f"{n}@dead.example")
        self.accept("waits@dead.example")
        tried = len(self.internet.batches)
        self.internet.answer = lambda batch, recipient: OK
        self.manager.configure(self.setup())
        self.pass_time(3, 1)
        self.assertGreater(len(self.internet.batches), tried)
        self.assertIn("waits@dead.example", self.internet.addresses())

    def test_operator_gives_a_message_up(self) -> None:
        self.internet.answer = lambda batch, recipient: LATER
        self.accept("x@b.example")
        self.successResultOf(self.spool.change(Selection(), Change(ChangeKind.BOUNCE, "unwanted"), "root"))
        self.manager.poke()
        self.pass_time(2, 1)
        self.assertEqual(self.reports.failed, [("x@b.example", "failed")])


class Bounds(ManagerCase):
    def test_active_set_is_bounded_and_the_rest_follows(self) -> None:
        self.manager = self.make(active=10)
        self.manager.start()
        self.internet.wait = []
        for n in range(50):
            self.accept(f"{n}@b{n}.example")
            self.assertLessEqual(self.manager.schedule.size, 10)
        for _ in range(200):
            for waiting in list(self.internet.wait):
                self.internet.wait.remove(waiting)
                waiting.callback(None)
            self.clock.advance(1)
            self.assertLessEqual(self.manager.schedule.size, 10 + SLICE)
        self.assertEqual(self.totals(), {"relayed": 50})
        self.assertEqual(sorted(self.internet.addresses()), sorted(f"{n}@b{n}.example" for n in range(50)))

    def test_service_gets_no_more_at_once_than_it_takes(self) -> None:
        self.internet.wait = []
        for n in range(20):
            self.accept(f"{n}@b.example")
        self.assertEqual(len(self.internet.batches), 4)
        while self.internet.wait:
            self.internet.wait.pop(0).callback(None)
            self.assertLessEqual(len(self.internet.wait), 4)
        self.assertEqual(self.totals(), {"relayed": 20})

    def test_start_takes_up_what_waits(self) -> None:
        for n in range(30):
            self.accept(f"{n}@b.example", claim=False)
        other = self.make()
        other.start()
        self.pass_time(5, 1)
        self.assertEqual(self.totals(), {"relayed": 30})


class Stopping(ManagerCase):
    def test_what_runs_may_end_and_what_waits_goes_back(self) -> None:
        self.internet.wait = []
        for n in range(6):
            self.accept(f"{n}@b.example")
        over: Deferred[None] = Deferred()
        self.patch(self.internet, "stop", lambda deadline: over)
        stopped = Deferred.fromCoroutine(self.manager.stop(10))
        self.assertNoResult(stopped)
        for waiting in list(self.internet.wait):
            waiting.callback(None)
        over.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(self.totals(), {"relayed": 4, "queued": 2})
        self.assertIsNone(self.manager.birth_claim())

    def test_nothing_is_begun_afterwards(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.manager.stop(10)))
        self.accept("x@b.example")
        self.pass_time(600)
        self.assertEqual(self.internet.batches, [])
        self.assertEqual(self.totals(), {"queued": 1})
