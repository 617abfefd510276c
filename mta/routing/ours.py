"""What addresses of ours are: their domain's rule, their identity, and how they stand in its tables.

Contract: pure; every step of an expansion and the router ask here.  An address that a table has as it is comes
before one without its tag; what no table has comes last.
How it fails: ``TemporaryFailure`` where a table cannot answer (451 4.3.0): nobody is unknown because of that.
Limits: of a local part with many separators the last ``MAX_SPLITS`` are tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Final, NamedTuple

from mta.address import Address
from mta.lists.values import Named
from mta.reply import Reply
from mta.routing.keys import fold
from mta.routing.lookup import cannot_know, look
from mta.routing.rules import DomainRule, RoutingRules
from mta.routing.values import CannotKnow, Facts, Needs, Question

NO_MAILBOX: Final = Reply.of(550, "5.1.1", "No such mailbox here")
MAX_SPLITS: Final = 4


class Standing(Enum):
    """How an address of a domain of ours stands in its tables."""

    LEADS = "leads"  # to others: an alias, a list, or somebody who has moved
    MAILBOX = "mailbox"
    ANY = "any"  # no table says which there are: the service knows
    UNKNOWN = "unknown"


class Tagged(NamedTuple):
    """``user+tag``: the address without its tag, how that stands, and the tag."""

    base: Address
    standing: Standing
    tag: str


def our_rule(rules: RoutingRules, address: Address) -> DomainRule | None:
    """The rule of the address's domain where we are the end for it."""
    rule = rules.domains.get(address.domain)
    return None if rule is None or rule.relay else rule


def identity(rules: RoutingRules, address: Address) -> Address:
    """Addresses of ours are the same without regard to case; of others we do not know (RFC 5321 2.4)."""
    if our_rule(rules, address) is not None:
        return Address(fold(address.local), address.domain)
    return address


def list_name(rule: DomainRule, address: Address) -> Named | None:
    """What the address is to a mailing list of its domain."""
    return rule.lists.get(fold(address.local)) if rule.lists else None


def in_table(table: str, address: Address, facts: Facts) -> str | Needs | None:
    """The value under the address; None where there is none.  Raises ``TemporaryFailure``."""
    found = look(table, address, facts)
    if isinstance(found, CannotKnow):
        raise cannot_know(table, found)
    return found


def has_mailbox(rules: RoutingRules, address: Address, facts: Facts) -> bool | Needs:
    """Is there a mailbox of that name, as far as we are its end?  Raises ``TemporaryFailure``."""
    rule = our_rule(rules, address)
    if rule is None or rule.alias_of or rule.null:
        return False
    if rule.mailboxes is None:
        return rule.takes_all
    found = in_table(rule.mailboxes, address, facts)
    if found is not None:
        return found if isinstance(found, Needs) else True
    tagged = untagged(rule, address, facts)
    return tagged if isinstance(tagged, Needs) else tagged is not None and tagged.standing is Standing.MAILBOX


def exact(rule: DomainRule, address: Address, facts: Facts) -> Standing | Needs:
    """How the address stands as it is.  All tables are asked together.  Raises ``TemporaryFailure``."""
    if list_name(rule, address) is not None:
        return Standing.LEADS
    questions: tuple[Question, ...] = ()
    for table in (rule.moved, rule.aliases):
        if table is not None:
            found = look(table, address, facts)
            if isinstance(found, Needs):
                questions += found.questions
            elif isinstance(found, CannotKnow):
                raise cannot_know(table, found)
            elif found is not None:
                return Standing.LEADS
    mailbox = None
    if rule.mailboxes is not None:
        mailbox = look(rule.mailboxes, address, facts)
        if isinstance(mailbox, Needs):
            return Needs((*questions, *mailbox.questions))
    if questions:
        return Needs(questions)
    if isinstance(mailbox, CannotKnow):
        raise cannot_know(rule.mailboxes or "", mailbox)
    if mailbox is not None:
        return Standing.MAILBOX
    return Standing.ANY if rule.takes_all else Standing.UNKNOWN


def untagged(rule: DomainRule, address: Address, facts: Facts) -> Tagged | Needs | None:
    """The address without its tag, where that is one of ours; asked for what does not stand as it is.

    Raises ``TemporaryFailure``.
    """
    for local, tag in splits(address.local, rule.separators):
        base = Address(local, address.domain)
        standing = exact(rule, base, facts)
        if isinstance(standing, Needs):
            return standing
        if standing in (Standing.LEADS, Standing.MAILBOX):
            return Tagged(base, standing, tag)
    return None


def splits(local: str, separators: str) -> Iterator[tuple[str, str]]:
    """Name and tag, by the last separator first: of "mary-ann+x" the mailbox "mary-ann" comes before "mary"."""
    places = [index for index, letter in enumerate(local) if letter in separators and 0 < index < len(local) - 1]
    for index in reversed(places[-MAX_SPLITS:]):
        yield local[:index], local[index + 1 :]
