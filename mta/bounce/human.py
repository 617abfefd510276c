"""The part of a report that people read: what became of each recipient, whose side it is on, what to do.  Pure.

Contract: every word of it is in the catalogs (``mta.bounce.catalog``); with several languages the text stands in each
of them, one after the other.  Lines of at most 78 columns where words allow; times are UTC, as the language writes
them; what strangers wrote is escaped and marked as theirs.
Limits: ``MAX_WORDS`` characters of a reply, escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NamedTuple, TypeAlias

from mta.address import Address
from mta.bounce.catalog import Catalog
from mta.bounce.decide import Ended, Kind, Notice
from mta.bounce.explain import explain, good_news, their_words
from mta.bounce.wrap import columns, wrap
from mta.envelope import Envelope, Outcome, Status
from mta.events import escape

MAX_WORDS: Final = 500
_WIDTH: Final = 76
_SECTIONS: Final = {
    Kind.FAILURE: "failure",
    Kind.DOUBLE_BOUNCE: "double_bounce",
    Kind.SET_ASIDE: "set_aside",
    Kind.SUCCESS: "success",
    Kind.DELAY: "delay",
}
#: Between two languages.
_RULE: Final = "* * *"
#: What an answer was to, where that is no command.
_STAGES: Final = {"greeting": "connection", "DATA": "message", "data": "message", "end of data": "message"}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LABELS: Final = ("happened", "side", "advice", "words", "detail")

#: What of the message is returned with the report.
Attached: TypeAlias = Literal["", "header", "text"]


class About(NamedTuple):
    """What the text is about and whom it names: queue id of the message, what of it is attached, our host, whom to
    ask, and the time of the report."""

    envelope: Envelope
    id: str
    attached: Attached
    hostname: str
    postmaster: Address
    at_ms: int


def subject(notice: Notice, languages: Sequence[Catalog]) -> str:
    """The Subject of the report."""
    section = _SECTIONS[notice.kind]
    if notice.kind is Kind.SUCCESS and all(outcome.status is Status.DELIVERED for _, outcome in notice.ended):
        section = "delivered"
    return " / ".join(catalog.say(f"subject.{section}") for catalog in languages)


def human_text(notice: Notice, about: About, languages: Sequence[Catalog]) -> bytes:
    """The text, in UTF-8."""
    lines = [catalog.say("opening.below") for catalog in languages[1:]]
    for number, catalog in enumerate(languages):
        lines += ["", _RULE, ""] if number else [""] if lines else []
        lines += _in_one(notice, about, catalog)
    return "\r\n".join([*lines, ""]).encode("utf-8", "backslashreplace")


def _in_one(notice: Notice, about: About, catalog: Catalog) -> list[str]:
    lines = [
        catalog.say("opening.system", hostname=about.hostname),
        "",
        *wrap(_opening(notice, about, catalog), _WIDTH),
        *wrap(_end(notice, catalog), _WIDTH),
    ]
    for ended in notice.ended:
        lines += ["", *_about_one(ended, notice.kind, catalog)]
    lines.append("")
    for sentence in _closing(notice.kind, about, catalog):
        lines += wrap(sentence, _WIDTH)
    return lines


def _opening(notice: Notice, about: About, catalog: Catalog) -> str:
    number = "one" if len(notice.ended) == 1 else "many"
    deliver_by = about.envelope.deliver_by
    # RFC 2852 4.1.3; a warning may also come while there is time left, or where none was set.
    if notice.kind is Kind.DELAY and 0 < deliver_by <= about.at_ms:
        return catalog.say(f"opening.late.{number}", when=moment(deliver_by, catalog))
    return catalog.say(f"opening.{_SECTIONS[notice.kind]}.{number}")


def _end(notice: Notice, catalog: Catalog) -> str:
    """Until when those who are late are tried; "" where nobody is or it is not known."""
    until = max((recipient.progress.get("until", 0) for recipient, _ in notice.ended), default=0)
    return catalog.say("opening.until", until=moment(until, catalog)) if notice.kind is Kind.DELAY and until else ""


def _closing(kind: Kind, about: About, catalog: Catalog) -> list[str]:
    sentences = [catalog.say("closing.arrived", when=moment(about.envelope.arrived, catalog), id=about.id)]
    if about.attached:
        sentences.append(catalog.say(f"closing.{about.attached}"))
    if not kind.to_postmaster:
        sentences.append(catalog.say("closing.help", postmaster=str(about.postmaster)))
    return sentences


def _about_one(ended: Ended, kind: Kind, catalog: Catalog) -> list[str]:
    recipient, outcome = ended
    name = f"<{escape(str(recipient.original))}>"
    if recipient.original != recipient.address:
        target = escape(str(recipient.address))
        name = catalog.say("recipient.alias", address=escape(str(recipient.original)), target=target)
    items: list[tuple[str, str]] = []
    if kind is Kind.SUCCESS:
        happened, advice = good_news(outcome)
        items += [("happened", catalog.say(f"good.{happened}")), ("advice", catalog.say(f"good.{advice}"))]
    else:
        found = explain(recipient, outcome)
        text = catalog.say(f"cause.{found.cause}")
        items.append(("happened", catalog.say("cause.expired", happened=text) if found.expired else text))
        if not kind.to_postmaster:  # these speak to the sender
            items.append(("side", catalog.say(f"side.{found.side}")))
        if kind is Kind.FAILURE:
            items.append(("advice", catalog.say(f"advice.{found.advice}")))
    items.append(_words(outcome, catalog))
    margin = 3 + max(columns(catalog.say(f"label.{label}")) for label in _LABELS)
    lines = [name]
    for label, text in items:
        head = f"  {catalog.say(f'label.{label}')}"
        lines += wrap(text, _WIDTH, head + " " * (margin - columns(head)), " " * margin)
    return lines


def _words(outcome: Outcome, catalog: Catalog) -> tuple[str, str]:
    """The reply, as the server's where it is."""
    words = escape(str(outcome.reply)[:MAX_WORDS])[:MAX_WORDS]
    if not their_words(outcome):
        return "detail", words
    stage = str(outcome.attempt["stage"])
    stage = catalog.say(f"words.{_STAGES[stage]}") if stage in _STAGES else escape(stage)
    host = escape(str(outcome.attempt["host"]))
    return "words", catalog.say("words.answered", host=host, stage=stage, words=words)


def moment(at_ms: int, catalog: Catalog) -> str:
    """A time in UTC, to the minute, as the language writes it."""
    at = _EPOCH + timedelta(milliseconds=at_ms)
    return catalog.say(
        "date.form",
        day=catalog.say("date.first") if at.day == 1 else str(at.day),
        month=catalog.months()[at.month - 1],
        year=str(at.year),
        hour=f"{at:%H}",
        minute=f"{at:%M}",
    )
