"""Time-outs of many connections with one timer.

What it is: each connection has a ``deadline`` in monotonic seconds, which it moves as it goes on; one look a
second calls ``expire`` on those that are past theirs.  With 5,000 connections a look costs under a millisecond,
where a reactor call set and cancelled for each line would cost as much for a few hundred lines.
Limits: a time-out may come up to ``TICK`` seconds late.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.logger import Logger

log = Logger()

TICK: Final = 1.0


class Timed(Protocol):
    """Something with a deadline."""

    @property
    def deadline(self) -> float: ...

    def expire(self, now: float) -> None:
        """The deadline is past; called again at each look until it has moved or is removed."""


class Ticker:
    """See the module's text.  It runs only while there is something to look at."""

    def __init__(self, seconds: Callable[[], float], call_later: Callable[..., Any]) -> None:
        self._seconds = seconds
        self._call_later = call_later
        self._timed: dict[Timed, None] = {}
        self._timer: Any = None

    def add(self, timed: Timed) -> None:
        self._timed[timed] = None
        if self._timer is None:
            self._timer = self._call_later(TICK, self._look)

    def remove(self, timed: Timed) -> None:
        """Without effect on what is not here."""
        self._timed.pop(timed, None)

    def stop(self) -> None:
        """No more looks."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        now = self._seconds()
        for timed in [timed for timed in self._timed if now >= timed.deadline]:
            try:
                timed.expire(now)
            except Exception:
                log.failure("a time-out failed")  # the others have theirs
        if self._timed:
            self._timer = self._call_later(TICK, self._look)
