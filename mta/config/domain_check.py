"""What ``[domains.X]`` says of other sections and of files: services, other domains, aliases, people who have moved.

Contract: as ``mta.config.check``, of which it is a part; table files have been read there, and are right or told of.
Limits: tables that are no files are not looked into; ``_MOST`` wrong lines of a file are told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

from mta.config.domain_options import Domain
from mta.config.list_check import has_list
from mta.config.postmaster import table_file
from mta.config.problems import Problem
from mta.config.rewrite_options import RewriteOptions
from mta.config.rules import allowed_in
from mta.config.tree import key_path
from mta.config.values import nearest
from mta.routing.aliases import ADDRESSES, parse_targets
from mta.routing.canonical import read_canonical
from mta.routing.keys import table_key
from mta.routing.moved import parse_moved
from mta.routing.patterns import DomainPatterns
from mta.routing.quota import parse_quota
from mta.routing.tables import TableError, read_table

if TYPE_CHECKING:
    from mta.config.check import Draft

#: A value that is one address without quotes, and its domain.
_PLAIN: Final = re.compile(r"(?=[^@]{1,64}@)[\w+\-]+(?:\.[\w+\-]+)*@([A-Za-z0-9.\-]+)\Z", re.ASCII)
_MOST: Final = 20


def domains(draft: Draft) -> Iterator[Problem]:
    """All of it."""
    for name, domain in draft.domains.items():
        path = key_path("domains", name)
        if domain.deliver is not None:
            yield from known_delivery(draft, f"{path}.deliver", domain.deliver)
        elif _needs_service(domain) and (domain.mailboxes is not None or not has_list(draft, name)):
            instead = f"write deliver = {_choice(draft.delivery_names)}, or relay = true if it is not ours"
            yield draft.problem(path, "deliver is missing", instead)
        yield from _other_domain(draft, f"{path}.alias_of", name, domain)
        yield from _catch_all(draft, f"{path}.catch_all", domain)
        if domain.relay and domain.call_ahead:
            yield from _call_ahead(draft, f"{path}.call_ahead", name, domain)


def domain_files(draft: Draft) -> Iterator[Problem]:
    """The values in table files."""
    allowed = allowed_in(draft.tables, (domain.aliases for domain in draft.domains.values()))
    for name, domain in draft.domains.items():
        path = key_path("domains", name)
        aliases = partial(parse_targets, domain=name, allowed=allowed.get(domain.aliases or "", ADDRESSES))
        services = partial(_is_service, known=draft.delivery_names)
        yield from _values(draft, f"{path}.aliases", domain.aliases, aliases)
        yield from _values(draft, f"{path}.moved", domain.moved, parse_moved)
        yield from _values(draft, f"{path}.services", domain.services, services)
        yield from _values(draft, f"{path}.quota", domain.quota, parse_quota)
    rewrite = draft.found.get("rewrite")
    if isinstance(rewrite, RewriteOptions):
        for key in ("canonical", "sender_canonical", "recipient_canonical"):
            yield from _values(draft, f"rewrite.{key}", getattr(rewrite, key), read_canonical)


def known_delivery(draft: Draft, path: str, name: str) -> Iterator[Problem]:
    """Is there such a delivery service?"""
    if name not in draft.delivery_names:
        what = f"there is no [delivery.{name}]"
        yield draft.problem(path, what, nearest(name, draft.delivery_names))


def _needs_service(domain: Domain) -> bool:
    if domain.relay or domain.null or domain.alias_of is not None:
        return False
    return domain.mailboxes is not None or (domain.aliases is None and domain.moved is None and not domain.catch_all)


def _choice(names: Collection[str]) -> str:
    return " or ".join(f'"{name}"' for name in sorted(names)) or '"local"'


def _other_domain(draft: Draft, path: str, name: str, domain: Domain) -> Iterator[Problem]:
    if domain.alias_of is None:
        return
    other = draft.domains.get(domain.alias_of)
    if domain.alias_of == name:
        yield draft.problem(path, "a domain cannot be another name of itself", "name another of [domains.X]")
    elif other is None:
        if draft.all_domains:
            what = f'there is no [domains."{domain.alias_of}"]'
            yield draft.problem(path, what, nearest(domain.alias_of, set(draft.domains) - {name}))
    elif other.relay or other.null or other.alias_of is not None:
        what = f"{domain.alias_of} has no mailboxes of its own"
        yield draft.problem(path, what, f"name the domain that has them: {other.alias_of}" if other.alias_of else "")


def _call_ahead(draft: Draft, path: str, name: str, domain: Domain) -> Iterator[Problem]:
    """The delivery service by which its mail goes can ask."""
    if None in draft.route:
        return
    routed = next((route.via for route in draft.route if route and DomainPatterns(route.to).match(name)), None)
    service = routed or domain.deliver or "internet"
    section = draft.found.get("delivery", {}).get(service)
    if section is not None and not hasattr(section.provider, "probe"):
        what = f"mail for {name} goes by [delivery.{service}], which cannot ask for addresses"
        yield draft.problem(path, what, "write recipients = ..., or let it go by one of type smtp")


def _catch_all(draft: Draft, path: str, domain: Domain) -> Iterator[Problem]:
    """Its mailbox or alias, where the tables of a domain of ours are files."""
    address = domain.catch_all
    if address is None or (target := draft.domains.get(address.domain)) is None or target.relay:
        return
    if target.null:
        yield draft.problem(path, f"{address.domain} takes no mail (null = true)", "name another")
        return
    if target.alias_of is not None or (target.mailboxes is None and target.deliver is not None):
        return
    keys = [key for key in (target.mailboxes, target.aliases, target.moved) if key is not None]
    files = [table_file(key, draft.tables) for key in keys]
    try:
        if None not in files and not any(_has(file, str(address), address.local) for file in files if file):
            yield draft.problem(path, f'"{address}" is neither a mailbox nor an alias', "add it, or name another")
    except (TableError, OSError):
        return  # told by the check of the files


def _has(file: str, *keys: str) -> bool:
    entries = read_table(file).entries
    return any(entries.get(table_key(key)) is not None for key in keys)


def _is_service(text: str, known: Collection[str]) -> None:
    if text not in known:
        raise ValueError(f"there is no [delivery.{text}]; {nearest(text, known)}")


def _values(draft: Draft, path: str, table: str | None, read: Callable[[str], object]) -> Iterator[Problem]:
    file = table_file(table, draft.tables)
    if file is None:
        return
    try:
        entries = read_table(file).entries
    except (TableError, OSError):
        return  # told by the check of the files
    wrong = 0
    right: set[str] = set()  # domains of such plain addresses as may stand there: of a million aliases most are such
    for key, text in entries.pairs():
        plain = _PLAIN.match(text)
        if plain is not None and plain[1] in right:
            continue
        try:
            read(text)
            if plain is not None:
                right.add(plain[1])
        except ValueError as error:
            wrong += 1
            if wrong <= _MOST:
                yield draft.problem(path, f"{file}: {key}: {error}")
