"""The report itself: a multipart/report (RFC 6522) with its delivery-status (RFC 3464), as octets.

What it is: a part for people, a part for programs, and what was sent: its header, or all of it.
Contract: ASCII in CRLF lines of legal length, whatever strangers wrote into replies, addresses and headers: the
report itself can always be delivered.  Unusual octets of the returned header are quoted-printable (RFC 6522 4);
a message that would need 8bit is returned as its header.  It names exactly the recipients it was given.
Limits: ``MAX_WORDS`` characters of a reply, ``MAX_HEADER`` octets of a returned header.
"""

from __future__ import annotations

import re
import textwrap
from base64 import b64encode
from typing import Final, NamedTuple

from mta.address import Address
from mta.bounce.decide import Failed, Kind, Notice
from mta.bounce.explain import explain, remote_host, status_code, their_words
from mta.envelope import Envelope
from mta.events import escape
from mta.message.header import scan
from mta.message.quoted import MAX_LINE, encode, is_plain
from mta.message.trace import date_text
from mta.reply import Reply

CRLF: Final = b"\r\n"
MAX_WORDS: Final = 500
MAX_HEADER: Final = 64 * 1024
_WIDTH: Final = 76
_CONTROL = re.compile(r"[^\x20-\x7e]")
# RFC 6533 3: utf-8-addr-xtext, the form of an international address that is ASCII.
_NOT_XTEXT = re.compile(r"[^\x21-\x2a\x2c-\x3c\x3e-\x5b\x5d-\x7e]")
# RFC 5322 3.6.4, in a form that can be repeated without a thought.
_MESSAGE_ID = re.compile(rb"<[\x21-\x3b\x3d\x3f-\x7e]{1,250}>\Z")


class Subject(NamedTuple):
    """The message that a report is about: queue id, envelope, header section (``b""``: it cannot be read),
    and the whole of it where that is to be returned (``RET=FULL``)."""

    id: str
    envelope: Envelope
    header: bytes
    whole: bytes | None = None


def report(notice: Notice, about: Subject, id: str, hostname: str, postmaster: Address, at_ms: int) -> bytes:
    """Compose it.  ``id`` is the queue id of the report."""
    parts = [
        _human_part(notice, about, hostname, postmaster),
        _status_part(notice, about, hostname, at_ms),
    ]
    if about.header:
        parts.append(_returned_part(about))
    boundary = _boundary(id, parts)
    delimiter = b"--" + boundary.encode("ascii")
    fields = [
        f"From: Mail Delivery System <MAILER-DAEMON@{hostname}>",
        f"To: {_to(notice.to)}",
        f"Subject: {_subject(notice)}",
        f"Date: {date_text(at_ms)}",
        f"Message-ID: <{id}@{hostname}>",
        *_references(about.header),
        # RFC 3834 5
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="{boundary}"',
    ]
    pieces = ["\r\n".join(fields).encode("ascii"), b""]
    for part in parts:
        pieces += [delimiter, part]
    pieces += [delimiter + b"--", b""]
    return CRLF.join(pieces)


def _boundary(id: str, parts: list[bytes]) -> str:
    # RFC 2046 5.1.1; "=_" can stand in no quoted-printable text.
    number = 0
    while any(f"--=_{id}.{number}".encode("ascii") in part for part in parts):
        number += 1
    return f"=_{id}.{number}"


def _to(address: Address) -> str:
    text = str(address)
    if text.isascii():
        return f"<{_CONTROL.sub('?', text)}>"
    # RFC 6857 3.1.8: an address that cannot stand in an ASCII header, as the name of an empty group.
    words = [b64encode(text[at : at + 10].encode("utf-8", "replace")).decode("ascii") for at in range(0, len(text), 10)]
    return "\r\n ".join(f"=?utf-8?B?{word}?=" for word in words) + " :;"


def _subject(notice: Notice) -> str:
    if notice.kind is Kind.DOUBLE_BOUNCE:
        return "Postmaster notice: a report could not be delivered"
    return "Undelivered mail: your message could not be delivered"


def _references(header: bytes) -> list[str]:
    # RFC 3834 3.1.5: so that it shows beside the message that it is about.
    found = scan(header).get(b"message-id") or b""
    if not _MESSAGE_ID.match(found):
        return []
    text = found.decode("ascii")
    return [f"In-Reply-To: {text}", f"References: {text}"]


# --- the part for people -----------------------------------------------------------------------------------


def _human_part(notice: Notice, about: Subject, hostname: str, postmaster: Address) -> bytes:
    lines = [f"This is the mail system at {hostname}.", "", *_wrapped(_opening(notice)), ""]
    for failed in notice.failed:
        lines += [*_about_one(failed, notice.kind), ""]
    lines += [*_wrapped(_closing(notice, about, postmaster)), ""]
    return _text_part("\r\n".join(lines).encode("utf-8", "backslashreplace"))


