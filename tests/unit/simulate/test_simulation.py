"""Days of the real scheduler on a fake clock: what becomes of a queue, and when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.delivery.values import Limits
from mta.envelope import Destination, Envelope, Origin, Recipient, Right
from mta.queue.pace import PaceRule
from mta.queue.retry import RetryRule
from mta.simulate.assume import Assumptions
from mta.simulate.engine import Simulation
from mta.simulate.rules import Rules
from mta.simulate.tally import Tally
from mta.spool.values import Lease, Result

START = 1_700_000_000_000
HOUR = 3600.0
DAY = 24 * HOUR
USUAL = (60.0, 300.0, 900.0, 1800.0, HOUR, 2 * HOUR, 4 * HOUR)


def rules(after: tuple[float, ...] = USUAL, jitter: float = 0.0, **more: Any) -> Rules:
    retry = RetryRule(after=after, jitter=jitter, expire_after=5 * DAY)
    return Rules(retry=retry, active=20_000, postmaster=Address("postmaster", "ours.example"), **more)


class SimulationCase(SynchronousTestCase):
    def make(self, *assume: str, rules: Rules = rules(), **more: Any) -> Simulation:  # noqa: B008  # a frozen value
        return Simulation(rules, Assumptions(assume), start=START, **more)

    def add(
        self, simulation: Simulation, domain: str, count: int = 1, *, age: float = 0.0, sender: str = "ann", **more: Any
    ) -> None:
        """``age``: seconds since the arrival."""
        envelope = Envelope(
            origin=Origin(listener="mx", protocol="ESMTP"),
            reverse_path=Address(sender, "ours.example"),
            arrived=START - round(age * 1000),
            rights=frozenset({Right.NETWORK}),
        )
        for number in range(count):
            address = Address(f"u{number}", domain)
            place = Destination("internet", domain)
            recipient = Recipient(id=0, address=address, original=address, destination=place, due=START, **more)
            simulation.add(envelope, [recipient])

    def run_it(self, simulation: Simulation, seconds: float) -> Tally:
        tally = simulation.run(seconds)
        totals = self.successResultOf(simulation.spool.audit())
        self.assertEqual(totals.unaccounted, 0, "nothing is lost")
        self.assertEqual(totals.queued, tally.total.waiting)
        self.assertEqual(self.flushLoggedErrors(), [])
        return tally


class Expiry(SimulationCase):
    def test_five_days_of_retries_end_at_the_right_time(self) -> None:
        simulation = self.make("*=greylisting:10d")
        self.add(simulation, "b.example", 20)
        tally = self.run_it(simulation, 5 * DAY - 60)
        self.assertEqual((tally.total.waiting, tally.total.expired), (20, 0), "a minute before")
        self.assertEqual(tally.total.tries, 20 * 36, "seven in four hours, then one every four hours")

        simulation = self.make("*=greylisting:10d")
        self.add(simulation, "b.example", 20)
        tally = self.run_it(simulation, 5 * DAY + 60)
        self.assertEqual((tally.total.waiting, tally.total.expired), (0, 20))
        self.assertEqual(tally.notices, {"failure report": 20})
        self.assertEqual(sorted(tally.hours)[-1], 120)

    def test_what_is_old_has_less_time_left(self) -> None:
        simulation = self.make("*=refusing:451 4.3.2 Not now")
        self.add(simulation, "b.example", age=3 * DAY, attempts=20)
        tally = self.run_it(simulation, 3 * DAY)
        self.assertEqual(tally.total.expired, 1)
        self.assertApproximates(tally.last_end[Destination("internet", "b.example")], 2 * DAY, 60)

    def test_all_that_waits_for_a_dead_host_expires_in_time(self) -> None:
        simulation = self.make("*=down")
        self.add(simulation, "dead.example", 100, age=5 * DAY - 2 * HOUR)
        tally = self.run_it(simulation, 2.6 * HOUR)
        self.assertEqual((tally.total.waiting, tally.total.expired), (0, 100))
        self.assertEqual(tally.notices, {"failure report": 100})
        self.assertLess(tally.total.connections, 20, "a dead host is probed, not tried with each message")

    def test_time_costs_steps_only_where_something_happens(self) -> None:
        simulation = self.make("*=up")
        self.add(simulation, "b.example", 1000)
        self.run_it(simulation, 5 * DAY)
        idle = self.make("*=up")
        self.run_it(idle, 5 * DAY)
        self.assertLess(simulation.clock.steps - idle.clock.steps, 3 * 1000, "what was delivered costs no more")
        self.assertLess(idle.clock.steps, 60_000, "an empty queue: the heartbeats of five days")
        busy = self.make("*=greylisting:10d", rules=rules(jitter=0.1))
        self.add(busy, "b.example", 100)
        tally = self.run_it(busy, 5 * DAY)
        self.assertLess(busy.clock.steps - idle.clock.steps, 6 * tally.total.tries)


class Work(SimulationCase):
    """What it costs, counted: no figure of time depends on the machine."""

    def counted(self, simulation: Simulation) -> Tally:
        """``rows``: recipients that were claimed, given back or written."""
        self.rows = 0
        spool = simulation.spool
        for name in ("finish", "release"):
            real = getattr(spool, name)

            def noted(some: Sequence[Result | Lease], real: Any = real) -> Any:
                self.rows += sum(len((one.lease if isinstance(one, Result) else one).recipients) for one in some)
                return real(some)

            self.patch(spool, name, noted)
        return self.run_it(simulation, 5 * DAY + HOUR)

    def test_a_dead_domain_costs_its_probes(self) -> None:
        simulation = self.make("*=down", rules=rules(jitter=0.1))
        self.add(simulation, "dead.example", 1000)
        tally = self.counted(simulation)
        probes = tally.total.connections
        self.assertEqual(tally.total.expired, 1000)
        self.assertLess(probes, 300, "one each half hour")
        self.assertLess(self.rows - 20 * probes, 3 * 1000, "put off, and ended")
        self.assertLess(simulation.clock.steps, 6000)

    def test_many_domains_cost_their_tries(self) -> None:
        simulation = self.make("*.dead.example=down", "*.grey.example=greylisting:20m", "*=up", grain=64)
        for number in range(300):
            self.add(simulation, f"d{number}.{('dead', 'grey', 'good')[number % 3]}.example")
        tally = self.counted(simulation)
        self.assertEqual((tally.total.delivered, tally.total.expired), (200, 100))
        self.assertLess(self.rows, 1.2 * tally.total.tries, "each is written once")
        self.assertLess(simulation.clock.steps, 6000 + 2 * tally.total.tries)


class Fairness(SimulationCase):
    def test_a_dead_domain_with_5000_messages_delays_nobody(self) -> None:
        simulation = self.make("dead.example=down", "*=up")
        self.add(simulation, "dead.example", 5000)
        self.add(simulation, "good.example", 10, sender="bob")
        tally = self.run_it(simulation, 600)
        good = tally.destinations[Destination("internet", "good.example")]
        self.assertEqual(good.delivered, 10)
        self.assertLess(tally.last_end[Destination("internet", "good.example")], 5.0)
        dead = tally.destinations[Destination("internet", "dead.example")]
        self.assertEqual(dead.waiting, 5000)
        self.assertLess(dead.connections, 30)

    def test_a_slow_domain_with_many_messages_delays_nobody(self) -> None:
        simulation = self.make("slow.example=slow:20s", "*=up")
        self.add(simulation, "slow.example", 2000)
        self.add(simulation, "good.example", 10, sender="bob")
        tally = self.run_it(simulation, 120)
        self.assertEqual(tally.destinations[Destination("internet", "good.example")].delivered, 10)
        self.assertLess(tally.last_end[Destination("internet", "good.example")], 5.0)

    def test_a_domain_that_comes_back_gets_all_its_mail(self) -> None:
        simulation = self.make("dead.example=down:3h")
        self.add(simulation, "dead.example", 500)
        tally = self.run_it(simulation, 5 * HOUR)
        self.assertEqual((tally.total.delivered, tally.total.waiting), (500, 0))
        self.assertGreater(tally.last_end[Destination("internet", "dead.example")], 3 * HOUR)


class Assumed(SimulationCase):
    def test_a_changed_rule_changes_the_table(self) -> None:
        courses = {}
        for name, after in (("usual", USUAL), ("eager", (60.0,)), ("lazy", (6 * HOUR,))):
            simulation = self.make("*=greylisting:20m", rules=rules(after))
            self.add(simulation, "grey.example", 50)
            tally = self.run_it(simulation, DAY)
            self.assertEqual(tally.total.delivered, 50)
            courses[name] = (tally.total.tries // 50, sorted(h for h, count in tally.hours.items() if count.delivered))
        self.assertEqual(courses["usual"], (4, [0]), "at 0, 1, 6 and 21 minutes")
        self.assertEqual(courses["eager"], (21, [0]))
        self.assertEqual(courses["lazy"], (2, [6]))

    def test_a_refusal_ends_it_and_is_told(self) -> None:
        simulation = self.make("*=refusing:550 5.1.1 No such user")
        self.add(simulation, "b.example", 3)
        tally = self.run_it(simulation, HOUR)
        self.assertEqual((tally.total.failed, tally.notices["failure report"]), (3, 3))

    def test_a_rate_is_found_and_kept_to(self) -> None:
        simulation = self.make("*=limited:30")
        self.add(simulation, "b.example", 300)
        tally = self.run_it(simulation, 4 * HOUR)
        self.assertEqual(tally.total.delivered, 300)
        self.assertLess(tally.total.deferred, 300, "far less refused than if it were tried as fast as it goes")
        self.assertGreater(max(tally.last_end.values()), 9 * 60, "30 a minute, no faster")

    def test_a_pace_of_the_configuration_holds(self) -> None:
        pace = (PaceRule(name="slow", to=("b.example",), messages_per_minute=60, connections=2),)
        simulation = self.make("*=up", rules=rules(pace=pace))
        self.add(simulation, "b.example", 120)
        tally = self.run_it(simulation, HOUR)
        self.assertEqual((tally.total.delivered, tally.total.deferred), (120, 0))
        self.assertApproximates(max(tally.last_end.values()), 120, 5)
        self.assertLessEqual(tally.most_connections, 2)

    def test_connections_are_kept_as_the_service_keeps_them(self) -> None:
        limits = {"internet": Limits(messages=10, concurrency=1)}
        simulation = self.make("*=up", rules=rules(limits=limits))
        self.add(simulation, "b.example", 95)
        tally = self.run_it(simulation, HOUR)
        self.assertEqual((tally.total.delivered, tally.total.connections, tally.most_connections), (95, 10, 1))

    def test_what_had_trouble_has_it_still(self) -> None:
        simulation = self.make()
        full = {"reply": "452 4.2.2 Mailbox full", "scope": "recipient", "stage": "RCPT", "host": "mx.b.example"}
        down = {"reply": "451 4.4.1 No host could be reached", "scope": "destination", "stage": "connect"}
        self.add(simulation, "b.example", 2, attempts=3, progress=full)
        self.add(simulation, "b.example", 3)
        self.add(simulation, "dead.example", 1, attempts=3, progress=down)
        self.add(simulation, "dead.example", 4)
        tally = self.run_it(simulation, DAY)
        self.assertEqual(tally.destinations[Destination("internet", "b.example")].delivered, 3)
        self.assertEqual(tally.destinations[Destination("internet", "b.example")].waiting, 2)
        self.assertEqual(tally.destinations[Destination("internet", "dead.example")].delivered, 0)

    def test_what_is_held_stays_held(self) -> None:
        simulation = self.make("*=up")
        self.add(simulation, "b.example", 2, hold="by root")
        tally = self.run_it(simulation, 6 * DAY)
        self.assertEqual((tally.total.tries, tally.total.waiting), (0, 0))

    def test_the_same_seed_gives_the_same_course(self) -> None:
        courses = []
        for seed, grain in ((1, 0), (1, 0), (2, 0), (1, 64)):
            simulation = self.make("*=greylisting:2h", rules=rules(jitter=0.2), seed=seed, grain=grain)
            self.add(simulation, "b.example", 30)
            courses.append(self.run_it(simulation, DAY))
        same, again, other, coarse = (tally.values() for tally in courses)
        self.assertEqual(same, again)
        self.assertEqual({tally.total.delivered for tally in courses}, {30})
        self.assertNotEqual(courses[0].last_end, courses[2].last_end)
        self.assertNotEqual(other, coarse)
