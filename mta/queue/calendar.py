"""When which lane is to be looked at, so that nobody goes over all of them.  Pure; times are monotonic seconds.

Contract: a lane has one time at most, the last that was ``set``; ``due`` gives those whose time has come, in order of
time, and forgets them.
Limits: a time that was replaced stays in memory until it comes.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from mta.queue.lane import Lane


class Calendar:
    """See the module's text."""

    __slots__ = ("_entries", "_serial", "_times")

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Lane]] = []
        self._times: dict[Lane, float] = {}
        self._serial = 0

    def set(self, lane: Lane, time: float) -> None:
        """Its time, instead of any before."""
        if self._times.get(lane) != time:
            self._times[lane] = time
            self._serial += 1
            heapq.heappush(self._entries, (time, self._serial, lane))

    def due(self, now: float) -> Iterator[Lane]:
        """Those whose time has come."""
        while (time := self.first()) is not None and time <= now:
            lane = heapq.heappop(self._entries)[2]
            del self._times[lane]
            yield lane

    def first(self) -> float | None:
        """The next time; None: there is none."""
        entries = self._entries
        while entries:
            time, _, lane = entries[0]
            if self._times.get(lane) == time:
                return time
            heapq.heappop(entries)
        return None
