"""A SQLite spool without threads: everything is done when a call returns, on a disk that fails when told."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spool_contract import SpoolCase
from twisted.internet.task import Clock

from mta.events import Event
from mta.spool.lanes import Inline
from mta.spool.sqlite import SqliteSpool
from mta.spool.values import id_number


class Reactor(Clock):
    """Time, and threads that are the caller's."""

    def callFromThread(self, call: Callable[..., Any], *args: Any) -> None:
        call(*args)


class Disk:
    """Makes connections that fail at statements beginning with ``failing``."""

    def __init__(self) -> None:
        self.failing = ""
        self.code = sqlite3.SQLITE_IOERR_FSYNC
        self.opened = 0

    def connect(self, path: str) -> sqlite3.Connection:
        self.opened += 1
        disk = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
                if disk.failing and sql.startswith(disk.failing):
                    error = sqlite3.OperationalError("disk I/O error")
                    error.sqlite_errorcode = disk.code
                    raise error
                return super().execute(sql, *args)

        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Connection)


class SqliteCase(SpoolCase):
    """Makes spools under ``state`` in the test's own folder."""

    def setUp(self) -> None:
        self.state = str(Path("state").absolute())
        self.reactor = Reactor()
        self.disk = Disk()
        self.lanes = Inline()
        self.events: list[tuple[Event, str]] = []
        super().setUp()

    def tearDown(self) -> None:
        self.lanes.paused = False
        self.now(self.spool.close())

    def make_spool(self, **more: Any) -> SqliteSpool:
        given: dict[str, Any] = {
            "reactor": self.reactor,
            "now": self.clock,
            "notify": self.notify,
            "emit": lambda event, id: self.events.append((event, id)),
            "lanes": self.lanes,
            "connect": self.disk.connect,
            "reserve_bytes": 0,
            "reserve_inodes": 0,
        }
        spool = SqliteSpool(self.state, **{**given, **more})
        spool.open()
        return spool

    def crash(self) -> SqliteSpool:
        """What a new process finds: whatever was in memory is gone, the old one's lock too."""
        self.now(self.spool.close())
        self.spool = self.make_spool()
        return self.spool

    @property
    def body_folder(self) -> Path:
        return Path(self.state, "spool", "0", "body")

    @property
    def database(self) -> Path:
        return Path(self.state, "spool", "0", "spool.db")

    def bodies(self) -> list[str]:
        return sorted(os.listdir(self.body_folder))

    def sql(self, statement: str, *values: Any) -> list[Any]:
        """Directly in the database, from another connection."""
        db = sqlite3.connect(self.database, isolation_level=None, timeout=0)
        try:
            return db.execute(statement, values).fetchall()
        finally:
            db.close()

    def lose_body(self, id: str) -> None:
        file = self.body_folder / id
        if file.exists():
            file.unlink()
        else:
            self.sql("DELETE FROM body WHERE id = ?", id_number(id))
