"""A stored message, and reading it: ``IMessage`` and ``IChunks`` for every spool.

What it is: a small body lies in memory whole, or is fetched whole; a large one is read in pieces.  Where the
octets come from is a ``Bodies``: it may answer at once or later.
Failure: ``Damaged`` where the octets are missing or fewer than they were.
Limits: a piece has at most ``PIECE`` octets of the store; the header is cut at the configured size.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Final, Protocol

from zope.interface import implementer

from mta.envelope import Envelope
from mta.interfaces import IChunks, IMessage, Maybe
from mta.message.edits import Edit, EditedStream, apply, growth, merge
from mta.spool.values import Damaged

PIECE: Final = 128 * 1024
HEADER_LIMIT: Final = 256 * 1024


class Pieces(Protocol):
    """Where the octets of large messages are."""

    def piece(self, number: int, offset: int, size: int) -> Maybe[bytes]:
        """A part of a body that is kept in a file; shorter only at its end."""


class Bodies(Pieces, Protocol):
    """Where the octets of messages are; each method raises ``Damaged``, or fails with it."""

    def small(self, number: int) -> Maybe[bytes]:
        """A whole body that is kept in the database."""


@implementer(IMessage)
class StoredMessage:
    """A message in a spool.  ``data`` are its octets where they are in memory."""

    __slots__ = ("_bodies", "_limit", "data", "edits", "envelope", "external", "id", "number", "size", "stored")

    def __init__(
        self,
        id: str,
        number: int,
        envelope: Envelope,
        edits: tuple[Edit, ...],
        stored: int,
        external: bool,
        bodies: Bodies,
        data: bytes | None = None,
        limit: int = HEADER_LIMIT,
    ) -> None:
        self.id = id
        self.number = number
        self.envelope = envelope
        self.edits = edits
        self.stored = stored
        self.size = stored + growth(edits)
        self.external = external
        self.data = data
        self._bodies = bodies
        self._limit = limit

    @property
    def kept(self) -> int:
        """Octets that it keeps in memory."""
        return len(self.data) if self.data is not None else 0

    def header(self, edits: Sequence[Edit] = ()) -> Maybe[bytes]:
        all_edits = merge(self.edits, edits) if edits else self.edits
        if self.data is not None:
            return header_of(self.data, all_edits, self._limit)
        if self.external:
            start = self._bodies.piece(self.number, 0, self._limit)
        else:
            start = self._bodies.small(self.number)
        if isinstance(start, bytes):
            return header_of(start, all_edits, self._limit)
        return self._header_later(start, all_edits)

    async def _header_later(self, start: Awaitable[bytes], edits: Sequence[Edit]) -> bytes:
        return header_of(await start, edits, self._limit)

    def open(self, prefix: bytes = b"", edits: Sequence[Edit] = ()) -> IChunks:
        all_edits = merge(self.edits, edits) if edits else self.edits
        if self.external:
            return LargeChunks(self.id, self._bodies, self.number, self.stored, prefix, all_edits)
        return SmallChunks(self._bodies, self.number, self.data, prefix, all_edits)


def header_of(octets: bytes, edits: Sequence[Edit], limit: int) -> bytes:
    """The header section, edited, with its closing empty line.  RFC 5322 2.1"""
    if octets.startswith(b"\r\n"):
        end = 0
    else:
        found = octets.find(b"\r\n\r\n")
        end = len(octets) if found < 0 else found + 2
    # An edit at the empty line still puts something into the header.
    header = apply(octets[:end], [edit for edit in edits if edit.offset <= end])
    if not header.endswith(b"\r\n") and header:
        header += b"\r\n"
    return (header + b"\r\n")[:limit]


@implementer(IChunks)
class SmallChunks:
    """A body that is read at once and given in pieces."""

    def __init__(
        self, bodies: Bodies | None, number: int, data: bytes | None, prefix: bytes, edits: Sequence[Edit]
    ) -> None:
        self._bodies = bodies
        self._number = number
        self._prefix = prefix
        self._edits = edits
        self._octets = None if data is None else prefix + apply(data, edits)
        self._given = 0

    def next(self) -> Maybe[bytes]:
        octets = self._octets
        if octets is None:
            assert self._bodies is not None
            found = self._bodies.small(self._number)
            if not isinstance(found, bytes):
                return self._later(found)
            octets = self._octets = self._prefix + apply(found, self._edits)
        return self._piece(octets)

    async def _later(self, waiting: Awaitable[bytes]) -> bytes:
        octets = self._octets = self._prefix + apply(await waiting, self._edits)
        return self._piece(octets)

    def _piece(self, octets: bytes) -> bytes:
        start = self._given
        self._given = min(start + PIECE, len(octets))
        return octets if not start and self._given == len(octets) else octets[start : self._given]

    def close(self) -> None:
        self._octets, self._given = b"", 0


@implementer(IChunks)
class LargeChunks:
    """A body that is read piece by piece."""

    def __init__(self, id: str, bodies: Pieces, number: int, size: int, prefix: bytes, edits: Sequence[Edit]) -> None:
        self._id = id
        self._bodies = bodies
        self._number = number
        self._size = size
        self._prefix = prefix
        self._stream = EditedStream(edits)
        self._read = 0
        self._over = False

    def next(self) -> Maybe[bytes]:
        if self._prefix:
            prefix, self._prefix = self._prefix, b""
            return prefix
        while not self._over:
            piece = self._bodies.piece(self._number, self._read, PIECE)
            if not isinstance(piece, bytes):
                return self._later(piece)
            # A piece may be cut away whole, and b"" would mean the end.
            if octets := self._take(piece):
                return octets
        return b""

    async def _later(self, waiting: Maybe[bytes]) -> bytes:
        while True:
            piece = waiting if isinstance(waiting, bytes) else await waiting
            octets = self._take(piece)
            if octets or self._over:
                return octets
            waiting = self._bodies.piece(self._number, self._read, PIECE)

    def _take(self, piece: bytes) -> bytes:
        self._read += len(piece)
        if not piece or self._read > self._size:
            raise Damaged(self._id, f"the body file has not its {self._size} octets")
        octets = self._stream.feed(piece)
        if self._read == self._size:
            self._over = True
            octets += self._stream.finish()
        return octets

    def close(self) -> None:
        self._over, self._prefix = True, b""
