"""The control law on numbers, and which gates a rule makes."""

from __future__ import annotations

import itertools
from math import inf

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.envelope import Destination
from mta.queue.pace import BURST, FLOOR, FORGET_AFTER, FREE, NO_LIMIT, SETTLE, STEP, Gate, Pace, PaceRule, Rate


def starts(rate: Rate, begin: float, seconds: float) -> list[float]:
    """When messages go, of which there are always enough."""
    now, found = begin, []
    while now < begin + seconds:
        wait = rate.wait(now)
        if wait:
            now += wait
            continue
        rate.take(now)
        found.append(now)
        if len(found) > 100_000:
            break
    return found


class Rates(SynchronousTestCase):
    def test_so_many_a_minute_spread_evenly(self) -> None:
        times = starts(Rate(60), 0, 60)
        self.assertLessEqual(abs(len(times) - 60), 2)
        gaps = [after - before for before, after in itertools.pairwise(times[2:])]
        self.assertTrue(all(abs(gap - 1) < 0.01 for gap in gaps), gaps)

    def test_a_long_wait_earns_no_storm(self) -> None:
        rate = Rate(600)
        starts(rate, 0, 60)
        times = starts(rate, 100_000, 60)
        self.assertLessEqual(len([time for time in times if time == 100_000]), 600 / 60 * BURST + 1)
        self.assertLessEqual(len(times), 600 + 600 / 60 * BURST + 1)

    def test_a_refusal_halves_and_one_cohort_counts_once(self) -> None:
        rate = Rate(600)
        for _ in range(10):
            rate.refused(100, 0)
        self.assertEqual(rate.per_minute, 300)
        rate.refused(100 + SETTLE, 0)
        self.assertEqual(rate.per_minute, 150)

    def test_after_a_refusal_nothing_goes_for_a_moment(self) -> None:
        rate = Rate(600)
        rate.refused(100, 0)
        self.assertAlmostEqual(rate.wait(100), 60 / 300)

    def test_never_below_the_floor(self) -> None:
        rate = Rate(600)
        for n in range(50):
            rate.refused(100 + n * SETTLE, 0)
        self.assertEqual(rate.per_minute, FLOOR)
        slow = Rate(2)
        slow.refused(0, 0)
        self.assertEqual(slow.per_minute, 2)

    def test_it_recovers_by_equal_steps_while_it_is_used(self) -> None:
        rate, seen = Rate(600), []
        rate.refused(0, 0)
        for second in range(1, 3600):
            rate.succeeded(second)
            seen.append(rate.per_minute)
        steps = sorted(set(seen))
        self.assertEqual(steps, [300.0 + 30 * n for n in range(11)])
        self.assertFalse(rate.slowed)

    def test_time_in_which_nothing_was_sent_is_no_recovery(self) -> None:
        rate = Rate(600)
        rate.refused(0, 0)
        rate.succeeded(100 * STEP)
        rate.succeeded(100 * STEP + 1)
        self.assertEqual(rate.per_minute, 330)

    def test_without_a_rule_the_rate_is_what_it_was_and_the_limit_ends(self) -> None:
        rate = Rate()
        self.assertEqual(rate.wait(0), 0)
        rate.refused(0, measured=200)
        self.assertEqual(rate.per_minute, 100)
        now = 0.0
        while rate.slowed:
            now += STEP
            rate.succeeded(now)
            self.assertLessEqual(rate.per_minute if rate.slowed else 0, FREE * 200)
        self.assertEqual(rate.per_minute, inf)
        self.assertEqual(rate.wait(now), 0)

    def test_what_happened_long_ago_is_forgotten(self) -> None:
        rate = Rate()
        rate.refused(0, 10)
        self.assertFalse(rate.forgotten(FORGET_AFTER - 1))
        self.assertTrue(rate.forgotten(FORGET_AFTER))

    @given(st.lists(st.tuples(st.sampled_from(["refused", "succeeded", "take"]), st.floats(0, 5000)), max_size=80))
    def test_it_stays_within_its_bounds_and_never_sticks(self, steps: list[tuple[str, float]]) -> None:
        rate, now = Rate(120), 0.0
        for what, seconds in steps:
            now += seconds
            if what == "refused":
                rate.refused(now, 50)
            elif what == "succeeded":
                rate.succeeded(now)
            elif not rate.wait(now):
                rate.take(now)
            self.assertTrue(FLOOR <= rate.per_minute <= 120)
            self.assertLessEqual(rate.wait(now), 2 * 60 / FLOOR)


