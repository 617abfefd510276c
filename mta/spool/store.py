"""What the jobs of the writer work on: the database, the body folder, and the interned destinations.

Used in the writer's thread alone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Final

from mta.envelope import Destination
from mta.spool.bodies import BodyFolder
from mta.spool.message import Bodies
from mta.spool.values import ID_SHIFT

_KNOWN: Final = 100_000
_WAITS: Final = "FROM recipient WHERE state = 0 AND destination = :d AND priority = :p AND sender = :s"
_LINE: Final = "WHERE destination = :d AND priority = :p AND sender = :s"
#: Of the lines that have something due some are asked for how long: more need not be known.
_REFRESH: Final = (
    "WITH RECURSIVE step (priority) AS ("
    "  SELECT max(priority) FROM line WHERE destination = :id"
    "  UNION ALL"
    "  SELECT (SELECT max(priority) FROM line WHERE destination = :id AND priority < step.priority)"
    "  FROM step WHERE step.priority IS NOT NULL)"
    " UPDATE destination SET first_due = (SELECT min(first_due) FROM ("
    "  SELECT (SELECT min(first_due) FROM line"
    "   WHERE destination = :id AND priority = step.priority AND turn IS NULL) AS first_due FROM step"
    "  UNION ALL"
    "  SELECT (SELECT min(first_due) FROM (SELECT first_due FROM line"
    "   WHERE destination = :id AND priority = step.priority AND turn IS NOT NULL LIMIT 100)) FROM step))"
    " WHERE id = :id"
)
LINES: Final = (
    "INSERT INTO line SELECT destination, priority, sender, min(due), NULL FROM recipient WHERE state = 0"
    " GROUP BY destination, priority, sender"
)
_PURGE: Final = (
    "DELETE FROM destination WHERE first_due IS NULL"
    " AND NOT EXISTS (SELECT 1 FROM recipient WHERE state >= 2 AND destination = destination.id)"
    " AND id NOT IN (SELECT destination FROM recipient WHERE message > ?)"
)


class Destinations:
    """Destinations as the small numbers under which recipients are indexed.

    What a transaction adds counts only when it is committed.  Limit: ``_KNOWN`` are remembered.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._known: dict[Destination, int] = {}
        self._fresh: dict[Destination, int] = {}

    def find(self, destination: Destination) -> int | None:
        """Its number, None if no recipient ever had it."""
        number = self._known.get(destination) or self._fresh.get(destination)
        if number is None:
            query = "SELECT id FROM destination WHERE service = ? AND next_hop = ?"
            row = self._db.execute(query, tuple(destination)).fetchone()
            if row is not None:
                number = self._fresh[destination] = row[0]
        return number

    def number(self, destination: Destination) -> int:
        """Its number; a new one is given where it has none."""
        number = self.find(destination)
        if number is None:
            statement = "INSERT INTO destination (service, next_hop) VALUES (?, ?)"
            number = self._db.execute(statement, tuple(destination)).lastrowid
            assert number is not None
            self._fresh[destination] = number
        return number

    def committed(self) -> None:
        if self._fresh:
            if len(self._known) > _KNOWN:
                self._known.clear()
            self._known.update(self._fresh)
            self._fresh.clear()

    def rolled_back(self) -> None:
        self._fresh.clear()

    def refresh(self, numbers: Iterable[int]) -> None:
        """The lines of these were changed: when is the first due?  Each is a few looks into the index."""
        self._db.executemany(_REFRESH, [{"id": number} for number in sorted(set(numbers))])

    def left(self, lines: Iterable[tuple[int, int, int]]) -> None:
        """Recipients of these lines (destination, priority, sender) wait no more, and were not claimed."""
        keys = sorted(set(lines))
        names = [{"d": destination, "p": priority, "s": sender} for destination, priority, sender in keys]
        self._db.executemany(f"DELETE FROM line {_LINE} AND NOT EXISTS (SELECT 1 {_WAITS})", names)  # noqa: S608  # constants
        self._db.executemany(f"UPDATE line SET first_due = (SELECT min(due) {_WAITS}) {_LINE}", names)  # noqa: S608  # constants
        self.refresh(destination for destination, _, _ in keys)

    def rebuild(self) -> None:
        """Nothing is known of the lines: go through all that waits."""
        self._db.execute("DELETE FROM line")
        self._db.execute(LINES)
        self.refresh(row[0] for row in self._db.execute("SELECT id FROM destination").fetchall())

    def purge(self, after: int) -> None:
        """Forget those that no recipient has; messages after this one may be claimed by now, all others are not."""
        self._db.execute(_PURGE, (after,))
        self._known.clear()
        self._fresh.clear()


class Masking:
    """How addresses of ended messages are written from now on; None: as they are.  Set by the reactor's thread."""

    mask: Callable[[str], str] | None = None


class Store:
    """See the module's text."""

    def __init__(
        self,
        db: sqlite3.Connection,
        folder: BodyFolder,
        bodies: Bodies,
        header_limit: int,
        masking: Masking | None = None,
    ) -> None:
        self.db = db
        self.folder = folder
        self.bodies = bodies
        self.header_limit = header_limit
        self.destinations = Destinations(db)
        self.masking = masking or Masking()
        #: Messages up to this one are in the index by address (``mta.spool.named``).
        self.named = through(db)
        #: How many jobs are in the batch that is being written.
        self.crowd = 0


def part_of(number: int) -> int:
    """In which part of the index by address a message is: what comes within 35 minutes lies together, so that a slice
    that is added, or purged, touches few pages; who looks for an address looks into each part."""
    return number >> ID_SHIFT + 21


def through(db: sqlite3.Connection) -> int:
    """The last message up to which the index by address is filled; -1: it is empty."""
    row = db.execute("SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'named'").fetchone()
    return -1 if row is None else int(row[0])
