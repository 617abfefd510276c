"""One destination's window: slow start, halving, rest and probe."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.envelope import Scope
from mta.queue.destination import DEAD_AFTER, INITIAL, LONGEST_REST, REST, Window


def fill(window: Window, now: float) -> list[int]:
    tokens = []
    while (token := window.acquire(now)) is not None:
        tokens.append(token)
    return tokens


class Windows(SynchronousTestCase):
    def test_slow_start_grows_to_the_limit(self) -> None:
        window = Window(20)
        tokens = fill(window, 0)
        self.assertEqual(len(tokens), INITIAL)
        for token in tokens:
            window.release(token, None, 0)
        self.assertEqual(len(fill(window, 0)), 2 * INITIAL)
        for _ in range(100):
            window.release(0, None, 0)
            window.acquire(0)
        self.assertEqual(window.window, 20)

    def test_trouble_of_one_cohort_counts_once(self) -> None:
        window = Window(20)
        for token in fill(window, 0):
            self.assertEqual(window.release(token, Scope.HOST, 0), 0.0)
        self.assertEqual(window.window, INITIAL // 2)

    def test_refusal_of_a_recipient_slows_nothing(self) -> None:
        window = Window(20)
        for _ in range(50):
            for token in fill(window, 0):
                window.release(token, Scope.RECIPIENT, 0)
        self.assertEqual(window.window, 20)

    def fail(self, window: Window, now: float) -> float:
        return max(window.release(token, Scope.HOST, now) for token in fill(window, now))

    def test_dead_destination_rests_then_one_batch_probes(self) -> None:
        window = Window(20)
        for _ in range(DEAD_AFTER - 1):
            self.assertEqual(self.fail(window, 0), 0.0)
        self.assertEqual(self.fail(window, 0), REST)
        self.assertEqual(fill(window, REST - 1), [])
        probes = fill(window, REST)
        self.assertEqual(len(probes), 1)
        self.assertEqual(window.release(probes[0], Scope.HOST, REST), 2 * REST)
        probes = fill(window, 3 * REST)
        window.release(probes[0], None, 3 * REST)
        self.assertEqual(len(fill(window, 3 * REST)), 2)

    def test_rest_has_a_longest(self) -> None:
        window, now = Window(20), 0.0
        for _ in range(30):
            rest = self.fail(window, now)
            self.assertLessEqual(rest, LONGEST_REST)
            now += rest
        self.assertEqual(rest, LONGEST_REST)

    @given(st.lists(st.tuples(st.sampled_from([None, *Scope]), st.floats(0, 100)), max_size=60))
    def test_window_stays_within_its_bounds(self, steps: list[tuple[Scope | None, float]]) -> None:
        window, now = Window(7), 0.0
        for scope, seconds in steps:
            now += seconds
            tokens = fill(window, now)
            self.assertLessEqual(window.active, 7)
            for token in tokens:
                window.release(token, scope, now)
            self.assertEqual(window.active, 0)
            self.assertTrue(1 <= window.window <= 7)
