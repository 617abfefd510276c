"""What operators have done reaches what waits in memory too; who did it is recorded."""

from __future__ import annotations

import os
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.admin.control import ControlError
from mta.admin.operations import Operations
from mta.admin.selection import to_wire
from mta.delivery.values import Batch, Limits
from mta.dns.fake import FakeResolver
from mta.envelope import Destination, Envelope, Origin, Outcome, Recipient, Status
from mta.events import Event
from mta.queue.conclude import Report
from mta.queue.manager import Manager, Setup
from mta.queue.paused import Pauses
from mta.queue.retry import RetryRule
from mta.reply import Reply
from mta.routing.ask import Answerer
from mta.routing.router import Router
from mta.routing.rules import RoutingRules
from mta.routing.values import Route
from mta.spool.memory import MemorySpool
from mta.spool.values import Selection
from mta.waiting import as_deferred

OK = Reply.of(250, "2.0.0", "Ok")
LIMIT = 2
ALL = Selection()


class Slow:
    """A delivery service that answers when told."""

    def __init__(self) -> None:
        self.name = "internet"
        self.tried: list[str] = []
        self.waiting: list[Deferred[None]] = []

    def limits(self, route: Route) -> Limits:
        return Limits(recipients=1, concurrency=LIMIT)

    async def deliver(self, batch: Batch) -> None:
        self.tried += [str(recipient.address) for recipient in batch.recipients]
        waiting: Deferred[None] = Deferred()
        self.waiting.append(waiting)
        await waiting
        for recipient in batch.recipients:
            batch.report(Outcome(recipient=recipient.id, status=Status.RELAYED, reply=OK))

    def let_go(self) -> None:
        waiting, self.waiting = self.waiting, []
        for one in waiting:
            one.callback(None)

    def stop(self, deadline: float) -> Deferred[None]:
        return succeed(None)


