"""The writer's jobs that lease: due recipients of a destination, and reports owed.

Contract: a message that cannot be read is set aside as held with the reason (``damages``) and does not stop
the others; a report owed goes out even where the body is damaged, as long as envelope and recipient are there.
"""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from mta.envelope import Destination, Recipient
from mta.spool.batch import Pair, write_pairs
from mta.spool.encode import ENDED, RECIPIENT, WAITING, decode_ended, decode_recipient
from mta.spool.fairness import choose
from mta.spool.jobs import Job, Then, set_aside
from mta.spool.lines import WaitingLevel, levels
from mta.spool.load import check_body, load_message
from mta.spool.message import StoredMessage
from mta.spool.store import Store
from mta.spool.values import Damaged, id_text

Found = list[tuple[StoredMessage, list[Recipient]]]


class LeaseJob(Job, ABC):
    """What both have in common: some pairs are chosen, loaded by message, and marked."""

    runs = True
    _mark: ClassVar[str]

    def __init__(self, limit: int, then: Then) -> None:
        self.then = then
        self._limit = limit
        self.found: Found = []
        self.damages: list[tuple[int, str]] = []

    def run(self, store: Store) -> list[int]:
        self.found, self.damages = [], []
        by_message: dict[int, list[int]] = {}
        for number, n in self._choose(store):
            by_message.setdefault(number, []).append(n)
        pairs: list[Pair] = []
        for number, ns in by_message.items():
            try:
                self.found.append((self._message(store, number), self._recipients(store.db, number, ns)))
            except (Damaged, KeyError) as error:
                what = str(error.args[-1]) if isinstance(error, Damaged) else "its row is missing"
                self.damages.append((number, what))
                self._set_aside(store, number, what)
            else:
                pairs.extend([(number, n) for n in ns])
        write_pairs(store.db, self._mark, pairs)
        self._marked(store)
        return []

    def _marked(self, store: Store) -> None:
        """They are."""

    @abstractmethod
    def _choose(self, store: Store) -> list[Pair]:
        """Which recipients."""

    def _message(self, store: Store, number: int) -> StoredMessage:
        return load_message(store.db, number, store.bodies, store.header_limit)

    @abstractmethod
    def _recipients(self, db: sqlite3.Connection, number: int, ns: list[int]) -> list[Recipient]:
        """Those of one message, as values."""

    @abstractmethod
    def _set_aside(self, store: Store, number: int, what: str) -> None:
        """The message cannot be read."""


class WaitingJob(LeaseJob, ABC):
    """Lease recipients that wait."""

    _mark = "UPDATE recipient SET state = 1 WHERE state = 0 AND"

    def _message(self, store: Store, number: int) -> StoredMessage:
        message = super()._message(store, number)
        check_body(store.db, message, store.folder)
        return message

    def _recipients(self, db: sqlite3.Connection, number: int, ns: list[int]) -> list[Recipient]:
        table = "recipient r JOIN destination d ON d.id = r.destination"
        return _load(db, number, ns, RECIPIENT, table, decode_recipient)

    def _set_aside(self, store: Store, number: int, what: str) -> None:
        set_aside(store, number, what)


class ClaimSomeJob(WaitingJob):
    """Lease those that are named."""

    def __init__(self, pairs: Sequence[Pair], then: Then) -> None:
        super().__init__(len(pairs), then)
        self._pairs = pairs
        self._lines: set[tuple[int, int, int]] = set()

    def _choose(self, store: Store) -> list[Pair]:
        query = "SELECT destination, priority, sender FROM recipient WHERE message = ? AND n = ? AND state = 0"
        found = {pair: store.db.execute(query, pair).fetchone() for pair in self._pairs}
        self._lines = {line for line in found.values() if line is not None}
        return [pair for pair, line in found.items() if line is not None]

    def _marked(self, store: Store) -> None:
        store.destinations.left(self._lines)


class ClaimJob(WaitingJob):
    """Lease due recipients of one destination, in the order of ``mta.spool.fairness``."""

    def __init__(self, destination: Destination, now: int, limit: int, then: Then) -> None:
        super().__init__(limit, then)
        self._destination = destination
        self._now = now
        self._levels: list[WaitingLevel] = []

    def _choose(self, store: Store) -> list[Pair]:
        number = store.destinations.find(self._destination)
        self._levels = [] if number is None else levels(store.db, number, self._now, self._limit)
        return choose(self._levels, self._limit)

    def _marked(self, store: Store) -> None:
        for level in self._levels:
            level.served()
        number = store.destinations.find(self._destination)
        if number is not None:
            store.destinations.refresh((number,))


class ClaimNoticesJob(LeaseJob):
    """Lease recipients whose sender is owed a report."""

    _mark = "UPDATE notice SET state = 1 WHERE"

    def _choose(self, store: Store) -> list[Pair]:
        query = "SELECT message, n FROM notice WHERE state = 0 ORDER BY message, n LIMIT ?"
        return store.db.execute(query, (self._limit,)).fetchall()

    def _recipients(self, db: sqlite3.Connection, number: int, ns: list[int]) -> list[Recipient]:
        # One that waits on (its sender is owed a warning) is still in the queue.
        ended = _load(db, number, ns, ENDED, "history r", decode_ended)
        known = {recipient.id for recipient in ended}
        table = "recipient r JOIN destination d ON d.id = r.destination"
        waiting = _load(db, number, [n for n in ns if n not in known], RECIPIENT, table, decode_recipient)
        if len(ended) + len(waiting) < len(ns):
            raise Damaged(id_text(number), "a recipient's row is missing")
        return sorted([*ended, *waiting], key=lambda recipient: recipient.id)

    def _set_aside(self, store: Store, number: int, what: str) -> None:
        store.db.execute("UPDATE notice SET state = 2 WHERE message = ? AND state = ?", (number, WAITING))


def _load(
    db: sqlite3.Connection, number: int, ns: Sequence[int], columns: str, table: str, decode: Any
) -> list[Recipient]:
    """Some recipients of a message.  Raises ``Damaged``."""
    try:
        query = f"SELECT {columns} FROM {table} WHERE r.message = ? AND r.n = ?"  # noqa: S608  # constants
        rows = [db.execute(query, (number, n)).fetchone() for n in ns]
        return [decode(row) for row in rows if row is not None]
    except (sqlite3.DatabaseError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(id_text(number), f"a recipient's row cannot be read: {error}") from error
