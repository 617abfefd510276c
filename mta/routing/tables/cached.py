"""A table that remembers what another answers (``type = "cached"``): for a plugin's own, and for chains.

Contract: see ``mta.routing.tables.remote``; every remote table of ours has the same options itself.
"""

from __future__ import annotations

from zope.interface import implementer

from mta.config.option import TableName, option
from mta.interfaces import IPagedTable, IPlacedTable, Maybe
from mta.plugin import Services, provider
from mta.routing.tables.listing import Pages, pages_of
from mta.routing.tables.remote import Remote, RemoteOptions


class CachedTableOptions(RemoteOptions):
    """Options of a table that remembers the answers of another, joins equal questions and ends those that take long."""

    table: TableName = option(doc="The other table.", example='"table:accounts"')


@provider("table", "cached", CachedTableOptions)
@implementer(IPagedTable, IPlacedTable)
class CachedTable:
    """See the module's text."""

    def __init__(self, options: CachedTableOptions, services: Services) -> None:
        self._name = options.table
        self._table = services.table(options.table)
        self._remote = Remote(options, services, self._table.lookup)

    def lookup(self, key: str) -> Maybe[str | None]:
        """See ``ITable``."""
        return self._remote.lookup(key)

    def where(self, key: str) -> str:
        """See ``IPlacedTable``: in the other."""
        return IPlacedTable(self._table).where(key) if IPlacedTable.providedBy(self._table) else ""

    def pages(self, limit: int) -> Pages:
        """See ``IPagedTable``: those of the other, which are not remembered."""
        return pages_of(self._name, self._table, limit)
