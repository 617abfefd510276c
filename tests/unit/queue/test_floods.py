"""The whole queue under floods, dead domains and limits: who else is delayed.  Fake clock, memory spool."""

from __future__ import annotations

from typing import Any

from test_manager import DOWN, OK, Delivery, ManagerCase
from twisted.internet.defer import Deferred

from mta.delivery.values import Batch
from mta.envelope import Destination, Outcome, Recipient, Scope, Status
from mta.queue.destination import DEAD_AFTER
from mta.queue.lane import Limit
from mta.queue.pace import PaceRule
from mta.reply import Reply

SLOWER = Reply.of(451, "4.7.650", "The mail server has been temporarily rate limited")


class FloodCase(ManagerCase):
    def remake(self, **changes: Any) -> None:
        active = changes.pop("active", 1000)
        setup = self.setup(active=active)
        for name, value in changes.items():
            object.__setattr__(setup, name, value)
        self.manager.configure(setup)

    def let_go(self, count: int = 1 << 30) -> None:
        waiting = self.internet.wait or []
        for _ in range(min(count, len(waiting))):
            waiting.pop(0).callback(None)


class Floods(FloodCase):
    def test_a_full_active_set_of_one_sender_leaves_room_for_another(self) -> None:
        self.internet.wait = []
        for n in range(1500):
            self.accept(f"x@{n}.example", sender="flood@a.example")
        self.assertLess(self.manager.schedule.size, 1000 * 3 // 4 + 1)
        self.accept("x@quiet.example", sender="quiet@a.example")
        self.assertEqual(self.internet.addresses()[-1], "x@quiet.example")

    def test_a_flood_for_a_destination_delays_nobody_else_there(self) -> None:
        self.internet.wait = []
        for n in range(1500):
            self.accept(f"{n}@b.example", sender="flood@a.example")
        self.accept("mine@b.example", sender="quiet@a.example")
        before = len(self.internet.batches)
        for _ in range(16):
            self.let_go(1)
        self.assertIn("mine@b.example", self.internet.addresses())
        self.assertLess(len(self.internet.batches) - before, 30)

    def test_a_dead_domain_with_thousands_due_delays_no_new_message(self) -> None:
        self.internet.scope = Scope.HOST
        self.internet.answer = lambda batch, recipient: DOWN
        for n in range(DEAD_AFTER):
            self.accept(f"{n}@dead.example")
        for n in range(3000):
            self.accept(f"more{n}@dead.example", claim=False)
        self.pass_time(3, 1)
        tried = len(self.internet.batches)
        self.assertLess(self.manager.schedule.size, 300)
        self.internet.answer = lambda batch, recipient: OK
        self.accept("x@alive.example")
        self.assertEqual(self.internet.addresses()[tried:], ["x@alive.example"])

    def test_attempts_of_a_service_are_bounded(self) -> None:
        self.remake(attempts=7)
        self.internet.wait = []
        for n in range(100):
            self.accept(f"x@{n}.example")
        self.assertEqual(len(self.internet.wait), 7)
        while self.internet.wait:
            self.let_go(1)
            self.assertLessEqual(len(self.internet.wait), 7)
        self.assertEqual(self.totals(), {"relayed": 100})


class Slower(FloodCase):
    def test_a_host_that_asks_us_to_go_slower_gets_less_and_all_of_it_arrives(self) -> None:
        self.internet.attempt = {"host": "mx.b.example", "stage": "RCPT"}
        self.internet.answer = lambda batch, recipient: SLOWER if len(self.internet.batches) <= 4 else OK
        for n in range(40):
            self.accept(f"{n}@b.example")
        soon = len(self.internet.batches)
        self.assertLess(soon, 10)
        limited = self.manager.limited(Destination("internet", "b.example"))
        self.assertEqual(limited.by, Limit.REFUSAL)
        self.accept("x@c.example")
        self.assertEqual(self.internet.addresses()[-1], "x@c.example")
        self.pass_time(7200, 5)
        self.assertEqual(self.totals(), {"relayed": 41})

    def test_messages_a_minute_for_a_domain(self) -> None:
        self.remake(pace=(PaceRule(name="slow", to=("b.example",), messages_per_minute=60),))
        for n in range(100):
            self.accept(f"{n}@b.example")
        self.assertLessEqual(len(self.internet.batches), 2)
        self.assertEqual(self.manager.limited(Destination("internet", "b.example")).by, Limit.OWN_PACE)
        self.pass_time(30, 1)
        self.assertTrue(29 <= len(self.internet.batches) <= 32, len(self.internet.batches))
        self.pass_time(100, 1)
        self.assertEqual(self.totals(), {"relayed": 100})


class Provider(Delivery):
    """Connects to the one host of all domains for each batch, and asks before."""

    async def deliver(self, batch: Batch) -> None:
        assert batch.passage is not None
        entrance = batch.passage.enter("mx.provider.example", ())
        try:
            batch.passage.charge(entrance, len(batch.recipients))
            await super().deliver(batch)
        finally:
            entrance.gone()


class Shared(FloodCase):
    def setUp(self) -> None:
        super().setUp()
        self.internet = Provider("internet")
        self.internet.wait = []

    def test_domains_at_a_provider_share_its_limit_in_turn_and_all_arrives(self) -> None:
        self.remake(pace=(PaceRule(name="provider", hosts=("*.provider.example",), shared=True, connections=2),))
        for n in range(60):
            self.accept(f"{n}@{n % 20}.example", sender="flood@a.example")
        self.accept("mine@own.example", sender="quiet@a.example")
        self.assertEqual(len(self.internet.wait or ()), 2)
        seen = 0
        while self.internet.wait:
            self.assertLessEqual(len(self.internet.wait), 2)
            self.let_go(1)
            seen += 1
            if seen == 25:
                self.assertIn("mine@own.example", self.internet.addresses())
        self.assertEqual(self.totals(), {"relayed": 61})
        self.assertEqual(self.manager.schedule.size, 0)

    def test_what_is_held_up_is_not_tried_and_says_why(self) -> None:
        self.remake(pace=(PaceRule(name="provider", hosts=("*.provider.example",), shared=True, connections=1),))
        self.accept("1@a.example")
        id = self.accept("2@b.example")
        limited = self.manager.limited(Destination("internet", "b.example"))
        self.assertEqual((limited.by, limited.detail), (Limit.OWN_PACE, "provider"))
        self.assertNotIn("attempt", [event.name for event in self.successResultOf(self.spool.story(id))])
        self.let_go()
        self.let_go()
        self.assertEqual(self.totals(), {"relayed": 2})

    def test_messages_a_minute_of_a_provider(self) -> None:
        self.internet.wait = None
        self.remake(pace=(PaceRule(name="p", hosts=("*",), shared=True, messages_per_minute=60),))
        for n in range(100):
            self.accept(f"x@{n}.example")
        self.pass_time(30, 1)
        delivered = self.totals()["relayed"]
        self.assertTrue(29 <= delivered <= 32, delivered)
        self.pass_time(120, 1)
        self.assertEqual(self.totals(), {"relayed": 100})

    def test_a_stop_gives_back_what_is_held_up(self) -> None:
        self.remake(pace=(PaceRule(name="provider", hosts=("*",), shared=True, connections=1),))
        for n in range(5):
            self.accept(f"x@{n}.example")
        stopped = Deferred.fromCoroutine(self.manager.stop(10))
        self.let_go()
        self.successResultOf(stopped)
        self.assertEqual(self.totals(), {"relayed": 1, "queued": 4})

    def test_a_batch_held_up_half_way_keeps_its_outcomes(self) -> None:
        self.internet.wait = None
        self.remake(pace=(PaceRule(name="p", hosts=("*",), shared=True, messages_per_minute=6),))

        async def deliver(batch: Batch) -> None:
            assert batch.passage is not None
            entrance = batch.passage.enter("mx.provider.example", ())
            try:
                for recipient in batch.recipients:
                    batch.passage.charge(entrance, 1)
                    batch.report(_taken(recipient))
            finally:
                entrance.gone()

        self.patch(self.internet, "deliver", deliver)
        self.accept("1@b.example", "2@b.example")
        self.assertEqual(self.totals(), {"relayed": 1, "queued": 1})
        self.pass_time(30, 1)
        self.assertEqual(self.totals(), {"relayed": 2})
        self.assertEqual(self.manager.schedule.size, 0)


def _taken(recipient: Recipient) -> Outcome:
    return Outcome(recipient=recipient.id, status=Status.RELAYED, reply=OK)
