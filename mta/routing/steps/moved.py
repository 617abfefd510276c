"""People who have moved or left: RFC 5321 3.4, as ``mta.routing.moved`` has it."""

from __future__ import annotations

from typing import Final

from mta.address import Address
from mta.reply import TemporaryFailure
from mta.routing.lookup import cannot_know
from mta.routing.moved import choose, parse_moved
from mta.routing.ours import in_table, our_rule
from mta.routing.rules import RoutingRules
from mta.routing.steps.alias import BAD_ALIAS
from mta.routing.steps.step import Step
from mta.routing.values import CannotKnow, DayQuestion, Facts, Needs

_TODAY: Final = DayQuestion()


def moved(rules: RoutingRules, address: Address, facts: Facts) -> Step | Needs | None:
    """See the module's text."""
    rule = our_rule(rules, address)
    if rule is None or rule.moved is None:
        return None
    found = in_table(rule.moved, address, facts)
    if found is None or isinstance(found, Needs):
        return found
    try:
        entry = parse_moved(found)
    except ValueError as error:
        raise TemporaryFailure(BAD_ALIAS, f"{address} in {rule.moved}: {error}") from error
    today = ""
    if entry.until:
        if _TODAY not in facts:
            return Needs((_TODAY,))
        today = facts[_TODAY]
        if isinstance(today, CannotKnow):
            raise cannot_know(rule.moved, today)
    reply, to, note = choose(entry, today)
    return Step("moved", () if to is None else (to,), rule.moved, reply, note)
