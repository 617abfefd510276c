"""Where addresses stand in the header, as offsets into octets that are never changed (RFC 5322 3.4, 3.6.2, 3.6.3).

What it is: ``found`` goes through the fields that hold addresses and gives each addr-spec with its place, so that one
can be put in the place of another and nothing else of the field changes: names, comments, groups, folds.
Contract: any octets are read and nothing raises.  What is not written in one piece (``ann @ a.example``, which RFC 5322
4.4 calls obsolete), a source route, and what is no address of ours to parse are passed over and stay as they are.
Limits: ``MOST`` addresses of a message; the caller bounds the octets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from mta.address import Address, AddressError
from mta.message.header import Header

MOST: Final = 1000
#: Fields that say from whom a message is, and to whom.
SENDERS: Final = frozenset((b"from", b"sender", b"reply-to", b"resent-from", b"resent-sender", b"resent-reply-to"))
RECIPIENTS: Final = frozenset((b"to", b"cc", b"resent-to", b"resent-cc"))
_FIELDS: Final = SENDERS | RECIPIENTS
#: A quoted-string, the beginning of a comment, a sign, white space, or what else stands in one piece: a literal too.
_TOKEN = re.compile(
    rb'(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<comment>\()|(?P<sign>[,:;<>])|(?P<space>[ \t\r\n]+)'
    rb'|(?P<word>(?:\[[^\]\r\n]*\]|[^ \t\r\n"()<>,:;\[])+)|(?P<other>.)',
    re.DOTALL,
)
_IN_COMMENT = re.compile(rb"\\.|[()]", re.DOTALL)


class Place(NamedTuple):
    """An address in the header: ``sender``: of whom it is from.  ``start:end`` are its octets without brackets."""

    address: Address
    sender: bool
    start: int
    end: int


def found(header: Header) -> Iterator[Place]:
    """All addresses of the header, in their order; see the module's text."""
    count = 0
    for field in header.fields:
        if field.name not in _FIELDS:
            continue
        for start, end in _pieces(header.octets, field.value_start, field.end):
            address = _read(header.octets[start:end])
            if address is None:
                continue
            if count == MOST:
                return
            count += 1
            yield Place(address, field.name in SENDERS, start, end)


def _pieces(octets: bytes, position: int, stop: int) -> Iterator[tuple[int, int]]:
    """What stands in one piece and has an ``@``: a quoted-string may be its beginning."""
    start = -1  # of a piece that goes on
    angle = route = False
    while position < stop:
        token = _TOKEN.match(octets, position, stop)
        assert token is not None  # "other" takes anything
        kind, sign, end = token.lastgroup, token[0], token.end()
        if kind == "other":
            return  # a quote or a bracket that is never closed: where anything begins or ends is anybody's guess
        if kind in ("word", "quoted"):
            start = position if start < 0 else start
        else:
            if start >= 0 and not route and b"@" in octets[start:position]:
                # RFC 5322 4.4: "<@a.example,@b.example:ann@c.example>" has a route before its address.
                if angle and octets[start : start + 1] == b"@":
                    route = True
                else:
                    yield start, position
            start = -1
            if kind == "comment":
                end = _behind(octets, end, stop)
            elif kind == "sign":
                angle = sign == b"<" or (angle and sign != b">")
                route = route and sign != b">"
        position = end
    if start >= 0 and not route:
        yield start, stop


def _behind(octets: bytes, position: int, stop: int) -> int:
    """The end of a comment that has begun; comments nest (RFC 5322 3.2.2)."""
    depth = 1
    while depth:
        sign = _IN_COMMENT.search(octets, position, stop)
        if sign is None:
            return stop
        depth += {b"(": 1, b")": -1}.get(sign[0], 0)
        position = sign.end()
    return position


def _read(octets: bytes) -> Address | None:
    try:
        return Address.parse(octets.decode("utf-8"), utf8=True)
    except (UnicodeDecodeError, AddressError):
        return None
