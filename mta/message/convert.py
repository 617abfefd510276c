"""A 7-bit form of a message for a next hop without 8BITMIME or BINARYMIME (RFC 6152 3, RFC 3030 3).

How it is used::

    conversion = await convert(message.open)
    if isinstance(conversion, CannotConvert):
        ...  # another host, else a report with conversion.reply (5.6.3)
    else:
        ...  # conversion.size and conversion.open in place of message.size and message.open

What it is: the parts whose bodies are not 7bit become quoted-printable (text) or base64 (RFC 2045 6.7, 6.8), their
Content-Transfer-Encoding tells so, and header fields with octets over 127 get encoded-words.  The message is read
twice in chunks, once here and once when it is sent, and never lies in memory; its stored octets stay as they are.
Contract: decoding gives each part's octets back.  A message that is 7bit already comes back as it is.  One that
is signed, or that cannot be understood for sure (``mta.message.structure``), is not touched: ``CannotConvert``.
The result has CRLF line ends; a line that was longer than 998 octets in a part that may be encoded is so no more.
Signatures of messages inside of this one (forwarded as attachments) are not looked for.  Whether a message whose
sender declared SMTPUTF8 may be changed (RFC 6531 3.2: it may not) is the caller's to ask.
How it fails: what the store raises.  ``ValueError`` when the store gives less at the second reading.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from zope.interface import implementer

from mta.interfaces import IChunks, Maybe
from mta.message.edits import Edit
from mta.message.header import Header
from mta.message.parameters import read_type
from mta.message.recode import Recode, Recoding
from mta.message.structure import Refused, Walk
from mta.reply import Reply

_SIGNATURES: Final = (b"dkim-signature", b"arc-seal", b"arc-message-signature", b"domainkey-signature")
# RFC 1847; RFC 8551 3.2
_SIGNED_TYPES: Final = frozenset(
    (b"multipart/signed", b"multipart/encrypted", b"application/pkcs7-mime", b"application/x-pkcs7-mime")
)


class CannotConvert(NamedTuple):
    """It has to stay as it is, and why."""

    reason: str

    @property
    def reply(self) -> Reply:
        """For the recipients of a host that takes it no other way (RFC 3463 3.7: X.6.3)."""
        text = f"The message is not 7-bit, the next host takes no other, and it is not changed: {self.reason}"
        return Reply.of(554, "5.6.3", text)


class Conversion:
    """The message in 7 bits.  ``size`` is in octets, an estimate that errs upwards (RFC 1870 6 wants it so);
    ``changed``: it is not what is stored."""

    def __init__(self, open: Callable[[], IChunks], size: int, changes: Sequence[Edit | Recode]) -> None:
        self._open = open
        self._changes = changes
        self.size = size
        self.changed = bool(changes)

    def open(self) -> IChunks:
        """Read it; as often as is wanted."""
        return _Converted(self._open(), self._changes) if self._changes else self._open()


async def convert(open: Callable[[], IChunks]) -> Conversion | CannotConvert:
    """See the module's text.  ``open`` opens the message as it would be sent: with the edits of the delivery."""
    walk = Walk()
    size = await _read(open, walk)
    try:
        walk.finish()
    except Refused as refusal:
        return CannotConvert(str(refusal))
    if walk.changes and walk.top is not None and is_signed(walk.top):
        # Long lines alone are no reason to refuse it: they are relayed as they are.
        return Conversion(open, size, ()) if walk.plain else CannotConvert("it is signed")
    return Conversion(open, size + max(walk.growth, 0), walk.changes)


async def has_utf8_header(open: Callable[[], IChunks]) -> bool:
    """Some header inside of it, of a part or a message, has octets over 127 (RFC 6531 3.2: "at any level within its
    MIME structure"), or may have: what cannot be understood for sure is taken to."""
    walk = Walk()
    await _read(open, walk)
    try:
        walk.finish()
    except Refused:
        return True
    return walk.high_header


async def _read(open: Callable[[], IChunks], walk: Walk) -> int:
    """Feed it the whole message; how many octets there were."""
    size = 0
    chunks = open()
    try:
        while True:
            piece = chunks.next()
            octets = piece if isinstance(piece, bytes) else await piece
            if not octets:
                return size
            size += len(octets)
            walk.feed(octets)
    finally:
        chunks.close()


def is_signed(header: Header) -> bool:
    """A signature or an encryption would not survive a change of the message that begins so."""
    if any(header.count(name) for name in _SIGNATURES):
        return True
    kind = read_type(header.get(b"content-type") or b"")
    return kind is not None and kind.full in _SIGNED_TYPES


@implementer(IChunks)
class _Converted:
    """The second reading."""

    def __init__(self, chunks: IChunks, changes: Sequence[Edit | Recode]) -> None:
        self._chunks = chunks
        self._recoding = Recoding(changes)
        self._ended = False

    def next(self) -> Maybe[bytes]:
        """See ``IChunks``."""
        while not self._ended:
            piece = self._chunks.next()
            if not isinstance(piece, bytes):
                return self._wait(piece)
            octets = self._pass(piece)
            if octets:
                return octets
        return b""

    async def _wait(self, piece: Maybe[bytes]) -> bytes:
        while not self._ended:
            octets = self._pass(piece if isinstance(piece, bytes) else await piece)
            if octets:
                return octets
            if not self._ended:
                piece = self._chunks.next()
        return b""

    def _pass(self, octets: bytes) -> bytes:
        if octets:
            return self._recoding.feed(octets)
        self._ended = True
        return self._recoding.finish()

    def close(self) -> None:
        """See ``IChunks``."""
        self._chunks.close()
