"""From a configuration to what the router goes by."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from mta.address import Address
from mta.config.domain_options import Domain
from mta.config.list_options import MailingList, list_rule
from mta.config.schema import Configuration
from mta.config.section import Section
from mta.lists.values import ListRule, by_local_part
from mta.routing.aliases import Allowed
from mta.routing.rules import DomainRule, RouteRule, RoutingRules
from mta.routing.tables import FileTableOptions
from mta.routing.values import COMMAND, FILE


def routing_rules(configuration: Configuration) -> RoutingRules:
    """The domains, routes and services of a configuration.  It has been checked: every name in it exists."""
    rules = RoutingRules(
        postmaster=configuration.postmaster,
        services=frozenset(configuration.delivery),
        final=frozenset(
            name for name, section in configuration.delivery.items() if getattr(section.provider, "final", False)
        ),
        domains=domain_rules(configuration.domains, list_rules(configuration.lists)),
        allowed=allowed_in(configuration.tables, (domain.aliases for domain in configuration.domains.values())),
        routes=tuple(RouteRule(name=r.name, to=r.to, via=r.via) for r in configuration.route),
    )
    # Commands only where programs are named; /dev/null needs no folder to be named.
    commands = {COMMAND} if configuration.commands.programs else set()
    return replace(rules, places=rules.places | commands | {FILE})


def domain_rules(domains: Mapping[str, Domain], lists: Collection[ListRule] = ()) -> dict[str, DomainRule]:
    """The domains as routing knows them."""
    return {
        name: DomainRule(
            name=name,
            mailboxes=domain.mailboxes,
            aliases=domain.aliases,
            deliver=domain.deliver or "",
            relay=domain.relay,
            recipients=domain.recipients,
            call_ahead=domain.call_ahead,
            alias_of=domain.alias_of or "",
            null=domain.null,
            separators=domain.separators,
            catch_all=domain.catch_all,
            moved=domain.moved,
            services=domain.services,
            names=domain.names,
            vrfy=domain.vrfy or "",
            expn=domain.expn or "",
            dot_forward=domain.dot_forward or "",
            quota=domain.quota,
            over_quota=domain.over_quota,
            lists=by_local_part(lists, name),
        )
        for name, domain in domains.items()
    }


def list_rules(lists: Mapping[str, MailingList]) -> tuple[ListRule, ...]:
    """The mailing lists as all who decide about them know them."""
    return tuple(list_rule(Address.parse(name), options) for name, options in lists.items())


def allowed_in(tables: Mapping[str, Section], named: Iterable[str | None]) -> dict[str, Allowed]:
    """What tables of aliases may hold beside addresses: only those that are files anything, and commands only those
    whose section says so."""
    found: dict[str, Allowed] = {}
    for name in named:
        if name is None:
            continue
        kind, _, rest = name.partition(":")
        section = tables.get(rest) if kind == "table" else None
        if kind == "file":
            found[name] = Allowed(folder=os.path.dirname(rest))
        elif section is not None and isinstance(section.options, FileTableOptions):
            found[name] = Allowed(section.options.commands, os.path.dirname(section.options.path))
    return found


def sources(rules: RoutingRules) -> frozenset[str]:
    """The tables that the rules name: "table:NAME" or "file:PATH"."""
    named = frozenset(
        name
        for domain in rules.domains.values()
        for name in (
            domain.mailboxes,
            domain.aliases,
            domain.recipients,
            domain.moved,
            domain.services,
            domain.names,
            domain.quota,
        )
        if name is not None
    )
    return named.union(*(one.rule.tables for domain in rules.domains.values() for one in domain.lists.values()))
