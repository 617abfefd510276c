"""What ``[lists.X]`` says of other sections, and what a list may be called.

Contract: as ``mta.config.check``, of which it is a part; table files are read there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from mta.config.problems import Problem
from mta.config.table_check import tables_of
from mta.config.tree import key_path
from mta.interfaces import IListedTable, IPagedTable
from mta.lists.values import BOUNCES, OWNER

if TYPE_CHECKING:
    from mta.config.check import Draft
    from mta.config.list_options import MailingList

# RFC 2919 2: the name becomes a part of List-Id, which is a dot-atom.
_LOCAL: Final = re.compile(r"[a-z0-9_+=-]+(?:\.[a-z0-9_+=-]+)*\Z")


def lists(draft: Draft) -> Iterator[Problem]:
    """All of it."""
    for name, options in draft.lists.items():
        path = key_path("lists", name)
        yield from _name(draft, path, name)
        yield from _owner(draft, f"{path}.owner", name, options)
        yield from _tables(draft, f"{path}.members_from", options)
    for name, domain in draft.domains.items():
        if domain.catch_all is not None and str(domain.catch_all).lower() in draft.lists:
            path = f"{key_path('domains', name)}.catch_all"
            yield draft.problem(path, f'"{domain.catch_all}" is a list', "name a mailbox: all would be posts")


def has_list(draft: Draft, domain: str) -> bool:
    """Is there a list in the domain?"""
    return any(name.endswith(f"@{domain}") for name in draft.lists)


def _name(draft: Draft, path: str, name: str) -> Iterator[Problem]:
    local, _, domain = name.rpartition("@")
    if not _LOCAL.match(local):
        what = f"{local} has letters that the name of a list may not have"
        yield draft.problem(path, what, 'write a-z, 0-9, "_", "-", "+", "=" and single dots')
    there = draft.domains.get(domain)
    if there is None:
        if draft.all_domains:
            yield draft.problem(path, f"{domain} is not a domain of ours", f'write [domains."{domain}"]')
    elif there.relay or there.null or there.alias_of is not None:
        yield draft.problem(path, f"{domain} has no addresses of its own here", "name a domain that is ours")
    for own in _own(name):
        if own in draft.lists:
            what = f"{own} is where reports about this list go, and a list too"
            yield draft.problem(path, what, "give one of them another name")


def _owner(draft: Draft, path: str, name: str, options: MailingList) -> Iterator[Problem]:
    owner = str(options.owner).lower()
    if owner in draft.lists or owner in _own(name):
        yield draft.problem(path, f'"{options.owner}" is a list, which takes no reports', "name a person")


def _own(name: str) -> tuple[str, ...]:
    local, _, domain = name.rpartition("@")
    return tuple(f"{local}{suffix}@{domain}" for suffix in (OWNER, BOUNCES))


def _tables(draft: Draft, path: str, options: MailingList) -> Iterator[Problem]:
    for table in options.members_from:
        if why := _cannot_list(draft, table, ()):
            what = f"{table} cannot tell all that it holds: {why}"
            yield draft.problem(path, what, "write what is missing, or name another table")


def _cannot_list(draft: Draft, table: str, above: tuple[str, ...]) -> str:
    """Why it cannot, or ""; a table that is made of others can where all of them can."""
    section = draft.tables.get(table.removeprefix("table:")) if table.startswith("table:") else None
    if section is None or table in above:
        return ""
    provider = section.provider
    if IListedTable.implementedBy(provider):
        return ""
    if not IPagedTable.implementedBy(provider):
        return f'{table} has type = "{section.type_name}"'
    if own := getattr(provider, "cannot_list", _nothing)(section.options):
        return f"{table} {own}"
    whys = (_cannot_list(draft, f"table:{other}", (*above, table)) for other in tables_of(section.options))
    return next(filter(None, whys), "")


def _nothing(options: object) -> str:
    return ""
