"""The parts of the SQLite spool that touch the disk, put together: lock, database, folder, threads.

Contract: ``open`` blocks, before the reactor runs; after it ``writer``, ``files``, ``loader`` and ``queries``
take work.  ``close`` writes what is pending, stops the threads and lets go.
Failure: ``SpoolLocked``, ``SpoolUnusable``.
"""

from __future__ import annotations

from collections.abc import Callable
from sqlite3 import Connection, DatabaseError
from typing import Any, Final

from twisted.internet.defer import Deferred

from mta.spool.bodies import BodyFiles, BodyFolder
from mta.spool.folders import Folders, StateLock
from mta.spool.lanes import Caller, Lanes, SpoolReactor
from mta.spool.message import Bodies
from mta.spool.named import NameJob
from mta.spool.reader import SpoolReader
from mta.spool.schema import Connect, open_writer, unusable, verify
from mta.spool.store import Masking, Store
from mta.spool.values import SpoolUnusable
from mta.spool.writer import Writer

#: Seconds between two looks at the disk; after one without work the log is brought into the database.
TICK: Final = 2.0
#: Ticks after which the index by address is filled again when that failed.
NAME_AGAIN: Final = 300


class Engine:
    """See the module's text."""

    folder: BodyFolder
    files: BodyFiles
    writer: Writer
    load: SpoolReader  # for deliveries, in the thread of ``loader``
    query: SpoolReader  # for people, in the thread of ``queries``
    loader: Caller
    queries: Caller

    def __init__(
        self,
        state: str,
        worker: int,
        *,
        reactor: SpoolReactor,
        lanes: Lanes,
        connect: Connect,
        reserve: tuple[int, int],
        header_limit: int,
        bodies: Bodies,
        noticed: Callable[[str], None],
        now: Callable[[], int],
        lock: bool = True,
    ) -> None:
        self._reactor = reactor
        self._now = now
        self._naming = 0  # ticks until the index by address is filled further; -1: it is being filled
        self._lanes = lanes
        self._worker = worker
        self._connect = connect
        self._reserve = reserve
        self._header_limit = header_limit
        self._bodies = bodies
        self._noticed = noticed
        self.masking = Masking()
        self._folders = Folders(state, worker)
        self._lock = StateLock(self._folders.lock)
        self._locks = lock
        self._ticking: Any = None
        self._closing: Deferred[None] | None = None

    def open(self) -> int:
        """Take the lock, make or migrate the database; returns the greatest queue id ever stored."""
        self._folders.prepare()
        if self._locks:
            self._lock.acquire()
        try:
            self.folder = BodyFolder(self._folders.body)
            try:
                db = self._open_writer()
                self._verify(db)
                last = _last_id(db)
                self._start(self._store(db))
            except BaseException:
                self.folder.close()
                raise
        except BaseException as error:
            self._lock.release()
            if isinstance(error, OSError) and not isinstance(error, SpoolUnusable):
                raise SpoolUnusable(f"cannot open the spool: {error}") from error
            raise
        self._ticking = self._reactor.callLater(TICK, self._tick)
        return last

    def _open_writer(self) -> Connection:
        # A quarter of the reserve for the log, half of it as ballast: so there is room to bring the log in.
        return open_writer(self._folders.database, self._connect, self._reserve[0] // 4)

    def _verify(self, db: Connection) -> None:
        try:
            verify(db, self._folders.database)
        except DatabaseError as error:
            db.close()
            raise unusable(self._folders.database, error) from error
        except SpoolUnusable:
            db.close()
            raise

    def _store(self, db: Connection) -> Store:
        return Store(db, self.folder, self._bodies, self._header_limit, self.masking)

    def _start(self, store: Store) -> None:
        state, lanes, reactor = self._folders.state, self._lanes, self._reactor
        self.load = SpoolReader(state, self._worker, self._header_limit)
        self.query = SpoolReader(state, self._worker, self._header_limit)
        self.files = BodyFiles(self.folder, lanes, reactor)
        self.loader = Caller(lanes, "loader", reactor)
        self.queries = Caller(lanes, "queries", reactor)
        self.writer = Writer(
            store,
            lambda: self._store(self._open_writer()),
            lanes,
            reactor,
            database=self._folders.database,
            reserve=self._reserve,
            remove=self.files.remove,
            noticed=self._noticed,
        )

    def _tick(self) -> None:
        self._ticking = self._reactor.callLater(TICK, self._tick)
        self._name()
        self.writer.tick()

    def _name(self) -> None:
        """Fill the index by address further."""
        if self._naming > 0:
            self._naming -= 1
        elif self._naming == 0:
            self._naming = -1
            self.writer.put(NameJob(self._now(), self._named))

    def _named(self, job: NameJob, error: Exception | None) -> None:
        if error is not None:
            self._naming = NAME_AGAIN
        elif not job.again:
            self._naming = 0

    def close(self) -> Deferred[None]:
        """Idempotent: each call's Deferred fires when it is over."""
        waiting: Deferred[None] = Deferred()
        if self._closing is None:
            self._ticking.cancel()
            self._closing = Deferred.fromCoroutine(self._close())
        self._closing.addBoth(_pass_on, waiting)
        return waiting

    async def _close(self) -> None:
        # The readers first: the last connection, the writer's, can then put the log away.
        await self.loader.call(self.load.close)
        await self.queries.call(self.query.close)
        await self.writer.close()
        for lane in (self.writer, self.files, self.loader, self.queries):
            lane.stop()
        self.folder.close()
        self._lock.release()


def _last_id(db: Connection) -> int:
    query = (
        "SELECT max(coalesce((SELECT max(id) FROM message), 0), coalesce((SELECT max(message) FROM staging), 0),"
        " coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'last'), 0))"
    )
    last: int = db.execute(query).fetchone()[0]
    return last


def _pass_on(result: Any, waiting: Deferred[None]) -> Any:
    waiting.callback(None)
    return result