def _opening(notice: Notice) -> str:
    who = "this recipient" if len(notice.failed) == 1 else "these recipients"
    if notice.kind is Kind.DOUBLE_BOUNCE:
        return (
            f"A message without a return path, as reports like this one are, could not be delivered to {who}. "
            "It has no sender who could be told, so this notice goes to the postmaster. Nobody else is told. "
            "Most often it is a report about mail with a forged sender; then nothing has to be done."
        )
    return f"Your message could not be delivered to {who}. This mail system will not try again."


def _closing(notice: Notice, about: Subject, postmaster: Address) -> str:
    text = f"The message arrived here on {date_text(about.envelope.arrived)} and had the queue id {about.id}."
    if about.header:
        text += f" Its {'text' if _returns_whole(about) else 'header'} is attached."
    if notice.kind is Kind.FAILURE:
        text += f" If you need help, write to {postmaster} and include this report."
    return text


def _about_one(failed: Failed, kind: Kind) -> list[str]:
    recipient, outcome = failed
    explanation = explain(recipient, outcome)
    name = f"<{escape(str(recipient.original))}>"
    if recipient.original != recipient.address:
        name += f", which leads to <{escape(str(recipient.address))}>"
    lines = [
        name,
        *_item("What happened", explanation.happened),
    ]
    if kind is Kind.FAILURE:  # these speak to the sender
        lines += [*_item("Whose side", explanation.side + "."), *_item("What to do", explanation.advice)]
    words = escape(str(outcome.reply)[:MAX_WORDS])
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


def _text_part(content: bytes) -> bytes:
    if is_plain(content):
        head = b"Content-Type: text/plain; charset=us-ascii\r\n\r\n"
    else:
        head = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        content = encode(content)
    return b"Content-Description: Notification\r\n" + head + content


# --- the part for programs ---------------------------------------------------------------------------------


def _status_part(notice: Notice, about: Subject, hostname: str, at_ms: int) -> bytes:
    # RFC 3464 2.2: fields about the message.
    fields = [f"Reporting-MTA: dns; {hostname}"]
    if about.envelope.envid:
        fields.append(_field("Original-Envelope-Id", about.envelope.envid))
    fields += [f"X-txmta-Queue-ID: {about.id}", f"Arrival-Date: {date_text(about.envelope.arrived)}", ""]
    for failed in notice.failed:
        fields += [*_recipient_fields(failed, hostname, at_ms), ""]
    head = b"Content-Description: Delivery report\r\nContent-Type: message/delivery-status\r\n\r\n"
    return head + "\r\n".join(fields).encode("ascii")


def _recipient_fields(failed: Failed, hostname: str, at_ms: int) -> list[str]:
    # RFC 3464 2.3: fields about one recipient.
    recipient, outcome = failed
    fields = []
    if recipient.orcpt:
        fields.append(_field("Original-Recipient", recipient.orcpt))
    fields += [
        _field("Final-Recipient", _typed(recipient.address, hostname)),
        "Action: failed",
        f"Status: {status_code(outcome)}",
    ]
    host = remote_host(outcome)
    if host:
        fields.append(_field("Remote-MTA", f"dns; {host}"))
    # RFC 3464 2.3.6: "smtp" is for what an SMTP server said.
    kind = "smtp" if their_words(outcome) else "X-txmta"
    fields.append(_field("Diagnostic-Code", f"{kind}; {_words(outcome.reply)}"))
    fields.append(f"Last-Attempt-Date: {date_text(at_ms)}")
    return fields


def _typed(address: Address, hostname: str) -> str:
    text = str(address if address.domain else Address(address.local, hostname))
    if text.isascii():
        return f"rfc822; {text}"
    return "utf-8; " + _NOT_XTEXT.sub(lambda match: f"\\x{{{ord(match[0]):X}}}", text)


def _words(reply: Reply) -> str:
    return escape(str(reply)[:MAX_WORDS]).encode("ascii", "backslashreplace").decode("ascii")


def _field(name: str, text: str) -> str:
    """A field of ASCII, folded where it is long (RFC 5322 2.2.3); no text can add a line of its own."""
    line = f"{name}: {_CONTROL.sub('?', text)}"
    if len(line) <= _WIDTH:
        return line
    # An address has no place to fold unless it must have one.
    width = _WIDTH if name == "Diagnostic-Code" else MAX_LINE - 2
    return "\r\n ".join(textwrap.wrap(line, width, break_on_hyphens=False))


# --- what was sent -----------------------------------------------------------------------------------------


def _returns_whole(about: Subject) -> bool:
    # RFC 2046 5.2.1: a message/rfc822 may not be encoded, and a report has to pass everywhere.
    return about.whole is not None and is_plain(about.whole)


def _returned_part(about: Subject) -> bytes:
    if about.whole is not None and _returns_whole(about):
        return b"Content-Description: Undelivered message\r\nContent-Type: message/rfc822\r\n\r\n" + about.whole
    header = about.header
    if len(header) > MAX_HEADER:
        header = header[: max(header.rfind(CRLF, 0, MAX_HEADER), 0)]
    header = header.rstrip(b"\r\n") + CRLF
    head = b"Content-Description: Header of the undelivered message\r\nContent-Type: text/rfc822-headers\r\n"
    if is_plain(header):
        return head + CRLF + header
    # RFC 6522 4
    return head + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + encode(header)
