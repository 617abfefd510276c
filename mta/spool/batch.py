"""One transaction's rows, gathered over all jobs of a batch and written by kind.

What it is: a plain list for each kind of row; ``flush`` writes each list with few statements of many rows.
That is not so much for SQLite: Python lets go of its lock for every step of a statement, and a step for each
row would have the writer wait for the busy reactor at each; so a step takes up to 64 rows, and fewer than 32 are
one step.
Contract: ``flush`` runs inside a transaction; what it raises is SQLite's.  After it, ``gone`` are messages
whose body file no row speaks of: to be unlinked after the commit.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

_MOST: Final = 64
_EXACT: Final = 32  # up to so many rows, a statement for each number of rows
Pair = tuple[int, int]


@lru_cache(maxsize=512)
def _values(start: str, row: str, count: int, end: str) -> str:
    return start + ",".join([row] * count) + end


def write_many(db: sqlite3.Connection, start: str, row: str, rows: Sequence[Sequence[Any]], end: str = "") -> None:
    """Run ``start`` + ``row``, ``row``, ... + ``end`` for all rows, in few statements of few different lengths: each is
    prepared once and kept."""
    position, total = 0, len(rows)
    while position < total:
        left = total - position
        size = _MOST if left >= _MOST else min(left, _EXACT)
        group = rows[position : position + size]
        db.execute(_values(start, row, size, end), [value for fields in group for value in fields])
        position += size


def write_pairs(db: sqlite3.Connection, start: str, pairs: Sequence[Pair]) -> None:
    """Run ``start``, which ends in WHERE or AND, for recipients named by message and number.

    The inner SELECT has a purpose: for a plain ``IN (VALUES ...)`` of several rows SQLite goes through the whole table
    rather than look each up, and half a million recipients wait in a bad week.
    """
    write_many(db, f"{start} (message, n) IN (SELECT column1, column2 FROM (VALUES ", "(?,?)", pairs, "))")  # noqa: S608  # constants


def free(db: sqlite3.Connection, pairs: Sequence[Pair]) -> None:
    """Claimed recipients wait again."""
    write_pairs(db, "UPDATE recipient SET state = 0 WHERE state = 1 AND", pairs)


class Rows:
    """See the module's text."""

    __slots__ = (
        "bodies",
        "checked",
        "ended",
        "events",
        "external",
        "freed",
        "gone",
        "history",
        "messages",
        "notices",
        "notices_done",
        "notices_freed",
        "recipients",
        "replaced",
        "revived",
        "staging",
        "totals",
    )

    def __init__(self) -> None:
        self.messages: list[tuple[Any, ...]] = []
        self.bodies: list[tuple[int, bytes]] = []
        self.staging: list[tuple[int]] = []
        self.recipients: list[tuple[Any, ...]] = []
        self.replaced: list[tuple[Any, ...]] = []
        self.revived: list[Pair] = []
        self.freed: list[Pair] = []
        self.ended: list[Pair] = []
        self.history: list[tuple[Any, ...]] = []
        self.notices: list[Pair] = []
        self.notices_done: list[Pair] = []
        self.notices_freed: list[Pair] = []
        self.events: list[tuple[int, str]] = []
        self.totals: Counter[tuple[int, str]] = Counter()
        self.checked: list[tuple[int]] = []  # messages that may have ended
        self.external: list[int] = []  # those of them whose body is a file
        self.gone: list[int] = []

    def check(self, number: int, external: bool) -> None:
        """The body of this message may be needed no more; ``external``: it is a file."""
        self.checked.append((number,))
        if external:
            self.external.append(number)

    def flush(self, db: sqlite3.Connection) -> None:
        self._flush_accepted(db)
        if self.replaced:
            write_many(db, "REPLACE INTO recipient VALUES ", _RECIPIENT, self.replaced)
        if self.freed:
            free(db, self.freed)
        self._flush_ended(db)
        if self.events:
            write_many(db, "INSERT INTO event (message, data) VALUES ", "(?,?)", self.events)
        if self.totals:
            sums = [(day, what, n) for (day, what), n in self.totals.items()]
            end = " ON CONFLICT (day, what) DO UPDATE SET n = n + excluded.n"
            write_many(db, "INSERT INTO totals VALUES ", "(?,?,?)", sums, end)
        if self.checked:
            self._flush_checked(db)

    def _flush_accepted(self, db: sqlite3.Connection) -> None:
        if self.messages:
            write_many(db, "INSERT INTO message VALUES ", "(?,?,?,?,?,?,?,?,?)", self.messages)
        if self.bodies:
            write_many(db, "INSERT INTO body VALUES ", "(?,?)", self.bodies)
        if self.staging:
            write_many(db, "INSERT OR IGNORE INTO staging VALUES ", "(?)", self.staging)
        if self.recipients:
            write_many(db, "INSERT INTO recipient VALUES ", _RECIPIENT, self.recipients)

    def _flush_ended(self, db: sqlite3.Connection) -> None:
        if self.ended:
            write_pairs(db, "DELETE FROM recipient WHERE", self.ended)
        if self.history:
            write_many(db, "INSERT OR REPLACE INTO history VALUES ", "(?,?,?,?,?,?,?,?,?,?)", self.history)
        if self.notices:
            write_many(db, "INSERT OR REPLACE INTO notice VALUES ", "(?,?,0)", self.notices)
        if self.notices_freed:
            write_pairs(db, "UPDATE notice SET state = 0 WHERE", self.notices_freed)
        if self.revived:
            write_pairs(db, "DELETE FROM history WHERE", self.revived)
        if self.notices_done:
            write_pairs(db, "DELETE FROM notice WHERE", self.notices_done)

    def _flush_checked(self, db: sqlite3.Connection) -> None:
        # A body goes when no recipient waits for it and no report that may quote it is owed.
        start = "DELETE FROM body WHERE id IN ("
        end = (
            ") AND NOT EXISTS (SELECT 1 FROM recipient WHERE message = body.id)"
            " AND NOT EXISTS (SELECT 1 FROM notice WHERE message = body.id)"
        )
        write_many(db, start, "?", self.checked, end)
        for number in self.external:
            if not needed(db, number):
                self.gone.append(number)


def needed(db: sqlite3.Connection, number: int) -> bool:
    """Somebody still needs the body of the message."""
    query = (
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM recipient WHERE message = ?1)"
        " OR EXISTS (SELECT 1 FROM notice WHERE message = ?1)"
    )
    return db.execute(query, (number,)).fetchone() is not None


_RECIPIENT: Final = "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
