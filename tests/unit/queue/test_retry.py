"""When the next try is, and when it is over."""

from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.envelope import Envelope, Origin
from mta.queue.retry import BY_CLASS, Case, RetryRule, RetryRules, by_class, overdue
from mta.queue.trouble import Trouble
from mta.routing.patterns import DomainPatterns

HOUR = 3_600_000
PLAIN = Envelope(origin=Origin(listener="mx", protocol="ESMTP"), reverse_path=None, arrived=0)
RULE = RetryRule(after=(60, 300, 3600), jitter=0.0, expire_after=5 * 86400)


class Retry(SynchronousTestCase):
    def test_steps_and_the_last_repeats(self) -> None:
        random = Random(1)
        self.assertEqual([RULE.delay(n, random) for n in (1, 2, 3, 4, 99)], [60, 300, 3600, 3600, 3600])

    def test_last_try_at_the_moment_of_expiry_then_the_end(self) -> None:
        random = Random(1)
        end = RULE.expires(PLAIN)
        self.assertEqual(RULE.next_due(PLAIN, 9, end - 1000, random), end)
        self.assertIsNone(RULE.next_due(PLAIN, 9, end, random))

    def test_expiry_counts_from_the_release_of_what_was_held(self) -> None:
        # RFC 4865
        self.assertEqual(RULE.expires(replace(PLAIN, hold_until=30 * 24 * HOUR)), 35 * 24 * HOUR)

    def test_returned_at_the_time_that_the_sender_gave(self) -> None:
        # RFC 2852 4.1.4, mode R
        wanted = replace(PLAIN, deliver_by=HOUR, by_mode="R")
        random = Random(1)
        self.assertEqual(RULE.next_due(wanted, 3, HOUR - 1000, random), HOUR)
        self.assertIsNone(RULE.next_due(wanted, 3, HOUR, random))
        self.assertFalse(overdue(wanted, HOUR - 1))
        self.assertTrue(overdue(wanted, HOUR))

    def test_late_by_the_senders_time_is_noticed_then_and_tried_on(self) -> None:
        # RFC 2852 4.1.4, mode N
        wanted = replace(PLAIN, deliver_by=HOUR, by_mode="N")
        self.assertEqual(RULE.look_at(wanted, 2 * HOUR - 1000, HOUR - 1000), HOUR)
        self.assertEqual(RULE.look_at(wanted, 2 * HOUR, HOUR), 2 * HOUR)
        self.assertFalse(overdue(wanted, 2 * HOUR))

    def test_warnings_count_from_the_arrival(self) -> None:
        rule = replace(RULE, warn_after=(4 * 3600, 2 * 86400))
        self.assertEqual([rule.warnings(PLAIN, hour * HOUR) for hour in (0, 3, 4, 47, 48, 200)], [0, 0, 1, 1, 2, 2])
        held = replace(PLAIN, hold_until=10 * HOUR)  # RFC 4865
        self.assertEqual([rule.warnings(held, hour * HOUR) for hour in (13, 14)], [0, 1])

    def test_a_warning_is_looked_at_when_it_is_due_whatever_the_next_try(self) -> None:
        rule = replace(RULE, warn_after=(4 * 3600,))
        self.assertEqual(rule.look_at(PLAIN, 6 * HOUR, 3 * HOUR), 4 * HOUR)
        self.assertEqual(rule.look_at(PLAIN, 6 * HOUR, 4 * HOUR), 6 * HOUR)
        self.assertEqual(rule.look_at(PLAIN, 90 * HOUR, 4 * HOUR), 10 * HOUR)  # so that a new configuration counts

    def test_what_came_from_the_future_counts_from_when_that_was_noticed(self) -> None:
        future = replace(PLAIN, arrived=100 * 24 * HOUR)
        self.assertEqual(RULE.expires(future, since=HOUR), HOUR + 5 * 24 * HOUR)
        self.assertEqual(RULE.expires(PLAIN, since=HOUR), 5 * 24 * HOUR)

    def test_far_end_may_put_it_off_but_not_bring_it_forward(self) -> None:
        random = Random(1)
        self.assertEqual(RULE.next_due(PLAIN, 1, 0, random, retry_at=2 * HOUR), 2 * HOUR)
        self.assertEqual(RULE.next_due(PLAIN, 1, 0, random, retry_at=1), 60_000)

    def test_the_first_case_that_matches_then_the_class_then_what_is_usual(self) -> None:
        usual = replace(RULE, warn_after=(7200.0,))
        cases = (
            Case(frozenset({"over-quota"}), DomainPatterns(["*"]), after=(7200,), expire_after=86400),
            Case(frozenset(), DomainPatterns(["slow.example", "*.slow.example"]), after=(10,), warn_after=(), name="x"),
        )
        rules = RetryRules(usual=usual, classes=by_class(usual), cases=cases)
        self.assertEqual(rules.rule("", "b.example"), usual)
        self.assertEqual(rules.rule("greylisted", "b.example").after, BY_CLASS[Trouble.GREYLISTED])
        full = rules.rule("over-quota", "slow.example")
        self.assertEqual((full.after, full.expire_after, full.warn_after), ((7200,), 86400, (7200.0,)))
        slow = rules.rule("greylisted", "mx.slow.example")
        self.assertEqual((slow.after, slow.expire_after, slow.warn_after, slow.name), ((10,), 5 * 86400, (), "x"))

    @given(st.integers(1, 1000), st.floats(0, 1), st.integers(0, 10**6))
    def test_jitter_stays_within_its_part(self, attempts: int, jitter: float, seed: int) -> None:
        rule = RetryRule(after=(100,), jitter=jitter, expire_after=1)
        delay = rule.delay(attempts, Random(seed))
        self.assertGreaterEqual(delay, 100 * (1 - jitter) - 1e-6)
        self.assertLessEqual(delay, 100 * (1 + jitter) + 1e-6)