class Gates(SynchronousTestCase):
    def test_the_first_rule_of_a_kind_counts(self) -> None:
        pace = Pace(
            [
                PaceRule(name="free", to=("big.example",)),
                PaceRule(name="all", to=("*",), connections=2),
            ]
        )
        (free,) = pace.for_destination(Destination("internet", "big.example"))
        (all_,) = pace.for_destination(Destination("internet", "other.example"))
        self.assertEqual((free.most, all_.most), (NO_LIMIT, 2))
        self.assertFalse(pace.at_connect)

    def test_domains_count_by_themselves_and_hosts_of_a_provider_together(self) -> None:
        pace = Pace(
            [
                PaceRule(name="each", to=("*",), connections=2),
                PaceRule(name="provider", hosts=("*.provider.example",), shared=True, messages_per_minute=60),
                PaceRule(name="other", hosts=("*.other.example",), connections=1),
            ]
        )
        one, two = (pace.for_destination(Destination("internet", hop)) for hop in ("a.example", "b.example"))
        self.assertIsNot(one[0], two[0])
        self.assertIs(one[0], pace.for_destination(Destination("internet", "a.example"))[0])
        self.assertTrue(pace.at_connect)
        (first,), (second,) = (pace.for_host(f"{n}.provider.example", "") for n in "12")
        self.assertIs(first, second)
        (first,), (second,) = (pace.for_host(f"{n}.other.example", "") for n in "12")
        self.assertIsNot(first, second)
        self.assertEqual(pace.for_host("mx.elsewhere.example", ""), ())

    def test_kinds_hold_together(self) -> None:
        pace = Pace(
            [
                PaceRule(name="ours", source=("192.0.2.25",), connections=5, messages_per_connection=10),
                PaceRule(name="host", hosts=("*",), messages_per_connection=20),
            ]
        )
        gates = pace.for_host("mx.b.example", "192.0.2.25")
        self.assertEqual([gate.name for gate in gates], ["host", "ours"])
        self.assertEqual(pace.messages("b.example", "mx.b.example", "192.0.2.25"), 10)
        self.assertEqual(pace.messages("b.example", "mx.b.example", ""), 20)

    def test_recipients_count_too(self) -> None:
        gate = Gate("x", recipients=60)
        gate.charge(0, 100)
        self.assertAlmostEqual(gate.wait(0), 100 - BURST)

    def test_what_one_host_says_slows_not_all_of_them(self) -> None:
        pace = Pace(
            [
                PaceRule(name="all", to=("*",), shared=True, messages_per_minute=600),
                PaceRule(name="us", source=("192.0.2.25",), messages_per_minute=600),
            ]
        )
        for gate in (*pace.for_destination(Destination("internet", "a.example")), *pace.for_host("mx", "192.0.2.25")):
            gate.learn(0, refused=True)
            self.assertFalse(gate.slowed)

    def test_a_reload_keeps_what_is_under_way_and_known(self) -> None:
        rule = PaceRule(name="each", to=("*",), connections=2, messages_per_minute=60)
        where = Destination("internet", "a.example")
        old = Pace([rule], attempts=7)
        (gate,) = old.for_destination(where)
        gate.active = 1
        gate.learn(0, refused=True)
        old.for_service("internet").active = 3
        new = Pace([rule], attempts=5, before=old)
        self.assertIs(new.for_destination(where)[0], gate)
        self.assertEqual((new.for_service("internet").active, new.for_service("internet").most), (3, 5))

    def test_gates_of_which_nothing_need_be_known_go(self) -> None:
        pace = Pace([PaceRule(name="each", to=("*",), messages_per_minute=60)])
        for n in range(100):
            (gate,) = pace.for_destination(Destination("internet", f"{n}.example"))
        gate.learn(0, refused=True)
        pace.tick(10)
        self.assertEqual(pace.gates(), [gate])
        pace.tick(FORGET_AFTER)
        self.assertEqual(pace.gates(), [])
