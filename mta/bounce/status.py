"""The part of a report that programs read: message/delivery-status (RFC 3464 2), or its form in UTF-8 (RFC 6533 4).

Contract: fields in CRLF lines of legal length; whatever strangers wrote, none adds a line of its own.  Without
``utf8`` all of it is ASCII, and an international address stands in its 7-bit form (RFC 6533 3).
Limits: ``MAX_WORDS`` characters of a reply.
"""

from __future__ import annotations

import re
import textwrap
from typing import Final

from mta.address import Address
from mta.bounce.decide import Ended, Kind, Notice
from mta.bounce.explain import remote_host, status_code, their_words
from mta.bounce.human import MAX_WORDS
from mta.envelope import LOCAL, Envelope, Status
from mta.events import escape
from mta.message.quoted import MAX_LINE
from mta.message.trace import date_text
from mta.reply import Reply

_WIDTH: Final = 76
_NOT_ASCII = re.compile(r"[^\x20-\x7e]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# RFC 5321 4.1.2, 4.1.3: a domain or an address literal, with what many names have that are neither.
_NAME = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}\Z")
# RFC 6533 3: utf-8-addr-xtext, the form of an international address that is ASCII.
_NOT_XTEXT = re.compile(r"[^\x21-\x2a\x2c-\x3c\x3e-\x5b\x5d-\x7e]")
# RFC 3464 2.3.3
_ACTIONS: Final = {
    Status.FAILED: "failed",
    Status.EXPIRED: "failed",
    Status.DEFERRED: "delayed",
    Status.DELIVERED: "delivered",
    Status.RELAYED: "relayed",
    Status.EXPANDED: "expanded",
}
# RFC 2852 4.1.3; RFC 3463 3.5
_LATE: Final = "4.4.7"


def status_fields(notice: Notice, envelope: Envelope, id: str, hostname: str, at_ms: int, utf8: bool) -> bytes:
    """The fields: about the message (RFC 3464 2.2), then about each recipient (2.3).  ``id``: queue id."""
    fields = []
    if envelope.envid:
        # RFC 3461 6.3 (a): as it was before it became xtext.
        fields.append(_field("Original-Envelope-Id", envelope.envid))
    fields.append(f"Reporting-MTA: dns; {hostname}")
    if envelope.origin.protocol != LOCAL and _NAME.match(envelope.origin.helo):
        # RFC 3464 2.2.4: the name by which the client called itself.
        fields.append(f"Received-From-MTA: dns; {envelope.origin.helo}")
    fields.append(f"Arrival-Date: {date_text(envelope.arrived)}")
    if envelope.deliver_by:
        # RFC 2852 5
        fields.append(f"Deliver-By-Date: {date_text(envelope.deliver_by)}")
    fields.append(f"X-txmta-Queue-ID: {id}")
    for ended in notice.ended:
        fields += ["", *_recipient_fields(ended, notice.kind, hostname, at_ms, utf8)]
    return "\r\n".join([*fields, ""]).encode()


def _recipient_fields(ended: Ended, kind: Kind, hostname: str, at_ms: int, utf8: bool) -> list[str]:
    recipient, outcome = ended
    fields = []
    if recipient.orcpt:
        # RFC 3461 6.3 (d)
        type_, _, address = recipient.orcpt.partition(";")
        fields.append(_field("Original-Recipient", *_typed(type_, address, utf8, ";")))
    # RFC 3464 2.3.2: as it was when we took the message, not what aliases made of it.
    accepted = recipient.original
    address = str(accepted if accepted.domain else Address(accepted.local, hostname))
    type_ = "rfc822" if address.isascii() else "utf-8"
    fields += [
        _field("Final-Recipient", *_typed(type_, address, utf8, "; ")),
        f"Action: {_ACTIONS[outcome.status]}",
        f"Status: {_LATE if kind is Kind.DELAY else status_code(outcome)}",
    ]
    host = remote_host(outcome)
    if host:
        fields.append(_field("Remote-MTA", f"dns; {host}"))
    # RFC 3464 2.3.6: "smtp" is for what an SMTP server said.
    speaks = "smtp" if their_words(outcome) else "X-txmta"
    fields.append(_field("Diagnostic-Code", f"{speaks}; {_words(outcome.reply)}"))
    # RFC 3464 2.3.7: a warning or a report that was owed comes later than the attempt it is about.
    fields.append(f"Last-Attempt-Date: {date_text(recipient.progress.get('tried', at_ms))}")
    until = recipient.progress.get("until", 0)
    if kind is Kind.DELAY and until:
        # RFC 3464 2.3.9
        fields.append(f"Will-Retry-Until: {date_text(until)}")
    return fields


def _typed(type_: str, address: str, utf8: bool, mark: str) -> tuple[str, bool]:
    """The text, and whether it is UTF-8.  RFC 6533 3: as it is where it may be, else each character that is not xtext
    as its number."""
    international = type_.lower() == "utf-8"
    utf8 = utf8 and international and _fits(address)
    if international and not utf8:
        address = _NOT_XTEXT.sub(lambda match: f"\\x{{{ord(match[0]):02X}}}", address)
    return f"{type_}{mark}{address}", utf8


def _fits(address: str) -> bool:
    return not _CONTROL.search(address) and len(address.encode()) < MAX_LINE - len("Original-Recipient: utf-8; ")


def _words(reply: Reply) -> str:
    return escape(str(reply)[:MAX_WORDS]).encode("ascii", "backslashreplace").decode("ascii")[:MAX_WORDS]


def _field(name: str, text: str, utf8: bool = False) -> str:
    """A field, folded where it is long (RFC 5322 2.2.3); no text can add a line of its own."""
    line = f"{name}: {(_CONTROL if utf8 else _NOT_ASCII).sub('?', text)}"
    if len(line) <= _WIDTH:
        return line
    # An address has no place to fold unless it must have one.
    width = _WIDTH if name == "Diagnostic-Code" else MAX_LINE - 2
    return "\r\n ".join(textwrap.wrap(line, width, break_on_hyphens=False))
