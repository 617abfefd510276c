"""The wording of replies to VRFY and EXPN: mailboxes with the full names of people (RFC 5321 3.5.1, 3.5.2).

Contract: a line holds one mailbox, in angle brackets, and never a source route.  What comes from a table is data: a
name is written as a phrase of RFC 5322, with ``?`` for what cannot be shown, and can add no line.  Without SMTPUTF8 a
name beyond ASCII is left out, and an address beyond ASCII makes the whole reply one that cannot be given.
Limits: a line that a name would make longer than ``LONGEST`` octets goes without the name (RFC 5321 4.5.3.1.5).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from mta.address import Address, unicode_text
from mta.reply import Reply

#: Of 512, without code, enhanced code and CRLF.
LONGEST: Final = 490
# RFC 5322 3.2.5, RFC 6532 3.2
_ATOMS: Final = re.compile(r"[\w!#$%&'*+\-/=?^`{|}~]+(?: [\w!#$%&'*+\-/=?^`{|}~]+)*\Z")
_UNTOLD: Final = Reply.of(550, "5.1.6", "User not local; the new address has characters outside ASCII")
_SPECIAL: Final = re.compile(r'(["\\])')


def phrase(name: str) -> str:
    """A display name as RFC 5322 3.4 wants it: words, or a quoted string."""
    text = "".join(char if char.isprintable() else "?" for char in " ".join(name.split()))
    if _ATOMS.match(text):
        return text
    escaped = _SPECIAL.sub(r"\\\1", text)
    return f'"{escaped}"' if text else ""


def mailbox(address: Address, name: str, utf8: bool) -> str:
    """One line of a reply."""
    plain = f"<{unicode_text(address) if utf8 else address}>"
    shown = phrase(name)
    if not shown or not (utf8 or shown.isascii()) or len(f"{shown} {plain}".encode()) > LONGEST:
        return plain
    return f"{shown} {plain}"


def readable(reply: Reply, utf8: bool) -> Reply | None:
    """A reply that may tell a mailbox outside ASCII, for a client that can read that or cannot; None: a plain yes.

    RFC 6531 3.7.4.1, 3.7.4.2: without SMTPUTF8 a 251 becomes a 250 and a 551 a 550, without the mailbox.
    """
    if all(line.isascii() for line in reply.lines):
        return reply
    if utf8:
        return Reply.in_utf8(reply.code, reply.enhanced, *reply.lines)
    return _UNTOLD if reply.permanent else None


def told(
    code: int, enhanced: str, addresses: Sequence[Address], names: Mapping[Address, str], utf8: bool, head: str = ""
) -> Reply | None:
    """A line for each, after ``head``; None where the client did not say that it can read them (RFC 6531 3.7.4.2)."""
    lines = [mailbox(address, names.get(address, ""), utf8) for address in addresses]
    if head:
        lines.insert(0, head)
    if all(line.isascii() for line in lines):
        return Reply.of(code, enhanced, *lines)
    return Reply.in_utf8(code, enhanced, *lines) if utf8 else None
