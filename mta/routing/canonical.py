"""Addresses in another form, at acceptance: canonical tables and masquerading, of envelope and header.  Pure.

What it is: ``canonical`` gives the address that stands for another in one of four kinds of places (``Kind``): first by
the table for senders or for recipients, then by the table for both, then by masquerading: a domain below one of
``masquerade`` becomes that.
Contract: a table is asked for the whole address, in a domain of ours for the local part alone and for both without
the tag, which stays; then for ``@domain``.  Its value is an address, or ``@domain`` for the same local part there.
What came of a table is not looked up again.  The null sender and ``postmaster`` without a domain are never changed.
How it fails: ``TemporaryFailure`` where a table cannot answer (451 4.3.0) or has what is no address (451 4.3.5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, NamedTuple

from mta.address import Address, normal_domain
from mta.reply import Reply, TemporaryFailure
from mta.routing.keys import address_keys, fold
from mta.routing.lookup import cannot_know
from mta.routing.ours import splits
from mta.routing.rules import DomainRule
from mta.routing.values import CannotKnow, Facts, Needs, TableQuestion

BAD_CANONICAL: Final = Reply.of(451, "4.3.5", "The address is not well configured here, please try again later")
_NOT_ASKED: Final = object()


class Kind(StrEnum):
    """Where an address stands, as ``[rewrite]`` names it."""

    ENVELOPE_SENDER = "envelope_sender"
    ENVELOPE_RECIPIENT = "envelope_recipient"
    HEADER_SENDER = "header_sender"
    HEADER_RECIPIENT = "header_recipient"

    @property
    def of_sender(self) -> bool:
        return self in (Kind.ENVELOPE_SENDER, Kind.HEADER_SENDER)


HEADER: Final = frozenset({Kind.HEADER_SENDER, Kind.HEADER_RECIPIENT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Canonical:
    """See the module's text.  ``canonical_in`` and ``masquerade_in`` are the places where each counts; ``who``: whose
    mail is changed, in words of ``mta.routing.disclosure``; ``signed``: the header of signed mail too.
    ``masquerade``: domains, with ``!`` those that stay as they are."""

    table: str | None = None
    senders: str | None = None
    recipients: str | None = None
    canonical_in: frozenset[Kind] = frozenset(Kind)
    masquerade: tuple[str, ...] = ()
    masquerade_in: frozenset[Kind] = frozenset(Kind) - {Kind.ENVELOPE_RECIPIENT}
    keep: frozenset[str] = frozenset()  # local parts, folded, that are not masqueraded
    who: str = "networks"
    signed: bool = False
    domains: Mapping[str, DomainRule] = field(default_factory=dict)

    def tables(self, kind: Kind) -> tuple[str, ...]:
        """Those that are asked for an address of this kind, in order."""
        if kind not in self.canonical_in:
            return ()
        own = self.senders if kind.of_sender else self.recipients
        return tuple(table for table in (own, self.table) if table is not None)

    def counts_in(self, kind: Kind) -> bool:
        """Is anything of this kind ever changed?"""
        return bool(self.tables(kind)) or (bool(self.masquerade) and kind in self.masquerade_in)


class Renamed(NamedTuple):
    """The address as it goes on, and by what."""

    address: Address
    rule: str = ""


def canonical(rules: Canonical, address: Address, kind: Kind, facts: Facts) -> Renamed | Needs:
    """See the module's text."""
    if not address.domain:
        return Renamed(address)
    by: list[str] = []
    for table in rules.tables(kind):
        renamed = _by_table(rules, table, address, facts)
        if isinstance(renamed, Needs):
            return renamed
        if renamed is not None and renamed != address:
            address = renamed
            by.append(table)
    if kind in rules.masquerade_in and (domain := _masqueraded(rules, address)):
        address = Address(address.local, domain)
        by.append("masquerade")
    return Renamed(address, ", ".join(by))


def _by_table(rules: Canonical, table: str, address: Address, facts: Facts) -> Address | Needs | None:
    for key, tag in _keys(rules.domains.get(address.domain), address):
        question = TableQuestion(table, key)
        value: Any = facts.get(question, _NOT_ASKED)
        if value is _NOT_ASKED:
            return Needs((question,))
        if isinstance(value, CannotKnow):
            raise cannot_know(table, value)
        if value is not None:
            try:
                return read_canonical(value, address.local, tag)
            except ValueError as error:  # AddressError is one
                raise TemporaryFailure(BAD_CANONICAL, f"{key} in {table}: {error}") from error
    return None


def _keys(rule: DomainRule | None, address: Address) -> list[tuple[str, str]]:
    """What a table is asked for, in order, and the tag that each leaves out."""
    keys: list[tuple[str, str]] = []
    if rule is None or rule.relay or rule.null:
        keys.append((str(address), ""))
    else:
        keys += [(key, "") for key in address_keys(address)]
        for local, _ in splits(address.local, rule.separators):
            keys += [(key, address.local[len(local) :]) for key in address_keys(Address(local, address.domain))]
    keys.append((f"@{address.domain}", ""))
    return keys


@lru_cache(maxsize=4096)
def read_canonical(value: str, local: str = "x", tag: str = "") -> Address:
    """What a value makes of an address.  Raises ``ValueError``."""
    value = value.strip()
    if value.startswith("@"):
        return Address(local, normal_domain(value[1:]))
    found = Address.parse(value, utf8=True)
    return Address(found.local + tag, found.domain) if tag else found


def _masqueraded(rules: Canonical, address: Address) -> str:
    """The domain that hides the address's own; "": it stays."""
    if not rules.masquerade or fold(address.local) in rules.keep:
        return ""
    for entry in rules.masquerade:
        domain = entry.removeprefix("!")
        below = address.domain.endswith(f".{domain}")
        if below or address.domain == domain:
            return domain if below and domain == entry else ""
    return ""
