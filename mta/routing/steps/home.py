"""``~/.forward``: a mailbox whose user has a file with addresses leads there (``mta.routing.home``).

Contract: asked only in a domain with ``dot_forward``, of names that users of a machine can have.  A file that names its
own user keeps a copy in the mailbox.
"""

from __future__ import annotations

import re
from typing import Final

from mta.address import Address
from mta.reply import TemporaryFailure
from mta.routing.aliases import parse_targets
from mta.routing.keys import fold
from mta.routing.lookup import cannot_know
from mta.routing.ours import Standing, exact, our_rule, untagged
from mta.routing.rules import DomainRule, RoutingRules
from mta.routing.steps.alias import BAD_ALIAS
from mta.routing.steps.step import Step
from mta.routing.values import CannotKnow, Facts, HomeFileQuestion, Needs

#: Nothing else is put into a path.
_USER: Final = re.compile(r"[a-z_][a-z0-9_-]{0,31}\Z")


def dot_forward(rules: RoutingRules, address: Address, facts: Facts) -> Step | Needs | None:
    """See the module's text."""
    rule = our_rule(rules, address)
    if rule is None or not rule.dot_forward:
        return None
    user = _user(rule, address, facts)
    if user is None or isinstance(user, Needs):
        return user
    question = HomeFileQuestion(rule.dot_forward.replace("{local_part}", user), user)
    if question not in facts:
        return Needs((question,))
    text = facts[question]
    if isinstance(text, CannotKnow):
        raise cannot_know(question.path, text)
    if not text:
        return None
    try:
        found = parse_targets(text, address.domain)
    except ValueError as error:
        raise TemporaryFailure(BAD_ALIAS, f"{question.path}: {error}") from error
    return Step("forward", tuple(one for one in found if isinstance(one, Address)), question.path)


def _user(rule: DomainRule, address: Address, facts: Facts) -> str | Needs | None:
    """Whose mailbox it is, if it is one."""
    standing: Standing | Needs = exact(rule, address, facts)
    if standing in (Standing.UNKNOWN, Standing.ANY):
        tagged = untagged(rule, address, facts)
        if isinstance(tagged, Needs):
            return tagged
        if tagged is not None:
            address, standing = tagged.base, tagged.standing
    if isinstance(standing, Needs):
        return standing
    user = fold(address.local)
    return user if standing in (Standing.MAILBOX, Standing.ANY) and _USER.match(user) else None
