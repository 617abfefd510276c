"""What the header of a submitted message says of its recipients, and the From that it lacks.  Pure.

Contract: with -t the recipients are those of To, Cc and Bcc; of a message that is resent, those of the fields that
begin with "Resent-" alone (RFC 5322 3.6.6).  Names without a domain stay so: the service knows the domain.  Bcc is cut
by the service, which cuts it from all submitted mail.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from collections.abc import Iterable
from typing import Final

from mta.message.mailboxes import mailboxes
from mta.sendmail.content import Field
from mta.sendmail.statuses import DATAERR, USAGE, Trouble

_TO: Final = (b"to", b"cc", b"bcc")
_RESENT: Final = (b"resent-to", b"resent-cc", b"resent-bcc")
# RFC 5322 3.2.3: atoms with blanks between them need no quotes.
_PLAIN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~ ]+\Z")
#: Octets of a name in one encoded-word (RFC 2047 2: 75 characters in all).
_WORD: Final = 42
_LIST: Final = re.compile(r"[,<(;]")


def header_recipients(fields: Iterable[Field]) -> list[str]:
    """Whom the header names; see the module's text."""
    found = list(fields)
    names = _RESENT if any(field.name in _RESENT for field in found) else _TO
    return [one for field in found if field.name in names for one in _addresses(field.value)]


def word_recipients(words: Iterable[str]) -> list[str]:
    """Those of the command line: each an address, or a list of them as in a header."""
    found: list[str] = []
    for word in words:
        found += _addresses(word.encode("utf-8", "surrogateescape")) if _LIST.search(word) else [word]
    return found


def _addresses(value: bytes) -> list[str]:
    try:
        return [mailbox.address.decode("utf-8") for mailbox in mailboxes(value) if mailbox.address]
    except UnicodeDecodeError:
        raise Trouble(DATAERR, "an address of a recipient is not UTF-8") from None


def all_recipients(words: Iterable[str], fields: Iterable[Field], extract: bool) -> list[str]:
    """Each once, in order.  Raises ``Trouble`` where there is none."""
    found = word_recipients(words)
    if extract:
        found += header_recipients(fields)
    if not found:
        where = "the header names none (To, Cc, Bcc)" if extract else "name some, or use -t"
        raise Trouble(USAGE, f"no recipients: {where}")
    return list(dict.fromkeys(found))


def author_field(name: str, address: str) -> bytes:
    """From, with its CRLF (RFC 5322 3.6.2); ``name`` may be ""."""
    mailbox = address.encode("utf-8", "surrogateescape")
    if not name:
        return b"From: " + mailbox + b"\r\n"
    return b"From: " + _phrase(name) + b" <" + mailbox + b">\r\n"


def _phrase(name: str) -> bytes:
    if _PLAIN.match(name):
        return name.encode("ascii")
    if name.isascii():
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'.encode("ascii")
    # RFC 2047 5 (3); a character is never divided.
    words: list[bytes] = []
    part = b""
    for letter in name:
        octets = letter.encode("utf-8", "replace")
        if len(part) + len(octets) > _WORD:
            words.append(part)
            part = b""
        part += octets
    words.append(part)
    return b"\r\n ".join(b"=?utf-8?B?" + b2a_base64(word, newline=False) + b"?=" for word in words)
