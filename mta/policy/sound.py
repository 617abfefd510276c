"""Whether a policy may say what it said.  Pure.

Contract: ``sound`` returns the verdict with what it lacks (the reply of a refusal), or raises ``Unsound`` with what is
wrong: it is no verdict, a reply has the wrong class, an edit is outside of the message, crosses another, or would put
line breaks where SMTP forbids them (RFC 5321 2.3.8), or stands at a stage that has no message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from mta.message.edits import Edit, merge
from mta.policy.values import DispatchContext, MessageContext
from mta.reply import Reply
from mta.verdict import Decision, Verdict

REFUSED: Final = Reply.of(550, "5.7.1", "Refused by a policy")
DEFERRED: Final = Reply.of(451, "4.7.1", "Put off by a policy, please try again later")


class Unsound(Exception):
    """No policy may say that; the text says what."""


def sound(verdict: Any, stage: str, context: Any) -> Verdict:
    """See the module's text."""
    if not isinstance(verdict, Verdict):
        raise Unsound(f"it returned {type(verdict).__name__}, which is no Verdict")
    if verdict.edits:
        if not isinstance(context, MessageContext):
            raise Unsound(f"it edits at {stage}, where there is no message")
        _check_edits(verdict.edits, context)
    if verdict.per_recipient:
        verdict = replace(verdict, per_recipient=_per_recipient(verdict, stage, context))
    return _with_reply(verdict)


def _with_reply(verdict: Verdict) -> Verdict:
    reply, decision = verdict.reply, verdict.decision
    if decision is Decision.REJECT:
        if reply is None:
            return replace(verdict, reply=REFUSED)
        if not 500 <= reply.code < 600:
            raise Unsound(f"it rejects with {reply.code}, which is no 5yz")
    elif decision is Decision.DEFER:
        if reply is None:
            return replace(verdict, reply=DEFERRED)
        if not reply.temporary:
            raise Unsound(f"it defers with {reply.code}, which is no 4yz")
    return verdict


def _per_recipient(verdict: Verdict, stage: str, context: Any) -> dict[int, Verdict]:
    if isinstance(context, MessageContext):
        known: Sequence[int] = range(len(context.recipients))
    elif isinstance(context, DispatchContext):
        known = [recipient.id for recipient in context.recipients]
    else:
        raise Unsound(f"it speaks of several recipients at {stage}")
    found: dict[int, Verdict] = {}
    for number, own in verdict.per_recipient.items():
        if number not in known:
            raise Unsound(f"it speaks of a recipient {number!r}, whom there is not")
        if not isinstance(own, Verdict):
            raise Unsound(f"for a recipient it has {type(own).__name__}, which is no Verdict")
        if own.edits or own.per_recipient:
            raise Unsound("it edits for one recipient, whose copy is that of all")
        found[number] = _with_reply(own)
    return found


def _check_edits(edits: Sequence[Edit], context: MessageContext) -> None:
    try:
        for offset, cut, put in edits:
            if offset < 0 or cut < 0 or offset + cut > context.size:
                raise Unsound("it edits outside of the message")
            if not _clean(put, context.body):
                raise Unsound("it puts in what SMTP forbids: NUL, or CR or LF alone")
        merge(context.edits, edits)
    except (TypeError, ValueError, AttributeError) as error:
        raise Unsound(f"its edits cannot be made: {error}") from None


def _clean(put: bytes, body: str) -> bool:
    if body == "BINARYMIME":
        return True  # RFC 3030 3
    return b"\0" not in put and put.count(b"\r") == put.count(b"\n") == put.count(b"\r\n")
