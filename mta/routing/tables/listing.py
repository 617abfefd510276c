"""All that a table holds, in pages: for the members of lists.

What it is: ``pages_of`` goes through any table that can tell; ``Listing`` makes the pages of one that has to be waited
for; ``entry`` makes a key and its value of what a database or another host says.
Contract: a page is no more than ``PAGE`` entries, so that whoever works on one goes on to the next between two turns of
the reactor.  What a table says stands as the value where there is no other: keys are compared without regard to case,
and the host of a member may see a difference.
How it fails: ``CannotTell`` where a table can only be asked for single keys; ``TemporaryFailure`` for all else.
Limits: a page has the table's ``timeout``; ``LISTINGS`` of one table at a time, the others wait.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from itertools import islice
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore

from mta.interfaces import IListedTable, IPagedTable, ITable
from mta.plugin import Services
from mta.reply import MailFailure, TemporaryFailure
from mta.routing.keys import table_key
from mta.routing.tables.watched import CONTROL, TABLE_FAILED

PAGE: Final = 500
LISTINGS: Final = 2
#: As ``mta.routing.tables.remote`` has it of a key that is asked for.
MAX_KEY: Final = 1000

Pair = tuple[str, str]
Pages = AsyncGenerator[Sequence[Pair], None]


class CannotTell(ValueError):
    """The table can only be asked for single keys."""

    def __init__(self, table: str) -> None:
        super().__init__(f"the table {table} cannot tell its members")


async def pages_of(name: str, table: ITable, limit: int) -> Pages:
    """All that the table holds, ``limit`` entries at most."""
    if IPagedTable.providedBy(table):
        async with aclosing(IPagedTable(table).pages(limit)) as pages:
            async for page in pages:
                yield page
    elif IListedTable.providedBy(table):
        entries = iter(IListedTable(table).items(limit))
        while page := list(islice(entries, PAGE)):
            yield page
    else:
        raise CannotTell(name)


class Listing:
    """See the module's text.  ``ask`` begins one listing: it returns what gives the next page (up to so many entries,
    none at the end), and what ends it."""

    def __init__(
        self,
        services: Services,
        timeout: float,
        ask: Callable[[], tuple[Callable[[int], Deferred[list[Pair]]], Callable[[], object]]],
    ) -> None:
        self._services = services
        self._timeout = timeout
        self._ask = ask
        self._turns = DeferredSemaphore(LISTINGS)

    async def pages(self, limit: int) -> Pages:
        """See ``IPagedTable``."""
        await self._turns.acquire()
        try:
            following, end = self._ask()
            try:
                while limit > 0 and (page := await self._page(following, min(PAGE, limit))):
                    limit -= len(page)
                    yield page
            finally:
                end()
        finally:
            self._turns.release()

    async def _page(self, following: Callable[[int], Deferred[list[Pair]]], most: int) -> list[Pair]:
        asked = following(most)
        late = self._services.reactor.callLater(self._timeout, asked.cancel)
        try:
            return (await asked)[:most]
        except CancelledError:
            if late.active():
                raise  # by whoever waits for the page
            raise TemporaryFailure(TABLE_FAILED, f"no page of its members within {self._timeout:g} s") from None
        except MailFailure as failure:
            raise TemporaryFailure(TABLE_FAILED, failure.reason or failure.reply.text) from failure
        except Exception as error:
            raise TemporaryFailure(TABLE_FAILED, str(error) or type(error).__name__) from error
        finally:
            if late.active():
                late.cancel()


def entry(key: str, value: str | None = None) -> Pair:
    """One entry.  What can be no key is made one that nobody takes for an address, and is told."""
    if len(key) > MAX_KEY or CONTROL.search(key):
        key = f"{key[:60]!r} (too long, or with control characters)"
    return table_key(key), key if value is None else value


def rows(found: Sequence[Sequence[Any]], text: Callable[[Any], str]) -> list[Pair]:
    """Entries of rows: the first column is the key, the second, if there is one, the value; NULL is no row."""
    return [
        entry(text(row[0]), text(row[1]) if len(row) > 1 and row[1] is not None else None)
        for row in found
        if row[0] is not None
    ]
