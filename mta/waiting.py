"""Waiting, made cheap: what needs no wait runs without a Deferred.

``step`` runs a coroutine until it first has to wait; ``background`` is the one way to start work that nobody
awaits: its failure is logged, never dropped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

T = TypeVar("T")
log = Logger()


class _Rest(Generic[T]):
    """A coroutine that was stepped once already: delivers the awaited thing again, then goes on."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], first: Any) -> None:
        self._coroutine = coroutine
        self._first = first

    def __await__(self) -> Generator[Any, Any, T]:
        coroutine, waited = self._coroutine, self._first
        while True:
            try:
                result = yield waited
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as error:
                try:
                    waited = coroutine.throw(error)
                except StopIteration as stop:
                    return stop.value  # type: ignore[no-any-return]  # a coroutine's value is T by its type
            else:
                try:
                    waited = coroutine.send(result)
                except StopIteration as stop:
                    return stop.value  # type: ignore[no-any-return]  # a coroutine's value is T by its type


async def _finish(rest: _Rest[T]) -> T:
    return await rest


def step(coroutine: Coroutine[Any, Any, T]) -> tuple[bool, T | Deferred[T]]:
    """Run until it ends or first waits: ``(True, result)`` or ``(False, Deferred)``.  What it raises, raises.

    The half of ``Deferred.fromCoroutine`` that is nearly free; the other half is paid only by who waits.
    """
    try:
        waited = coroutine.send(None)
    except StopIteration as stop:
        return True, stop.value
    return False, Deferred.fromCoroutine(_finish(_Rest(coroutine, waited)))


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
