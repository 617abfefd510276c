"""Reading the spool: by the service in threads of its own, by the command line while it runs or is stopped.

Contract: an own read-only connection, used by one thread at a time; each question is a short read, or a few;
it never writes and never checkpoints.  Everything answers at once.
Failure: ``SpoolUnusable`` when there is no spool that can be read; ``TemporaryFailure`` when SQLite fails later;
``KeyError`` and ``Damaged`` as in ``ISpool``.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from json import loads
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from mta.envelope import Destination
from mta.events import Event
from mta.reply import LOCAL_ERROR, TemporaryFailure
from mta.spool.bodies import BodyFolder
from mta.spool.encode import (
    ENDED,
    RECIPIENT,
    WAITING,
    decode_ended_row,
    decode_envelope,
    decode_event,
    decode_events,
    decode_recipient,
    decode_row,
)
from mta.spool.folders import Folders
from mta.spool.jobs import ACCEPTED
from mta.spool.load import find, load_message, load_waiting_message, small_body
from mta.spool.message import HEADER_LIMIT, Bodies, StoredMessage
from mta.spool.schema import open_reader
from mta.spool.values import Damage, Due, PageKey, Row, Selection, Totals, Waiting, id_number, id_text, last_id

P = ParamSpec("P")
T = TypeVar("T")
_WAITING: Final = (
    f"SELECT m.envelope, m.sender, m.arrived, {RECIPIENT} FROM (SELECT * FROM recipient"  # noqa: S608  # constants
    " WHERE (message, n) > (?, ?) AND message <= ? ORDER BY message, n LIMIT ?) r"
    " LEFT JOIN destination d ON d.id = r.destination LEFT JOIN message m ON m.id = r.message"
    " ORDER BY r.message, r.n"
)
_MESSAGE: Final = "m.sender, m.size, m.arrived, "


def _question(
    method: Callable[Concatenate[SpoolReader, P], T],
) -> Callable[Concatenate[SpoolReader, P], T]:
    """SQLite's errors as what the spool's users know."""

    @wraps(method)
    def ask(self: SpoolReader, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(self, *args, **kwargs)
        except sqlite3.Error as error:
            raise TemporaryFailure(LOCAL_ERROR, f"reading the spool: {error}") from error

    return ask


class SpoolReader:
    """See the module's text.  Raises ``FileNotFoundError`` where there is no spool yet."""

    def __init__(self, state: str | os.PathLike[str], worker: int = 0, header_limit: int = HEADER_LIMIT) -> None:
        folders = Folders(state, worker)
        if not folders.database.exists():
            raise FileNotFoundError(f"there is no spool in {folders.state}")
        folders.check()
        self._limit = header_limit
        self.db = open_reader(folders.database)
        self.folder = BodyFolder(folders.body)

    def close(self) -> None:
        """Let go.  Idempotent."""
        self.db.close()
        self.folder.close()

    def __enter__(self) -> SpoolReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Several reads of one state."""
        self.db.execute("BEGIN")
        try:
            yield self.db
        finally:
            self.db.execute("ROLLBACK")

    # --- octets: mta.spool.message.Bodies -------------------------------------------------------------

    @_question
    def small(self, number: int) -> bytes:
        return small_body(self.db, number)

    def piece(self, number: int, offset: int, size: int) -> bytes:
        return self.folder.piece(number, offset, size)

    # --- questions ------------------------------------------------------------------------------------

    @_question
    def get(self, id: str, bodies: Bodies | None = None) -> StoredMessage:
        """As ``ISpool.get``; its octets come from ``bodies``, or at once."""
        return load_waiting_message(self.db, id_number(id), bodies or self, self._limit)

    @_question
    def record(self, id: str) -> StoredMessage:
        """The message's envelope and size as long as there is history of it; perhaps no octets any more."""
        return load_message(self.db, id_number(id), self, self._limit)

    @_question
    def due(self, now: int, after: Due | None, limit: int) -> list[Due]:
        """As ``ISpool.due``."""
        start = "first_due IS NOT NULL"
        values: dict[str, Any] = {"now": now, "limit": limit}
        if after is not None:
            query = "SELECT id FROM destination WHERE service = ? AND next_hop = ?"
            row = self.db.execute(query, tuple(after.destination)).fetchone()
            start = "(first_due, id) > (:due, :id)"
            values.update(due=after.first_due, id=0 if row is None else row[0])
        query = (
            f"SELECT service, next_hop, first_due FROM destination WHERE {start} AND first_due <="  # noqa: S608  # constants
            " coalesce((SELECT min(first_due) FROM destination WHERE first_due > :now), :now)"
            " ORDER BY first_due, id LIMIT :limit"
        )
        found = self.db.execute(query, values).fetchall()
        return [Due(Destination(service, next_hop), first) for service, next_hop, first in found]

    @_question
    def waiting(self, after: PageKey | None, before: int | None, limit: int) -> tuple[list[Waiting], PageKey | None]:
        """As ``ISpool.waiting``."""
        start = (-1, -1) if after is None else (id_number(after.id), after.recipient)
        found = self.db.execute(_WAITING, (*start, last_id(before), limit)).fetchall()
        waiting: list[Waiting] = []
        for envelope, sender, arrived, *row in found:
            if row[2] == WAITING and envelope is not None:
                try:
                    one = Waiting(id_text(row[0]), decode_envelope(envelope, sender, arrived), decode_recipient(row))
                except (ValueError, KeyError, TypeError, AttributeError):
                    continue  # who claims it will tell
                waiting.append(one)
        return waiting, PageKey(id_text(found[-1][3]), found[-1][4]) if len(found) == limit else None

    @_question
    def page(self, selection: Selection, after: PageKey | None, limit: int, history: bool = False) -> list[Row]:
        """As ``ISpool.page``: each read looks at a bounded number of rows, so that a rare match blocks nobody."""
        key: tuple[int, int] | None = (-1, -1) if after is None else (id_number(after.id), after.recipient)
        columns = _MESSAGE + (ENDED if history else RECIPIENT)
        decode = decode_ended_row if history else decode_row
        rows: list[Row] = []
        while key is not None and len(rows) < limit:
            found, key = find(self.db, columns, selection, key, limit - len(rows), history)
            rows += [decode(row[2:]) for row in found]
        return rows

    @_question
    def story(self, id: str) -> list[Event]:
        """As ``ISpool.story``."""
        number = id_number(id)
        with self.snapshot() as db:
            row = db.execute("SELECT story FROM message WHERE id = ?", (number,)).fetchone()
            if row is None:
                raise KeyError(id)
            story = decode_events(row[0])
            query = "SELECT data FROM event WHERE message = ? ORDER BY id"
            story += [decode_event(loads(data)) for (data,) in db.execute(query, (number,))]
            query = "SELECT detail FROM history WHERE message = ? ORDER BY ended, n"
            for (detail,) in db.execute(query, (number,)):
                story += [decode_event(fields) for fields in loads(detail).get("events", ())]
        return sorted(story, key=lambda event: event.at)

    @_question
    def totals(self) -> Totals:
        """As ``ISpool.totals``: a few rows, however much waits."""
        with self.snapshot() as db:
            return _totals(db)

    @_question
    def audit(self) -> Totals:
        """As ``ISpool.audit``: one pass over all recipients; what is written meanwhile waits for nothing."""
        with self.snapshot() as db:
            sums = _totals(db)
            queued, held = db.execute(
                "SELECT count(*) FILTER (WHERE state IN (0, 1)"
                " OR (state = 3 AND EXISTS (SELECT 1 FROM message WHERE id = r.message))),"
                " count(*) FILTER (WHERE state = 2) FROM recipient r"
            ).fetchone()
        return replace(sums, queued=queued, held=held, miscounted=held - sums.held)

    @_question
    def check(self) -> list[Damage]:
        """Read everything: SQLite's own check, and that each message that waits has its body."""
        damages = [Damage("", row[0]) for row in self.db.execute("PRAGMA integrity_check") if row[0] != "ok"]
        query = (
            "SELECT DISTINCT message FROM recipient r WHERE state != 3"
            " AND NOT EXISTS (SELECT 1 FROM message WHERE id = r.message)"
        )
        damages += [Damage(id_text(number), "its row is missing") for (number,) in self.db.execute(query)]
        query = (
            "SELECT m.id, m.stored, m.external, length(b.data) FROM message m LEFT JOIN body b ON b.id = m.id"
            " WHERE EXISTS (SELECT 1 FROM recipient WHERE message = m.id)"
            " OR EXISTS (SELECT 1 FROM notice WHERE message = m.id)"
        )
        for number, stored, external, found in self.db.execute(query):
            size = self.folder.size(number) if external else -1 if found is None else found
            if size != stored:
                what = "its body is missing" if size < 0 else f"its body has {size} octets and should have {stored}"
                damages.append(Damage(id_text(number), what))
        return damages


def _totals(db: sqlite3.Connection) -> Totals:
    sums = dict(db.execute("SELECT what, sum(n) FROM totals GROUP BY what").fetchall())
    (held,) = db.execute("SELECT n FROM counter WHERE what = 'held'").fetchone()
    accepted = sums.pop(ACCEPTED, 0)
    return Totals(accepted=accepted, ended=sums, queued=accepted - sum(sums.values()) - held, held=held)
