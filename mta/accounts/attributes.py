"""What is known of accounts whose source knows passwords and nothing else (PAM, Dovecot).

What it is: ``Attributes`` answers ``find``: by the table of the configuration, where one is named, as
``mta.accounts.records.from_value`` reads it; else by ``exists``, where the source can be asked for a name; else every
name is an account, and only its password says whether it is one.  ``plain`` makes the account of a name of which
nothing else is known.
How it fails: ``TemporaryFailure``.
Limits: what ``exists`` said is remembered for ``cache`` seconds, of ``MOST_KNOWN`` names.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from mta.accounts.file import today
from mta.accounts.table import Rows
from mta.accounts.values import Account
from mta.interfaces import Maybe
from mta.plugin import Services

MOST_KNOWN: Final = 10_000


class Attributes:
    """See the module's text."""

    def __init__(
        self,
        table: str | None,
        services: Services,
        exists: Callable[[str], Awaitable[bool]] | None,
        cache: float,
        plain: Callable[[str], Account] | None = None,
    ) -> None:
        self._rows = Rows(services.table(table), table) if table is not None else None
        self._exists = exists
        self._cache = cache
        self._plain = plain or _plain
        self._now = services.now
        self._seconds = services.reactor.seconds
        self._known: OrderedDict[str, tuple[bool, float]] = OrderedDict()

    def find(self, name: str) -> Maybe[Account | None]:
        """The account.  Raises ``TemporaryFailure``."""
        if self._rows is not None:
            return self._rows.ask(name, lambda record: record.account(today(self._now())) if record else None)
        if self._exists is None:
            return self._plain(name)
        known = self._known.get(name)
        if known is not None and self._seconds() < known[1]:
            return self._plain(name) if known[0] else None
        return self._ask(name, self._exists)

    async def _ask(self, name: str, exists: Callable[[str], Awaitable[bool]]) -> Account | None:
        there = await exists(name)
        self._known.pop(name, None)
        self._known[name] = there, self._seconds() + self._cache
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        return self._plain(name) if there else None


def _plain(name: str) -> Account:
    return Account(name=name, addresses=(name,) if "@" in name else ())
