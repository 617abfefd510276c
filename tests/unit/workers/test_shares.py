"""Limits divided among processes."""

from __future__ import annotations

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.config.pace_options import Pace
from mta.config.queue_options import Queue
from mta.queue.pace import PaceRule
from mta.workers.shares import indivisible, shared_pace


class Divided(SynchronousTestCase):
    @given(st.integers(1, 64), st.integers(0, 1000), st.integers(0, 1000))
    def test_together_never_more(self, share: int, connections: int, rate: int) -> None:
        rule = PaceRule(name="x", connections=connections, messages_per_minute=rate)
        part = shared_pace(rule, share)
        self.assertEqual(bool(part.connections), bool(connections))  # 0 is no limit
        if connections >= share:
            self.assertLessEqual(part.connections * share, connections)
        self.assertAlmostEqual(part.messages_per_minute * share, rate)

    def test_alone_all_is_as_it_is(self) -> None:
        rule = PaceRule(name="x", connections=3)
        self.assertIs(shared_pace(rule, 1), rule)

    def test_too_small_to_be_divided(self) -> None:
        small = SimpleNamespace(options=SimpleNamespace(connections=2))
        none = SimpleNamespace(options=SimpleNamespace())
        found = list(
            indivisible(4, Queue(max_size=3), [None, Pace(name="p", to=("*",), connections=1)], {"a": small, "b": none})
        )
        self.assertEqual(found, [("queue.max_size", 3), ("pace[1].connections", 1), ("delivery.a.connections", 2)])
        self.assertEqual(list(indivisible(1, Queue(max_size=3), [], {"a": small})), [])
