"""The clock that goes from event to event."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mta.simulate.clock import EventClock


class Running(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = EventClock()
        self.said: list[tuple[str, float]] = []

    def say(self, what: str) -> None:
        self.said.append((what, self.clock.seconds()))

    def test_calls_come_in_order_of_time_then_of_asking(self) -> None:
        verifyObject(IReactorTime, self.clock)
        for delay, what in ((5, "c"), (1, "a"), (5, "d"), (3, "b"), (9, "e")):
            self.clock.callLater(delay, self.say, what)
        self.clock.run(5)
        self.assertEqual(self.said, [("a", 1), ("b", 3), ("c", 5), ("d", 5)])
        self.clock.run(8)
        self.assertEqual((self.clock.seconds(), self.clock.steps), (8, 4))
        self.assertEqual([call.getTime() for call in self.clock.getDelayedCalls()], [9])

    def test_a_call_may_make_others(self) -> None:
        self.clock.callLater(
            1, lambda: [self.clock.callLater(0, self.say, "now"), self.clock.callLater(2, self.say, "x")]
        )
        self.clock.run(10)
        self.assertEqual(self.said, [("now", 1), ("x", 3)])

    def test_cancelled_put_off_and_brought_forward(self) -> None:
        gone, later, sooner, twice = (self.clock.callLater(5, self.say, what) for what in "abcd")
        gone.cancel()
        later.reset(7)
        sooner.reset(2)
        twice.delay(4)
        twice.delay(-8)
        self.assertEqual(sorted(call.getTime() for call in self.clock.getDelayedCalls()), [1, 2, 7])
        self.clock.run(10)
        self.assertEqual(self.said, [("d", 1), ("c", 2), ("b", 7)])

    def test_a_call_that_raises_stops_nothing_for_good(self) -> None:
        self.clock.callLater(1, lambda: 1 // 0)
        self.clock.callLater(2, self.say, "on")
        self.assertRaises(ZeroDivisionError, self.clock.run, 5)
        self.clock.run(5)
        self.assertEqual(self.said, [("on", 2)])

    def test_many_cancelled_calls_are_not_kept(self) -> None:
        for _ in range(10_000):
            self.clock.callLater(1000, self.say, "never").cancel()
        self.assertLess(len(self.clock._calls), 500)
        self.clock.callLater(1, self.say, "still")
        self.clock.run(2000)
        self.assertEqual(self.said, [("still", 1)])
