"""Aliases: an address that the domain's table of aliases has leads to the targets there, and nowhere else.

Contract: what ``:include:`` names is read as if it stood in its place; in it addresses and further files may stand,
no commands.  A file that includes itself is read once.
How it fails: 451 4.3.5 where the alias or a file is not well formed (a mistake in a table never bounces mail),
451 4.3.0 where a file cannot be read or must not be believed.
Limits: ``MAX_FILES`` for one alias.
"""

from __future__ import annotations

import os
from collections import deque
from typing import Final

from mta.address import Address
from mta.envelope import Destination
from mta.reply import Reply, TemporaryFailure
from mta.routing.aliases import ADDRESSES, AliasTarget, Allowed, Include, parse_targets
from mta.routing.lookup import cannot_know
from mta.routing.ours import in_table, our_rule
from mta.routing.rules import RoutingRules
from mta.routing.steps.step import Place, Step
from mta.routing.values import CannotKnow, Facts, IncludeQuestion, Needs, Question

BAD_ALIAS: Final = Reply.of(451, "4.3.5", "The address is not well configured here, please try again later")
MAX_FILES: Final = 100


def alias(rules: RoutingRules, address: Address, facts: Facts) -> Step | Needs | None:
    """See the module's text."""
    rule = our_rule(rules, address)
    if rule is None or rule.aliases is None:
        return None
    found = in_table(rule.aliases, address, facts)
    if found is None or isinstance(found, Needs):
        return found
    try:
        targets = parse_targets(found, address.domain, rules.allowed.get(rule.aliases, ADDRESSES))
        whole = _with_files(targets, address.domain, facts)
    except ValueError as error:
        raise TemporaryFailure(BAD_ALIAS, f"alias {address} in {rule.aliases}: {error}") from error
    return whole if isinstance(whole, Needs) else Step("alias", whole, rule.aliases)


def _with_files(targets: tuple[AliasTarget, ...], domain: str, facts: Facts) -> tuple[Address | Place, ...] | Needs:
    """The targets, and those in the files that they include.  Raises ``ValueError``, ``TemporaryFailure``."""
    found: dict[Address | Place, None] = {}
    missing: dict[Question, None] = {}
    read: set[str] = set()
    todo = deque([targets])
    while todo:
        for target in todo.popleft():
            if isinstance(target, Destination):
                found[Place(target)] = None
            elif not isinstance(target, Include):
                found[target] = None
            elif target.path not in read:
                read.add(target.path)
                if len(read) > MAX_FILES:
                    raise ValueError(f"over {MAX_FILES} files are included")
                _include(target.path, domain, facts, todo, missing)
    return Needs(tuple(missing)) if missing else tuple(found)


def _include(
    path: str, domain: str, facts: Facts, todo: deque[tuple[AliasTarget, ...]], missing: dict[Question, None]
) -> None:
    question = IncludeQuestion(path)
    if question not in facts:
        missing[question] = None
        return
    text = facts[question]
    if isinstance(text, CannotKnow):
        raise cannot_know(path, text)
    if text:  # an empty one is a list without members
        try:
            todo.append(parse_targets(text, domain, Allowed(folder=os.path.dirname(path))))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
