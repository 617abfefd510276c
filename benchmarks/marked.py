"""Messages that prove themselves: each says which one it is, how long it is and what its octets sum up to.

``Mark`` makes them for the source and for tests; ``look`` finds the mark in whatever arrived, below all lines that the
servers put before it, and says whether what follows it is whole.  A body holds lines that begin with dots, so that
transparency (RFC 5321 4.5.2) is proven on the way, and differs from its neighbours', so that no two can be mixed up.
"""

from __future__ import annotations

import random
from base64 import b64encode
from functools import cache
from typing import Final, NamedTuple
from zlib import crc32

_NAME: Final = b"X-Benchmark: "
#: So many different bodies of one size; of large ones one is enough, since they are kept in memory.
VARIANTS: Final = 32
_LARGE: Final = 1 << 20
_LINE: Final = 76
#: About as long as a header is.
_HEADER: Final = 200
_DOTTED: Final = b".a line that begins with a dot\r\n..and one with two\r\n"


class Mark(NamedTuple):
    """One message: its run, its number in it, and how many octets it has."""

    run: str
    number: int
    size: int

    def header(self) -> bytes:
        """Up to the empty line."""
        body = self._body()
        return (
            f"X-Benchmark: {self.run} {self.number} {len(body.octets)} {body.total:08x}\r\n"
            "From: <from@sender.example>\r\nTo: <to@far.example>\r\nDate: Tue, 24 Nov 2026 12:00:00 +0000\r\n"
            f"Message-ID: <{self.run}.{self.number}@sender.example>\r\nSubject: {self.number}\r\n\r\n"
        ).encode()

    def octets(self) -> bytes:
        """As it is to arrive; ``size`` of them, give or take a few of the header's."""
        return self.header() + self._body().octets

    def wire(self) -> tuple[bytes, bytes]:
        """What follows DATA, in two parts: the second is large, and one object for many messages."""
        return self.header(), self._body().wire

    def _body(self) -> _Body:
        room = max(self.size - _HEADER, 0)
        return _body(self.number % (VARIANTS if room < _LARGE else 1), room)


class _Body(NamedTuple):
    octets: bytes
    wire: bytes
    total: int


@cache
def _body(variant: int, room: int) -> _Body:
    """Lines of base 64 with some that begin with dots, and their sum."""
    letters = b64encode(random.Random(variant).randbytes(min(room, _LARGE)))
    lines = b"\r\n".join(letters[start : start + _LINE] for start in range(0, len(letters), _LINE))
    text = _DOTTED + lines + b"\r\n"
    text = (text * (room // len(text) + 1))[: max(room - 2, 0)].rstrip(b"\r") + b"\r\n"
    return _Body(text, stuffed(text), crc32(text))


class Found(NamedTuple):
    """A mark that was found, and whether all is there and nothing else."""

    run: str
    number: int
    whole: bool


def look(octets: bytes | bytearray) -> Found | None:
    """``octets`` with CR LF and without dot stuffing; ``None`` if there is no mark in them."""
    start = octets.find(_NAME)
    if start < 0 or (start and octets[start - 1] != 0x0A):
        return None
    end = octets.find(b"\r\n", start)
    try:
        run, number, length, total = octets[start + len(_NAME) : end].decode("ascii").split()
        found, wanted, size = int(number), int(total, 16), int(length)
    except ValueError:
        return None
    begin = octets.find(b"\r\n\r\n", end) + 4
    body = memoryview(octets)[begin:]
    whole = begin > 4 and len(body) == size and crc32(body) == wanted
    body.release()
    return Found(run, found, whole)


def stuffed(body: bytes) -> bytes:
    """RFC 5321 4.5.2: a dot more where a line begins with one; ends with the line that ends DATA."""
    return (b"." if body.startswith(b".") else b"") + body.replace(b"\r\n.", b"\r\n..") + b".\r\n"


def unstuffed(data: bytes | bytearray) -> bytes | bytearray:
    """The reverse, for what came before that line."""
    octets = data.replace(b"\r\n.", b"\r\n")
    return octets[1:] if octets.startswith(b".") else octets
