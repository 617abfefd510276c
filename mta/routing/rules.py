"""What routing goes by: the domains, routes and services of a configuration, as values.

Contract: made whole from a configuration and replaced whole at a reload; domain names are as by
``normal_domain``.  Tables go by the names under which the ``Answerer`` knows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mta.address import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainRule:
    """One ``[domains.X]``: a domain that we are the end for, or with ``relay`` one that we relay for.

    Without ``mailboxes``, every local part of a domain with ``deliver`` exists: the service knows better.
    Without ``recipients``, every local part of a relay domain does.
    """

    name: str
    mailboxes: str | None = None
    aliases: str | None = None
    deliver: str = ""
    relay: bool = False
    recipients: str | None = None

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
    for a domain that was ours and no longer is gets recognised.  ``max_targets`` bounds one expansion."""

    postmaster: Address
    services: frozenset[str]
    domains: Mapping[str, DomainRule] = field(default_factory=dict)
    routes: tuple[RouteRule, ...] = ()
    final: frozenset[str] = frozenset()
    default: str = "internet"
    max_depth: int = 10
    max_targets: int = 10_000
