"""Several tables as one (``type = "chain"``): the first that knows answers.

Contract: the tables are asked one after the other, a later one only when all before have nothing under the key.
How it fails: one that cannot know, asked before one that knows, makes the chain one that cannot know: its value
might have been another.
Limits: each table has its own time limit; a chain adds none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from contextlib import aclosing

from zope.interface import implementer

from mta.config.option import Options, TableName, option
from mta.interfaces import IPagedTable, IPlacedTable, ITable, Maybe
from mta.plugin import Services, provider
from mta.routing.tables.listing import Pages, pages_of


def _some(tables: Sequence[str]) -> str | None:
    return None if tables else 'is empty; name tables, as in ["table:special", "table:users"]'


class ChainTableOptions(Options):
    """Options of several tables as one: the first that has something under a key answers."""

    tables: tuple[TableName, ...] = option(
        doc="The tables, in the order in which they are asked.",
        example='["table:special", "table:users"]',
        check=_some,
    )


@provider("table", "chain", ChainTableOptions)
@implementer(IPagedTable, IPlacedTable)
class ChainTable:
    """See the module's text."""

    def __init__(self, options: ChainTableOptions, services: Services) -> None:
        self._names = options.tables
        self._tables: tuple[ITable, ...] = tuple(services.table(name) for name in options.tables)

    def lookup(self, key: str) -> Maybe[str | None]:
        """See ``ITable``."""
        for index, table in enumerate(self._tables):
            answer = table.lookup(key)
            if answer is not None:
                return answer if isinstance(answer, str) else self._go_on(answer, index + 1, key)
        return None

    async def _go_on(self, answer: Awaitable[str | None], following: int, key: str) -> str | None:
        value = await answer
        for table in self._tables[following:]:
            if value is not None:
                break
            answered = table.lookup(key)
            value = answered if answered is None or isinstance(answered, str) else await answered
        return value

    async def pages(self, limit: int) -> Pages:
        """See ``IPagedTable``: those of each, one after the other."""
        for name, table in zip(self._names, self._tables, strict=True):
            async with aclosing(pages_of(name, table, limit)) as pages:
                async for page in pages:
                    limit -= len(page)
                    yield page

    def where(self, key: str) -> str:
        """See ``IPlacedTable``: of the first that says, as long as those before have nothing and need no wait."""
        for table in self._tables:
            answer = table.lookup(key)
            if answer is not None:
                known = isinstance(answer, str) and IPlacedTable.providedBy(table)
                return IPlacedTable(table).where(key) if known else ""
        return ""
