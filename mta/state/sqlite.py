"""``IState`` in a small SQLite database in the state folder, which all processes of the service share.

What it is: one table of keys, values and the times at which they expire (UTC milliseconds: they outlive a restart).
Contract: ``together`` is one transaction, in a thread of ``in_thread``; what it returned stands, also after a crash of
the process.  A power failure may take the last moments with it: a counter is then a little low.
How it fails: ``TemporaryFailure`` where the disk does not take it.  A damaged file is put aside and begun anew:
counters are no reason to stop mail.
Limits: ``MOST`` keys; beyond, those that would expire next are forgotten.  What has expired goes in slices, by whoever
writes.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from threading import Lock
from typing import Any, Final, TypeVar

from twisted.logger import Logger
from zope.interface import implementer

from mta.interfaces import IState
from mta.reply import LOCAL_ERROR, TemporaryFailure
from mta.state.values import Add, Ask, Get, Mark, Op, Put

log = Logger()
T = TypeVar("T")

NAME: Final = "counters.sqlite"
MOST: Final = 1_000_000
#: Milliseconds between two looks for what has expired, and how much of it one takes.
TIDY_EVERY: Final = 60_000
TIDY: Final = 2000
_DAY: Final = 86_400_000
#: Seconds that a process waits for another's transaction.
BUSY: Final = 5.0

_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS entry (key TEXT PRIMARY KEY, value TEXT NOT NULL, expires INTEGER NOT NULL)"
    " WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS entry_expires ON entry (expires)",
)
_GET: Final = "SELECT value FROM entry WHERE key = ? AND expires > ?"
# Text that is no number counts as 0.
_ADD: Final = "UPDATE entry SET value = CAST(value AS INTEGER) + ? WHERE key = ? AND expires > ? RETURNING value"
_PUT: Final = "INSERT OR REPLACE INTO entry VALUES (?, ?, ?)"
_OLD: Final = "DELETE FROM entry WHERE key IN (SELECT key FROM entry WHERE expires <= ? ORDER BY expires LIMIT ?)"
_NEXT: Final = "DELETE FROM entry WHERE key IN (SELECT key FROM entry ORDER BY expires LIMIT ?)"


@implementer(IState)
class SqliteState:
    """See the module's text.  ``now`` is UTC milliseconds; ``in_thread(work, *args)`` runs blocking work elsewhere.

    Nothing is made before the first question.
    """

    def __init__(
        self,
        folder: str,
        now: Callable[[], int],
        in_thread: Callable[..., Awaitable[Any]],
        most: int = MOST,
    ) -> None:
        self._path = os.path.join(folder, NAME)
        self._now = now
        self._in_thread = in_thread
        self._most = most
        self._db: sqlite3.Connection | None = None
        self._lock = Lock()
        self._tidied = 0

    # --- IState --------------------------------------------------------------------------------------------

    async def get(self, key: str) -> str | None:
        """See ``IState``."""
        (found,) = await self.together((Get(key),))
        return found

    async def put(self, key: str, value: str, seconds: float) -> None:
        """See ``IState``."""
        await self.together((Put(key, value, seconds),))

    async def add(self, key: str, amount: int, seconds: float) -> int:
        """See ``IState``."""
        (found,) = await self.together((Add(key, amount, seconds),))
        return int(found or 0)

    # --- more than one -------------------------------------------------------------------------------------

    async def together(self, ops: Sequence[Op]) -> list[str | None]:
        """All of them in order, in one transaction; the answer to each."""
        return await self.transact(lambda ask: ask(ops))

    async def keys(self, prefix: str, limit: int) -> list[str]:
        """Keys that begin so and have not expired, in order."""
        found: list[str] = await self._in_thread(self._keys, prefix, limit)
        return found

    async def transact(self, work: Callable[[Ask], T]) -> T:
        """``work`` in one transaction, in a thread: it may ask by what it has been answered."""
        found: T = await self._in_thread(self._transact, work)
        return found

    def _transact(self, work: Callable[[Ask], T]) -> T:
        with self._lock:
            now = self._now()
            try:
                db = self._opened()
                db.execute("BEGIN IMMEDIATE")
                try:
                    found = work(lambda ops: [_do(db, op, now) for op in ops])
                    if abs(now - self._tidied) >= TIDY_EVERY:
                        self._tidied = now
                        self._tidy(db, now)
                    db.execute("COMMIT")
                except BaseException:
                    db.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise self._trouble(error) from error
            return found

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            db, self._db = self._db, None
            if db is not None:
                db.close()

    def _keys(self, prefix: str, limit: int) -> list[str]:
        with self._lock:
            try:
                rows = self._opened().execute(
                    "SELECT key FROM entry WHERE key >= ? AND key < ? AND expires > ? ORDER BY key LIMIT ?",
                    (prefix, prefix + "\U0010ffff", self._now(), limit),
                )
                return [key for (key,) in rows]
            except sqlite3.Error as error:
                raise self._trouble(error) from error

    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            try:
                self._db = _open(self._path)
            except sqlite3.DatabaseError as error:
                if not _damaged(error):
                    raise
                self._put_aside(error)
                self._db = _open(self._path)
        return self._db

    def _put_aside(self, error: sqlite3.Error) -> None:
        log.error("{path} is damaged ({error}): put aside, and begun anew", path=self._path, error=str(error))
        for tail in ("", "-wal", "-shm"):
            if os.path.exists(self._path + tail):
                os.replace(self._path + tail, f"{self._path}.damaged{tail}")

    def _trouble(self, error: sqlite3.Error) -> TemporaryFailure:
        if _damaged(error) and self._db is not None:
            self._db.close()
            self._db = None
            self._put_aside(error)
        return TemporaryFailure(LOCAL_ERROR, f"{self._path}: {error}")

    def _tidy(self, db: sqlite3.Connection, now: int) -> None:
        db.execute(_OLD, (now, TIDY))
        (count,) = db.execute("SELECT count(*) FROM entry").fetchone()
        if count > self._most:
            db.execute(_NEXT, (count - self._most,))


def _open(path: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
    try:
        os.chmod(path, 0o600)
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "trusted_schema = OFF"):
            db.execute(f"PRAGMA {pragma}")
        for statement in _SCHEMA:
            db.execute(statement)
    except BaseException:
        db.close()
        raise
    return db


def _damaged(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _mark(db: sqlite3.Connection, mark: Mark, now: int) -> str | None:
    row = db.execute("SELECT expires FROM entry WHERE key = ?", (mark.key,)).fetchone()
    until = now + round(mark.seconds * 1000)
    if row is None or row[0] < until - _DAY:
        db.execute(_PUT, (mark.key, "1", until))
    return None if row is None or row[0] <= now else "1"


def _do(db: sqlite3.Connection, op: Op, now: int) -> str | None:
    if isinstance(op, Get):
        row = db.execute(_GET, (op.key, now)).fetchone()
        return None if row is None else str(row[0])
    if isinstance(op, Mark):
        return _mark(db, op, now)
    until = now + round(op.seconds * 1000)
    if isinstance(op, Put):
        db.execute(_PUT, (op.key, op.value, until))
        return None
    row = db.execute(_ADD, (op.amount, op.key, now)).fetchone()
    if row is not None:
        return str(row[0])
    db.execute(_PUT, (op.key, str(op.amount), until))
    return str(op.amount)
