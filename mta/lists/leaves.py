"""How many would get a message to a list: counted at RCPT, so that too many are refused there and not held later.

What it is: answers ``LeavesQuestion`` for a list and those within it, out of what the configuration and tables in
memory can tell at once.
Contract: pessimistic at first (entries, whoever has two is counted twice), and exact only where that is over the limit:
so a list well below it costs a few look-ups, and one far above it too.  What was found holds as long as the tables do.
Members that are aliases count as one.
How it fails: None where a table is not in memory, or cannot answer: the list is then counted when it is expanded, and
held if there are too many (docs/decisions/lists-expand-in-the-queue.rst).
Limits: an exact count takes some 100 octets a member, up to the limit, in turns of ``PAGE`` entries; ``MOST_KNOWN`` of
them are remembered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from itertools import chain, islice
from typing import Final, NamedTuple

from mta.interfaces import ISearchedTable, ITable, Maybe
from mta.lists.values import ListRule
from mta.reply import MailFailure
from mta.routing.keys import fold
from mta.routing.rules import RoutingRules
from mta.routing.tables.listing import PAGE
from mta.routing.values import LeavesQuestion

MOST_KNOWN: Final = 1000


class _Within(NamedTuple):
    """A list and those within it: their own members, and their tables, each with the domain of its names."""

    members: tuple[str, ...]
    tables: tuple[tuple[ISearchedTable, str], ...]
    lists: int  # how many of the entries are lists

    @property
    def most(self) -> int:
        return len(self.members) + sum(table.count() for table, _ in self.tables) - self.lists

    def version(self) -> object:
        return tuple(table.version() for table, _ in self.tables)

    def keys(self) -> Iterator[str]:
        """Each member, as often as it stands there."""
        return chain(
            self.members,
            *(_whole(table, domain) for table, domain in self.tables),
        )


def _whole(table: ISearchedTable, domain: str) -> Iterator[str]:
    return (key if "@" in key else f"{key}@{domain}" for key, _ in table.items(1 << 62))


class Leaves:
    """See the module's text.  ``breathe`` lets the reactor go on; None where nobody else waits."""

    def __init__(
        self,
        rules: RoutingRules,
        table: Callable[[str], ITable],
        breathe: Callable[[], Awaitable[object]] | None,
    ) -> None:
        named = (one for domain in rules.domains.values() for one in domain.lists.values())
        self._lists = {str(one.rule.address): one.rule for one in named if one.posts}
        self._table = table
        self._breathe = breathe
        self._known: dict[str, tuple[object, int]] = {}

    def answer(self, question: LeavesQuestion) -> Maybe[int | None]:
        """How many, or more than ``limit`` where there are more; None: nobody can tell yet."""
        name = str(question.address)
        rule = self._lists.get(name)
        if rule is None:
            return None
        try:
            within = self._within(rule)
            if within is None:
                return None
            version, most = within.version(), within.most
        except MailFailure:
            return None
        # One table has no member twice.
        surely = max((table.count() for table, _ in within.tables), default=0) - within.lists
        if most <= question.limit or surely > question.limit:
            return most if most <= question.limit else surely
        known = self._known.get(name)
        if known is not None and known[0] == version:
            return known[1]
        return self._exactly(name, version, within, question.limit)

    def _within(self, first: ListRule) -> _Within | None:
        members: list[str] = []
        tables: dict[str, tuple[ISearchedTable, str]] = {}
        lists, met, todo = 0, {first.address}, [first]
        for rule in todo:  # it grows
            for member in rule.members:
                text = fold(str(member))
                if text not in self._lists:
                    members.append(text)
                elif self._lists[text].address not in met:
                    met.add(self._lists[text].address)
                    todo.append(self._lists[text])
            for name in rule.tables:
                table = self._table(name)
                if not ISearchedTable.providedBy(table):
                    return None
                if name not in tables:
                    tables[name] = (ISearchedTable(table), rule.address.domain)
                    for found in self._in_table(tables[name][0], rule.address.domain):
                        lists += 1
                        if found.address not in met:
                            met.add(found.address)
                            todo.append(found)
        return _Within(tuple(members), tuple(tables.values()), lists)

    def _in_table(self, table: ISearchedTable, domain: str) -> Iterator[ListRule]:
        """The lists that are members there."""
        for name, rule in self._lists.items():
            keys = (name, rule.address.local) if rule.address.domain == domain else (name,)
            for key in keys:
                if table.lookup(key) is not None:
                    yield rule

    async def _exactly(self, name: str, version: object, within: _Within, limit: int) -> int:
        found: set[str] = set()
        keys = within.keys()
        while page := list(islice(keys, PAGE)):
            found.update(page)
            if len(found) - within.lists > limit:
                break
            if self._breathe is not None:
                await self._breathe()
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[name] = version, len(found) - within.lists
        return len(found) - within.lists
