"""What nearly matched an address, for an operator who thinks that it should have.

Contract: only shown; nothing is decided by it.  Each is what it is, why it did not match, and where it stands.
Limits: ``MOST_KEYS`` entries of a table are looked at, ``MOST_NEAR`` of each kind are told.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from itertools import islice
from typing import Final, NamedTuple

from mta.address import Address
from mta.admin.route_tree import place_of_entry
from mta.config.lines import element_line, section_line
from mta.deciding import Deciding
from mta.interfaces import IListedTable
from mta.routing.keys import fold
from mta.routing.patterns import DomainPatterns

MOST_KEYS: Final = 20_000
MOST_NEAR: Final = 3
#: How alike names are that could be meant: of entries in tables, and of domains, which have much in common.
_ALIKE: Final = 0.75
_ALIKE_DOMAINS: Final = 0.85


class Near(NamedTuple):
    """One rule or entry that nearly matched."""

    what: str
    why: str
    where: str


def near(decides: Deciding, address: Address, unknown: bool) -> list[Near]:
    """All of them.  ``unknown``: no such mailbox is here, so entries of tables with a name like it are looked for."""
    found = [*_domains(decides, address.domain), *_routes(decides, address.domain)]
    return [*found, *_entries(decides, address)] if unknown else found


def _domains(decides: Deciding, domain: str) -> Iterator[Near]:
    domains = decides.configuration.domains
    if domain in domains or not domain:
        return
    alike = set(get_close_matches(domain, domains, MOST_NEAR, _ALIKE_DOMAINS))
    for name in domains:
        if domain.endswith(f".{name}"):
            why = f"{domain} is below it, and a domain stands for itself alone"
        elif name.endswith(f".{domain}"):
            why = f"{domain} is above it"
        elif name in alike:
            why = "the name is another"
        else:
            continue
        yield Near(f"domain {name}", why, section_line(decides.configuration.files, "domains", name))


def _routes(decides: Deciding, domain: str) -> Iterator[Near]:
    """Those that come before the one that matches, and do not."""
    for route in decides.configuration.route:
        if DomainPatterns(route.to).match(domain):
            return
        whys = [why for pattern in route.to if (why := _nearly(pattern, domain))]
        if whys:
            place = element_line(decides.configuration.files, "route", route.name)
            yield Near(f"route {route.name}", "; ".join(whys[:MOST_NEAR]), place)


def _nearly(pattern: str, domain: str) -> str:
    """Why a pattern does not match, where it nearly does."""
    name = pattern.removeprefix("*.")
    if name != pattern and name == domain:
        return f'"{pattern}" is what is below {name}, not {name} itself'
    if name == pattern and domain.endswith(f".{name}"):
        return f'"{pattern}" is that domain alone, and {domain} is below it'
    if get_close_matches(domain, [name], 1, _ALIKE_DOMAINS):
        return f'"{pattern}" is another name'
    return ""


def _entries(decides: Deciding, address: Address) -> Iterator[Near]:
    domain = decides.configuration.domains.get(address.domain)
    for key in ("moved", "aliases", "mailboxes", "recipients"):
        name = getattr(domain, key, None)
        table = decides.tables.made.get(name) if name is not None else None
        if name is None or not IListedTable.providedBy(table):
            continue
        keys = [key for key, _ in islice(IListedTable(table).items(MOST_KEYS), MOST_KEYS)]
        whole = str(Address(fold(address.local), address.domain))
        alike = dict.fromkeys(
            [
                *get_close_matches(fold(address.local), keys, MOST_NEAR, _ALIKE),
                *get_close_matches(whole, keys, MOST_NEAR, _ALIKE_DOMAINS),
            ]
        )
        for entry in list(alike)[:MOST_NEAR]:
            yield Near(f"{entry} in {name}", "the name is another", place_of_entry(decides, name, entry))
