"""Parts of a stream encoded as it passes: quoted-printable and base64 (RFC 2045 6.7, 6.8).

What it is: ``Recoding`` is ``EditedStream`` with one thing more: a ``Recode`` gives the octets of a region to a
coder in place of cutting them.  Offsets count in the octets that are fed.
Contract: lines of at most 76 columns that end in CRLF, whatever was fed and however it was cut; decoding gives
the octets back.  No line that was not there before can begin with two hyphens, so none can become a boundary.
Memory is bounded by the chunks fed.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from mta.message.edits import Edit
from mta.message.quoted import UNSAFE, encode

CRLF: Final = b"\r\n"
_LINE: Final = 57  # octets in a base64 line of 76 columns
_LONG: Final = 4096  # a line that is longer is encoded piece by piece
# RFC 2045 6.7: what may not stand in text that is quoted-printable already.
_STRAY = re.compile(rb"[^\t\x20-\x7e]")
_ODD = re.compile(rb"[^\t\r\n\x20-\x7e]|\r(?!\n)|(?<!\r)\n")


class Coder(Protocol):
    """``feed`` the octets in order, then ``end``; what comes back goes out."""

    def feed(self, octets: bytes) -> bytes: ...

    def end(self) -> bytes: ...


class Recode(NamedTuple):
    """``cut`` octets at ``offset`` go through a coder, which ``coder`` makes anew for each passage."""

    offset: int
    cut: int
    coder: Callable[[], Coder]


class QuotedPrintable:
    """Text; with ``repair`` text that is quoted-printable but for some octets.

    ``last``: nothing follows it in the message, and so its last line has to end (RFC 2045 6.7: with a soft break
    where the text does not end with a line).
    """

    def __init__(self, last: bool = False, repair: bool = False) -> None:
        self._last = last
        self._unsafe = _STRAY if repair else UNSAFE
        self._held = b""
        self._continued = False  # a soft break was the last thing that went out

    def feed(self, octets: bytes) -> bytes:
        data = self._held + octets
        end = data.rfind(CRLF) + 2
        done = b""
        if end > 1:
            done = encode(data[: end - 2], self._unsafe, self._continued) + CRLF
            data = data[end:]
            self._continued = False
        if len(data) > _LONG:
            cut = len(data) - 3  # a CR may have its LF in the next chunk
            for back in (1, 2):  # and an "=XX" of a text under repair is not parted
                if data[cut - back] == 0x3D:
                    cut -= back
                    break
            done += encode(data[:cut], self._unsafe, self._continued) + b"=\r\n"
            data = data[cut:]
            self._continued = True
        self._held = data
        return done

    def end(self) -> bytes:
        held, self._held = self._held, b""
        rest = encode(held, self._unsafe, self._continued)
        return rest + b"=\r\n" if self._last and rest else rest


class Base64:
    """Anything.  ``last`` as above."""

    def __init__(self, last: bool = False) -> None:
        self._last = last
        self._held = b""
        self._begun = False

    def feed(self, octets: bytes) -> bytes:
        data = self._held + octets
        whole = len(data) // _LINE * _LINE
        self._held = data[whole:]
        return self._lines(data[:whole])

    def end(self) -> bytes:
        held, self._held = self._held, b""
        return self._lines(held) + (CRLF if self._last else b"")

    def _lines(self, octets: bytes) -> bytes:
        if not octets:
            return b""
        encoded = b64encode(octets)
        joined = CRLF.join([encoded[at : at + 76] for at in range(0, len(encoded), 76)])
        if self._begun:
            return CRLF + joined
        self._begun = True
        return joined


class Mask:
    """What nobody reads (RFC 2046 5.1.1: preamble and epilogue): each octet that may not pass becomes ``sign``."""

    def __init__(self, sign: bytes) -> None:
        self._sign = sign
        self._held = b""

    def feed(self, octets: bytes) -> bytes:
        data = self._held + octets
        self._held = b""
        if data.endswith(b"\r"):
            data, self._held = data[:-1], b"\r"
        return _ODD.sub(self._sign, data)

    def end(self) -> bytes:
        return _ODD.sub(self._sign, self._held)


class Recoding:
    """The stream with its changes, which are sorted by offset and do not overlap: ``feed``, then ``finish``."""

    def __init__(self, changes: Sequence[Edit | Recode]) -> None:
        self._changes = changes
        self._next = 0
        self._position = 0
        self._until = 0  # the end of the change that is under way
        self._coder: Coder | None = None

    def feed(self, chunk: bytes) -> bytes:
        """What to send on for this chunk; may be empty."""
        parts: list[bytes] = []
        start, end = self._position, self._position + len(chunk)
        position = start
        while True:
            if self._until > position:
                stop = min(self._until, end)
                if self._coder is not None:
                    parts.append(self._coder.feed(chunk[position - start : stop - start]))
                position = stop
                if position < self._until:
                    break
            if self._coder is not None:
                parts.append(self._coder.end())
                self._coder = None
            change = self._changes[self._next] if self._next < len(self._changes) else None
            if change is None or change.offset >= end:
                parts.append(chunk[position - start :])
                break
            self._next += 1
            parts.append(chunk[position - start : change.offset - start])
            position = change.offset
            self._until = position + change.cut
            if isinstance(change, Edit):
                parts.append(change.put)
            else:
                self._coder = change.coder()
        self._position = end
        return b"".join(parts)

    def finish(self) -> bytes:
        """What is put in at the very end.  ``ValueError``: the stream was shorter than its changes."""
        if self._position < self._until:
            raise ValueError("the message is shorter than it was")
        rest = b"".join(change.put for change in self._changes[self._next :] if isinstance(change, Edit))
        self._next = len(self._changes)
        return rest
