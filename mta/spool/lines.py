"""The lines of a destination in the database: what waits of one sender with one priority (``mta.spool.fairness``).

Contract: a line has a row while something waits in it, with the time at which the first is due.  One that has
something due is given a turn and is served by its turns; one that has not has none.  A row may name an earlier time
than is true: nothing is found there then, and it is put right; never a later one.
Limits: what a claim costs depends on what it returns, and on the priorities at the destination, not on what waits.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from mta.spool.batch import Pair

_KEY: Final = "destination = ? AND priority = ? AND sender = ?"
_NEXT: Final = (
    f"SELECT message, n, due FROM recipient WHERE state = 0 AND {_KEY}"  # noqa: S608  # constants
    " AND (due, message, n) > (?, ?, ?) ORDER BY due, message, n LIMIT ?"
)
_RIPE: Final = (
    "SELECT sender FROM line WHERE destination = ? AND priority = ? AND turn IS NULL AND first_due <= ?"
    " ORDER BY first_due LIMIT ?"
)
_TURNS: Final = (
    "SELECT turn, sender FROM line WHERE destination = ? AND priority = ? AND turn IS NOT NULL"
    " AND (turn, sender) > (?, ?) ORDER BY turn, sender LIMIT ?"
)
_BEFORE: Final = -(2**63)


class WaitingLine:
    """``fairness.Line``."""

    __slots__ = ("_after", "_db", "_key", "_now", "asked", "first", "sender")

    def __init__(self, db: sqlite3.Connection, key: tuple[int, int, int], now: int) -> None:
        self._db = db
        self._key = key
        self._now = now
        self._after = (_BEFORE, 0, 0)
        self.sender = key[2]
        self.asked = False
        self.first: int | None = None  # when the first that was not taken is due

    def take(self, most: int) -> list[Pair]:
        taken: list[Pair] = []
        self.asked, self.first = True, None
        for message, n, due in self._db.execute(_NEXT, (*self._key, *self._after, most + 1)).fetchall():
            if due > self._now or len(taken) == most:
                self.first = due
                break
            taken.append((message, n))
            self._after = (due, message, n)
        return taken


class WaitingLevel:
    """``fairness.Level``; up to ``limit`` lines that have come due are given their turn."""

    def __init__(self, db: sqlite3.Connection, destination: int, priority: int, now: int, limit: int) -> None:
        self._db = db
        self._place = (destination, priority)
        self._now = now
        self._told = (-1, -1)
        self._lines: list[WaitingLine] = []
        query = "SELECT max(turn) FROM line WHERE destination = ? AND priority = ? AND turn IS NOT NULL"
        self._last: int = db.execute(query, self._place).fetchone()[0] or 0
        ripe = db.execute(_RIPE, (*self._place, now, limit)).fetchall()
        self._set([(None, sender) for (sender,) in ripe])

    def lines(self, most: int) -> Sequence[WaitingLine]:
        rows = self._db.execute(_TURNS, (*self._place, *self._told, most)).fetchall()
        if rows:
            self._told = rows[-1]
        lines = [WaitingLine(self._db, (*self._place, sender), self._now) for _, sender in rows]
        self._lines += lines
        return lines

    def served(self) -> None:
        """Who had his turn comes behind all others, or has none until something is due."""
        asked = [line for line in self._lines if line.asked]
        empty = [(*self._place, line.sender) for line in asked if line.first is None]
        if empty:
            self._db.executemany(f"DELETE FROM line WHERE {_KEY}", empty)  # noqa: S608  # constants
        later = [line for line in asked if line.first is not None and line.first > self._now]
        if later:
            self._db.executemany(
                f"UPDATE line SET turn = NULL, first_due = ? WHERE {_KEY}",  # noqa: S608  # constants
                [(line.first, *self._place, line.sender) for line in later],
            )
        self._set([(line.first, line.sender) for line in asked if line.first is not None and line.first <= self._now])

    def _set(self, senders: Sequence[tuple[int | None, int]]) -> None:
        """Give them their turns, in this order."""
        if senders:
            rows = [
                (self._last + place, first, *self._place, sender) for place, (first, sender) in enumerate(senders, 1)
            ]
            statement = f"UPDATE line SET turn = ?, first_due = coalesce(?, first_due) WHERE {_KEY}"  # noqa: S608  # constants
            self._db.executemany(statement, rows)
            self._last += len(senders)


def levels(db: sqlite3.Connection, destination: int, now: int, limit: int) -> list[WaitingLevel]:
    """Those of a destination, the highest priority first: one look into the index for each."""
    found: list[WaitingLevel] = []
    query = "SELECT max(priority) FROM line WHERE destination = ?"
    (priority,) = db.execute(query, (destination,)).fetchone()
    while priority is not None:
        found.append(WaitingLevel(db, destination, priority, now, limit))
        (priority,) = db.execute(query + " AND priority < ?", (destination, priority)).fetchone()
    return found
