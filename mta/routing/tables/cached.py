"""A table that remembers what another answers (``type = "cached"``): for a plugin's own, and for chains.

Contract: see ``mta.routing.tables.remote``; every remote table of ours has the same options itself.
"""

from __future__ import annotations

from zope.interface import implementer

from mta.config.option import TableName, option
from mta.interfaces import ITable, Maybe
from mta.plugin import Services, provider
from mta.routing.tables.remote import Remote, RemoteOptions


class CachedTableOptions(RemoteOptions):
    """Options of a table that remembers the answers of another, joins equal questions and ends those that take long."""

    table: TableName = option(doc="The other table.", example='"table:accounts"')


@provider("table", "cached", CachedTableOptions)
@implementer(ITable)
class CachedTable:
    """See the module's text."""

    def __init__(self, options: CachedTableOptions, services: Services) -> None:
        self._remote = Remote(options, services, services.table(options.table).lookup)

    def lookup(self, key: str) -> Maybe[str | None]:
        """See ``ITable``."""
        return self._remote.lookup(key)
