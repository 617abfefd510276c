"""Who is next at a destination, of all that wait in a spool: in turn between senders, and by priority.  Pure.

Contract: of one priority the senders that have something due are served in turn (round robin), each for at least
``QUANTUM`` recipients; what one has goes by due time.  Who had his turn comes behind all others that have something
due, in this claim and in the next.  A higher priority goes first, but one place in ``SHARE`` is for the lower ones, the
same for each of them.
A line is what waits of one sender with one priority; a level is all lines of one priority.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from mta.sender import QUANTUM, SHARE

Pair: TypeAlias = tuple[int, int]


class Line(Protocol):
    """See the module's text."""

    def take(self, most: int) -> list[Pair]:
        """The next that are due, not those that were taken before; fewer than ``most``: there are no more.  Who is
        asked has had his turn."""
        ...


class Level(Protocol):
    """See the module's text."""

    def lines(self, most: int) -> Sequence[Line]:
        """The next in the order of turns, not those that were told before; fewer than ``most``: there are no more."""
        ...


def choose(levels: Sequence[Level], limit: int) -> list[Pair]:
    """Up to ``limit`` recipients; ``levels`` by priority, the highest first."""
    if not levels:
        return []
    highest, *others = [_Serving(level) for level in levels]
    kept = limit // SHARE if others else 0
    lower: list[Pair] = []
    for number, level in enumerate(others):
        lower += level.serve(-(-(kept - len(lower)) // (len(others) - number)))
    chosen = highest.serve(limit - len(lower)) + lower
    for level in others:
        chosen += level.serve(limit - len(chosen))
    return chosen


class _Serving:
    """A level in one claim."""

    def __init__(self, level: Level) -> None:
        self._level = level
        self._more: list[Line] = []  # lines that may have more than they were asked for

    def serve(self, room: int) -> list[Pair]:
        """Up to ``room``: first of those who had no turn yet."""
        served: list[Pair] = []
        while len(served) < room:
            most = (room - len(served)) // QUANTUM + 1
            lines = self._level.lines(most)
            served += self._round(lines, room - len(served))
            if len(lines) < most:
                break
        while self._more and len(served) < room:
            lines, self._more = self._more, []
            served += self._round(lines, room - len(served))
        return served

    def _round(self, lines: Sequence[Line], room: int) -> list[Pair]:
        """Each of them once."""
        served: list[Pair] = []
        share = max(QUANTUM, room // len(lines)) if lines else 0
        for line in lines:
            most = min(share, room - len(served))
            taken = line.take(most) if most else []
            served += taken
            if len(taken) == most:
                self._more.append(line)
        return served
