"""Catch-all: what nothing else of a domain knows leads to one address.

Contract: ``postmaster`` is never caught: it has an end of its own.  The address of a catch-all that does not exist
itself is held, since it is a mistake in the configuration.
"""

from __future__ import annotations

from mta.address import Address
from mta.routing.ours import Standing, exact, identity, our_rule, untagged
from mta.routing.rules import RoutingRules
from mta.routing.steps.step import Step
from mta.routing.values import Facts, Needs


def catch_all(rules: RoutingRules, address: Address, facts: Facts) -> Step | Needs | None:
    """See the module's text."""
    rule = our_rule(rules, address)
    if rule is None or rule.catch_all is None or rule.alias_of or address.is_postmaster:
        return None
    standing = exact(rule, address, facts)
    if isinstance(standing, Needs):
        return standing
    if standing is not Standing.UNKNOWN or identity(rules, address) == identity(rules, rule.catch_all):
        return None
    tagged = untagged(rule, address, facts)
    if tagged is not None:
        return tagged if isinstance(tagged, Needs) else None
    return Step("catch-all", (rule.catch_all,))
