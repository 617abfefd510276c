"""The members of a list, page by page, from the configuration and from tables.

Contract: the order is that of the configuration, then of each table.  A key of a table is a member; one without a
domain is of the list's.  Keys are kept in lower case, so a member whose capitals matter to his host stands as his
entry's value too: ``bob@x.example: Bob@x.example``.
How it fails: ``TemporaryFailure`` where a table cannot answer; ``CannotTell`` where one can never tell all its keys;
what is no address comes out as a ``Wrong``, and does not hold up the others.
Limits: nothing is copied: a table of a million members is walked through page by page (``mta.routing.tables.listing``),
up to ``limit`` entries of each.  Who stops before the end closes it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from itertools import islice
from typing import NamedTuple

from mta.address import Address, AddressError
from mta.interfaces import ITable
from mta.lists.values import ListRule
from mta.routing.keys import fold
from mta.routing.tables.listing import PAGE, pages_of


class Wrong(NamedTuple):
    """An entry that is no member, and why."""

    member: str
    why: str


async def roster(
    rule: ListRule, table: Callable[[str], ITable], limit: int
) -> AsyncGenerator[list[Address | Wrong], None]:
    """The members, in pages.  ``table`` gives tables by their names."""
    members = iter(rule.members)
    while page := list(islice(members, PAGE)):
        yield [*page]
    for name in rule.tables:
        async with aclosing(pages_of(name, table(name), limit)) as pages:
            async for entries in pages:
                yield [_member(key, value, rule.address.domain) for key, value in entries]


def _member(key: str, value: str, domain: str) -> Address | Wrong:
    written = value if "@" in value and fold(value) == key else key
    try:
        return Address.parse(written if "@" in written else f"{written}@{domain}", utf8=True)
    except AddressError as error:
        return Wrong(key, str(error))
