"""The one thread that writes: all jobs that wait go into one transaction with one sync (group commit).

Contract: a job's ``then`` is called in the reactor's thread after its transaction is on disk; one
``callFromThread`` tells all jobs of a batch.  A job that fails for reasons of its own does not fail the
others: the batch is rolled back and run again with a savepoint for each job.
Failure: when the disk or the sync fails, every job of the batch fails with ``TemporaryFailure`` (451 4.3.1 for
a full disk, else 451 4.3.0), but those that are ``kept`` (outcomes of deliveries) stay in memory and go first
in the next batch.  The database is closed and opened again before anything else is written; ``trouble`` is
set until a transaction has succeeded; the writer tries again by itself, with a growing delay.
Limits: the log is brought into the database when idle, or by SQLite in a commit past the bound that the
schema sets, on this connection and no other.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Sequence
from enum import Enum, auto
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mta.reply import LOCAL_ERROR, Reply, TemporaryFailure
from mta.spool.ballast import Ballast
from mta.spool.batch import Rows
from mta.spool.bodies import NO_SPACE
from mta.spool.jobs import Job
from mta.spool.lanes import Lanes, SpoolReactor
from mta.spool.masking import fade
from mta.spool.schema import BUSY, unusable
from mta.spool.store import Store
from mta.spool.upkeep import SliceJob

FIRST_RETRY: Final = 1.0
AT_ONCE: Final = 0.05
LAST_RETRY: Final = 30.0
#: Free pages given back to the file system in one idle moment.
VACUUM: Final = 256
DISK_FULL: Final = Reply.of(451, "4.3.1", "Insufficient system storage, please try again later")

_TROUBLE: Final = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_INTERRUPT,
    }
)
log = Logger()
Told = list[tuple[Job, Exception | None]]


class _Do(Enum):
    """What is asked of the writer beside jobs."""

    WAKE = auto()
    TICK = auto()


class _Close:
    def __init__(self) -> None:
        self.deferred: Deferred[None] = Deferred()


def is_trouble(error: BaseException) -> bool:
    """The disk or the database failed, not the one job."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return isinstance(error, OSError)
    return (code & 0xFF) in _TROUBLE


def _is_full(error: BaseException | None) -> bool:
    """There is no room on the disk; the error may be wrapped by the one that it caused."""
    if error is None:
        return False
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code == sqlite3.SQLITE_FULL or getattr(error, "errno", 0) == errno.ENOSPC or _is_full(error.__cause__)


def failure_of(error: BaseException) -> TemporaryFailure:
    """What a client is told of it."""
    if isinstance(error, TemporaryFailure):
        return error
    return TemporaryFailure(DISK_FULL if _is_full(error) else LOCAL_ERROR, f"{type(error).__name__}: {error}")


