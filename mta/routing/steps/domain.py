"""Domains that are another name of one of ours (``alias_of``): every address is that of the other."""

from __future__ import annotations

from mta.address import Address
from mta.routing.ours import our_rule
from mta.routing.rules import RoutingRules
from mta.routing.steps.step import Step
from mta.routing.values import Facts


def alias_domain(rules: RoutingRules, address: Address, facts: Facts) -> Step | None:
    """See the module's text."""
    rule = our_rule(rules, address)
    if rule is None or not rule.alias_of:
        return None
    return Step("alias-domain", (Address(address.local, rule.alias_of),))
