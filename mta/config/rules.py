"""From a configuration to what the router goes by."""

from __future__ import annotations

from mta.config.schema import Configuration
from mta.routing.rules import DomainRule, RouteRule, RoutingRules


def routing_rules(configuration: Configuration) -> RoutingRules:
    """The domains, routes and services of a configuration.  It has been checked: every name in it exists."""
    domains = {
        name: DomainRule(
            name=name,
            mailboxes=domain.mailboxes,
            aliases=domain.aliases,
            deliver=domain.deliver or "",
            relay=domain.relay,
            recipients=domain.recipients,
        )
        for name, domain in configuration.domains.items()
    }
    return RoutingRules(
        postmaster=configuration.postmaster,
        services=frozenset(configuration.delivery),
        final=frozenset(
            name for name, section in configuration.delivery.items() if getattr(section.provider, "final", False)
        ),
        domains=domains,
        routes=tuple(RouteRule(name=r.name, to=r.to, via=r.via) for r in configuration.route),
    )


def sources(rules: RoutingRules) -> frozenset[str]:
    """The tables that the rules name: "table:NAME" or "file:PATH"."""
    return frozenset(
        name
        for domain in rules.domains.values()
        for name in (domain.mailboxes, domain.aliases, domain.recipients)
        if name is not None
    )
