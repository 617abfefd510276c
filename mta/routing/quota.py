"""Mailboxes that are full: the answer at RCPT, by a table, and where that has a size by what the mailbox holds.

Contract: the value is a size such as ``2GiB``, or ``full``.  What a service cannot say of a mailbox delays nothing: the
delivery tells then.
How it fails: ``TemporaryFailure`` where the table cannot answer (451 4.3.0) or has a value that is neither (451 4.3.5).
Limits: asked of the mailbox that the sender wrote to, and of one behind an alias where that leads to no other; two
messages at once may both pass.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from mta.address import Address
from mta.config.problems import Wrong
from mta.config.values import size
from mta.reply import Reply, TemporaryFailure
from mta.routing.ours import in_table
from mta.routing.rules import DomainRule
from mta.routing.values import CannotKnow, Facts, Needs, Route, UsageQuestion

# RFC 3463 X.2.2
LATER: Final = Reply.of(452, "4.2.2", "The mailbox is full, please try again later")
NEVER: Final = Reply.of(552, "5.2.2", "The mailbox is full")
BAD_QUOTA: Final = Reply.of(451, "4.3.5", "The address is not well configured here, please try again later")
FULL: Final = "full"


@lru_cache(maxsize=1024)
def parse_quota(text: str) -> int:
    """Octets; 0 for ``full``.  Raises ``ValueError``."""
    if text == FULL:
        return 0
    try:
        return size(text)
    except Wrong as wrong:
        raise ValueError(f"{wrong.what}; {wrong.instead}, or {FULL}") from None


def over_quota(rule: DomainRule, address: Address, route: Route, facts: Facts) -> Reply | Needs | None:
    """The reply where the mailbox of the address, which is delivered to by the route, is full."""
    table = rule.quota
    if table is None:
        return None
    base = Address(route.facts.get("local_part", address.local), address.domain)
    value = in_table(table, base, facts)
    if value is None or isinstance(value, Needs):
        return value
    try:
        most = parse_quota(value)
    except ValueError as error:
        raise TemporaryFailure(BAD_QUOTA, f"{base} in {table}: {error}") from error
    reply = NEVER if rule.over_quota == "reject" else LATER
    if not most:
        return reply
    question = UsageQuestion(route.destination.service, base, route.facts.get("mailbox", ""))
    if question not in facts:
        return Needs((question,))
    used = facts[question]
    return None if isinstance(used, CannotKnow) or used < most else reply
