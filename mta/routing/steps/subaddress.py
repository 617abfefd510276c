"""Subaddresses (RFC 5233 1): ``user+tag`` leads where ``user`` does.

Contract: an address that stands in a table as it is comes first.  Where ``user`` is a mailbox the address is no other:
the router finds the mailbox and keeps the tag for the delivery.  Where ``user`` leads to others the tag ends here: they
may know nothing of it; the path keeps it.
"""

from __future__ import annotations

from mta.address import Address
from mta.routing.ours import Standing, exact, our_rule, untagged
from mta.routing.rules import RoutingRules
from mta.routing.steps.step import Step
from mta.routing.values import Facts, Needs


def subaddress(rules: RoutingRules, address: Address, facts: Facts) -> Step | Needs | None:
    """See the module's text."""
    rule = our_rule(rules, address)
    if rule is None or rule.alias_of or not rule.separators or set(rule.separators).isdisjoint(address.local):
        return None
    standing = exact(rule, address, facts)
    if isinstance(standing, Needs):
        return standing
    if standing in (Standing.MAILBOX, Standing.LEADS):
        return None
    tagged = untagged(rule, address, facts)
    if tagged is None or isinstance(tagged, Needs):
        return tagged
    return Step("subaddress", (tagged.base,)) if tagged.standing is Standing.LEADS else None
