"""Tables in a PostgreSQL database (``type = "postgresql"``), asked by psycopg in threads of the table's own.

Contract: sessions are read-only and keep their connection; the key is a parameter (see ``mta.routing.tables.query``).
A connection that the server has closed meanwhile is made anew once before a question fails.
How it fails: no connection: ``Unreachable``, so the server rests for a while; all else ``TemporaryFailure`` for this
question.
Limits: ``connections``; a statement is ended by the server after ``timeout``, and a peer that is silent by TCP.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

from zope.interface import implementer

from mta.config.option import Secret, at_least, option
from mta.interfaces import IPagedTable
from mta.plugin import Services, provider
from mta.routing.tables.listing import Pair, rows
from mta.routing.tables.optional import missing, package
from mta.routing.tables.query import (
    LIST_QUERY,
    MOST_ROWS,
    for_psycopg,
    parameters,
    text_of,
    value_of,
    wrong,
    wrong_for_all,
)
from mta.routing.tables.remote import RemoteOptions, Unreachable
from mta.routing.tables.threads import ThreadedTable

#: libpq takes whole seconds, and no less than two.
_LEAST_CONNECT: Final = 2


class PostgresqlTableOptions(RemoteOptions):
    """Options of a table in a PostgreSQL database. It takes the extra `postgresql`."""

    database: Secret = option(
        doc="Where it is, and who asks, as libpq has it: a URL, or `host=... dbname=... user=...`. With TLS to another "
        "host write `sslmode=verify-full`.",
        example='"host=/run/postgresql dbname=mail user=mta"',
    )
    query: str = option(
        doc="What is asked. `:key` is the key, `:local` and `:domain` its parts. The first column of what comes is the "
        "value; that of several rows is joined by commas, as an alias's targets are.",
        example='"SELECT targets FROM alias WHERE address = :key"',
        check=wrong,
    )
    list_query: str = option(
        "", doc=LIST_QUERY, example='"SELECT address FROM member WHERE active"', check=wrong_for_all
    )
    connections: int = option(2, doc="The most connections, each with a thread.", unit="connections", check=at_least(1))

    def contradictions(self) -> Iterable[tuple[str, str, str]]:
        return missing("psycopg", "postgresql")


@provider("table", "postgresql", PostgresqlTableOptions)
@implementer(IPagedTable)
class PostgresqlTable(ThreadedTable):
    """See the module's text."""

    def __init__(self, options: PostgresqlTableOptions, services: Services) -> None:
        psycopg = package("psycopg")
        lister = (lambda: _Lister(options, psycopg)) if options.list_query else None
        super().__init__(options, services, lambda: _Worker(options, psycopg), options.connections, lister)

    @staticmethod
    def cannot_list(options: PostgresqlTableOptions) -> str:
        """Why it cannot tell all that it holds, or ""."""
        return "" if options.list_query else "has no list_query"


class _Worker:
    def __init__(self, options: PostgresqlTableOptions, psycopg: Any) -> None:
        self._options = options
        self._query = for_psycopg(options.query)
        self._psycopg = psycopg
        self._connection: Any = None

    def answer(self, key: str) -> str | None:
        fresh = self._connection is None
        if fresh:
            self._connect()
        try:
            return self._asked(key)
        except self._psycopg.Error as error:
            if not self._connection.closed:
                raise
            self.close()
            if fresh:
                raise Unreachable(_said(error)) from error
        self._connect()  # the server had closed it while nobody asked
        try:
            return self._asked(key)
        except self._psycopg.Error as error:
            if not self._connection.closed:
                raise
            self.close()
            raise Unreachable(_said(error)) from error

    def _asked(self, key: str) -> str | None:
        with self._connection.cursor() as cursor:
            rows = cursor.stream(self._query, parameters(key))
            try:
                return value_of(list(islice(rows, MOST_ROWS + 1)))
            finally:
                rows.close()

    def _connect(self) -> None:
        self._connection = _connected(self._options, self._psycopg)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class _Lister:
    """Goes through all once, by a cursor of the server's: it holds the rows, and ``timeout`` is for each page."""

    def __init__(self, options: PostgresqlTableOptions, psycopg: Any) -> None:
        self._connection = _connected(options, psycopg)
        try:
            self._connection.execute("BEGIN READ ONLY")
            self._cursor = self._connection.cursor(name="members")
            self._cursor.execute(options.list_query)
        except psycopg.Error:
            self._connection.close()
            raise

    def answer(self, most: int) -> list[Pair]:
        while found := self._cursor.fetchmany(most):
            if page := rows(found, text_of):
                return page
        return []

    def close(self) -> None:
        self._connection.close()


def _connected(options: PostgresqlTableOptions, psycopg: Any) -> Any:
    """A connection.  Raises ``Unreachable``."""
    milliseconds = max(1, round(options.timeout * 1000))
    connection = None
    try:
        connection = psycopg.connect(
            options.database,
            autocommit=True,
            prepare_threshold=None,  # poolers between us and the server know no prepared statements
            application_name="txmta",
            connect_timeout=max(_LEAST_CONNECT, round(options.timeout)),
            keepalives_idle=30,
            tcp_user_timeout=milliseconds,
        )
        # As a query and not in the startup packet, which poolers refuse for what they do not know.
        connection.execute(
            "SELECT set_config('statement_timeout', %s, false), "
            "set_config('default_transaction_read_only', 'on', false)",
            (str(milliseconds),),
        )
    except psycopg.Error as error:
        if connection is not None:
            connection.close()
        raise Unreachable(_said(error)) from error
    return connection


def _said(error: Exception) -> str:
    """In one line."""
    return " ".join(str(error).split())
