"""The members of a list, one after the other, from the configuration and from tables.

Contract: the order is that of the configuration, then of each table.  A key of a table is a member; one without a
domain is of the list's.  Keys are kept in lower case, so a member whose capitals matter to his host stands as his
entry's value too: ``bob@x.example: Bob@x.example``.
How it fails: ``TemporaryFailure`` where a table cannot answer; ``CannotTell`` where one can never tell all its keys;
what is no address comes out as a ``Wrong``, and does not hold up the others.
Limits: nothing is copied: a table of a million members is walked through, up to ``limit`` entries of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from mta.address import Address, AddressError
from mta.interfaces import ITable
from mta.lists.values import ListRule
from mta.routing.keys import fold


class Wrong(NamedTuple):
    """An entry that is no member, and why."""

    member: str
    why: str


class CannotTell(Exception):
    """The table can only be asked for single keys."""

    def __init__(self, table: str) -> None:
        super().__init__(f"the table {table} cannot tell its members")


async def roster(rule: ListRule, table: Callable[[str], ITable], limit: int) -> Iterator[Address | Wrong]:
    """The members.  ``table`` gives tables by their names.  The iterator may raise ``TemporaryFailure`` too."""
    entries: list[Iterable[tuple[str, str]]] = []
    for name in rule.tables:
        found: Any = table(name)
        if not hasattr(found, "items"):
            raise CannotTell(name)
        listed = found.items(limit)
        # A table of a plugin may have to wait before it can list.
        entries.append(await listed if hasattr(listed, "__await__") else listed)
    return _members(rule, entries)


def _members(rule: ListRule, tables: list[Iterable[tuple[str, str]]]) -> Iterator[Address | Wrong]:
    yield from rule.members
    for entries in tables:
        for key, value in entries:
            yield _member(key, value, rule.address.domain)


def _member(key: str, value: str, domain: str) -> Address | Wrong:
    written = value if "@" in value and fold(value) == key else key
    try:
        return Address.parse(written if "@" in written else f"{written}@{domain}", utf8=True)
    except AddressError as error:
        return Wrong(key, str(error))
