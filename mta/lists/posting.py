"""Who may post to a list: a pure decision, made at RCPT after the address was admitted.

Contract: it goes by the envelope's sender and by what the client may do.  A sender is no proof of who wrote it, and is
not meant as one: where that matters ``posting`` is ``authenticated`` or ``networks``.  The null sender never posts:
reports go to the list's own sender, which leads to its owner (RFC 5321 4.5.5).
A list that is a member of another is not asked: whoever made it a member gave the permission.
Who may post is told too where a list has more members than it may have, as far as that can be counted at once
(``mta.lists.leaves``): what is refused now need not be held later (RFC 5321 3.9.2).
How it fails: 451 4.3.0 where a table of members cannot answer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from mta import events
from mta.address import Address, ReversePath
from mta.envelope import Right
from mta.lists.values import ListRule, Posting
from mta.reply import Reply
from mta.routing.keys import fold
from mta.routing.lookup import cannot_know
from mta.routing.patterns import DomainPatterns
from mta.routing.values import Admission, CannotKnow, Facts, LeavesQuestion, Needs, Question, TableQuestion

#: RFC 3463 3.8: "Mailing list expansion prohibited".
MAY_NOT_POST: Final = Reply.of(550, "5.7.2", "You may not post to this list")
NO_REPORTS: Final = Reply.of(550, "5.7.2", "A list takes no mail without a sender")
#: RFC 3463 3.6: not for ever, since it is the list that is wrong, and may be mended.
TOO_MANY: Final = Reply.of(452, "4.5.3", "The list leads to too many recipients")
_NOT_ASKED: Final = object()


def may_post(admission: Admission, sender: ReversePath, rights: frozenset[Right], facts: Facts) -> Admission | Needs:
    """The admission of an address that leads to lists, refused where the sender may not post to one of them."""
    questions: tuple[Question, ...] = ()
    for rule in admission.lists:
        if sender is None:
            return _refused(admission, NO_REPORTS, f"list {rule.address}: no sender")
        allowed = _allowed(rule, sender, rights, facts)
        if isinstance(allowed, Needs):
            questions += allowed.questions
        elif isinstance(allowed, CannotKnow):
            failure = cannot_know(", ".join(rule.tables), allowed)
            return _refused(admission, failure.reply, failure.reason)
        elif not allowed:
            words = sorted([*rule.posting, *map(str, rule.senders), *rule.domains])
            return _refused(admission, MAY_NOT_POST, f"list {rule.address}: posting = {', '.join(words)}")
    return Needs(questions) if questions else _counted(admission, facts)


def _counted(admission: Admission, facts: Facts) -> Admission | Needs:
    """RFC 5321 3.9.2: how many a list leads to counts before it is accepted."""
    questions = tuple(LeavesQuestion(rule.address, rule.max_members) for rule in admission.lists)
    if missing := tuple(question for question in questions if question not in facts):
        return Needs(missing)
    for question in questions:
        leaves = facts[question]
        if isinstance(leaves, int) and leaves > question.limit:
            why = f"list {question.address}: {leaves} members or more, over max_members = {question.limit}"
            return _refused(admission, TOO_MANY, why)
    return admission


def _refused(admission: Admission, reply: Reply, why: str) -> Admission:
    return replace(admission, reply=reply, reasons=(events.RULE(rule=why),))


def _allowed(rule: ListRule, sender: Address, rights: frozenset[Right], facts: Facts) -> bool | CannotKnow | Needs:
    posting = rule.posting
    if Posting.ANYONE in posting:
        return True
    if Posting.AUTHENTICATED in posting and Right.AUTHENTICATED in rights:
        return True
    if Posting.NETWORKS in posting and rights & {Right.NETWORK, Right.AUTHENTICATED}:
        return True
    same = _folded(sender)
    if Posting.OWNER in posting and same == _folded(rule.owner):
        return True
    if same in map(_folded, rule.senders) or (rule.domains and DomainPatterns(rule.domains).match(sender.domain)):
        return True
    return Posting.MEMBERS in posting and _is_member(rule, sender, facts)


def _is_member(rule: ListRule, sender: Address, facts: Facts) -> bool | CannotKnow | Needs:
    if _folded(sender) in map(_folded, rule.members):
        return True
    # A name alone is one of the list's own domain: a stranger's local part must not be taken for it.
    keys = [str(_folded(sender))]
    if sender.domain == rule.address.domain and "@" not in sender.local:
        keys.append(fold(sender.local))
    missing: tuple[Question, ...] = ()
    trouble: CannotKnow | None = None
    for question in (TableQuestion(table, key) for table in rule.tables for key in keys):
        found: Any = facts.get(question, _NOT_ASKED)
        if found is _NOT_ASKED:
            missing += (question,)
        elif isinstance(found, CannotKnow):
            trouble = found
        elif found is not None:
            return True
    return Needs(missing) if missing else trouble or False


def _folded(address: Address) -> Address:
    """Nobody is kept out because of capitals, and who could get in by them could write the address as well."""
    return Address(fold(address.local), address.domain)
