"""The writer's jobs that go through many rows: in slices, each in a batch with whatever else there is.

Contract: ``again`` is true while there is more; the job is then put at the end of the queue, so that nobody
waits for more than a slice.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from mta.sender import sender_key
from mta.spool.batch import Rows, write_many
from mta.spool.encode import RECIPIENT, STAGED, decode_recipient, dump
from mta.spool.jobs import Job, Then, end_recipients, replace_recipient
from mta.spool.load import find, load_message
from mta.spool.masking import everybody, fade, unname
from mta.spool.settle import change_event, changed, deleted
from mta.spool.store import Store
from mta.spool.values import Change, ChangeKind, Damaged, Selection

SLICE: Final = 1000
CHANGES: Final = 500


class SliceJob(Job):
    """A job of many slices."""

    runs = True
    again = True

    def advance(self) -> None:
        """The slice is on disk: the next ``run`` goes on behind it."""


class StagedJob(SliceJob):
    """Goes through the staged recipients of a message in order."""

    kept = True

    def __init__(self, number: int, then: Then) -> None:
        self.number = number
        self.then = then
        self._after = -1
        self._last = -1

    def _next(self, db: sqlite3.Connection) -> list[int]:
        query = "SELECT n FROM recipient WHERE message = ? AND n > ? AND state = ? ORDER BY n LIMIT ?"
        ns = [row[0] for row in db.execute(query, (self.number, self._after, STAGED, SLICE))]
        self.again = len(ns) == SLICE
        if ns:
            self._last = ns[-1]
        return ns

    def advance(self) -> None:
        self._after = self._last


class ActivateJob(StagedJob):
    """Make staged recipients of a committed message visible."""

    def __init__(self, number: int, then: Then) -> None:
        super().__init__(number, then)
        self._sender: int | None = None

    def run(self, store: Store) -> list[int]:
        db = store.db
        ns = self._next(db)
        if ns and self._sender is None:
            self._sender = _sender(store, self.number)
        if ns:
            db.execute(
                "UPDATE recipient SET state = iif(hold = '', 0, 2), sender = ?"
                " WHERE message = ? AND n >= ? AND n <= ? AND state = ?",
                (self._sender, self.number, ns[0], ns[-1], STAGED),
            )
        if not self.again:
            db.execute("DELETE FROM staging WHERE message = ?", (self.number,))
        return []


def _sender(store: Store, number: int) -> int:
    """Whose mail it is, as a number; 0 where its row cannot be read, which is told when it is claimed."""
    try:
        return sender_key(load_message(store.db, number, store.bodies, store.header_limit).envelope)
    except (Damaged, KeyError):
        return 0


class UnstageJob(StagedJob):
    """Forget the staged recipients of a message that was never committed."""

    def run(self, store: Store) -> list[int]:
        ns = self._next(store.db)
        if ns:
            store.db.execute(
                "DELETE FROM recipient WHERE message = ? AND n >= ? AND n <= ? AND state = ?",
                (self.number, ns[0], ns[-1], STAGED),
            )
        if not self.again:
            store.db.execute("DELETE FROM staging WHERE message = ?", (self.number,))
        return []


class ChangeJob(SliceJob):
    """An operator's change.  ``count`` recipients changed; what is claimed or staged is left alone."""

    def __init__(self, selection: Selection, change: Change, by: str, now: int, then: Then) -> None:
        self.then = then
        self._selection = selection
        self._change = change
        self._by = by
        self._now = now
        self._after: tuple[int, int] = (-1, -1)
        self._slice: tuple[int, tuple[int, int] | None] = (0, None)
        self.count = 0

    def run(self, store: Store) -> list[int]:
        found, following = find(
            store.db,
            f"m.external, r.destination, r.sender, {RECIPIENT}",
            self._selection,
            self._after,
            CHANGES,
            free=True,
        )
        rows = Rows()
        concerned: dict[int, list[int]] = {}
        left: set[tuple[int, int, int]] = set()
        count = 0
        for number, n, external, destination, sender, *row in found:
            recipient = decode_recipient(row)
            left.add((destination, recipient.priority, sender))
            if self._change.kind is ChangeKind.DELETE:
                end_recipients(rows, number, [deleted(recipient, self._by, self._now)], self._now)
                rows.check(number, bool(external))
            else:
                after = changed(recipient, self._change, self._by, self._now)
                if after is None:
                    continue
                replace_recipient(rows, store, number, after, sender)
                if self._change.kind is not ChangeKind.WAKE:
                    concerned.setdefault(number, []).append(n)
            count += 1
        for number, ns in concerned.items():
            rows.events.append((number, dump(change_event(self._change, self._by, self._now, ns))))
        rows.flush(store.db)
        fade(store, rows.checked)
        store.destinations.left(left)
        self._slice = (count, following)
        self.again = following is not None
        return rows.gone

    def advance(self) -> None:
        count, following = self._slice
        self.count += count
        if following is not None:
            self._after = following


class PurgeJob(SliceJob):
    """Forget ended messages; ``count`` are forgotten."""

    def __init__(self, before: int, limit: int, then: Then) -> None:
        self.then = then
        self._before = before
        self._limit = limit
        self._slice = 0
        self.count = 0

    def run(self, store: Store) -> list[int]:
        db = store.db
        # An id holds the time at which it was given, which is never after the message's arrival.
        query = (
            "SELECT id FROM message m WHERE id < ? AND arrived < ?"
            " AND NOT EXISTS (SELECT 1 FROM recipient WHERE message = m.id)"
            " AND NOT EXISTS (SELECT 1 FROM notice WHERE message = m.id) ORDER BY id LIMIT ?"
        )
        limit = min(CHANGES, self._limit - self.count)
        ids: list[tuple[int]] = db.execute(query, (self._before << 21, self._before, limit)).fetchall()
        if ids:
            # An id is never given again, even if the clock goes back.
            db.execute("INSERT OR REPLACE INTO meta SELECT 'last', max(id) FROM message")
        for (number,) in ids:
            if number <= store.named:
                unname(db, number, everybody(db, number))
        for table, column in (("unnamed", "message"), ("history", "message"), ("event", "message"), ("message", "id")):
            write_many(db, f"DELETE FROM {table} WHERE {column} IN (", "?", ids, ")")  # noqa: S608  # constants
        self._slice = len(ids)
        self.again = len(ids) == limit and self.count + len(ids) < self._limit
        return []

    def advance(self) -> None:
        self.count += self._slice
