"""What the jobs of the writer work on: the database, the body folder, and the interned destinations.

Used in the writer's thread alone.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from mta.envelope import Destination
from mta.spool.bodies import BodyFolder
from mta.spool.message import Bodies

_KNOWN: Final = 100_000


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

    def purge(self) -> None:
        """Forget those that no recipient has."""
        self._db.execute("DELETE FROM destination WHERE id NOT IN (SELECT destination FROM recipient)")
        self._known.clear()
        self._fresh.clear()


class Store:
    """See the module's text."""

    def __init__(self, db: sqlite3.Connection, folder: BodyFolder, bodies: Bodies, header_limit: int) -> None:
        self.db = db
        self.folder = folder
        self.bodies = bodies
        self.header_limit = header_limit
        self.destinations = Destinations(db)
