"""How many deliveries of a service run, for its stop.

What it is: ``UnderWay`` counts them as ``with`` enters and leaves; ``over`` waits until none runs, at most so long.
Contract: whoever waits is told once.  Failure: none; when the time is over it returns all the same.
"""

from __future__ import annotations

from types import TracebackType

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.interfaces import IReactorTime


class UnderWay:
    """See the module's text."""

    __slots__ = ("_count", "_waiting")

    def __init__(self) -> None:
        self._count = 0
        self._waiting: list[Deferred[None]] = []

    def __enter__(self) -> None:
        self._count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._count -= 1
        if self._count == 0 and self._waiting:
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                if not one.called:
                    one.callback(None)

    async def over(self, deadline: float, reactor: IReactorTime) -> None:
        """Return when none runs, or after ``deadline`` seconds."""
        if not self._count:
            return
        one: Deferred[None] = Deferred()
        self._waiting.append(one)
        one.addTimeout(deadline, reactor)
        try:
            await one
        except TimedOut:
            pass