class Told:
    """Notes whose senders are told."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    async def report(self, message: Any, ended: Any, now: int) -> Report:
        self.failed += [f"{recipient.address} {outcome.reply}" for recipient, outcome in ended]
        return Report()


class Changes(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.spool = MemorySpool(now=self.now)
        self.internet = Slow()
        self.told = Told()
        self.events: list[Event] = []
        rules = RoutingRules(
            postmaster=Address("p", "ours.example"),
            services=frozenset({"internet"}),
            final=frozenset(),
            domains={},
        )
        setup = Setup(
            router=Router(rules),
            answerer=Answerer({}, FakeResolver()),
            services={"internet": self.internet},
            retry=RetryRule(after=(60.0,), jitter=0.0, expire_after=86400.0),
            active=1000,
        )
        self.manager = Manager(
            owner="test",
            spool=self.spool,
            setup=setup,
            reporter=self.told,
            reactor=self.clock,
            now=self.now,
            random=Random(1),
            emit=lambda event, id: self.events.append(event),
        )
        self.spool.notify = self.manager.look_soon
        state = self.mktemp()
        os.mkdir(state)
        self.pauses = Pauses(state)
        self.manager.schedule.paused = self.pauses.paused
        spool: Any = self.spool
        self.operations = Operations(
            spool,
            self.pauses,
            state=state,
            now=self.now,
            emit=lambda event, id: self.events.append(event),
            queue=self.manager,
            seconds=self.clock.seconds,
        )
        self.manager.start()
        self.clock.advance(0)

    def now(self) -> int:
        return 1_700_000_000_000 + round(self.clock.seconds() * 1000)

    def accept(self, count: int = 1, domain: str = "b.example") -> list[str]:
        ids = []
        for number in range(count):
            address = Address(f"u{number}", domain)
            incoming = self.spool.begin(0)
            incoming.write(b"Subject: x\r\n\r\nhello\r\n")
            destination = Destination("internet", domain)
            incoming.add_recipients(
                [Recipient(id=0, address=address, original=address, destination=destination, due=self.now())]
            )
            origin = Origin(listener="mx", protocol="ESMTP")
            incoming.seal(Envelope(origin=origin, reverse_path=Address("s", "a.example"), arrived=self.now()), (), ())
            lease = self.successResultOf(self.spool.commit(incoming, self.manager.birth_claim()))
            self.manager.take(lease)
            ids.append(incoming.id)
        return ids

    def do(self, command: str, **request: Any) -> Any:
        return self.successResultOf(as_deferred(self.operations.handlers()[command](request, "ann")))

    def change(self, kind: str, selection: Selection = ALL, argument: Any = None) -> int:
        answer = self.do("change", selection=to_wire(selection), kind=kind, argument=argument)
        count: int = answer["changed"]
        return count

    def waiting(self, **selection: Any) -> list[str]:
        rows = self.successResultOf(self.spool.page(Selection(**selection), None, 100))
        return [str(row.recipient.address) for row in rows]

    def pass_time(self, seconds: float) -> None:
        self.clock.pump([1.0] * round(seconds))

    def test_a_hold_reaches_what_waits_in_memory(self) -> None:
        ids = self.accept(6)
        self.assertEqual(len(self.internet.tried), LIMIT)
        self.assertEqual(self.change("hold", argument="odd"), 4)
        self.internet.let_go()
        self.pass_time(5)
        self.assertEqual(len(self.internet.tried), LIMIT)
        self.assertEqual(len(self.waiting(held=True)), 4)
        story = self.successResultOf(self.spool.story(ids[-1]))
        self.assertEqual(str(story[-1]), "hold by ann   odd")
        self.assertIn("ann: hold odd: 4 recipients of all", [str(event) for event in self.events])

    def test_what_came_back_into_the_spool_meanwhile_is_changed_too(self) -> None:
        changed = iter((5, 2, 0))
        calls: list[Selection] = []

        async def change(selection: Selection, change: Any, by: str) -> int:
            calls.append(selection)
            return next(changed)

        self.patch(self.spool, "change", change)
        self.assertEqual((self.change("hold"), len(calls)), (7, 3))

    def test_released_it_goes_on(self) -> None:
        self.accept(6)
        self.change("hold")
        self.assertEqual(self.change("release"), 4)
        for _ in range(4):
            self.internet.let_go()
            self.pass_time(2)
        self.assertEqual(len(self.internet.tried), 6)
        self.assertEqual(self.waiting(), [])

    def test_one_message_of_many(self) -> None:
        ids = self.accept(6)
        self.assertEqual(self.change("delete", Selection(ids=(ids[5],))), 1)
        self.assertEqual(len(self.waiting()), 5)
        self.assertEqual(self.told.failed, [])
        for _ in range(4):
            self.internet.let_go()
            self.pass_time(2)
        self.assertNotIn("u5@b.example", self.internet.tried)
        self.assertEqual(len(self.internet.tried), 5)

    def test_bounced_the_sender_is_told(self) -> None:
        ids = self.accept(6)
        self.assertEqual(self.change("bounce", Selection(ids=(ids[5],)), "Not wanted"), 1)
        self.pass_time(2)
        self.assertEqual(self.told.failed, ["u5@b.example 550 5.3.0 Not wanted"])

    def test_a_pause_is_not_a_hold(self) -> None:
        self.accept(6)
        self.assertTrue(self.do("pause", place="b.example")["new"])
        self.internet.let_go()
        self.pass_time(200)
        self.assertEqual(len(self.internet.tried), LIMIT)
        self.assertEqual(self.waiting(held=True), [])
        self.accept(3)
        self.accept(1, "c.example")
        self.pass_time(5)
        self.assertEqual(self.internet.tried[LIMIT:], ["u0@c.example"])
        self.assertEqual(self.do("resume", place="b.example"), {"resumed": ["b.example"]})
        self.pass_time(1)  # and it goes at once
        for _ in range(8):
            self.internet.let_go()
            self.pass_time(2)
        self.assertEqual(self.waiting(), [])

    def test_paused_it_takes_no_memory(self) -> None:
        self.do("pause", place="*")
        self.accept(50)
        self.pass_time(5)
        self.assertEqual((self.internet.tried, self.manager.schedule.size), ([], 0))

    def test_what_limits_a_destination(self) -> None:
        self.accept(6)
        lane = self.do("lanes")["internet:b.example"]
        self.assertEqual((lane["active"], lane["limited_by"]), (LIMIT, "own window"))

    def test_what_cannot_be_meant_is_refused(self) -> None:
        for command, request in (
            ("change", {"selection": {"colour": "red"}, "kind": "delete"}),
            ("change", {"selection": None, "kind": "delete"}),
            ("change", {"selection": {}, "kind": "explode"}),
            ("change", {"selection": {}, "kind": "priority", "argument": "x"}),
            ("pause", {"place": ""}),
            ("resume", {}),
            ("erase", {"address": "ann"}),
            ("erase", {"address": "@ours.example"}),
            ("erase", {"address": None}),
        ):
            failure = self.failureResultOf(as_deferred(self.operations.handlers()[command](request, "ann")))
            failure.trap(ControlError)
