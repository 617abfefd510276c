"""What routing goes by: the domains, routes and services of a configuration, as values.

Contract: made whole from a configuration and replaced whole at a reload; domain names are as by
``normal_domain``.  Tables go by the names under which the ``Answerer`` knows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mta.address import Address
from mta.envelope import Destination
from mta.lists.values import SERVICE, ListRule, Named
from mta.routing.aliases import Allowed
from mta.routing.srs import Srs
from mta.routing.values import DISCARD, EXPANSION, NOTE


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainRule:
    """One ``[domains.X]``: a domain that we are the end for, or with ``relay`` one that we relay for.

    Without ``mailboxes``, every local part of a domain with ``deliver`` exists: the service knows better.
    Without ``recipients``, every local part of a relay domain does; with ``call_ahead`` the next host is asked for what
    is not among them.  ``alias_of``: another name of that domain, and
    nothing else counts; ``null``: it takes no mail at all.  ``separators``: letters that may divide a local part from
    its tag.  ``moved``: the table of those who have moved or left; ``services``: that of mailboxes with a delivery
    service of their own; ``names``: that of full names.  ``vrfy`` and ``expn`` are words of ``mta.routing.disclosure``,
    "" for those that hold for all domains.
    """

    name: str
    mailboxes: str | None = None
    aliases: str | None = None
    deliver: str = ""
    relay: bool = False
    recipients: str | None = None
    call_ahead: bool = False
    alias_of: str = ""
    null: bool = False
    separators: str = ""
    catch_all: Address | None = None
    moved: str | None = None
    services: str | None = None
    names: str | None = None
    vrfy: str = ""
    expn: str = ""
    dot_forward: str = ""  # the path, with {local_part}
    quota: str | None = None  # the table of what mailboxes may hold
    over_quota: str = "defer"
    lists: Mapping[str, Named] = field(default_factory=dict)  # by local part in lower case

    @property
    def takes_all(self) -> bool:
        """A domain of ours where no table says which mailboxes there are."""
        return self.mailboxes is None and bool(self.deliver)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRule:
    """One ``[[route]]``: recipients in domains that match ``to`` (see ``DomainPatterns``) go by ``via``."""

    name: str
    to: tuple[str, ...]
    via: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingRules:
    """All of it.  ``final`` names the services whose delivery ends here (mailboxes, programs, LMTP): by it, mail
    for a domain that was ours and no longer is gets recognised.  ``places`` are the services of places that there are
    (``mta.routing.values.is_place``).  ``allowed``: what tables of aliases may hold beside addresses.
    ``max_targets`` bounds one expansion.  ``srs``: whose return paths lead back to senders; its domain is among
    ``domains``; ``srs_from_any``: also where it is no report that comes to them."""

    postmaster: Address
    services: frozenset[str]
    domains: Mapping[str, DomainRule] = field(default_factory=dict)
    routes: tuple[RouteRule, ...] = ()
    final: frozenset[str] = frozenset()
    places: frozenset[str] = frozenset({EXPANSION.service, NOTE, SERVICE, DISCARD})
    allowed: Mapping[str, Allowed] = field(default_factory=dict)
    srs: Srs | None = None
    srs_from_any: bool = False
    default: str = "internet"
    max_depth: int = 10
    max_targets: int = 10_000

    def list_at(self, place: Destination) -> ListRule | None:
        """The list whose mail waits at this place; None: it is no list's, or there is none any more."""
        local, _, domain = place.next_hop.rpartition("@")
        rule = self.domains.get(domain) if place.service == SERVICE else None
        named = None if rule is None else rule.lists.get(local)
        return named.rule if named is not None and named.posts else None
