"""What RFC 6409 8 has us complete in a message that is submitted, as edits; and its octets over 127.  Pure.

What it is: what ``mta.message.trace`` does not (Date and Message-ID are added and Bcc is cut for all who may send
through us): Sender, the Resent- block, and 8-bit octets that nobody declared.
Contract: nothing that stands is changed but fields with octets over 127 of a message without SMTPUTF8 (RFC 6531 3.6:
its header is ASCII), which become encoded words where that says the same.  Edits do not overlap those of ``trace``.
How it fails: ``PermanentFailure`` 550 5.6.7 where such an octet stands in an address.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from mta.address import Address
from mta.message.edits import Edit
from mta.message.header import Header
from mta.message.trace import date_text
from mta.message.words import seven_bit
from mta.reply import PermanentFailure, Reply
from mta.submission.identity import Authors
from mta.submission.syntax import spelled

_MESSAGE_ID: Final = re.compile(rb"(?:[ \t]|\([^()]*\))*<[^<>\s]+>(?:[ \t]|\([^()]*\))*\Z")
#: Fields that are cut anyway (``mta.message.trace.cut_fields``).
_CUT: Final = frozenset((b"bcc", b"resent-bcc"))
#: RFC 2045 3: with one of them its author has said what the body is.
_MIME: Final = (b"mime-version", b"content-type", b"content-transfer-encoding")


class Completed(NamedTuple):
    """Edits, and what they do, for the story."""

    edits: tuple[Edit, ...]
    did: tuple[str, ...]


def complete(header: Header, found: Authors, account: Address | None, id: str, hostname: str, at_ms: int) -> Completed:
    """Sender (RFC 6409 8.1) and the Resent- block (RFC 5322 3.6.6); ``account`` is the sender's main address."""
    edits: list[Edit] = []
    did: list[str] = []
    for field in header.all(b"message-id"):
        if not _MESSAGE_ID.match(header.value(field)):
            # RFC 6409 8.3: replaced where it is no valid one; an answer could not name it (RFC 5322 3.6.4).
            put = f"Message-ID: <{id}@{hostname}>\r\n".encode("ascii")
            edits.append(Edit(field.start, field.end - field.start, put))
            did.append("Message-ID")
    line = f"{account}\r\n".encode() if account is not None else b""
    if found.sender_missing and not found.resent and line:
        edits.append(Edit(0, 0, b"Sender: " + line))
        did.append("Sender")
    resent = header.all(b"resent-from")
    if resent:
        put = b""
        if found.sender_missing and found.resent and line:
            put += b"Resent-Sender: " + line
            did.append("Resent-Sender")
        newest = {
            field.name for field in header.fields if len(resent) == 1 or field.start < resent[1].start
        }  # of the newest block, all of them
        if b"resent-date" not in newest:
            put += f"Resent-Date: {date_text(at_ms)}\r\n".encode("ascii")
            did.append("Resent-Date")
        if b"resent-message-id" not in newest:
            put += f"Resent-Message-ID: <r.{id}@{hostname}>\r\n".encode("ascii")
            did.append("Resent-Message-ID")
        if put:
            edits.append(Edit(resent[0].start, 0, put))
    return Completed(tuple(edits), tuple(did))


def ascii_header(header: Header) -> Completed:
    """The fields with octets over 127 as encoded words (RFC 2047).

    A field that is no address and cannot be written so stays: the next host may take it."""
    if header.octets.isascii():
        return Completed((), ())
    edits: list[Edit] = []
    did: list[str] = []
    for field in header.fields:
        octets = header.octets[field.start : field.end]
        if octets.isascii() or field.name in _CUT:
            continue
        if not octets.endswith(b"\r\n"):
            continue  # the end of the message
        written = seven_bit(field.name, octets)
        if written is None:
            if field.name in _ADDRESSES:
                what = f"{spelled(field.name)} has an address outside ASCII, which needs the parameter SMTPUTF8"
                raise PermanentFailure(Reply.of(550, "5.6.7", what))
            continue
        edits.append(Edit(field.start, field.end - field.start, written))
        did.append(spelled(field.name))
    return Completed(tuple(edits), tuple(did))


_ADDRESSES: Final = frozenset(b"from sender reply-to to cc resent-from resent-sender resent-to resent-cc".split())


def undeclared(header: Header, eight_bit: bool) -> bool:
    """Is the body 8-bit text of which nobody has said what it is?"""
    return eight_bit and header.complete and not any(header.count(name) for name in _MIME)


class Charset:
    """Which charset the text of a body can be called: ``feed`` it in order, then ``name``."""

    def __init__(self) -> None:
        self._rest = b""
        self._utf8 = True

    def feed(self, octets: bytes) -> None:
        """The next octets, cut anywhere."""
        if not self._utf8:
            return
        octets = self._rest + octets
        self._rest = b""
        try:
            octets.decode("utf-8")
        except UnicodeDecodeError as error:
            # What is cut at the end of a piece goes on with the next one.
            if error.reason == "unexpected end of data" and len(octets) - error.start < 4:
                self._rest = octets[error.start :]
            else:
                self._utf8 = False

    @property
    def name(self) -> str:
        """RFC 1428 3: what is not known is called so."""
        return "utf-8" if self._utf8 and not self._rest else "unknown-8bit"


def declare(header: Header, charset: str) -> Completed:
    """MIME fields for 8-bit text without any (RFC 2045 4, 5.2, 6.2), at the end of the header."""
    fields = f"MIME-Version: 1.0\r\nContent-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: 8bit\r\n"
    return Completed((Edit(header.end - 2, 0, fields.encode("ascii")),), ("MIME-Version", "Content-Type"))


def joined(parts: Iterable[Completed]) -> Completed:
    """All of them."""
    found = list(parts)
    return Completed(
        tuple(sorted((edit for part in found for edit in part.edits), key=lambda edit: edit.offset)),
        tuple(word for part in found for word in part.did),
    )
