"""Which header fields a signature covers (RFC 6376 5.4): what says who wrote what to whom, and how it is read.  Pure.

What it is: ``chosen`` gives the names for ``h=``, ``signed_octets`` the fields in their canonical form, in that order.
Contract: of a name that stands several times every field is signed, from the last one up (RFC 6376 5.4.2).  Names of
``OVERSIGNED`` stand once more than there are fields (RFC 6376 8.15): nobody can add one and leave the signature whole.
Those of ``IF_THERE`` are so protected only where there is one, as hosts on the way add them honestly (lists: Sender).
What hosts add as a rule (Received, Return-Path, List-*, Resent-*) is never protected against more of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from mta.dkim.canon import relaxed_field
from mta.message.header import Field, Header

#: In the order in which they stand in ``h=``.
OVERSIGNED: Final = (
    b"from",
    b"to",
    b"cc",
    b"subject",
    b"date",
    b"message-id",
    b"reply-to",
    b"in-reply-to",
    b"references",
    b"mime-version",
    b"content-type",
    b"content-transfer-encoding",
)
IF_THERE: Final = (b"sender", b"content-disposition", b"content-id", b"content-description", b"autocrypt")
SIGNED: Final = (
    b"resent-date",
    b"resent-from",
    b"resent-sender",
    b"resent-to",
    b"resent-cc",
    b"resent-message-id",
    b"list-id",
    b"list-help",
    b"list-unsubscribe",
    # RFC 8058 4: has to be covered, or one click counts for nothing.
    b"list-unsubscribe-post",
    b"list-subscribe",
    b"list-post",
    b"list-owner",
    b"list-archive",
    b"auto-submitted",
    b"tls-required",
)


def chosen(header: Header) -> tuple[bytes, ...]:
    """The names for ``h=``, in lower case; see the module's text."""
    names: list[bytes] = []
    for name in OVERSIGNED:
        names += [name] * (header.count(name) + 1)
    for name in IF_THERE:
        if count := header.count(name):
            names += [name] * (count + 1)
    for name in SIGNED:
        names += [name] * header.count(name)
    return tuple(names)


def signed_octets(header: Header, names: Sequence[bytes]) -> bytes:
    """What the signature covers of the header section: RFC 6376 5.4.2, 3.7 with the relaxed form."""
    return b"".join(_fields(header, names))


def _fields(header: Header, names: Iterable[bytes]) -> Iterable[bytes]:
    left: dict[bytes, list[Field]] = {}
    for field in header.fields:
        left.setdefault(field.name, []).append(field)
    for name in names:
        # RFC 6376 5.4: a field that is not there is the null string.
        if fields := left.get(name):
            field = fields.pop()
            yield relaxed_field(name, header.octets[field.value_start : field.end])
