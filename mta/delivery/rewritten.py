"""A message that goes on in another name: the stored one with another reverse-path and, maybe, another author.

What it is: an ``IMessage`` around that of the spool, so that no delivery service knows of it.
Contract: edits that a service adds count in the stored octets, as ever; the author is changed in what comes of them.
With a new author, who is one of ours, ``sign`` puts a signature of his domain on top, where there are keys for it: the
author's own, if there was one, holds no longer.  It covers the message as it is without edits of a service.
How it fails: as the message itself does; ``sign`` as ``mta.dkim.signer``.
Limits: where the author changes the header is read once more for each reading; to be signed the whole is read once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import replace

from zope.interface import implementer

from mta.address import Address
from mta.dkim.signer import Signer
from mta.interfaces import IChunks, IMessage, Maybe
from mta.message.edits import Edit, EditedStream, apply
from mta.message.header import scan
from mta.message.munge import munge
from mta.routing.values import Rewrite


@implementer(IMessage)
class Rewritten:
    """See the module's text."""

    __slots__ = ("_author", "_fields", "_message", "envelope", "id", "size")

    def __init__(self, message: IMessage, rewrite: Rewrite) -> None:
        self._message = message
        self._author = rewrite.author
        self._fields = b""
        self.id = message.id
        self.envelope = replace(message.envelope, reverse_path=rewrite.reverse_path)
        self.size = message.size + rewrite.growth

    def header(self, edits: Sequence[Edit] = ()) -> Maybe[bytes]:
        header = self._message.header(edits)
        if self._author is None:
            return header
        if isinstance(header, bytes):
            return self._fields + _munged(header, self._author)
        return self._header_later(header, self._author)

    async def _header_later(self, header: Awaitable[bytes], author: Address) -> bytes:
        return self._fields + _munged(await header, author)

    def open(self, prefix: bytes = b"", edits: Sequence[Edit] = ()) -> IChunks:
        if self._author is None:
            return self._message.open(prefix, edits)
        return _Chunks(self._message, prefix + self._fields, edits, self._author)

    async def sign(self, signer: Signer) -> None:
        """Sign it in the name of its new author, if it has one; once, before it is read."""
        if self._author is not None:
            domain = self._author.domain
            signed = await signer.sign(self.open(), lambda header: signer.able(domain))
            self._fields = signed.fields
            self.size += len(self._fields)


def rewritten(message: IMessage, rewrite: Rewrite | None) -> IMessage:
    """The message itself where nothing changes."""
    if rewrite is None or (rewrite.author is None and rewrite.reverse_path == message.envelope.reverse_path):
        return message
    return Rewritten(message, rewrite)


def _edits(header: bytes, author: Address) -> tuple[Edit, ...]:
    return munge(scan(header), author, author.domain)


def _munged(header: bytes, author: Address) -> bytes:
    return apply(header, _edits(header, author))


@implementer(IChunks)
class _Chunks:
    """The octets with the author changed; the header is the first thing that is waited for."""

    def __init__(self, message: IMessage, prefix: bytes, edits: Sequence[Edit], author: Address) -> None:
        self._message = message
        self._edits = edits
        self._chunks = message.open(b"", edits)
        self._prefix = prefix
        self._author = author
        self._stream: EditedStream | None = None
        self._over = False

    def next(self) -> Maybe[bytes]:
        if self._stream is None and not self._over:
            header = self._message.header(self._edits)
            if not isinstance(header, bytes):
                return self._begin_later(header)
            self._stream = EditedStream(_edits(header, self._author))
        while not self._over:
            piece = self._chunks.next()
            if not isinstance(piece, bytes):
                return self._later(piece)
            # A piece may be cut away whole, and b"" would mean the end.
            if octets := self._take(piece):
                return octets
        return b""

    async def _begin_later(self, header: Awaitable[bytes]) -> bytes:
        self._stream = EditedStream(_edits(await header, self._author))
        octets = self.next()
        return octets if isinstance(octets, bytes) else await octets

    async def _later(self, waiting: Awaitable[bytes]) -> bytes:
        if octets := self._take(await waiting):
            return octets
        following = self.next()
        return following if isinstance(following, bytes) else await following

    def _take(self, piece: bytes) -> bytes:
        assert self._stream is not None
        prefix, self._prefix = self._prefix, b""
        if piece:
            return prefix + self._stream.feed(piece)
        self._over = True
        return prefix + self._stream.finish()

    def close(self) -> None:
        self._over = True
        self._chunks.close()
