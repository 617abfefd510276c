"""Which lane is looked at when."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.envelope import Destination
from mta.queue.calendar import Calendar
from mta.queue.lane import Lane
from mta.queue.pace import Gate


def lane(domain: str) -> Lane:
    return Lane(Destination("internet", domain), 1, Gate("internet"))


class Times(SynchronousTestCase):
    def test_in_order_and_the_last_that_was_set_counts(self) -> None:
        calendar, a, b, c = Calendar(), lane("a.example"), lane("b.example"), lane("c.example")
        self.assertIsNone(calendar.first())
        for one, time in ((a, 5.0), (b, 3.0), (c, 9.0), (a, 1.0), (b, 7.0), (b, 7.0)):
            calendar.set(one, time)
        self.assertEqual(calendar.first(), 1.0)
        self.assertEqual(list(calendar.due(8.0)), [a, b])
        self.assertEqual(calendar.first(), 9.0)
        self.assertEqual(list(calendar.due(8.0)), [])

    def test_one_that_is_set_again_while_it_is_looked_at_waits_for_its_new_time(self) -> None:
        calendar, a = Calendar(), lane("a.example")
        calendar.set(a, 1.0)
        for one in calendar.due(2.0):
            calendar.set(one, 3.0)
        self.assertEqual(list(calendar.due(2.0)), [])
        self.assertEqual(list(calendar.due(3.0)), [a])
