"""Mailing lists: the address of a list leads to the place where it is expanded, those of its owner to the owner.

Contract: the members are not looked at here: that is done once, by the service of the place, as soon as the message is
safe (docs/decisions/lists-expand-in-the-queue.rst).
"""

from __future__ import annotations

from mta.address import Address
from mta.routing.ours import list_name, our_rule
from mta.routing.rules import RoutingRules
from mta.routing.steps.step import Place, Step
from mta.routing.values import Facts, Needs


def mailing_list(rules: RoutingRules, address: Address, facts: Facts) -> Step | Needs | None:
    """See the module's text."""
    rule = our_rule(rules, address)
    named = None if rule is None else list_name(rule, address)
    if named is None:
        return None
    if named.posts:
        return Step("list", (Place(named.rule.place),))
    return Step("list-owner", (named.rule.owner,))
