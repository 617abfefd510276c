"""The report itself: a multipart/report (RFC 6522) with its delivery-status (RFC 3464), as octets.

What it is: a part for people (``mta.bounce.human``), a part for programs (``mta.bounce.status``), and what was sent:
its header, or all of it.
Contract: ASCII in CRLF lines of legal length, whatever strangers wrote into replies, addresses and headers: the
report itself can always be delivered.  Unusual octets of the returned header are quoted-printable (RFC 6522 4,
RFC 6533 4); a message that would need 8bit is returned as its header.  Only a report to an international address,
which goes by SMTPUTF8 or not at all, is in UTF-8; a part that has any has its type of RFC 6533.
It names exactly the recipients it was given.
Limits: ``MAX_HEADER`` octets of a returned header.
"""

from __future__ import annotations

import re
from base64 import encodebytes
from collections.abc import Sequence
from email.header import Header
from typing import Final, NamedTuple

from mta.address import Address
from mta.bounce.catalog import Catalog
from mta.bounce.decide import Kind, Notice
from mta.bounce.hiding import for_sender
from mta.bounce.human import About, Attached, human_text, subject
from mta.bounce.status import status_fields
from mta.envelope import Envelope
from mta.message.header import scan
from mta.message.quoted import MAX_LINE, encode, is_plain
from mta.message.trace import date_text

CRLF: Final = b"\r\n"
MAX_HEADER: Final = 64 * 1024
_COLUMNS: Final = 76  # RFC 2047 2: of a line that has an encoded-word
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_HIGH = re.compile(rb"[\x80-\xff]+")
_ODD = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n")
# RFC 5322 3.6.4, in a form that can be repeated without a thought.
_MESSAGE_ID = re.compile(rb"<[\x21-\x3b\x3d\x3f-\x7e]{1,250}>\Z")


class Subject(NamedTuple):
    """The message that a report is about: queue id, envelope, header section (``b""``: it cannot be read),
    and the whole of it where that is to be returned (``RET=FULL``)."""

    id: str
    envelope: Envelope
    header: bytes
    whole: bytes | None = None


def is_international(to: Address) -> bool:
    """The report goes by SMTPUTF8 (RFC 6531), for its recipient cannot be reached without."""
    return not str(to).isascii()


def report(
    notice: Notice,
    about: Subject,
    id: str,
    hostname: str,
    postmaster: Address,
    at_ms: int,
    languages: Sequence[Catalog],
) -> bytes:
    """Compose it.  ``id`` is the queue id of the report; ``languages``: of what people read, one or more."""
    notice = for_sender(notice)
    utf8 = is_international(notice.to)
    nothing: tuple[bytes, Attached] = b"", ""
    returned, attached = _returned_part(about, notice.kind, utf8) if about.header else nothing
    text = human_text(notice, About(about.envelope, about.id, attached, hostname, postmaster, at_ms), languages)
    fields = status_fields(notice, about.envelope, about.id, hostname, at_ms, utf8)
    # RFC 6533 4: in its own type only where it has UTF-8; many readers know the older one alone.
    unicode = not fields.isascii()
    parts = [text_part(text, languages), _status_part(fields, unicode)]
    if returned:
        parts.append(returned)
    boundary = _boundary(id, parts)
    delimiter = b"--" + boundary.encode("ascii")
    head = [
        f"From: Mail Delivery System <MAILER-DAEMON@{hostname}>",
        f"To: <{_CONTROL.sub('?', str(notice.to))}>",
        subject_field(subject(notice, languages)),
        f"Date: {date_text(at_ms)}",
        f"Message-ID: <{id}@{hostname}>",
        *references(about.header),
        # RFC 3834 5
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        # RFC 6522 3: the type of report is that of its second part.
        f"Content-Type: multipart/report; report-type={'global-' if unicode else ''}delivery-status;"
        f'\r\n\tboundary="{boundary}"',
    ]
    if utf8:
        head.append("Content-Transfer-Encoding: 8bit")
    pieces = ["\r\n".join(head).encode(), b""]
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


def references(header: bytes) -> list[str]:
    """The fields that name the message which this is about."""
    # RFC 3834 3.1.5: so that it shows beside the message that it is about.
    found = scan(header).get(b"message-id") or b""
    if not _MESSAGE_ID.match(found):
        return []
    text = found.decode("ascii")
    return [f"In-Reply-To: {text}", f"References: {text}"]


def subject_field(text: str) -> str:
    """The field, without its end."""
    # RFC 2047: as encoded-words where it has to be, in lines of legal length.
    value = Header(text, maxlinelen=_COLUMNS, header_name="Subject").encode(linesep="\r\n")
    return f"Subject: {value}"


def text_part(content: bytes, languages: Sequence[Catalog]) -> bytes:
    """What people read: fields, an empty line, and the text."""
    tags = ", ".join(catalog.tag for catalog in languages)
    head = f"Content-Description: Notification\r\nContent-Language: {tags}\r\n".encode("ascii")
    if is_plain(content):
        return head + b"Content-Type: text/plain; charset=us-ascii\r\n\r\n" + content
    head += b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: "
    # RFC 2045 6.7, 6.8: quoted-printable takes two octets more for each one that is not ASCII, base64 a third for all.
    if 6 * sum(map(len, _HIGH.findall(content))) > len(content):
        return head + b"base64\r\n\r\n" + encodebytes(content).replace(b"\n", CRLF)
    return head + b"quoted-printable\r\n\r\n" + encode(content)


def _status_part(fields: bytes, unicode: bool) -> bytes:
    head = b"Content-Description: Delivery report\r\nContent-Type: message/"
    if unicode:
        # RFC 6533 4
        return head + b"global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + fields
    return head + b"delivery-status\r\n\r\n" + fields


# --- what was sent -----------------------------------------------------------------------------------------


def _returned_part(about: Subject, kind: Kind, utf8: bool) -> tuple[bytes, Attached]:
    """The part, and what it is called."""
    # RFC 3461 4.3: all of it only where something failed.
    if about.whole is not None and kind.of_failure:
        head = b"Content-Description: Undelivered message\r\nContent-Type: message/"
        # RFC 2046 5.2.1: a message/rfc822 may not be encoded, and a report has to pass everywhere.
        if is_plain(about.whole):
            return head + b"rfc822\r\n\r\n" + about.whole, "text"
        if utf8 and _is_eight_bit(about.whole) and _is_utf8(about.header):
            # RFC 6533 4
            return head + b"global\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + about.whole, "text"
    header = about.header
    if len(header) > MAX_HEADER:
        header = header[: max(header.rfind(CRLF, 0, MAX_HEADER), 0)]
    header = header.rstrip(b"\r\n") + CRLF
    head = b"Content-Description: Header of the message\r\nContent-Type: "
    if is_plain(header):
        return head + b"text/rfc822-headers\r\n\r\n" + header, "header"
    # RFC 6533 4: the header of an international message is of another type.
    international = about.envelope.smtputf8 and _is_utf8(header)
    head += b"message/global-headers\r\n" if international else b"text/rfc822-headers\r\n"
    if utf8 and international and _is_eight_bit(header):
        return head + b"Content-Transfer-Encoding: 8bit\r\n\r\n" + header, "header"
    # RFC 6522 4
    return head + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + encode(header), "header"


def _is_utf8(octets: bytes) -> bool:
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_eight_bit(octets: bytes) -> bool:
    """RFC 2045 2.8: lines of legal length, without NUL and single CR or LF."""
    return not _ODD.search(octets) and max(map(len, octets.split(CRLF))) <= MAX_LINE
