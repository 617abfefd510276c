"""The part of a report that people read: what became of each recipient, whose side it is on, what to do.  Pure.

Contract: lines of at most 78 columns where words allow; what strangers wrote is escaped and marked as theirs.
Limits: ``MAX_WORDS`` characters of a reply, escaped.
"""

from __future__ import annotations

import textwrap
from typing import Final

from mta.address import Address
from mta.bounce.decide import Ended, Kind, Notice
from mta.bounce.explain import explain, good_news, their_words
from mta.envelope import Envelope, Status
from mta.events import escape
from mta.message.trace import date_text

MAX_WORDS: Final = 500
_WIDTH: Final = 76

SUBJECTS: Final = {
    Kind.FAILURE: "Undelivered mail: your message could not be delivered",
    Kind.DOUBLE_BOUNCE: "Postmaster notice: a report could not be delivered",
    Kind.SUCCESS: "Delivery report: your message has gone on",
    Kind.DELAY: "Delayed mail: your message is late, and still on its way",
}
_DELIVERED_SUBJECT: Final = "Delivery report: your message has been delivered"


def subject(notice: Notice) -> str:
    """The Subject of the report."""
    if notice.kind is Kind.SUCCESS and all(outcome.status is Status.DELIVERED for _, outcome in notice.ended):
        return _DELIVERED_SUBJECT
    return SUBJECTS[notice.kind]


def human_text(notice: Notice, envelope: Envelope, id: str, attached: str, hostname: str, postmaster: Address) -> bytes:
    """The text, in UTF-8.  ``id`` is the queue id of the message; ``attached`` names what is returned of it, if
    anything is."""
    lines = [f"This is the mail system at {hostname}.", "", *_wrapped(_opening(notice, envelope)), ""]
    for ended in notice.ended:
        lines += [*_about_one(ended, notice.kind), ""]
    lines += [*_wrapped(_closing(notice.kind, envelope, id, attached, postmaster)), ""]
    return "\r\n".join(lines).encode("utf-8", "backslashreplace")


def _opening(notice: Notice, envelope: Envelope) -> str:
    who = "this recipient" if len(notice.ended) == 1 else "these recipients"
    if notice.kind is Kind.DOUBLE_BOUNCE:
        return (
            f"A message without a return path, as reports like this one are, could not be delivered to {who}. "
            "It has no sender who could be told, so this notice goes to the postmaster. Nobody else is told. "
            "Most often it is a report about mail with a forged sender; then nothing has to be done."
        )
    if notice.kind is Kind.SUCCESS:
        return f"You asked to be told what becomes of your message. This is the news about {who}."
    if notice.kind is Kind.DELAY:
        return (
            f"Your message has not reached {who} by {date_text(envelope.deliver_by)}, the time that was set for it. "
            "This mail system goes on trying; you need not send it again. If it fails in the end you will be told."
        )
    return f"Your message could not be delivered to {who}. This mail system will not try again."


def _closing(kind: Kind, envelope: Envelope, id: str, attached: str, postmaster: Address) -> str:
    text = f"The message arrived here on {date_text(envelope.arrived)} and had the queue id {id}."
    if attached:
        text += f" Its {attached} is attached."
    if kind is not Kind.DOUBLE_BOUNCE:
        text += f" If you need help, write to {postmaster} and include this report."
    return text


def _about_one(ended: Ended, kind: Kind) -> list[str]:
    recipient, outcome = ended
    name = f"<{escape(str(recipient.original))}>"
    if recipient.original != recipient.address:
        name += f", which leads to <{escape(str(recipient.address))}>"
    lines = [name]
    if kind is Kind.SUCCESS:
        happened, advice = good_news(outcome)
        lines += [*_item("What happened", happened), *_item("What to do", advice)]
    else:
        explanation = explain(recipient, outcome)
        lines += _item("What happened", explanation.happened)
        if kind is not Kind.DOUBLE_BOUNCE:  # these speak to the sender
            lines += _item("Whose side", explanation.side + ".")
        if kind is Kind.FAILURE:
            lines += _item("What to do", explanation.advice)
    words = escape(str(outcome.reply)[:MAX_WORDS])[:MAX_WORDS]
    if their_words(outcome):
        host = escape(str(outcome.attempt["host"]))
        lines += _item("In its words", f"{host} answered {escape(str(outcome.attempt['stage']))} with: {words}")
    else:
        lines += _item("In detail", words)
    return lines


def _item(label: str, text: str) -> list[str]:
    head = f"  {label}:"
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=f"{head:<18}",
        subsequent_indent=" " * 18,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
