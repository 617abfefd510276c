"""Quoted-printable (RFC 2045 6.7) for text that may hold anything, and the question whether it is needed.

Contract: ``encode`` returns ASCII in CRLF lines of at most 76 columns; decoding gives the octets back.  CRLF is
a line end; a bare CR or LF, NUL and whatever else is not plain is written as ``=XX``.  No line that is broken begins
its second part with a hyphen, so that nothing can become a boundary.
The standard library's encoder guesses the line end from the first line, so strangers' octets can upset it.
"""

from __future__ import annotations

import re
from typing import Final

CRLF: Final = b"\r\n"
#: RFC 5322 2.1.1: octets in a line, less its CRLF.
MAX_LINE: Final = 998
_COLUMNS: Final = 75  # RFC 2045 6.7 rule 5, less the "=" of a soft line end
#: What has to be written as ``=XX`` in a line.
UNSAFE: Final = re.compile(rb"[^\t\x20-\x3c\x3e-\x7e]|[\t ]\Z")
_NOT_PLAIN = re.compile(rb"[^\t\r\n\x20-\x7e]|\r(?!\n)|(?<!\r)\n")
_ESCAPES: Final = {bytes((octet,)): b"=%02X" % octet for octet in range(256)}


def _escape(match: re.Match[bytes]) -> bytes:
    return _ESCAPES[match[0]]


def is_plain(octets: bytes) -> bool:
    """It can go as it is, as 7bit (RFC 2045 2.7): ASCII without controls, CRLF lines of legal length."""
    if _NOT_PLAIN.search(octets):
        return False
    return len(octets) <= MAX_LINE or max(map(len, octets.split(CRLF))) <= MAX_LINE


def encode(octets: bytes, unsafe: re.Pattern[bytes] = UNSAFE, continued: bool = False) -> bytes:
    """See the module's text.  ``unsafe`` finds what is written as ``=XX``; ``continued``: a soft break went before."""
    if not continued:
        return CRLF.join([_line(line, unsafe) for line in octets.split(CRLF)])
    first, end, rest = octets.partition(CRLF)
    return _line(first, unsafe, True) + (end + encode(rest, unsafe) if end else b"")


def _line(line: bytes, unsafe: re.Pattern[bytes], continued: bool = False) -> bytes:
    encoded = unsafe.sub(_escape, line)
    if len(encoded) <= _COLUMNS and not continued:
        return encoded
    parts: list[bytes] = []
    start, length = 0, len(encoded)
    while True:
        # RFC 2046 5.1.1: no line of ours may become a boundary, which begins with "--".
        head = b"=2D" if (start or continued) and encoded[start : start + 1] == b"-" else b""
        start += bool(head)
        end = start + _COLUMNS - len(head)
        if end >= length:
            parts.append(head + encoded[start:])
            return b"=\r\n".join(parts)
        # An "=XX" that begins in the last two columns goes to the next line whole.
        for back in (1, 2):
            if encoded[end - back] == 0x3D:
                end -= back
                break
        parts.append(head + encoded[start:end])
        start = end