class Writer:
    """See the module's text."""

    def __init__(
        self,
        store: Store,
        open_store: Callable[[], Store],
        lanes: Lanes,
        reactor: SpoolReactor,
        *,
        database: Path,
        reserve: tuple[int, int],
        remove: Callable[[Sequence[int]], None],
        noticed: Callable[[str], None],
    ) -> None:
        """``open_store``: opens the database anew.  ``reserve``: octets and inodes.  ``remove``: unlink bodies.
        ``noticed``: called in the reactor's thread with what is wrong, "" when it is over."""
        self._open_store = open_store
        self._reactor = reactor
        self._database = database
        self._reserve = reserve
        self._remove = remove
        self._noticed = noticed
        self._store: Store | None = store
        self._kept: list[Job] = []
        self._idle = False
        self._delay = FIRST_RETRY
        self._timer: Any = None
        self._closing = False
        self.trouble: Reply | None = None
        self.low: Reply | None = None
        self._ballast = Ballast(database.with_name("ballast"), reserve[0] // 2)
        self._ballast.make(self._look_at_disk())
        self._lane = lanes.start("writer", self._work)
        self.put: Callable[[Job], None] = self._lane.put

    # --- in the reactor's thread ----------------------------------------------------------------------

    def tick(self) -> None:
        """Time for housekeeping, if there is nothing better to do."""
        self._lane.put(_Do.TICK)

    def close(self) -> Deferred[None]:
        """Write what waits, then close the database."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._closing = True
        closing = _Close()
        self._lane.put(closing)
        return closing.deferred

    def stop(self) -> None:
        """End the thread, after ``close``."""
        self._lane.stop()

    def _tell(self, told: Told) -> None:
        for job, error in told:
            try:
                if error is None and isinstance(job, SliceJob):
                    job.advance()
                    if job.again and self._closing:
                        error = TemporaryFailure(LOCAL_ERROR, "the spool was closed before all was done")
                    elif job.again:
                        self._lane.put(job)
                job.then(job, error)
            except Exception:
                log.failure("telling a spool job failed")

    def _retry_later(self) -> None:
        if self._timer is None and not self._closing:
            self._timer = self._reactor.callLater(self._delay, self._retry)
            self._delay = min(self._delay * 2, LAST_RETRY)

    def _retry(self) -> None:
        self._timer = None
        self._lane.put(_Do.WAKE)

    def _note(self, wrong: str) -> None:
        if not wrong:
            self._delay = FIRST_RETRY
        self._noticed(wrong)

    # --- in the writer's thread -----------------------------------------------------------------------

    def _work(self, items: list[Any]) -> None:
        jobs: list[Job] = self._kept
        self._kept = []
        tick = False
        closing: list[_Close] = []
        for item in items:
            if isinstance(item, Job):
                jobs.append(item)
            elif isinstance(item, _Close):
                closing.append(item)
            else:
                tick = tick or item is _Do.TICK
        busy = self.trouble is not None or any(not job.background for job in jobs)
        if jobs or busy:
            self._batch(jobs)
        if busy:
            self._idle = False
        elif tick:
            self._housekeep()
            self._idle = True
        for close in closing:
            self._close(close)

    def _batch(self, jobs: list[Job]) -> None:
        told: Told = []
        gone: list[int] = []
        try:
            store = self._ready()
            told, gone = self._transaction(store, jobs)
        except Exception as error:
            self._failed(jobs, error)
            return
        if self.trouble is not None:
            self.trouble = None
            self._reactor.callFromThread(self._note, "")
        if told:
            self._reactor.callFromThread(self._tell, told)
        if gone:
            self._reactor.callFromThread(self._remove, gone)
        self._look_at_disk()

    def _ready(self) -> Store:
        if self._store is None:
            self._store = self._open_store()
        return self._store

    def _transaction(self, store: Store, jobs: list[Job]) -> tuple[Told, list[int]]:
        """All jobs in one transaction.  Raises what concerns all."""
        db = store.db
        try:
            db.execute("BEGIN IMMEDIATE")
            if self.trouble is not None:  # even if there is nothing to write: does the disk work again?
                db.execute("INSERT OR REPLACE INTO meta VALUES ('probe', random())")
            told, gone = self._together(store, jobs)
            db.execute("COMMIT")
        except BaseException:
            _roll_back(db)
            store.destinations.rolled_back()
            raise
        store.destinations.committed()
        return told, gone

    def _together(self, store: Store, jobs: list[Job]) -> tuple[Told, list[int]]:
        db = store.db
        rows = Rows()
        store.crowd = len(jobs)
        try:
            for job in jobs:
                job.collect(rows, store)
            rows.flush(db)
            fade(store, rows.checked)
        except Exception as error:
            if is_trouble(error) or not db.in_transaction:
                raise
            log.failure("a spool job failed; its batch runs again one by one")
            db.execute("ROLLBACK")
            store.destinations.rolled_back()
            db.execute("BEGIN IMMEDIATE")
            return self._one_by_one(store, jobs)
        told: Told = []
        gone = rows.gone
        for job in jobs:
            told.append((job, self._alone(store, job, gone, collect=False) if job.runs else None))
        return told, gone

    def _one_by_one(self, store: Store, jobs: list[Job]) -> tuple[Told, list[int]]:
        gone: list[int] = []
        return [(job, self._alone(store, job, gone, collect=True)) for job in jobs], gone

    def _alone(self, store: Store, job: Job, gone: list[int], *, collect: bool) -> Exception | None:
        """One job in a savepoint of its own; returns what was wrong with it."""
        db = store.db
        db.execute("SAVEPOINT job")
        try:
            rows = Rows()
            if collect:
                job.collect(rows, store)
                rows.flush(db)
                fade(store, rows.checked)
            more = job.run(store) if job.runs else []
        except Exception as error:
            damage = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
            if not db.in_transaction or (is_trouble(error) and not (job.runs and damage)):
                raise
            log.failure("a spool job failed")
            db.execute("ROLLBACK TO job")
            store.destinations.rolled_back()
            return failure_of(error)
        finally:
            if db.in_transaction:
                db.execute("RELEASE job")
        gone += rows.gone
        gone += more
        return None

    def _failed(self, jobs: list[Job], error: Exception) -> None:
        """Nothing of the batch counts: 451 for all that was promised to nobody, the rest waits in memory."""
        log.error("the spool cannot write: {error}", error=error)
        if self._store is not None:
            # What SQLite holds in memory after a failed sync is not what is on disk: open it anew.
            store, self._store = self._store, None
            try:
                store.db.close()
            except sqlite3.Error:
                log.failure("the spool's database did not close")
        if _is_full(error) and self._ballast.drop():
            log.warn("the disk is full: what was kept free for outcomes is used now")
            self._delay = AT_ONCE
        self.trouble = NO_SPACE
        self._kept = [job for job in jobs if job.kept]
        failure = failure_of(error)
        self._reactor.callFromThread(self._note, _for_operators(self._database, error))
        self._reactor.callFromThread(self._tell, [(job, failure) for job in jobs if not job.kept])
        self._reactor.callFromThread(self._retry_later)

    def _housekeep(self) -> None:
        self._ballast.make(self._look_at_disk())
        store = self._store
        if store is None or not self._idle:
            return
        try:
            _checkpoint(store.db, self._database)
            free = store.db.execute("PRAGMA freelist_count").fetchone()[0]
            if free > VACUUM:
                # execute() would stop after the first page: it takes the statement for one without rows.
                store.db.executescript(f"PRAGMA incremental_vacuum({VACUUM})")
        except sqlite3.Error as error:
            self._failed([], error)

    def _look_at_disk(self) -> int:
        """Is there room for what comes, beside the reserve that outcomes may use?  Returns the octets free."""
        octets, inodes = self._reserve
        try:
            found = os.statvfs(self._database.parent)
        except OSError as error:
            log.error("cannot look at the spool's disk: {error}", error=error)
            self.low = NO_SPACE
            return 0
        # A file system that makes inodes as needed (btrfs) says 0 of 0.
        few_inodes = found.f_files > 0 and found.f_favail < inodes
        free = found.f_bavail * found.f_frsize
        low = NO_SPACE if free < octets or few_inodes else None
        if (low is None) != (self.low is None):
            wrong = "" if low is None else "less room on its disk than the reserve"
            self._reactor.callFromThread(self._note, wrong)
        self.low = low
        return free

    def _close(self, closing: _Close) -> None:
        left = TemporaryFailure(LOCAL_ERROR, "the spool was closed before the disk took it")
        kept: Told = [(job, left) for job in self._kept]
        self._kept = []
        store, self._store = self._store, None
        if store is not None:
            try:
                _checkpoint(store.db, self._database)
                store.db.close()
            except sqlite3.Error:
                log.failure("the spool's database did not close well; what it promised is in its log")
        self._reactor.callFromThread(self._tell, kept)
        self._reactor.callFromThread(closing.deferred.callback, None)


def _for_operators(database: Path, error: Exception) -> str:
    """What is wrong; where the database is damaged, what to do."""
    return str(unusable(database, error)) if isinstance(error, sqlite3.DatabaseError) else str(error)


def _roll_back(db: sqlite3.Connection) -> None:
    if db.in_transaction:
        try:
            db.execute("ROLLBACK")
        except sqlite3.Error:
            log.failure("the spool's transaction did not roll back")


def _checkpoint(db: sqlite3.Connection, database: Path) -> None:
    """Bring the log into the database and cut it, unless a reader still needs it."""
    log_file = Path(f"{database}-wal")
    # By its name: to open and close the database's files would end SQLite's own locks on them (POSIX).
    if not log_file.exists() or not log_file.stat().st_size:
        return
    busy, frames, done = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if not busy and frames == done:
        db.execute("PRAGMA busy_timeout = 0")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        db.execute(f"PRAGMA busy_timeout = {BUSY * 1000:.0f}")
