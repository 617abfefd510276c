"""Coroutines that need no wait cost no Deferred; those that do, end as they would under Twisted."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import AlreadyCalledError, CancelledError, Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from mta.waiting import Later, as_deferred, background, drive, step


class Steps(SynchronousTestCase):
    made: Any = Deferred

    def waiting(self, coroutine: Any) -> Deferred[Any]:
        done, result = step(coroutine)
        self.assertFalse(done)
        assert isinstance(result, Deferred)
        return result

    def test_no_wait_no_deferred(self) -> None:
        async def work() -> int:
            return 7

        self.assertEqual(step(work()), (True, 7))

    def test_what_it_raises_at_once_is_raised(self) -> None:
        async def work() -> None:
            raise ValueError("x")

        self.assertRaises(ValueError, step, work())

    def test_waits_for_one_after_the_other(self) -> None:
        first: Deferred[int] = self.made()
        second: Deferred[int] = self.made()

        async def inner() -> int:
            return await first

        async def work() -> int:
            return await inner() + await second

        result = self.waiting(work())
        first.callback(1)
        self.assertNoResult(result)
        second.callback(2)
        self.assertEqual(self.successResultOf(result), 3)

    def test_ten_thousand_answers_that_are_there_at_once(self) -> None:
        first: Deferred[int] = self.made()

        async def work() -> int:
            total = await first
            for _ in range(10_000):
                total += await succeed(1)
            return total

        result = self.waiting(work())
        first.callback(0)
        self.assertEqual(self.successResultOf(result), 10_000)

    def test_failure_can_be_caught_and_waited_on_after(self) -> None:
        first: Deferred[int] = self.made()

        async def work() -> str:
            try:
                await first
            except ValueError:
                try:
                    await fail(KeyError("k"))
                except KeyError:
                    return "both"
            return "none"

        result = self.waiting(work())
        first.errback(ValueError("x"))
        self.assertEqual(self.successResultOf(result), "both")

    def test_failure_goes_on(self) -> None:
        first: Deferred[int] = self.made()

        async def work() -> int:
            return await first

        result = self.waiting(work())
        first.errback(ValueError("x"))
        self.failureResultOf(result, ValueError)

    def test_cancelling_reaches_what_it_waits_for(self) -> None:
        cancelled: list[Any] = []
        first: Deferred[int] = self.made(cancelled.append)

        async def work() -> str:
            try:
                await first
            except CancelledError:
                return "stopped"
            return "ended"

        result = self.waiting(work())
        result.cancel()
        self.assertEqual(cancelled, [first])
        self.assertEqual(self.successResultOf(result), "stopped")

    def test_cancelling_what_does_not_care(self) -> None:
        first: Deferred[int] = self.made()

        async def work() -> int:
            return await first

        result = self.waiting(work())
        result.cancel()
        self.failureResultOf(result, CancelledError)


class LaterSteps(Steps):
    """The same, of what tells a single waiter without ceremony."""

    made = Later

    def test_to_everybody_else_it_is_any_deferred(self) -> None:
        heard: list[Any] = []
        later: Later[int] = Later()
        later.addCallback(heard.append)
        later.callback(7)
        self.assertEqual(heard, [7])
        self.failureResultOf(Deferred.fromCoroutine(self._ask(Later())), KeyError)

    async def _ask(self, later: Later[int]) -> int:
        later.errback(KeyError("k"))
        return await later

    def test_others_may_listen_before_and_after_the_waiter(self) -> None:
        heard: list[Any] = []
        for early in (True, False):
            later: Later[int] = Later()

            async def work(later: Later[int]) -> int:
                return await later

            if early:
                later.addBoth(lambda result: (heard.append(result), result)[1])
            result = self.waiting(work(later))
            if not early:
                later.addBoth(heard.append)
            later.callback(7)
            self.assertEqual(self.successResultOf(result), 7)
        self.assertEqual(heard, [7, None])
        for add in ("addCallback", "addErrback", "addCallbacks"):
            later = Later()
            result = self.waiting(work(later))
            getattr(later, add)(heard.append, *([heard.append] if add == "addCallbacks" else []))
            later.callback(8)
            self.assertEqual(self.successResultOf(result), 8)
        self.assertEqual(heard, [7, None, None, None])

    def test_fired_twice_is_a_mistake(self) -> None:
        later: Later[int] = Later()

        async def work() -> int:
            return await later

        result = self.waiting(work())
        later.callback(1)
        self.assertEqual(self.successResultOf(result), 1)
        self.assertRaises(AlreadyCalledError, later.callback, 2)


class Driving(SynchronousTestCase):
    def test_done_is_called_once_and_nothing_is_left_to_cancel(self) -> None:
        told: list[Any] = []

        class Answered(Deferred[int]):
            """Asks to be waited for although its answer is there."""

            def __await__(self) -> Any:
                return (yield self)

        async def at_once() -> int:
            return 1

        async def answered() -> int:
            waiting = Answered()
            waiting.callback(2)
            return await waiting

        async def wrong() -> int:
            raise ValueError("x")

        for work in (at_once, answered):
            self.assertIsNone(drive(work(), told.append))
        self.assertEqual(told, [1, 2])
        self.assertIsNone(drive(wrong(), told.append))
        self.assertEqual(told[2].check(ValueError), ValueError)

    def test_waits_and_can_be_cancelled(self) -> None:
        told: list[Any] = []
        first: Deferred[int] = Deferred()

        async def work() -> int:
            return await first

        run = drive(work(), told.append)
        assert run is not None
        self.assertEqual(told, [])
        run.cancel()
        self.assertEqual(told[0].check(CancelledError), CancelledError)


class Background(SynchronousTestCase):
    def test_failure_is_logged_never_dropped(self) -> None:
        told: list[Any] = []
        result = background(fail(ValueError("x")), "work", told.append)
        self.successResultOf(result)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(len(told), 1)

    def test_any_awaitable(self) -> None:
        async def work() -> int:
            return 7

        self.assertEqual(self.successResultOf(as_deferred(work())), 7)
        self.assertEqual(self.successResultOf(as_deferred(succeed(8))), 8)
