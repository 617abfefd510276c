"""Expansion: where an accepted address leads, decided once at acceptance.

What it is: a walk from the address over steps (``mta.routing.steps``) to addresses that lead nowhere else, and to
places (commands, files, lists).  Every address is visited once, so loops end by themselves and nobody gets a
message twice; a loop from which nothing else leads out is 554 5.4.6 (RFC 5321 6.3).
How it fails: ``TemporaryFailure`` where a table cannot answer (451 4.3.0), where an alias is not well formed
(451 4.3.5: a mistake in a table never bounces mail) or the leaves are too many (452 4.5.3);
``PermanentFailure`` for loops and chains over ``max_depth``, and for who has left or moved (550, 551).
"""

from __future__ import annotations

from collections import deque
from typing import Final

from mta import events
from mta.address import Address
from mta.envelope import Destination
from mta.events import Event
from mta.reply import MailFailure, PermanentFailure, Reply, TemporaryFailure
from mta.routing.ours import NO_MAILBOX, Standing, exact, has_mailbox, identity, our_rule, untagged
from mta.routing.rules import RoutingRules
from mta.routing.steps import STEPS, Place, Step
from mta.routing.values import NOTE, Expansion, Facts, Needs, Question, Target

LOOP: Final = Reply.of(554, "5.4.6", "The address leads back to itself")
TOO_DEEP: Final = Reply.of(554, "5.4.6", "The address leads on over too many steps")
TOO_MANY: Final = Reply.of(452, "4.5.3", "The address leads to too many recipients")

#: Steps to another name of the same person.
_NO_SECRET: Final = ("alias-domain:", "subaddress:")
#: What tells one target from another: two at places are the same only at the same place.
Same = tuple[Address, Destination | None]


def expand(rules: RoutingRules, recipient: Address, facts: Facts) -> Expansion | Needs:
    """See the module's text."""
    if recipient.domain and recipient.domain not in rules.domains:
        return Expansion(targets=(Target(recipient),))  # what most relayed mail comes to
    if _is_mailbox(rules, recipient, facts):
        return Expansion(targets=(Target(recipient),))  # and most of what ends here
    walk = _Walk(rules, facts)
    try:
        walk.run(recipient)
        return _result(rules, recipient, walk)
    except MailFailure as failure:
        failure.steps = tuple(walk.reasons)
        raise


def _result(rules: RoutingRules, recipient: Address, walk: _Walk) -> Expansion | Needs:
    """Where the walk has led."""
    if walk.questions:
        return Needs(tuple(walk.questions))
    if not walk.leaves:
        # RFC 5321 4.5.1: mail to postmaster is never refused; it waits until the configuration is mended.
        if not recipient.is_postmaster:
            if walk.left:
                raise PermanentFailure(NO_MAILBOX, f"{recipient} leads only to {walk.left}, who has left")
            raise PermanentFailure(LOOP, f"{recipient} leads only back to itself")
        return Expansion(targets=(Target(rules.postmaster),), reasons=tuple(walk.reasons))
    return Expansion(targets=tuple(walk.leaves.values()), reasons=tuple(walk.reasons), told=walk.told, notes=walk.notes)


def _is_mailbox(rules: RoutingRules, address: Address, facts: Facts) -> bool:
    """Nothing but that, which saves the walk; False: the walk tells."""
    rule = rules.domains[address.domain] if address.domain else None
    if rule is None or rule.mailboxes is None or rule.relay or rule.lists or rule.dot_forward:
        return False
    if rules.srs is not None and rules.srs.domain == address.domain:
        return False
    return exact(rule, address, facts) is Standing.MAILBOX


