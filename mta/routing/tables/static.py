"""Tables that stand in the configuration itself (``type = "static"``), and one in memory for tests.

Contract: a look-up is one look in a dictionary; nothing can fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Annotated

from zope.interface import implementer

from mta.config.option import Options, option
from mta.interfaces import ISearchedTable, ITable
from mta.plugin import Services, provider
from mta.reply import TemporaryFailure
from mta.routing.keys import table_key
from mta.routing.tables.watched import TABLE_FAILED


class StaticTableOptions(Options):
    """Options of a table whose entries stand here."""

    entries: Mapping[Annotated[str, str], str] = option(
        doc='Keys and their values; a key without one has the value `""`.',
        example='{ "bob@example.org" = "", "info@example.org" = "bob@example.org" }',
    )

    def contradictions(self) -> Iterable[tuple[str, str, str]]:
        seen: dict[str, str] = {}
        for key in self.entries:
            first = seen.setdefault(table_key(key), key)
            if first != key:
                yield "entries", f'"{key}" and "{first}" are the same key', "write it once"


@provider("table", "static", StaticTableOptions)
@implementer(ISearchedTable)
class StaticTable:
    """See the module's text."""

    def __init__(self, options: StaticTableOptions, services: Services) -> None:
        self._entries = {table_key(key): value for key, value in options.entries.items()}

    def lookup(self, key: str) -> str | None:
        """See ``ITable``."""
        return self._entries.get(table_key(key))

    def items(self, limit: int) -> Iterator[tuple[str, str]]:
        """See ``IListedTable``."""
        return islice(self._entries.items(), limit)

    def count(self) -> int:
        """See ``ISearchedTable``."""
        return len(self._entries)

    def version(self) -> object:
        """See ``ISearchedTable``: it never changes."""
        return None


@implementer(ITable)
class MemoryTable:
    """A table for tests.  ``failing`` is a reason: every look-up then fails with it; ``asked`` are the keys."""

    def __init__(self, entries: Mapping[str, str] | None = None, failing: str = "") -> None:
        self.entries = {table_key(key): value for key, value in (entries or {}).items()}
        self.failing = failing
        self.asked: list[str] = []

    def lookup(self, key: str) -> str | None:
        """See ``ITable``."""
        self.asked.append(key)
        if self.failing:
            raise TemporaryFailure(TABLE_FAILED, self.failing)
        return self.entries.get(table_key(key))
