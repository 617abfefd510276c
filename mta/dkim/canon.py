"""The relaxed canonical forms of a header field and of a body (RFC 6376 3.4.2, 3.4.4).  Pure.

What it is: ``relaxed_field`` for one field; ``RelaxedBody`` for a body that comes in chunks, cut anywhere: it hands its
canonical octets to ``sink``, in pieces, as they are certain.
Contract: what the sink gets, joined, does not depend on where the body was cut.  Only CRLF ends a line; a CR or LF that
stands alone is an octet like others.  A last line without CRLF gets one (RFC 6376 3.4.4 b).
Limits: nothing is kept but what the next octet may change; a run of empty lines is counted, however long.  Whole chunks
are replaced in bulk, never lines one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

CRLF: Final = b"\r\n"
#: Empty lines that are handed on at once.
_MANY: Final = 4096
_EMPTY_LINES: Final = CRLF * _MANY


def relaxed_field(name: bytes, value: bytes) -> bytes:
    """A field in its canonical form with its CRLF; ``value`` is all behind the colon, folds and line end too; no white
    space stands around ``name``."""
    # RFC 6376 3.4.2: unfolded first, so that the white space on both sides of a fold becomes one space.
    text = _single_spaces(value.replace(CRLF, b"").strip(b" \t"))
    return name.lower() + b":" + text + CRLF


class RelaxedBody:
    """See the module's text: ``feed`` each chunk in order, then ``finish``."""

    __slots__ = ("_begun", "_empty", "_rest", "_sink")

    def __init__(self, sink: Callable[[bytes], object]) -> None:
        self._sink = sink
        self._rest = b""  # white space as one space, and a CR: what comes next may make a line's end of it
        self._empty = 0  # line ends that count only if something follows
        self._begun = False

    def feed(self, chunk: bytes) -> None:
        """The next octets."""
        data = self._rest + chunk if self._rest else chunk
        text = data.removesuffix(b"\r").rstrip(b" \t")
        if len(text) == len(data):
            self._rest = b""
        else:
            cr = data.endswith(b"\r")
            self._rest = b" " * (len(data) - len(text) > cr) + b"\r" * cr
        self._hand_on(_reduced(text))

    def finish(self) -> None:
        """Nothing more comes."""
        # White space before the end is white space at the end of a line, which has only lost its CRLF.
        if self._rest.endswith(b"\r"):
            self._hand_on(self._rest)
        if self._begun:
            self._sink(CRLF)
        self._rest, self._empty = b"", 0

    def _hand_on(self, text: bytes) -> None:
        """Reduced octets; line ends at their end wait (RFC 6376 3.4.4 b)."""
        content = text.rstrip(CRLF)
        # As one octet each, which nothing else here can be, those at the very end are told from lone CRs and LFs.
        ends = text[len(content) :].replace(CRLF, b"\0")
        alone = ends.rstrip(b"\0")
        if not (content or alone):
            self._empty += len(ends)
            return
        while self._empty > _MANY:
            self._sink(_EMPTY_LINES)
            self._empty -= _MANY
        self._sink(_EMPTY_LINES[: 2 * self._empty] + text[: len(text) - 2 * (len(ends) - len(alone))])
        self._empty = len(ends) - len(alone)
        self._begun = True


def _reduced(text: bytes) -> bytes:
    """RFC 6376 3.4.4 a: each run of white space is one space, and at the end of a line nothing."""
    text = _single_spaces(text)
    # base64 has none, mostly.
    return text.replace(b" \r\n", CRLF) if b" " in text else text


def _single_spaces(text: bytes) -> bytes:
    if b"\t" in text:
        text = text.replace(b"\t", b" ")
    # A run is halved each time: as many rounds as its length has bits.
    while b" " in text and b"  " in text:
        text = text.replace(b"  ", b" ")
    return text
