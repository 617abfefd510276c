"""Expansion: where an accepted address leads, decided once at acceptance.

What it is: a walk from the address over steps (``STEPS``: postmaster, aliases) to addresses that lead nowhere
else.  Every address is visited once, so loops end by themselves and nobody gets a message twice; a loop from
which nothing else leads out is 554 5.4.6 (RFC 5321 6.3).
How it fails: ``TemporaryFailure`` where a table cannot answer (451 4.3.0), where an alias is not well formed
(451 4.3.5: a mistake in a table never bounces mail) or the leaves are too many (452 4.5.3);
``PermanentFailure`` for loops and chains over ``max_depth``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from mta import events
from mta.address import Address
from mta.events import Event
from mta.reply import PermanentFailure, Reply, TemporaryFailure
from mta.routing.aliases import parse_targets
from mta.routing.keys import fold
from mta.routing.lookup import cannot_know, look
from mta.routing.rules import DomainRule, RoutingRules
from mta.routing.values import CannotKnow, Expansion, Facts, Needs, Question

LOOP: Final = Reply.of(554, "5.4.6", "The address leads back to itself")
TOO_DEEP: Final = Reply.of(554, "5.4.6", "The address leads on over too many steps")
TOO_MANY: Final = Reply.of(452, "4.5.3", "The address leads to too many recipients")
BAD_ALIAS: Final = Reply.of(451, "4.3.5", "The address is not well configured here, please try again later")


class Step(NamedTuple):
    """An address leads on: by which rule, and where to."""

    rule: str
    targets: tuple[Address, ...]


Stepper = Callable[[RoutingRules, Address, Facts], Step | Needs | None]


def expand(rules: RoutingRules, recipient: Address, facts: Facts) -> Expansion | Needs:
    """See the module's text."""
    if recipient.domain and recipient.domain not in rules.domains:
        return Expansion(targets=((recipient, ()),))  # what most relayed mail comes to
    walk = _Walk(rules, facts)
    walk.run(recipient)
    if walk.questions:
        return Needs(tuple(walk.questions))
    if not walk.leaves:
        # RFC 5321 4.5.1: mail to postmaster is never refused; it waits until the configuration is mended.
        if not recipient.is_postmaster:
            raise PermanentFailure(LOOP, f"{recipient} leads only back to itself")
        walk.leaves[rules.postmaster] = (rules.postmaster, ())
    return Expansion(targets=tuple(walk.leaves.values()), reasons=tuple(walk.reasons))


class _Walk:
    """One expansion, breadth first, so that the questions of a level are asked together."""

    def __init__(self, rules: RoutingRules, facts: Facts) -> None:
        self._rules = rules
        self._facts = facts
        self._todo: deque[tuple[Address, tuple[str, ...]]] = deque()
        self._seen: set[Address] = set()
        self.leaves: dict[Address, tuple[Address, tuple[str, ...]]] = {}
        self.reasons: list[Event] = []
        self.questions: dict[Question, None] = {}

    def run(self, recipient: Address) -> None:
        self._push(recipient, ())
        while self._todo:
            address, path = self._todo.popleft()
            step = self._step(address)
            if isinstance(step, Needs):
                self.questions.update(dict.fromkeys(step.questions))
            elif step is None:
                self._leaf(address, path)
            else:
                self._follow(address, path, step)

    def _step(self, address: Address) -> Step | Needs | None:
        for stepper in STEPS:
            step = stepper(self._rules, address, self._facts)
            if step is not None:
                return step
        return None

    def _follow(self, address: Address, path: tuple[str, ...], step: Step) -> None:
        targets = [str(target) for target in step.targets]
        self.reasons.append(events.EXPANDED(address=str(address), targets=targets, rule=step.rule))
        path = (*path, f"{step.rule}:{address}")
        if len(path) > self._rules.max_depth:
            raise PermanentFailure(TOO_DEEP, " ".join(path))
        here = identity(self._rules, address)
        for target in step.targets:
            if identity(self._rules, target) == here:
                self._names_itself(target, path)
            else:
                self._push(target, path)

    def _names_itself(self, address: Address, path: tuple[str, ...]) -> None:
        """An alias that has its own name among its targets: a copy into the mailbox, where there is one."""
        known = has_mailbox(self._rules, address, self._facts)
        if isinstance(known, Needs):
            self.questions.update(dict.fromkeys(known.questions))
        elif known:
            self._leaf(address, path)

    def _push(self, address: Address, path: tuple[str, ...]) -> None:
        same = identity(self._rules, address)
        if same not in self._seen:
            self._seen.add(same)
            if len(self._seen) > self._rules.max_targets:
                raise TemporaryFailure(TOO_MANY, f"over {self._rules.max_targets} addresses")
            self._todo.append((address, path))

    def _leaf(self, address: Address, path: tuple[str, ...]) -> None:
        self.leaves.setdefault(identity(self._rules, address), (address, path))


def identity(rules: RoutingRules, address: Address) -> Address:
    """Addresses of ours are the same without regard to case; of others we do not know (RFC 5321 2.4)."""
    if address.domain in rules.domains:
        return Address(fold(address.local), address.domain)
    return address


def has_mailbox(rules: RoutingRules, address: Address, facts: Facts) -> bool | Needs:
    """Is there a mailbox of that name, as far as we are its end?  Raises ``TemporaryFailure``."""
    rule = _ours(rules, address)
    if rule is None:
        return False
    if rule.mailboxes is None:
        return rule.takes_all
    found = look(rule.mailboxes, address, facts)
    if isinstance(found, Needs):
        return found
    if isinstance(found, CannotKnow):
        raise cannot_know(rule.mailboxes, found)
    return found is not None


def _ours(rules: RoutingRules, address: Address) -> DomainRule | None:
    rule = rules.domains.get(address.domain)
    return None if rule is None or rule.relay else rule


def _alias(rules: RoutingRules, address: Address, facts: Facts) -> Step | Needs | None:
    rule = _ours(rules, address)
    if rule is None or rule.aliases is None:
        return None
    found = look(rule.aliases, address, facts)
    if found is None or isinstance(found, Needs):
        return found
    if isinstance(found, CannotKnow):
        raise cannot_know(rule.aliases, found)
    try:
        return Step("alias", parse_targets(found, address.domain))
    except ValueError as error:
        raise TemporaryFailure(BAD_ALIAS, f"alias {address} in {rule.aliases}: {error}") from error


def _postmaster(rules: RoutingRules, address: Address, facts: Facts) -> Step | Needs | None:
    """RFC 5321 4.5.1: ``postmaster`` alone, and at a domain of ours that has no such mailbox."""
    if not address.is_postmaster or address == rules.postmaster:
        return None
    if address.domain:
        if _ours(rules, address) is None:
            return None
        known = has_mailbox(rules, address, facts)
        if isinstance(known, Needs):
            return known
        if known:
            return None
    return Step("postmaster", (rules.postmaster,))


#: The ways in which an address can lead on, in the order in which they are tried.
STEPS: Final[tuple[Stepper, ...]] = (_alias, _postmaster)