class _Walk:
    """One expansion, breadth first, so that the questions of a level are asked together."""

    def __init__(self, rules: RoutingRules, facts: Facts) -> None:
        self._rules = rules
        self._facts = facts
        self._todo: deque[tuple[Address, tuple[str, ...]]] = deque()
        self._seen: set[Same] = set()
        self.leaves: dict[Same, Target] = {}
        self.reasons: list[Event] = []
        self.questions: dict[Question, None] = {}
        self.told: Reply | None = None
        self.notes: tuple[Target, ...] = ()
        self.left: Address | None = None  # one that leads nowhere any more

    def run(self, recipient: Address) -> None:
        self._push(recipient, ())
        while self._todo:
            address, path = self._todo.popleft()
            step = self._step(address)
            if isinstance(step, Needs):
                self.questions.update(dict.fromkeys(step.questions))
            elif step is None:
                self._leaf(Target(address, path))
            else:
                self._follow(address, path, step)

    def _step(self, address: Address) -> Step | Needs | None:
        for stepper in STEPS:
            step = stepper(self._rules, address, self._facts)
            if step is not None:
                return step
        return None

    def _follow(self, address: Address, path: tuple[str, ...], step: Step) -> None:
        targets = [str(target.destination if isinstance(target, Place) else target) for target in step.targets]
        told = events.EXPANDED(address=str(address), targets=targets, rule=step.rule, table=step.table, where="")
        self.reasons.append(told)
        if step.reply is not None or step.note is not None or not step.targets:
            self._tell(address, path, step)
        path = (*path, f"{step.rule}:{address}")
        if len(path) > self._rules.max_depth:
            raise PermanentFailure(TOO_DEEP, " ".join(path))
        here = identity(self._rules, address)
        for target in step.targets:
            if isinstance(target, Place):
                self._count((here, target.destination))
                self._leaf(Target(address, path, target.destination, target.hold))
                continue
            own = self._same_person(target)
            if isinstance(own, Needs):
                self.questions.update(dict.fromkeys(own.questions))
            elif identity(self._rules, own) == here:
                self._names_itself(own, path)
            else:
                self._push(target, path)

    def _same_person(self, target: Address) -> Address | Needs:
        """Without an alias domain, and without a tag that no table has: ``bob: bob+keep, x@y.example`` names itself."""
        rule = our_rule(self._rules, target)
        if rule is not None and rule.alias_of:
            target = Address(target.local, rule.alias_of)
            rule = our_rule(self._rules, target)
        if rule is None or set(rule.separators).isdisjoint(target.local):
            return target
        standing = exact(rule, target, self._facts)
        if isinstance(standing, Needs):
            return standing
        if standing in (Standing.LEADS, Standing.MAILBOX):
            return target
        tagged = untagged(rule, target, self._facts)
        if tagged is None:
            return target
        return tagged if isinstance(tagged, Needs) else tagged.base

    def _tell(self, address: Address, path: tuple[str, ...], step: Step) -> None:
        """To the sender, where it is no secret that the address leads here (RFC 5321 3.4)."""
        hidden = any(not one.startswith(_NO_SECRET) for one in path)
        if not step.targets:
            if not hidden and step.reply is not None and not address.is_postmaster:
                raise PermanentFailure(step.reply, f"{address} by {step.table}")
            self.left = address
        elif not hidden:
            self.told = step.reply
            if step.note is not None:
                self.notes += (Target(address, (*path, f"{step.rule}:{address}"), Destination(NOTE, step.note)),)

    def _names_itself(self, address: Address, path: tuple[str, ...]) -> None:
        """An alias that has its own name among its targets: a copy into the mailbox, where there is one."""
        known = has_mailbox(self._rules, address, self._facts)
        if isinstance(known, Needs):
            self.questions.update(dict.fromkeys(known.questions))
        elif known:
            self._leaf(Target(address, path))

    def _push(self, address: Address, path: tuple[str, ...]) -> None:
        if self._count((identity(self._rules, address), None)):
            self._todo.append((address, path))

    def _count(self, same: Same) -> bool:
        """Is it new?"""
        if same in self._seen:
            return False
        self._seen.add(same)
        if len(self._seen) > self._rules.max_targets:
            raise TemporaryFailure(TOO_MANY, f"over {self._rules.max_targets} addresses")
        return True

    def _leaf(self, target: Target) -> None:
        self.leaves.setdefault((identity(self._rules, target.address), target.destination), target)
