"""The mailboxes of an address list (RFC 5322 3.4).  Pure, and imports next to nothing: ``mta-sendmail`` has it too.

Contract: any octets are read and nothing raises: what cannot be understood is left out.  Names come back as they stand,
encoded words and octets over 127 among them.
Limits: the caller bounds the octets.
"""

from __future__ import annotations

import re
from typing import NamedTuple

#: A quoted-string, a comment (nested ones by ``_comment``), what stands in angle brackets, a sign, a word.
_TOKEN = re.compile(
    rb'[ \t\r\n]+|(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<angle><[^<>]*>)|(?P<comment>\()|(?P<sign>[,:;])'
    rb'|(?P<word>[^ \t\r\n"()<>,:;]+)|(?P<other>.)',
    re.DOTALL,
)
_SPACE = re.compile(rb"[ \t\r\n]+")


class Mailbox(NamedTuple):
    """``name`` as it stands, quotes too, b"" for none; ``address`` without its angle brackets."""

    name: bytes
    address: bytes


def mailboxes(value: bytes) -> list[Mailbox]:
    """The mailboxes of an address list, those in groups too; the name of an empty group is one without an address."""
    found: list[Mailbox] = []
    words: list[bytes] = []
    comment = address = group = b""
    before = 0  # mailboxes before the group

    def end() -> None:
        nonlocal words, comment, address
        if address:
            found.append(Mailbox(b" ".join(words) or comment, address))
        elif words:
            found.append(Mailbox(comment, b"".join(words)))
        words, comment, address = [], b"", b""

    position = 0
    while position < len(value):
        match = _TOKEN.match(value, position)
        assert match is not None  # "other" takes anything
        position = match.end()
        kind, text = match.lastgroup, match[0]
        if kind == "comment":
            position = _comment(value, position)
            comment = _SPACE.sub(b" ", value[match.end() : position - 1]).strip()
        elif kind == "angle":
            address = _SPACE.sub(b"", text[1:-1])
        elif text == b":":
            group, words, before = b" ".join(words), [], len(found)
        elif kind == "sign":
            end()
            if text == b";":
                if group and len(found) == before:
                    found.append(Mailbox(group, b""))
                group = b""
        elif kind in ("word", "quoted"):
            words.append(text)
    end()
    return found


def bare(value: bytes) -> list[int]:
    """Where a domain is missing: the ends of the names in an address list that have none."""
    found: list[int] = []
    words: list[tuple[int, bytes]] = []
    angle = False
    position = 0

    def end() -> None:
        nonlocal angle
        if not angle and len(words) == 1 and b"@" not in words[0][1]:
            found.append(words[0][0])
        angle = False
        words.clear()

    while position < len(value):
        match = _TOKEN.match(value, position)
        assert match is not None  # "other" takes anything
        position = match.end()
        kind, text = match.lastgroup, match[0]
        if kind == "comment":
            position = _comment(value, position)
        elif kind == "angle":
            angle = True
            inner = text[:-1].rstrip()
            if len(inner) > 1 and b"@" not in inner:
                found.append(match.start() + len(inner))
        elif text == b":":
            words.clear()
        elif kind == "sign":
            end()
        elif kind in ("word", "quoted"):
            words.append((position, text))
    end()
    return found


def _comment(value: bytes, position: int) -> int:
    """Behind the comment that has begun; comments nest (RFC 5322 3.2.2)."""
    depth = 1
    while position < len(value) and depth:
        sign = value[position : position + 1]
        if sign == b"\\":
            position += 1
        elif sign == b"(":
            depth += 1
        elif sign == b")":
            depth -= 1
        position += 1
    return position
