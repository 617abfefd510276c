"""When the next try is, and when it is over."""

from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.envelope import Envelope, Origin
from mta.queue.retry import RetryRule, overdue

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
        random = Random(1)
        self.assertEqual(RULE.next_due(wanted, 3, HOUR - 1000, random), HOUR)
        self.assertEqual(RULE.next_due(wanted, 3, HOUR, random), 2 * HOUR)
        self.assertFalse(overdue(wanted, 2 * HOUR))

    def test_far_end_may_put_it_off_but_not_bring_it_forward(self) -> None:
        random = Random(1)
        self.assertEqual(RULE.next_due(PLAIN, 1, 0, random, retry_at=2 * HOUR), 2 * HOUR)
        self.assertEqual(RULE.next_due(PLAIN, 1, 0, random, retry_at=1), 60_000)

    @given(st.integers(1, 1000), st.floats(0, 1), st.integers(0, 10**6))
    def test_jitter_stays_within_its_part(self, attempts: int, jitter: float, seed: int) -> None:
        rule = RetryRule(after=(100,), jitter=jitter, expire_after=1)
        delay = rule.delay(attempts, Random(seed))
        self.assertGreaterEqual(delay, 100 * (1 - jitter) - 1e-6)
        self.assertLessEqual(delay, 100 * (1 + jitter) + 1e-6)
