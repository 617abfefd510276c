"""Making signatures: DKIM-Signature fields for a message that is read once, in chunks (RFC 6376, 8301, 8463).  Pure.

What it is: ``Digest`` reads the message as it leaves and keeps its header section and the digest of its body;
``Digest.drafts`` are the fields without their signatures, one for each key: ``Draft.octets`` is what the key signs and
``Draft.field`` the field with what came of it.
Contract: relaxed/relaxed, SHA-256, never ``l=`` (RFC 6376 8.2): a body that is signed in part can be added to.  Every
key signs by itself; a verifier takes whichever it knows (RFC 8463 1).  ``d=`` is an A-label, in international mail too
(RFC 8616 5 allows either); there is no ``i=``, which would say no more than ``d=`` does.
Limits: the header section lies in memory, which the caller bounds; of the body one chunk.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple

from mta.dkim.canon import RelaxedBody, relaxed_field
from mta.dkim.fields import chosen, signed_octets
from mta.dkim.keys import Algorithm
from mta.message.header import CRLF, HEADER_END, Header, header_end, scan

_NAME: Final = b"DKIM-Signature"
_LINE: Final = 76


class Signatory(NamedTuple):
    """In whose name, and by which key, a signature is made."""

    domain: str
    selector: str
    algorithm: Algorithm


class Draft(NamedTuple):
    """A field that lacks its signature: ``start`` is all of it up to that; ``octets`` are to be signed."""

    start: bytes
    octets: bytes

    def field(self, signature: bytes) -> bytes:
        """The whole field, with its CRLF."""
        text = base64.b64encode(signature)
        # The first piece stands behind " b=".
        pieces = [text[: _LINE - 3], *(text[at : at + _LINE - 1] for at in range(_LINE - 3, len(text), _LINE - 1))]
        return self.start + b"\r\n ".join(pieces) + CRLF


class Digest:
    """See the module's text: ``feed`` each chunk in order, then ``finish``."""

    __slots__ = ("_body", "_head", "_header", "_sha")

    def __init__(self) -> None:
        self._head = bytearray()  # the header section, until its end has come
        self._header: Header | None = None
        self._sha = hashlib.sha256()
        self._body = RelaxedBody(self._sha.update)

    def feed(self, chunk: bytes) -> None:
        """The next octets of the message."""
        if self._header is not None:
            self._body.feed(chunk)
            return
        head = self._head
        before = len(head)
        head += chunk
        if head.find(HEADER_END, max(0, before - 3)) >= 0 or (before < 2 and head.startswith(CRLF)):
            self._split()

    def finish(self) -> None:
        """Nothing more comes."""
        if self._header is None:
            self._split()
        self._body.finish()

    def _split(self) -> None:
        octets = bytes(self._head)
        end = header_end(octets)
        self._header = scan(octets[:end])
        self._head.clear()
        if len(octets) > end:
            self._body.feed(octets[end:])

    @property
    def known(self) -> bool:
        """The header section has come to its end."""
        return self._header is not None

    @property
    def header(self) -> Header:
        """The header section, once it is known; after ``finish`` it is."""
        assert self._header is not None
        return self._header

    def drafts(self, signatories: Sequence[Signatory], at: int) -> list[Draft]:
        """A field for each; ``at`` is the time in UTC milliseconds."""
        names = chosen(self.header)
        fields = signed_octets(self.header, names)
        body = base64.b64encode(self._sha.digest())
        drafts = []
        for signatory in signatories:
            value = _value(signatory, names, body, at)
            # RFC 6376 3.7: the field itself comes last, without its own CRLF.
            octets = fields + relaxed_field(_NAME, value).removesuffix(CRLF)
            drafts.append(Draft(_NAME + b":" + value, octets))
        return drafts


def _value(signatory: Signatory, names: Sequence[bytes], body: bytes, at: int) -> bytes:
    """All tags, with an empty ``b=`` at the end; folded (RFC 6376 3.5)."""
    domain, selector = signatory.domain.encode("ascii"), signatory.selector.encode("ascii")
    words = [
        b"v=1;",
        b"a=%b;" % signatory.algorithm.value.encode("ascii"),
        b"c=relaxed/relaxed;",
        b"d=%b;" % domain,
        b"s=%b;" % selector,
        b"t=%d;" % (at // 1000),
    ]
    lines = _wrapped(words, b" ", len(_NAME) + 1)
    lines += _wrapped([b"h=" + names[0], *names[1:]], b":", 0)
    return b"".join([*lines[:-1], lines[-1] + b";", b"\r\n bh=%b;" % body, b"\r\n b="])


def _wrapped(words: Sequence[bytes], between: bytes, used: int) -> list[bytes]:
    """Words on lines of at most ``_LINE`` octets; ``used`` are taken on the first line.  Each line but the first of the
    field begins with the fold."""
    lines: list[bytes] = []
    line = b" " if used else b"\r\n "
    length = used + 1
    first = True
    for word in words:
        piece = word if first else between + word
        if not first and length + len(piece) > _LINE:
            # RFC 6376 3.5: white space may stand on either side of the colons of h=.
            lines.append(line + between.strip())
            line, length, piece = b"\r\n ", 1, word
        line += piece
        length += len(piece)
        first = False
    return [*lines, line]
