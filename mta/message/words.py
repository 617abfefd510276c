"""Header fields with octets over 127, made ASCII: encoded-words (RFC 2047) and parameters (RFC 2231).  Pure.

Contract: ``seven_bit`` returns a field that means the same, or None where it cannot be sure: an octet that stands
in an address, a date or an identifier has no other form.  Text that is UTF-8 is called so, other text
unknown-8bit (RFC 1428 3).  Only what has to be is changed: the other fields of a header are not looked at.
Limits: the caller bounds the field; the work is linear in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from mta.message.parameters import PARAMETER, TYPE, unquote

CRLF: Final = b"\r\n"
_COLUMNS: Final = 76  # RFC 2047 2: of a line that has an encoded-word
_WORD: Final = 75  # RFC 2047 2: of an encoded-word

# RFC 5322 3.4, and their kin of common use: mailboxes with display names.
_ADDRESSES: Final = frozenset(
    b"from sender reply-to to cc bcc resent-from resent-sender resent-reply-to resent-to resent-cc resent-bcc list-id "
    b"errors-to disposition-notification-to return-receipt-to mail-followup-to mail-reply-to".split()
)
_PARAMETERS: Final = frozenset((b"content-type", b"content-disposition"))
# Structured, and no place for words but in comments, which are not worth the risk.
_RIGID: Final = frozenset(
    b"received return-path message-id in-reply-to references date resent-date resent-message-id mime-version "
    b"content-transfer-encoding content-id authentication-results received-spf".split()
)
_RIGID_PREFIXES: Final = (b"list-", b"arc-", b"dkim-", b"domainkey-")

_HIGH = re.compile(rb"[\x80-\xff]")
_FOLD = re.compile(rb"\r\n(?=[ \t])")
_ENCODED = re.compile(rb"=\?[^? ]+\?[BbQq]\?[^? ]*\?=\Z")
_PLAIN: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")  # RFC 2047 5 (3)
_ATTRIBUTE: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_")
_TOKEN = re.compile(
    rb'(?P<space>[ \t]+)|(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<comment>\((?:[^()\\]|\\.)*\))|(?P<angle><[^<>]*>)'
    rb'|(?P<end>[,:;])|(?P<word>[^ \t"()<>,:;]+)'
)


class _Piece(NamedTuple):
    """What stands in a line, and the white space before it, where the line may be folded."""

    space: bytes
    text: bytes


def seven_bit(name: bytes, field: bytes) -> bytes | None:
    """The field (``name`` in lower case; with its CRLF) in ASCII, None where that cannot be done."""
    head, colon, value = field.partition(b":")
    value = _FOLD.sub(b"", value).rstrip(b"\r\n")
    if not head.isascii():
        return None
    if name in _ADDRESSES:
        pieces = _addresses(value)
    elif name in _PARAMETERS:
        pieces = _with_parameters(value)
    elif name in _RIGID or name.startswith(_RIGID_PREFIXES):
        pieces = None
    else:
        pieces = list(_text(value))
    return None if pieces is None else _folded(head + colon, pieces)


def _folded(line: bytes, pieces: list[_Piece]) -> bytes:
    lines: list[bytes] = []
    for space, text in pieces:
        # RFC 5322 2.2.3: only before white space.
        if space and len(line) + len(space) + len(text) > _COLUMNS and not line.isspace():
            lines.append(line)
            line = b""
        line += space + text
    return CRLF.join((*lines, line)) + CRLF


def _charset(octets: bytes) -> tuple[bytes, list[bytes]]:
    """What to call it, and the octets by characters, which no encoded-word may part (RFC 2047 5)."""
    try:
        return b"utf-8", [character.encode() for character in octets.decode()]
    except UnicodeDecodeError:
        return b"unknown-8bit", [bytes((octet,)) for octet in octets]


def _encoded_words(octets: bytes) -> Iterator[bytes]:
    charset, characters = _charset(octets)
    head = b"=?" + charset + b"?Q?"
    room = _WORD - len(head) - 2
    word = b""
    for character in characters:
        encoded = b"".join(_q(octet) for octet in character)
        if len(word) + len(encoded) > room:
            yield head + word + b"?="
            word = b""
        word += encoded
    yield head + word + b"?="


def _q(octet: int) -> bytes:
    if octet in _PLAIN:
        return bytes((octet,))
    return b"_" if octet == 0x20 else b"=%02X" % octet


def _as_words(space: bytes, octets: bytes) -> Iterator[_Piece]:
    for number, word in enumerate(_encoded_words(octets)):
        yield _Piece(b" " if number else space, word)


# --- unstructured (RFC 5322 2.2.1) ---------------------------------------------------------------------------


def _text(value: bytes) -> Iterator[_Piece]:
    """Words with octets over 127, and what stands between two of them, become encoded-words; the rest stays."""
    tokens = re.split(rb"([ \t]+)", value)
    words, spaces = tokens[0::2], [b"", *tokens[1::2]]
    at = 0
    while at < len(words):
        if not _HIGH.search(words[at]):
            yield _Piece(spaces[at], words[at])
            at += 1
            continue
        end = at + 1
        while end < len(words) and _HIGH.search(words[end]):
            end += 1
        run = b"".join(spaces[index] * (index > at) + words[index] for index in range(at, end))
        # RFC 2047 6.2: white space between two encoded-words is not shown; so it goes inside.
        if at and _ENCODED.match(words[at - 1]):
            run = b" " + run
        if end < len(words) and _ENCODED.match(words[end]):
            run += b" "
        yield from _as_words(spaces[at] or b" ", run)
        at = end


# --- addresses (RFC 5322 3.4) --------------------------------------------------------------------------------


def _addresses(value: bytes) -> list[_Piece] | None:
    """Display names, names of groups and comments are encoded; an octet over 127 elsewhere is an address."""
    pieces: list[_Piece] = []
    waiting: list[tuple[str, bytes]] = []  # of this mailbox, up to its angle-addr
    position = 0
    while position < len(value):
        token = _TOKEN.match(value, position)
        if token is None:
            return None
        position = token.end()
        kind, text = str(token.lastgroup), token[0]
        if kind == "angle" or text == b":":
            phrase = _phrase(waiting)
            if phrase is None or not text.isascii():
                return None
            pieces += phrase
            pieces.append(_Piece(_space(waiting), text))
            waiting = []
        elif kind == "end":
            if not _copy(waiting, pieces):
                return None
            pieces.append(_Piece(_space(waiting), text))
            waiting = []
        else:
            waiting.append((kind, text))
    return pieces if _copy(waiting, pieces) else None


def _space(tokens: list[tuple[str, bytes]]) -> bytes:
    return tokens[-1][1] if tokens and tokens[-1][0] == "space" else b""


def _copy(tokens: list[tuple[str, bytes]], pieces: list[_Piece]) -> bool:
    """An address without a display name: as it is, its comments encoded."""
    space = b""
    for kind, text in tokens:
        if kind == "space":
            space = text
        elif kind == "comment" and not text.isascii():
            words = list(_as_words(b"", _unescape(text[1:-1])))
            words[0] = _Piece(space, b"(" + words[0].text)
            words[-1] = _Piece(words[-1].space, words[-1].text + b")")
            pieces += words
            space = b""
        elif not text.isascii():
            return False
        else:
            pieces.append(_Piece(space, text))
            space = b""
    return True


def _phrase(tokens: list[tuple[str, bytes]]) -> list[_Piece] | None:
    if all(text.isascii() for kind, text in tokens if kind != "comment"):
        pieces: list[_Piece] = []
        return pieces if _copy(tokens, pieces) else None
    if any(kind == "comment" or _ENCODED.match(text) for kind, text in tokens):
        return None  # partly encoded already, or with a comment inside: where its words end is not clear
    text = b"".join(unquote(text) if kind == "quoted" else text for kind, text in tokens)
    before = tokens[0][1] if tokens[0][0] == "space" else b" "
    return list(_as_words(before, text.strip(b" \t")))


def _unescape(text: bytes) -> bytes:
    return re.sub(rb"\\(.)", rb"\1", text, flags=re.DOTALL)


# --- parameters (RFC 2045 5.1, RFC 2183) ---------------------------------------------------------------------


def _with_parameters(value: bytes) -> list[_Piece] | None:
    head = TYPE.match(value) or re.match(rb"[ \t]*[\x21-\x3a\x3c-\x7e]+[ \t]*", value)
    if head is None:
        return None
    pieces = [_Piece(b" ", head[0].strip(b" \t"))]
    position, end = head.end(), len(value.rstrip(b"; \t"))
    while position < end:
        parameter = PARAMETER.match(value, position)
        if parameter is None:
            return None
        position = parameter.end()
        name, text = parameter[1], unquote(parameter[2])
        pieces[-1] = _Piece(pieces[-1].space, pieces[-1].text + b";")
        if parameter[2].isascii():
            pieces.append(_Piece(b" ", name + b"=" + parameter[2]))
        elif name.endswith(b"*") or name.lower() == b"boundary":
            return None
        else:
            pieces += _extended(name, text)
    return pieces


def _extended(name: bytes, octets: bytes) -> list[_Piece]:
    """RFC 2231 3, 4: in several parts where it is long."""
    charset, characters = _charset(octets)
    encoded = [b"".join(bytes((o,)) if o in _ATTRIBUTE else b"%%%02X" % o for o in c) for c in characters]
    parts = [charset + b"''"]
    for character in encoded:
        if len(name) + len(parts[-1]) + len(character) > _COLUMNS - 10:
            parts.append(b"")
        parts[-1] += character
    if len(parts) == 1:
        return [_Piece(b" ", name + b"*=" + parts[0])]
    last = len(parts) - 1
    return [
        _Piece(b" ", b"%s*%d*=%s%s" % (name, number, part, b";" * (number < last))) for number, part in enumerate(parts)
    ]
