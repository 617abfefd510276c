"""The active set: fair between destinations, by priority within one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.envelope import Destination, Envelope, Origin, Recipient, Scope
from mta.queue.destination import DEAD_AFTER, REST
from mta.queue.schedule import Job, Schedule
from mta.routing.values import Route
from mta.spool.values import Lease


def message(sender: str) -> Any:
    origin = Origin(listener="mx", protocol="ESMTP", login=sender)
    return cast("Any", SimpleNamespace(envelope=Envelope(origin=origin, reverse_path=None, arrived=0)))


def job(hop: str, token: int = 0, priority: int = 0, recipients: int = 1, sender: str = "") -> Job:
    destination = Destination("internet", hop)
    some = tuple(
        Recipient(
            id=n,
            address=Address("a", hop),
            original=Address("a", hop),
            destination=destination,
            due=0,
            priority=priority,
        )
        for n in range(recipients)
    )
    return Job(Lease(token, message(sender), some, 0), Route(destination=destination))


class Fairness(SynchronousTestCase):
    def setUp(self) -> None:
        self.schedule = Schedule(lambda route: 2)

    def started(self, now: float = 0.0) -> list[tuple[str, int]]:
        found = []
        while (start := self.schedule.next(now)) is not None:
            found.append((start.job.route.destination.next_hop, start.job.lease.token))
        return found

    def test_flood_for_one_does_not_delay_another(self) -> None:
        for n in range(1000):
            self.schedule.add(job("flood.example", n))
        self.schedule.add(job("quiet.example", 1))
        self.assertEqual(self.started(), [("flood.example", 0), ("quiet.example", 1), ("flood.example", 1)])

    def test_priority_goes_first_within_a_destination(self) -> None:
        for token, priority in ((1, 0), (2, 3), (3, -2), (4, 3)):
            self.schedule.add(job("a.example", token, priority))
        self.assertEqual(self.started(), [("a.example", 2), ("a.example", 4)])

    def test_a_freed_slot_is_used(self) -> None:
        for n in range(3):
            self.schedule.add(job("a.example", n))
        first = self.schedule.next(0)
        second = self.schedule.next(0)
        self.assertIsNone(self.schedule.next(0))
        assert first is not None
        assert second is not None
        self.schedule.done(first, None, 0)
        self.assertEqual(self.started(), [("a.example", 2)])

    def test_size_counts_recipients_until_they_are_forgotten(self) -> None:
        self.schedule.add(job("a.example", 1, recipients=5))
        start = self.schedule.next(0)
        assert start is not None
        self.assertEqual(self.schedule.size, 5)
        self.schedule.done(start, None, 0)
        self.schedule.forget(5)
        self.assertEqual(self.schedule.size, 0)

    def test_resting_destination_is_taken_up_again(self) -> None:
        for n in range(DEAD_AFTER):
            self.schedule.add(job("dead.example", n))
            start = self.schedule.next(0)
            assert start is not None
            rest = self.schedule.done(start, Scope.HOST, 0)
        self.assertEqual(rest, REST)
        self.schedule.add(job("dead.example", 9))
        self.assertEqual(self.started(1), [])
        self.assertEqual(self.schedule.next_wake(1), REST)
        self.schedule.wake(REST)
        self.assertEqual(self.started(REST), [("dead.example", 9)])

    def test_lanes_of_which_nothing_is_known_are_dropped(self) -> None:
        self.schedule.add(job("a.example"))
        start = self.schedule.next(0)
        assert start is not None
        self.schedule.done(start, None, 0)
        self.schedule.wake(0)
        self.assertEqual(self.schedule.lanes, {})
