"""Waiting, made cheap: what needs no wait runs without a Deferred.

``step`` runs a coroutine until it first has to wait; ``background`` is the one way to start work that nobody
awaits: its failure is logged, never dropped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

T = TypeVar("T")
log = Logger()


class Later(Deferred[T]):
    """A Deferred for the few places that every message passes: a coroutine in a ``Run`` that waits for it is told
    without the chain of callbacks, which is empty there.  To everybody else it is any Deferred."""

    waiter: Callable[[Any], object] | None = None
    alone = True  # nobody has added a callback

    def _make_room(self) -> None:
        """Somebody else wants to know too: the waiter takes its place in the chain before him."""
        waiter, self.waiter, self.alone = self.waiter, None, False
        if waiter is not None:
            super().addBoth(waiter)

    def addCallbacks(self, *args: Any, **kwargs: Any) -> Any:
        self._make_room()
        return super().addCallbacks(*args, **kwargs)

    def addCallback(self, *args: Any, **kwargs: Any) -> Any:
        self._make_room()
        return super().addCallback(*args, **kwargs)

    def addErrback(self, *args: Any, **kwargs: Any) -> Any:
        self._make_room()
        return super().addErrback(*args, **kwargs)

    def addBoth(self, *args: Any, **kwargs: Any) -> Any:
        self._make_room()
        return super().addBoth(*args, **kwargs)

    def callback(self, result: Any) -> None:
        waiter = self.waiter
        if waiter is None or self.called:
            super().callback(result)
            return
        self.waiter, self.called, self.result = None, True, result
        waiter(result)
        self.result = None

    def errback(self, fail: Failure | BaseException | None = None) -> None:
        waiter = self.waiter
        if waiter is None or self.called:
            super().errback(fail)
            return
        failure = fail if isinstance(fail, Failure) else Failure(fail)
        self.waiter, self.called, self.result = None, True, failure
        waiter(failure)
        self.result = None


class Run(Generic[T]):
    """A coroutine that had to wait: goes on whenever what it waits for is there.

    What ``Deferred.fromCoroutine`` does, without its generality: no context of its own, no traceback surgery.
    Measured: a quarter of its cost, and every message waits three times.
    """

    __slots__ = ("_asking", "_coroutine", "_done", "_result", "_waited", "ended")

    def __init__(
        self, coroutine: Coroutine[Any, Any, T], waited: Deferred[Any], done: Callable[[T | Failure], object]
    ) -> None:
        self._coroutine = coroutine
        self._waited = waited
        self._asking = False
        self._result: Any = None
        self.ended = False
        self._done = done
        self._wait(waited)

    def cancel(self) -> None:
        """Cancel what it waits for; the coroutine sees a ``CancelledError`` there."""
        self._waited.cancel()

    def _wait(self, waited: Deferred[Any]) -> None:
        """Wait for it and for what the coroutine then asks for; in a loop, not ever deeper, if that is there."""
        while True:
            self._waited = waited
            if type(waited) is Later and waited.alone and not waited.called:
                waited.waiter = self._got
                return
            self._asking = True
            waited.addBoth(self._got)
            if self._asking:
                self._asking = False  # not there yet
                return
            result, self._result = self._result, None
            following = self._step(result)
            if following is None:
                return
            waited = following

    def _got(self, result: Any) -> None:
        if self._asking:
            self._asking = False
            self._result = result
            return
        following = self._step(result)
        if following is not None:
            self._wait(following)

    def _step(self, result: Any) -> Deferred[Any] | None:
        """Give the result to the coroutine; what it waits for next, or None when it has ended."""
        try:
            if isinstance(result, Failure):
                error = result.value
                assert error is not None
                following = self._coroutine.throw(error)
            else:
                following = self._coroutine.send(result)
        except StopIteration as stop:
            self.ended = True
            self._done(stop.value)
            return None
        except BaseException:
            self.ended = True
            self._done(Failure())
            return None
        return cast("Deferred[Any]", following)


def step(coroutine: Coroutine[Any, Any, T]) -> tuple[bool, T | Deferred[T]]:
    """Run until it ends or first waits: ``(True, result)`` or ``(False, Deferred)``.  What it raises, raises.

    What it awaits are Deferreds, or coroutines that do.
    """
    try:
        waited = coroutine.send(None)
    except StopIteration as stop:
        return True, stop.value
    done: Deferred[T] = Later(lambda _: run.cancel())
    run = Run(coroutine, waited, done.callback)
    return False, done


def drive(coroutine: Coroutine[Any, Any, T], done: Callable[[T | Failure], object]) -> Run[T] | None:
    """Run a coroutine and call ``done`` once with its result or failure; None if that has happened already.

    For the few places that every message passes: it saves the Deferred that ``step`` makes.
    """
    try:
        waited = coroutine.send(None)
    except StopIteration as stop:
        done(stop.value)
        return None
    except BaseException:
        done(Failure())
        return None
    run = Run(coroutine, waited, done)
    return None if run.ended else run


def as_deferred(awaitable: Awaitable[T]) -> Deferred[T]:
    """Any awaitable as a Deferred."""
    if isinstance(awaitable, Deferred):
        return awaitable

    async def wait() -> T:
        return await awaitable

    return Deferred.fromCoroutine(wait())


def background(awaitable: Awaitable[Any], what: str, failed: Callable[[Failure], Any] | None = None) -> Deferred[Any]:
    """Let it run; when it fails, log it under the name ``what`` and call ``failed``.

    The Deferred that comes back never fails; cancelling it cancels the work.
    """

    def note(failure: Failure) -> None:
        log.failure("{what} failed", failure=failure, what=what)
        if failed is not None:
            failed(failure)

    return as_deferred(awaitable).addErrback(note)
