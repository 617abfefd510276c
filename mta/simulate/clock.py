"""A clock that goes from event to event: time costs nothing, only what happens in it does.

Contract: ``IReactorTime``.  ``run`` makes the calls that fall due, in order of time, and of ``callLater`` where times
are equal; during a call ``seconds`` is the time for which it was made.
How it fails: what a call raises passes through ``run``; the clock can go on afterwards.
Limits: a cancelled call stays in memory until its time, or until half of what is kept was cancelled.
Twisted's own ``Clock`` sorts all its calls for each new one, which is too slow for thousands of deliveries at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
from typing import Any, Final

from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

_SPARE: Final = 100


@implementer(IReactorTime)
class EventClock:
    """See the module's text.  ``time`` is now; ``steps`` counts the calls that were made."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.time = seconds
        self._calls: list[tuple[float, int, DelayedCall]] = []
        self._order = 0
        self._cancelled = 0
        self.steps = 0

    def seconds(self) -> float:
        """See ``IReactorTime``."""
        return self.time

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kwargs: object) -> IDelayedCall:
        """See ``IReactorTime``."""
        call = DelayedCall(self.time + delay, callable, args, kwargs, self._cancel, self._push, self.seconds)
        self._push(call)
        return call

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        """See ``IReactorTime``."""
        return [call for at, _, call in self._calls if call.active() and at == call.time]

    def run(self, until: float) -> None:
        """Make all calls up to this time; then that is the time."""
        while self._calls and self._calls[0][0] <= until:
            at, _, call = heappop(self._calls)
            if call.cancelled:
                self._cancelled -= 1
            elif call.called or at != call.time:
                continue  # it was brought forward, and has another entry
            elif call.delayed_time:
                call.activate_delay()
                self._push(call)
            else:
                self.time = max(self.time, at)
                self.steps += 1
                call.called = 1
                call.func(*call.args, **call.kw)
        self.time = max(self.time, until)

    def _push(self, call: DelayedCall) -> None:
        self._order += 1
        heappush(self._calls, (call.time, self._order, call))

    def _cancel(self, call: DelayedCall) -> None:
        self._cancelled += 1
        if self._cancelled > len(self._calls) // 2 + _SPARE:
            self._calls = [entry for entry in self._calls if entry[2].active()]
            heapify(self._calls)
            self._cancelled = 1  # this one, which is so only after we return
