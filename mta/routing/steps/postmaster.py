"""RFC 5321 4.5.1: ``postmaster`` alone, and at a domain of ours that has no such mailbox, leads to ours."""

from __future__ import annotations

from mta.address import Address
from mta.routing.ours import has_mailbox, our_rule
from mta.routing.rules import RoutingRules
from mta.routing.steps.step import Step
from mta.routing.values import Facts, Needs


def postmaster(rules: RoutingRules, address: Address, facts: Facts) -> Step | Needs | None:
    """See the module's text."""
    if not address.is_postmaster or address == rules.postmaster:
        return None
    if address.domain:
        if our_rule(rules, address) is None:
            return None
        known = has_mailbox(rules, address, facts)
        if isinstance(known, Needs):
            return known
        if known:
            return None
    return Step("postmaster", (rules.postmaster,))
