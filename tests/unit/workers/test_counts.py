"""Connections that several processes count together."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from mta.smtp import replies
from mta.workers.counts import SLOTS, Counts, SharedConnections, counted, make
from mta.workers.place import Place

CLIENT = "192.0.2.7"


class Shared(SynchronousTestCase):
    def setUp(self) -> None:
        descriptor = make(2)
        self.addCleanup(os.close, descriptor)
        # Each worker has a map of its own of the same memory.
        self.first, self.second = (SharedConnections(Counts(descriptor, 2), worker) for worker in range(2))
        self.counts = Counts(descriptor, 2)

    def test_limits_are_those_of_all_together(self) -> None:
        self.first.add(CLIENT)
        self.assertIsNone(self.second.refusal(CLIENT, 10, 2))
        self.second.add(CLIENT)
        self.assertEqual(self.first.refusal(CLIENT, 10, 2), replies.TOO_MANY_FROM_CLIENT)
        self.assertIsNone(self.first.refusal("192.0.2.8", 10, 2))
        self.assertEqual(self.first.refusal("192.0.2.8", 2, 2), replies.TOO_MANY_CONNECTIONS)
        self.second.remove(CLIENT)
        self.assertIsNone(self.first.refusal(CLIENT, 2, 2))
        self.assertEqual((self.first.total, self.second.total), (1, 0))

    def test_a_network_of_ipv6_is_one_client(self) -> None:
        self.first.add("2001:db8::1")
        self.assertEqual(self.second.refusal("2001:db8::2", 10, 1), replies.TOO_MANY_FROM_CLIENT)

    def test_those_of_a_dead_worker_are_forgotten(self) -> None:
        for _ in range(3):
            self.first.add(CLIENT)
            self.second.add(CLIENT)
        self.counts.forget(0)
        self.assertEqual(self.counts.of(SLOTS), 3)
        self.assertEqual(self.counts.of(self.counts.slot(CLIENT)), 3)

    def test_while_draining_nobody_may_come(self) -> None:
        self.first.refused = replies.TOO_MANY_CONNECTIONS
        self.assertIsNotNone(self.first.refusal(CLIENT, 10, 10))

    def test_classes_are_others_at_each_start(self) -> None:
        descriptor = make(1)
        self.addCleanup(os.close, descriptor)
        other = Counts(descriptor, 1)
        clients = [f"192.0.2.{n}" for n in range(20)]
        self.assertNotEqual([other.slot(c) for c in clients], [self.counts.slot(c) for c in clients])

    def test_who_is_alone_shares_nothing(self) -> None:
        self.assertNotIsInstance(counted(Place()), SharedConnections)
        self.assertNotIsInstance(counted(Place(number=3, workers=2)), SharedConnections)
