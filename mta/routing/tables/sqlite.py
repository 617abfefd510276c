"""Tables in an SQLite database (``type = "sqlite"``), asked in a thread of their own.

Contract: the database is opened to be read alone; another program may change it at any time, or put another file in
its place, which is opened at the next question.
How it fails: locked for longer than ``timeout``, damaged, missing: ``TemporaryFailure``.  A wrong query stops the
start.
Limits: a query is ended after ``timeout``.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from typing import ClassVar, Final
from urllib.parse import quote

from zope.interface import implementer

from mta.config.option import Path, option
from mta.interfaces import IPagedTable
from mta.plugin import Services, provider
from mta.routing.tables.entries import TableError
from mta.routing.tables.listing import Pair, rows
from mta.routing.tables.query import LIST_QUERY, MOST_ROWS, parameters, text_of, value_of, wrong, wrong_for_all
from mta.routing.tables.remote import RemoteOptions
from mta.routing.tables.threads import ThreadedTable

#: Instructions of SQLite's machine between two looks at the time: well below a millisecond.
_STEPS: Final = 10_000


class SqliteTableOptions(RemoteOptions):
    """Options of a table in an SQLite database."""

    database: Path = option(doc="The database's file.", example='"accounts.sqlite"')
    query: str = option(
        doc="What is asked. `:key` is the key, `:local` and `:domain` its parts. The first column of what comes is the "
        "value; that of several rows is joined by commas, as an alias's targets are.",
        example='"SELECT targets FROM alias WHERE address = :key"',
        check=wrong,
    )
    list_query: str = option(
        "", doc=LIST_QUERY, example='"SELECT address FROM member WHERE active"', check=wrong_for_all
    )


@provider("table", "sqlite", SqliteTableOptions)
@implementer(IPagedTable)
class SqliteTable(ThreadedTable):
    """See the module's text."""

    file_option: ClassVar = "database"

    def __init__(self, options: SqliteTableOptions, services: Services) -> None:
        seconds = services.reactor.seconds
        lister = (lambda: _Lister(options, seconds)) if options.list_query else None
        super().__init__(options, services, lambda: _Worker(options, seconds), 1, lister)

    @staticmethod
    def cannot_list(options: SqliteTableOptions) -> str:
        """Why it cannot tell all that it holds, or ""."""
        return "" if options.list_query else "has no list_query"

    @staticmethod
    def examine(options: SqliteTableOptions) -> None:
        """Raise what would be wrong at every question: the file, the query."""
        os.stat(options.database)
        try:
            db = _open(options.database, 1.0)
            try:
                db.execute("PRAGMA schema_version")  # is it a database?
                db.execute(f"EXPLAIN {options.query}", parameters("key"))
                if options.list_query:
                    db.execute(f"EXPLAIN {options.list_query}")
            finally:
                db.close()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise TableError(options.database, 0, str(error)) from error
        except sqlite3.Error as error:
            raise TableError(options.database, 0, str(error)) from error


class _Worker:
    def __init__(self, options: SqliteTableOptions, seconds: Callable[[], float]) -> None:
        self._options = options
        self._seconds = seconds
        self._db: sqlite3.Connection | None = None
        self._file = (0, 0)
        self._end = 0.0

    def answer(self, key: str) -> str | None:
        status = os.stat(self._options.database)
        if self._db is None or self._file != (status.st_dev, status.st_ino):
            self.close()
            self._db = _open(self._options.database, self._options.timeout)
            self._db.set_progress_handler(self._too_long, _STEPS)
            self._file = (status.st_dev, status.st_ino)
        self._end = self._seconds() + self._options.timeout
        try:
            return value_of(self._db.execute(self._options.query, parameters(key)).fetchmany(MOST_ROWS + 1))
        except sqlite3.DatabaseError:
            self.close()
            raise

    def _too_long(self) -> bool:
        return self._seconds() > self._end

    def close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()


class _Lister:
    """Goes through all once; the statement is one look at the database, however long it takes."""

    def __init__(self, options: SqliteTableOptions, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._timeout = options.timeout
        self._end = seconds() + options.timeout
        self._db = _open(options.database, options.timeout)
        self._db.set_progress_handler(lambda: self._seconds() > self._end, _STEPS)
        try:
            self._cursor = self._db.execute(options.list_query)
        except sqlite3.Error:
            self._db.close()
            raise

    def answer(self, most: int) -> list[Pair]:
        self._end = self._seconds() + self._timeout
        while found := self._cursor.fetchmany(most):
            if page := rows(found, text_of):
                return page
        return []

    def close(self) -> None:
        self._db.close()


def _open(path: str, timeout: float) -> sqlite3.Connection:
    db = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=timeout, isolation_level=None)
    try:
        db.execute("PRAGMA query_only = 1")
        db.execute("PRAGMA trusted_schema = 0")
    except BaseException:
        db.close()
        raise
    return db
