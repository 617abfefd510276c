"""Work that is done again and again, one pass at a time: who asks for a pass while one is under way gets one after it.

Contract: ``work`` does one pass and returns the seconds until the next, None for not before it is asked for.
``within`` asks for one so many seconds from now at the latest.  Between ``start`` and ``stop`` only.
How it fails: a pass that raises is logged, and comes again after ``again`` seconds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime

from mta.waiting import background


class Passes:
    """See the module's text.  ``what`` is for the log."""

    def __init__(
        self, reactor: IReactorTime, work: Callable[[], Awaitable[float | None]], what: str, again: float
    ) -> None:
        self._reactor = reactor
        self._work = work
        self._what = what
        self._again = again
        self._timer: Any = None
        self._passing = False
        self._asked: float | None = None  # while a pass was under way
        self.running = False

    def start(self) -> None:
        """Begin with a pass."""
        self.running = True
        self.within(0.0)

    def stop(self) -> None:
        """No further pass begins."""
        self.running = False
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def within(self, seconds: float) -> None:
        """See the module's text."""
        if not self.running:
            return
        seconds = max(seconds, 0.0)
        if self._passing:
            self._asked = seconds if self._asked is None else min(seconds, self._asked)
            return
        timer = self._timer
        if timer is not None and timer.active():
            if timer.getTime() <= self._reactor.seconds() + seconds:
                return
            timer.cancel()
        self._timer = self._reactor.callLater(seconds, self._wake)

    def _wake(self) -> None:
        self._passing, self._asked = True, None
        background(self._pass(), self._what)

    async def _pass(self) -> None:
        following: float | None = self._again
        try:
            following = await self._work()
        finally:
            self._passing = False
            for seconds in (following, self._asked):
                if seconds is not None:
                    self.within(seconds)
