"""What a mailing list is, to all who decide about one.  Values only.

Terms: RFC 5321 3.9.2 (list), RFC 2919 (List-Id), RFC 2369 (the other fields).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from mta.address import Address
from mta.envelope import Destination

#: The service of the place at which mail to a list waits to be expanded; the next hop is the list's address.
SERVICE: Final = "(list)"
#: What makes of the list's name those of its owner, and of where reports go (RFC 2142 6 has the first).
OWNER: Final = "-owner"
BOUNCES: Final = "-bounces"


class Posting(StrEnum):
    """Who may send to a list, where it is no address or domain."""

    ANYONE = "anyone"
    MEMBERS = "members"
    OWNER = "owner"
    NETWORKS = "networks"
    AUTHENTICATED = "authenticated"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRule:
    """One list; the options are those of ``mta.config.list_options``.  ``tables`` go by their names for ``Answerer``.

    ``senders`` and ``domains`` are who may post beside those of ``posting``.
    """

    address: Address
    owner: Address
    description: str = ""
    members: tuple[Address, ...] = ()
    tables: tuple[str, ...] = ()
    posting: frozenset[Posting] = frozenset()
    senders: frozenset[Address] = frozenset()
    domains: tuple[str, ...] = ()
    expn: str = "nobody"
    subject_tag: str = ""
    reply_to: str = ""
    sender: bool = False
    rewrite_from: str = "auto"
    max_members: int = 100_000

    @property
    def place(self) -> Destination:
        """Where mail to it waits to be expanded."""
        return Destination(SERVICE, str(self.address))

    @property
    def id(self) -> str:
        """Its List-Id (RFC 2919 2)."""
        return f"{self.address.local}.{self.address.domain}"

    @property
    def bounces(self) -> Address:
        """The sender of what it sends."""
        return Address(self.address.local + BOUNCES, self.address.domain)

    @property
    def contact(self) -> Address:
        """Its owner's address, as everybody may know it."""
        return Address(self.address.local + OWNER, self.address.domain)


class Named(NamedTuple):
    """An address that belongs to a list: ``posts`` is that of the list itself, others lead to its owner."""

    rule: ListRule
    posts: bool


def by_local_part(rules: Iterable[ListRule], domain: str) -> Mapping[str, Named]:
    """The addresses of the lists in a domain, by their local parts, which are in lower case."""
    found: dict[str, Named] = {}
    for rule in rules:
        if rule.address.domain == domain:
            found[rule.address.local] = Named(rule, True)
            for own in (rule.bounces, rule.contact):
                found[own.local] = Named(rule, False)
    return found
