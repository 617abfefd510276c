"""Who is named in which message: an index by address over queue and history, filled when there is time for it.

What it is: rows of ``named`` for the messages up to one of them (``Store.named``), made in slices by ``NameJob``.  It
is not kept in line: entries by address lie far from each other, a batch would write as many pages as it has addresses;
and it has a part for each half hour (``part_of``), or a slice would do that.
Contract: an address is found in the index (``mta.spool.narrow``) or, of younger messages, by going through them.  A
message that waits is in it with its sender and recipients; one that has ended with every address that its envelope,
story, events and history hold, in lower case: ``mta erase`` finds all.  What is masked, erased or purged leaves the
index with its row.
How it fails: where rows cannot be read ``NameJob`` fails as any job, and the index stays as it is: what lies behind is
gone through, as before.
Limits: ``SLICE`` messages a batch, ``SLICES`` batches a tick, one where others write meanwhile, none where many do;
messages younger than ``SETTLED`` are left for later: most have ended by then.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final

from mta.spool.batch import needed, write_many
from mta.spool.jobs import Then
from mta.spool.masking import everybody, names_in
from mta.spool.store import Store, part_of
from mta.spool.upkeep import SliceJob
from mta.spool.values import ID_SHIFT

SLICE: Final = 200
SLICES: Final = 10
#: Jobs in one batch past which the writer has better to do.
MANY: Final = 4
#: Milliseconds.
SETTLED: Final = 60_000


class NameJob(SliceJob):
    """See the module's text.  ``now``: UTC milliseconds."""

    background = True

    def __init__(self, now: int, then: Then) -> None:
        self.then = then
        self._before = (now - SETTLED) << ID_SHIFT
        self._left = SLICES

    def run(self, store: Store) -> list[int]:
        if store.crowd > MANY:
            self.again = False
            return []
        done = self._ended_since(store.db)
        if done < SLICE:
            done += self._following(store, SLICE - done)
        self.again = done == SLICE and store.crowd == 1 and self._left > 1
        return []

    def _ended_since(self, db: sqlite3.Connection) -> int:
        ids: list[tuple[int]] = db.execute("SELECT message FROM unnamed ORDER BY message LIMIT ?", (SLICE,)).fetchall()
        _add(db, [number for (number,) in ids])
        write_many(db, "DELETE FROM unnamed WHERE message IN (", "?", ids, ")")
        return len(ids)

    def _following(self, store: Store, limit: int) -> int:
        query = "SELECT id FROM message WHERE id > ? AND id < ? ORDER BY id LIMIT ?"
        ids = [number for (number,) in store.db.execute(query, (store.named, self._before, limit))]
        _add(store.db, ids)
        if ids:
            store.db.execute("INSERT OR REPLACE INTO meta VALUES ('named', ?)", (str(ids[-1]),))
            # If this is rolled back it is too much, and some messages are looked at twice.
            store.named = ids[-1]
        return len(ids)

    def advance(self) -> None:
        self._left -= 1


def _add(db: sqlite3.Connection, ids: Iterable[int]) -> None:
    rows = sorted((part_of(number), name, number) for number in ids for name in names_of(db, number))
    write_many(db, "INSERT OR IGNORE INTO named VALUES ", "(?,?,?)", rows)


def names_of(db: sqlite3.Connection, number: int) -> set[str]:
    """What the index is to hold of a message."""
    if not needed(db, number):
        return everybody(db, number)
    # What is found later, when it has ended, has all of this: no name stays behind when the message goes.
    rows = db.execute("SELECT sender, NULL FROM message WHERE id = ?", (number,)).fetchall()
    for table in ("recipient", "history"):
        rows += db.execute(f"SELECT address, original FROM {table} WHERE message = ?", (number,)).fetchall()  # noqa: S608  # constants
    return {name for row in rows for name in names_in(None, row)}
