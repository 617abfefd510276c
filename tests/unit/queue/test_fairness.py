"""The schedule with many senders, gates and rules: who goes when, and what is said to limit whom."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.envelope import Destination, Envelope, Origin, Recipient, Right, Scope
from mta.queue.destination import DEAD_AFTER
from mta.queue.lane import Limit, Setback
from mta.queue.pace import FLOOR, Pace, PaceRule
from mta.queue.schedule import Job, Schedule, Start
from mta.queue.senders import FEW, Shares
from mta.queue.trouble import Trouble
from mta.queue.turns import QUANTUM
from mta.routing.values import Route
from mta.sender import sender_of
from mta.spool.values import Lease


def envelope(**fields: Any) -> Envelope:
    origin = {name: fields.pop(name) for name in ("login", "client") if name in fields}
    sender = fields.pop("sender", "")
    return Envelope(
        origin=Origin(listener="mx", protocol="ESMTP", **origin),
        reverse_path=Address.parse(sender) if sender else None,
        arrived=0,
        **fields,
    )


def lease(hop: str, sender: str, recipients: int = 1, priority: int = 0, token: int = 0) -> Lease:
    address = Address("a", hop)
    destination = Destination("internet", hop)
    some = tuple(
        Recipient(id=n, address=address, original=address, destination=destination, due=0, priority=priority)
        for n in range(recipients)
    )
    return Lease(token, cast("Any", SimpleNamespace(envelope=envelope(login=sender))), some, 0)


def job(hop: str, sender: str, recipients: int = 1, priority: int = 0) -> Job:
    held = lease(hop, sender, recipients, priority)
    return Job(held, Route(destination=held.recipients[0].destination))


class ScheduleCase(SynchronousTestCase):
    def schedule(self, *rules: PaceRule, attempts: int = 1000, limit: int = 5) -> Schedule:
        return Schedule(lambda route: limit, Pace(rules, attempts))

    def started(self, schedule: Schedule, now: float = 0.0) -> list[Start]:
        found = []
        while (start := schedule.next(now)) is not None:
            found.append(start)
        return found

    def order(self, schedule: Schedule, count: int) -> list[str]:
        """The senders in whose turn it goes, one batch after another."""
        waiting, order = self.started(schedule), []
        while waiting and len(order) < count:
            start = waiting.pop(0)
            order.append(start.job.lease.message.envelope.origin.login)
            schedule.done(start, None, 0)
            waiting += self.started(schedule)
        return order


class BetweenSenders(ScheduleCase):
    def test_one_message_to_100_000_does_not_delay_a_single_one(self) -> None:
        schedule = self.schedule(limit=2)
        for _ in range(1000):
            schedule.add(job("b.example", "list", recipients=100))
        schedule.add(job("b.example", "quiet"))
        self.assertIn("quiet", self.order(schedule, 4))

    def test_a_flood_to_20_000_domains_does_not_delay_another_sender(self) -> None:
        schedule = self.schedule(attempts=50)
        for n in range(20_000):
            schedule.add(job(f"{n}.example", "flooder"))
        running = self.started(schedule)
        self.assertEqual(len(running), 50)
        schedule.add(job("elsewhere.example", "quiet"))
        schedule.add(job("7.example", "quiet too"))  # where the flood has something as well
        order = []
        for start in running[: QUANTUM + 4]:
            schedule.done(start, None, 0)
            order += [following.job.lease.message.envelope.origin.login for following in self.started(schedule)]
        self.assertIn("quiet", order)
        self.assertIn("quiet too", order)

    def test_high_priority_comes_first_among_those_that_wait_for_a_place(self) -> None:
        schedule = self.schedule(attempts=1)
        for n in range(100):
            schedule.add(job(f"{n}.example", "a"))
        (running,) = self.started(schedule)
        schedule.add(job("urgent.example", "a", priority=4))
        schedule.done(running, None, 0)
        (following,) = self.started(schedule)
        self.assertEqual(following.lane.destination.next_hop, "urgent.example")

    def test_every_place_is_used_and_nobody_is_forgotten(self) -> None:
        schedule = self.schedule(
            PaceRule(name="each", to=("*",), connections=1),
            PaceRule(name="group", to=("*",), connections=1),
            attempts=3,
        )
        for n in range(200):
            schedule.add(job(f"{n % 20}.example", f"s{n % 7}"))
        served, running = 0, self.started(schedule)
        while running:
            self.assertLessEqual(len(running), 3)
            schedule.done(running.pop(0), None, 0)
            served += 1
            running += self.started(schedule)
            if served < 180:
                self.assertEqual(len(running), 3)
        self.assertEqual(served, 200)


class ByRate(ScheduleCase):
    def run_for(self, schedule: Schedule, seconds: float) -> list[tuple[float, str]]:
        """All that starts, as a service would start it that looks when ``next_start`` says; each takes no time."""
        now, found, looks = 0.0, [], 0
        while now <= seconds:
            for start in self.started(schedule, now):
                found.append((now, start.lane.destination.next_hop))
                schedule.done(start, None, now)
            looks += 1
            self.assertLess(looks, 5000)
            when = schedule.next_start()
            if when is None:
                again = self.started(schedule, now)
                if not again:
                    break
                continue
            now = max(when, now)
        return found

    def test_domains_of_one_rule_share_its_rate_in_turn(self) -> None:
        schedule = self.schedule(PaceRule(name="all", to=("*",), shared=True, messages_per_minute=60))
        for n in range(300):
            schedule.add(job(f"{n % 10}.example", "a"))
        found = self.run_for(schedule, 60)
        self.assertTrue(58 <= len(found) <= 63, len(found))
        counts = [sum(1 for _, hop in found if hop == f"{n}.example") for n in range(10)]
        self.assertTrue(all(5 <= count <= 7 for count in counts), counts)

    def test_other_domains_are_not_held_up(self) -> None:
        schedule = self.schedule(PaceRule(name="slow", to=("slow.example",), messages_per_minute=6))
        for _ in range(1000):
            schedule.add(job("slow.example", "a"))
        for _ in range(5):
            schedule.add(job("quick.example", "a"))
        found = self.run_for(schedule, 0)
        self.assertEqual(sum(1 for _, hop in found if hop == "quick.example"), 5)
        self.assertEqual(schedule.limited(Destination("internet", "slow.example"), 0).by, Limit.OWN_PACE)

    def test_a_host_that_asks_us_to_is_slowed_down_for_and_nobody_else(self) -> None:
        schedule = self.schedule()
        for _ in range(50):
            schedule.add(job("b.example", "a"))
        (first, *others) = self.started(schedule)
        setback = Setback(Trouble.RATE_LIMITED, "451 4.7.650 slow down")
        schedule.done(first, Scope.RECIPIENT, 0, refused=True, setback=setback)
        for start in others:
            schedule.done(start, Scope.RECIPIENT, 0, refused=True, setback=setback)
        lane = first.lane
        assert lane.own is not None
        assert lane.own.rate is not None
        self.assertEqual(lane.own.rate.per_minute, FLOOR)
        self.assertEqual(self.started(schedule, 1), [])
        limited = schedule.limited(lane.destination, 1)
        self.assertEqual((limited.by, limited.detail), (Limit.REFUSAL, "451 4.7.650 slow down"))
        self.assertGreater(limited.until, 1)
        schedule.add(job("c.example", "a"))
        self.assertEqual(len(self.started(schedule, 1)), 1)
        # It is not forgotten with the last message, and in time it is.
        for _ in lane.drain():
            pass
        schedule.wake(100)
        self.assertIn(lane.destination, schedule.lanes)
        schedule.wake(100_000)
        self.assertNotIn(lane.destination, schedule.lanes)

    def test_successes_bring_the_limit_to_an_end(self) -> None:
        schedule = self.schedule()
        for _ in range(5000):
            schedule.add(job("b.example", "a"))
        (first, *others) = self.started(schedule)
        schedule.done(first, None, 0, refused=True)
        for start in others:
            schedule.done(start, None, 0)
        now = 0.0
        while first.lane.own is not None and first.lane.own.slowed:
            for start in self.started(schedule, now):
                schedule.done(start, None, now)
            now = schedule.next_start() or now
            self.assertLess(now, 7200)
        schedule.wake(now)
        self.assertIsNone(first.lane.own)
        self.assertEqual(first.lane.gates, ())

    def test_a_new_configuration_frees_whom_the_old_one_held_up(self) -> None:
        schedule = self.schedule(PaceRule(name="slow", to=("*",), messages_per_minute=6))
        for _ in range(5):
            schedule.add(job("b.example", "a"))
        running = self.started(schedule)
        self.assertEqual(len(running), 1)
        schedule.reconfigure(Pace(before=schedule.pace))
        self.assertEqual(len(self.started(schedule)), 4)
        schedule.done(running[0], None, 0)


class Limits(ScheduleCase):
    def test_each_destination_says_what_limits_it(self) -> None:
        schedule = self.schedule(limit=2)
        kinds = {
            Trouble.DNS: Limit.DNS,
            Trouble.TLS: Limit.TLS,
            Trouble.UNREACHABLE: Limit.UNREACHABLE,
            Trouble.OTHER: Limit.REFUSAL,
        }
        for trouble, limit in kinds.items():
            hop = f"{trouble.value}.example"
            for _ in range(DEAD_AFTER):
                schedule.add(job(hop, "a"))
                (start,) = self.started(schedule)
                schedule.done(start, Scope.DESTINATION, 0, setback=Setback(trouble, "451 no"))
            limited = schedule.limited(Destination("internet", hop), 1)
            self.assertEqual((limited.by, limited.detail, limited.until), (limit, "451 no", 60.0))
        for _ in range(3):
            schedule.add(job("busy.example", "a"))
        self.started(schedule)
        self.assertEqual(schedule.limited(Destination("internet", "busy.example"), 1).by, Limit.OWN_WINDOW)
        self.assertEqual(schedule.limited(Destination("internet", "new.example"), 1).by, Limit.NOTHING)
        schedule.paused = lambda destination: True
        self.assertEqual(schedule.limited(Destination("internet", "new.example"), 1).by, Limit.PAUSED)


class Senders(SynchronousTestCase):
    def test_who_a_sender_is(self) -> None:
        network = frozenset({Right.NETWORK})
        self.assertEqual(sender_of(envelope(login="ann", client="192.0.2.1", sender="x@y.example")), "ann")
        # A stranger may write any reverse-path, and has any address of his IPv6 network.
        self.assertEqual(sender_of(envelope(client="192.0.2.1", sender="x@y.example")), "192.0.2.1")
        self.assertEqual(
            sender_of(envelope(client="2001:db8:1:2::1")), sender_of(envelope(client="2001:db8:1:2:3:4:5:6"))
        )
        self.assertEqual(sender_of(envelope(client="2001:db8::1")), sender_of(envelope(client="2001:db8::a:b:c:d")))
        # One host of ours runs a list (VERP) and a shop.
        first, second, shop = (
            sender_of(envelope(client="10.0.0.1", sender=sender, rights=network))
            for sender in ("list-1=ann@ours.example", "list-2=bob@ours.example", "shop@ours.example")
        )
        self.assertEqual(first, second)
        self.assertNotEqual(first, shop)

    def test_a_flood_gets_half_and_two_of_them_two_thirds(self) -> None:
        room, leases, shares = 3000, [], Shares()
        counts = dict.fromkeys(("a", "b"), 0)

        def take(sender: str) -> bool:
            if len(leases) >= room or shares.crowded(sender, len(leases), room, leases):
                return False
            leases.append(lease("x.example", sender))
            shares.add(leases[-1])
            counts[sender] = counts.get(sender, 0) + 1
            return True

        while take("a"):
            pass
        self.assertEqual(counts["a"], room // 2)
        while take("b"):
            pass
        self.assertLessEqual(counts["b"], room // 4 + 1)
        self.assertTrue(all(take(f"single {n}") for n in range(200)))

    def test_few_are_never_too_many(self) -> None:
        shares, held = Shares(), [lease("x.example", f"s{n}") for n in range(1000)]
        held += [lease("x.example", "a") for _ in range(FEW - 1)]
        self.assertFalse(shares.crowded("a", len(held), len(held) + 1, held))
        shares.add(lease("x.example", "a"))
        self.assertTrue(shares.crowded("a", len(held), len(held) + 1, held))
