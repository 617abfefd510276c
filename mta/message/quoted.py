"""Quoted-printable (RFC 2045 6.7) for text that may hold anything, and the question whether it is needed.

Contract: ``encode`` returns ASCII in CRLF lines of at most 76 columns; decoding gives the octets back.  CRLF is
a line end; a bare CR or LF, NUL and whatever else is not plain is written as ``=XX``.
The standard library's encoder guesses the line end from the first line, so strangers' octets can upset it.
"""

from __future__ import annotations

import re
from typing import Final

CRLF: Final = b"\r\n"
#: RFC 5322 2.1.1: octets in a line, less its CRLF.
MAX_LINE: Final = 998
_COLUMNS: Final = 75  # RFC 2045 6.7 rule 5, less the "=" of a soft line end
_UNSAFE = re.compile(rb"[^\t\x20-\x3c\x3e-\x7e]|[\t ]\Z")
_NOT_PLAIN = re.compile(rb"[^\t\r\n\x20-\x7e]|\r(?!\n)|(?<!\r)\n")


def is_plain(octets: bytes) -> bool:
    """It can go as it is, as 7bit (RFC 2045 2.7): ASCII without controls, CRLF lines of legal length."""
    if _NOT_PLAIN.search(octets):
        return False
    return len(octets) <= MAX_LINE or max(map(len, octets.split(CRLF))) <= MAX_LINE


def encode(octets: bytes) -> bytes:
    """See the module's text."""
    return CRLF.join(map(_line, octets.split(CRLF)))


def _line(line: bytes) -> bytes:
    encoded = _UNSAFE.sub(lambda match: b"=%02X" % match[0][0], line)
    if len(encoded) <= _COLUMNS:
        return encoded
    parts: list[bytes] = []
    start = 0
    while len(encoded) - start > _COLUMNS:
        end = start + _COLUMNS
        # An "=XX" that begins in the last two columns goes to the next line whole.
        for back in (1, 2):
            if encoded[end - back] == 0x3D:
                end -= back
                break
        parts.append(encoded[start:end])
        start = end
    parts.append(encoded[start:])
    return b"=\r\n".join(parts)
