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

_KNOWN: Final = 100_000
_REFRESH: Final = (
    "WITH RECURSIVE step (priority) AS ("
    "  SELECT max(priority) FROM recipient WHERE state = 0 AND destination = :id"
    "  UNION ALL"
    "  SELECT (SELECT max(priority) FROM recipient"
    "    WHERE state = 0 AND destination = :id AND priority < step.priority)"
    "  FROM step WHERE step.priority IS NOT NULL)"
    " UPDATE destination SET first_due = (SELECT min("
    "  (SELECT min(due) FROM recipient WHERE state = 0 AND destination = :id AND priority = step.priority)) FROM step)"
    " WHERE id = :id"
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
        """Recipients wait for these no more: when is the first of the rest due?  Each is a few looks into the index."""
        self._db.executemany(_REFRESH, [{"id": number} for number in sorted(set(numbers))])

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
