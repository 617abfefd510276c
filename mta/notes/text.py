"""The note to somebody who wrote to a person that has moved.  Pure.

What it is: ``note`` composes it as RFC 3834 has automatic answers; ``unfit`` says to which messages there is none.
Contract: nothing of the message stands in it but its Message-ID.
How it fails: not at all, whatever the header holds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from mta.address import Address, ReversePath
from mta.bounce.catalog import Catalog
from mta.bounce.report import is_international, references, subject_field, text_part
from mta.bounce.wrap import wrap
from mta.events import escape
from mta.message.header import Header
from mta.message.trace import date_text

_WIDTH: Final = 76
#: RFC 3834 2: programs, and those who look after lists.
_PROGRAMS: Final = re.compile(r"(?:owner-.*|.*-owner|.*-request|.*-bounces|mailer-daemon|no-?reply.*)\Z", re.IGNORECASE)
_MANY: Final = (b"list-id", b"list-post", b"list-unsubscribe", b"list-help")
_PRECEDENCES: Final = (b"bulk", b"list", b"junk")


def unfit(sender: ReversePath, header: Header) -> str:
    """Why nobody is to be answered, or ""."""
    if sender is None:
        return "it has no sender"  # RFC 5321 4.5.5
    if _PROGRAMS.match(sender.local):
        return "its sender is a program or a list"
    # RFC 3834 2, 5.
    automatic = header.get(b"auto-submitted")
    if automatic is not None and automatic.partition(b";")[0].strip().lower() != b"no":
        return "it was sent by a program (Auto-Submitted)"
    if (header.get(b"precedence") or b"").strip().lower() in _PRECEDENCES or any(map(header.count, _MANY)):
        return "it was sent to many"
    return ""


def note(
    to: Address,
    moved: Address,
    new: str,
    header: bytes,
    id: str,
    hostname: str,
    at_ms: int,
    languages: Sequence[Catalog],
) -> bytes:
    """The message.  ``header`` is that of the message that it is about; ``new`` the new address, "" for untold."""
    name = f"<{escape(str(moved))}>"
    subject = " / ".join(catalog.say("moved.subject", address=name) for catalog in languages)
    head = [
        f"From: Mail Delivery System <MAILER-DAEMON@{hostname}>",
        f"To: <{escape(str(to))}>",
        subject_field(subject),
        f"Date: {date_text(at_ms)}",
        f"Message-ID: <{id}@{hostname}>",
        *references(header),
        "Auto-Submitted: auto-replied",  # RFC 3834 5
        "MIME-Version: 1.0",
    ]
    lines: list[str] = []
    for number, catalog in enumerate(languages):
        lines += [""] if number else []
        for key in ("forwarded", *(("address",) if new else ()), "once"):
            lines += wrap(catalog.say(f"moved.{key}", address=name, new=f"<{escape(new)}>"), _WIDTH)
    text = "\r\n".join([*lines, ""]).encode("utf-8", "backslashreplace")
    return "\r\n".join([*head, ""]).encode("utf-8" if is_international(to) else "ascii", "replace") + text_part(
        text, languages
    )
