"""The tables of a configuration: made when something first names them, each once.

Contract: ``get("table:NAME")`` is ``[tables.NAME]``, ``get("file:PATH")`` a text file; a table that is made of others
(a chain) gets those made as well.  ``made`` are those there are, by the names under which they were asked for.
How it fails: ``KeyError`` for a name that no section has (``mta check`` tells before), ``ValueError`` for tables that
lead back to themselves, and what a table raises when it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mta.config.option import Path, bound
from mta.config.section import Section
from mta.interfaces import IPlacedTable, ITable
from mta.plugin import Services
from mta.routing.tables.file import FileTable, FileTableOptions


class Tables:
    """See the module's text.  ``services`` gives the outside world for a name."""

    def __init__(self, sections: Mapping[str, Section], services: Callable[[str], Services]) -> None:
        self._sections = sections
        self._services = services
        self._making: list[str] = []
        self.made: dict[str, ITable] = {}

    def get(self, name: str) -> ITable:
        """The table."""
        if name in self.made:
            return self.made[name]
        if name in self._making:
            circle = " -> ".join([*self._making[self._making.index(name) :], name])
            raise ValueError(f"tables lead back to themselves: {circle}")
        self._making.append(name)
        try:
            table = self._make(name)
        finally:
            self._making.pop()
        self.made[name] = table
        return table

    def _make(self, name: str) -> ITable:
        kind, _, rest = name.partition(":")
        if kind == "file":
            made: ITable = FileTable(FileTableOptions(path=Path(rest)), self._services(name))
            return made
        section = self._sections[rest]
        table: ITable = section.provider(bound(section.options, self.get), self._services(rest))
        return table

    def close(self) -> None:
        """Let go of threads and connections.  Questions under way are still answered."""
        for table in self.made.values():
            close = getattr(table, "close", None)
            if close is not None:
                close()


def where(table: ITable, key: str) -> str:
    """File and line of the entry that answers, "" where there is none to tell."""
    return IPlacedTable(table).where(key) if IPlacedTable.providedBy(table) else ""
