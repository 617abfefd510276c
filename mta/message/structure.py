"""The MIME structure of a message, walked as its octets pass, and what has to change in it to be 7bit.

What it is: the first of two passes.  ``Walk`` is fed the message and finds its parts (RFC 2046 5.1, 5.2), measures
their bodies and lists the changes; ``mta.message.recode`` makes them in the second.  Nothing of a body is kept.
Contract: what is found does not depend on how the octets were cut.  Where two readers might see different parts
(a boundary that begins another line, a field that stands twice, a broken header) the message is refused, if
it is not plain all the same: nothing is changed that we might have misunderstood.  What is signed or encrypted
inside (RFC 1847) is not looked into, and refused if it is not 7bit.
Limits: ``MAX_HEADER`` octets of a header, ``MAX_DEPTH`` parts inside each other, ``MAX_PARTS`` of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

from mta.message.edits import Edit
from mta.message.header import HEADER_END, Header, scan
from mta.message.measure import Measure
from mta.message.parameters import ContentType, read_type, without_comments
from mta.message.recode import Base64, Coder, Mask, QuotedPrintable, Recode
from mta.message.words import seven_bit

CRLF: Final = b"\r\n"
MAX_HEADER: Final = 1 << 20
MAX_DEPTH: Final = 20
MAX_PARTS: Final = 2000
_MAX_BOUNDARY: Final = 200  # 70 by RFC 2046 5.1.1
_MAX_DELIMITER: Final = 1000  # of its whole line
_IDENTITY: Final = frozenset((b"", b"7bit", b"8bit", b"binary"))  # RFC 2045 6.2
_SEALED: Final = frozenset((b"multipart/signed", b"multipart/encrypted"))  # RFC 1847
_NESTED: Final = frozenset((b"message/rfc822", b"message/global", b"message/news"))
_NO_BOUNDARY: Final = "a line begins with a boundary and is none"
_ONCE: Final = (b"content-type", b"content-transfer-encoding", b"mime-version")


class Refused(Exception):
    """It cannot be understood or may not be changed; ``str()`` says why."""


@dataclass(slots=True)
class _Message:
    """A message, or one inside it: where MIME-Version would go, if a part of it is changed."""

    insert_at: int
    versioned: bool


class _Frame(NamedTuple):
    """A multipart that is open: its delimiter without CRLF, what its parts are by default, in which message and how
    deep."""

    delimiter: bytes
    default: bytes
    message: _Message
    depth: int


@dataclass(slots=True)
class _Region:
    """The body that is passing: ``kind`` is of the part, "" before and behind the parts of a multipart."""

    start: int
    message: _Message
    kind: bytes = b""
    encoding: bytes = b""
    insert_at: int = 0  # for new fields of the part
    encoding_at: tuple[int, int] | None = None  # the field that is there: offset and length
    typed: bool = True
    measure: Measure = field(default_factory=Measure)


class Walk:
    """See the module's text: ``feed`` all chunks, then ``finish``.

    ``changes`` (sorted) and ``growth`` (octets, about) count once it is finished; ``plain``: nothing has to change, but
    for lines that are too long; ``high_header``: the header of the message or of some part has octets over 127.
    """

    def __init__(self) -> None:
        self.changes: list[Edit | Recode] = []
        self.growth = 0
        self.plain = True
        self.high_header = False
        self.top: Header | None = None
        self._trouble: Refused | None = None
        self._blind = Measure()  # for what comes after a trouble
        # Header and body begin behind a line end, which may be that of a delimiter; the message has one in thought.
        self._buffer = CRLF
        self._base = -2
        self._frames: list[_Frame] = []
        self._pattern: re.Pattern[bytes] | None = None
        self._message: _Message | None = None
        self._region: _Region | None = None
        self._default = b"text/plain"
        self._parts = 0
        self._depth = 0

    def feed(self, chunk: bytes) -> None:
        """Never raises: the trouble is told by ``finish``."""
        self._buffer += chunk
        self._go(final=False)

    def finish(self) -> None:
        """Raises ``Refused``, unless the message is plain."""
        self._go(final=True)
        self._blind.finish()
        self.plain = self.plain and self._blind.plain
        if self.plain and (self._trouble is not None or not any(isinstance(it, Recode) for it in self.changes)):
            # Nothing but lines that are too long, at most, in what is not understood; or labels that promise more.
            self.changes = []
            self.growth = 0
        elif self._trouble is not None:
            raise self._trouble
        self.changes.sort(key=lambda change: change.offset)

    def _go(self, final: bool) -> None:
        try:
            while self._trouble is None and (
                self._header(final) if self._region is None else self._body(self._region, final)
            ):
                pass
        except Refused as trouble:
            self._trouble = trouble
            if self._region is not None:
                self._note(self._region.measure)
        if self._trouble is not None:
            self._blind.feed(self._buffer)
            self._drop(len(self._buffer))

    def _drop(self, count: int) -> None:
        self._buffer = self._buffer[count:]
        self._base += count

    def _note(self, measure: Measure) -> None:
        measure.finish()
        self.plain = self.plain and measure.plain

    # --- headers -------------------------------------------------------------------------------------------

    def _header(self, final: bool) -> bool:
        buffer = self._buffer
        end = buffer.find(HEADER_END)
        stop = end + 2 if end >= 0 else len(buffer)
        found = self._pattern.search(buffer, 0, stop) if self._pattern is not None else None
        if found is not None and (end >= 0 or final or buffer.find(CRLF, found.end()) >= 0):
            stop = found.start()  # the part has no body
        elif end < 0 and not final and len(buffer) <= MAX_HEADER:
            return False
        if stop > MAX_HEADER:
            raise Refused("a header is too long")
        octets = buffer[2 : stop + 2]
        self._enter(octets, self._base + 2)
        if self._region is None:
            self._drop(stop)  # a message inside: its header begins behind the empty line
            return True
        self._region.start = self._base + min(stop + 2, len(buffer))
        self._drop(stop)
        return True

    def _enter(self, octets: bytes, at: int) -> None:
        """A part begins: read its header, and be ready for its body."""
        header = scan(octets)
        measure = Measure()
        measure.feed(octets)
        self._note(measure)
        self.high_header = self.high_header or bool(measure.high)
        self._parts += 1
        if self.top is None:
            self.top = header
        if self._parts > MAX_PARTS:
            raise Refused("it has too many parts")
        if not all(field.name for field in header.fields) or measure.nul or measure.bare:
            raise Refused("a header is not well formed")
        if any(header.count(name) > 1 for name in _ONCE):
            raise Refused("a field that may stand once stands twice")
        if measure.high:
            self._encode_fields(header, at)
        insert_at = at + max(header.end - 2, 0) if header.complete else at + len(octets)
        if self._message is None:
            self._message = _Message(insert_at, header.count(b"mime-version") > 0)
        self._part(header, at, insert_at, self._message)

    def _encode_fields(self, header: Header, at: int) -> None:
        for name, start, _, end in header.fields:
            raw = header.octets[start:end]
            if not raw.isascii():
                put = seven_bit(name, raw)
                if put is None:
                    raise Refused(f"octets over 127 stand in the field {name.decode('ascii')}")
                self.changes.append(Edit(at + start, end - start, put))
                self.growth += len(put) - (end - start)

    def _part(self, header: Header, at: int, insert_at: int, message: _Message) -> None:
        value = header.get(b"content-type")
        kind = read_type(value) if value is not None else read_type(self._default)
        encoding = without_comments(header.get(b"content-transfer-encoding") or b"").strip().lower()
        region = _Region(0, message, kind.full if kind else b"?", encoding, insert_at, typed=value is not None)
        for field_ in header.all(b"content-transfer-encoding"):
            region.encoding_at = (at + field_.start, field_.end - field_.start)
        if kind is None and any(word in value.lower() for word in (b"multipart", b"message") if value):
            raise Refused("a Content-Type cannot be read")
        composite = kind is not None and encoding in _IDENTITY
        if composite and kind is not None and kind.full in _NESTED:
            self._relabel(region)
            self._enter_message()
        elif composite and kind is not None and kind.main == b"multipart" and kind.full not in _SEALED:
            self._open_multipart(kind, region)
        else:
            self._region = region

    def _enter_message(self) -> None:
        self._deeper()
        self._message, self._default, self._region = None, b"text/plain", None

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Refused("its parts are nested too deep")

    def _open_multipart(self, kind: ContentType, region: _Region) -> None:
        boundary = kind.parameters.get(b"boundary", b"").rstrip(b" \t")
        if not boundary or len(boundary) > _MAX_BOUNDARY or not boundary.isascii():
            raise Refused("a multipart has no usable boundary")
        self._relabel(region)
        self._deeper()
        # RFC 2046 5.1.5
        default = b"message/rfc822" if kind.sub == b"digest" else b"text/plain"
        self._frames.append(_Frame(b"--" + boundary, default, region.message, self._depth))
        self._compile()
        self._region = _Region(0, region.message)

    def _compile(self) -> None:
        delimiters = b"|".join(re.escape(frame.delimiter) for frame in self._frames)
        self._pattern = re.compile(CRLF + b"(?:" + delimiters + b")") if self._frames else None

    # --- bodies --------------------------------------------------------------------------------------------

    def _body(self, region: _Region, final: bool) -> bool:
        found = self._pattern.search(self._buffer) if self._pattern is not None else None
        if found is None:
            keep = 0
            if self._pattern is not None and not final:
                keep = max(len(frame.delimiter) for frame in self._frames) + 1
            self._consume(region, max(len(self._buffer) - keep, 0))
            if final:
                self._close(region, last=True)
                self._region = None
            return False
        self._consume(region, found.start())
        end = self._buffer.find(CRLF, 2)
        if end < 0:
            end = len(self._buffer)
            if not final and end <= _MAX_DELIMITER:
                return False
        if end > _MAX_DELIMITER:
            raise Refused(_NO_BOUNDARY)
        self._close(region, last=False)
        self._delimit(self._buffer[2:end].rstrip(b" \t"), end)
        return not final or bool(self._buffer)

    def _consume(self, region: _Region, count: int) -> None:
        region.measure.feed(self._buffer[max(region.start - self._base, 0) : count])
        self._drop(count)

    def _delimit(self, line: bytes, end: int) -> None:
        """The line of a delimiter has passed: which multipart goes on, or ends?"""
        for index in range(len(self._frames) - 1, -1, -1):
            frame = self._frames[index]
            if line == frame.delimiter:
                self._leave(index + 1)
                self._depth = frame.depth
                self._message, self._default, self._region = frame.message, frame.default, None
                break
            if line == frame.delimiter + b"--":
                self._leave(index)
                self._depth = frame.depth - 1
                start = self._base + min(end + 2, len(self._buffer))
                self._region = _Region(start, frame.message)
                break
        else:
            raise Refused(_NO_BOUNDARY)
        self._drop(end)

    def _leave(self, depth: int) -> None:
        if len(self._frames) > depth:
            del self._frames[depth:]
            self._compile()

    # --- what has to change --------------------------------------------------------------------------------

    def _close(self, region: _Region, last: bool) -> None:
        """A body has passed: what has to be done with it?"""
        measure = region.measure
        self._note(measure)
        end = region.start + measure.size
        if region.kind == b"":
            if not measure.plain:
                self.changes.append(Recode(region.start, end - region.start, partial(Mask, self._sign())))
            return
        if measure.plain and not (measure.long and _encodable(region)):
            self._relabel(region)
            return
        if region.encoding == b"quoted-printable" and region.kind not in _SEALED:
            coder: Callable[[], Coder] = partial(QuotedPrintable, last, repair=True)
            put = b""
        elif not _encodable(region):
            raise Refused(f"a part of type {region.kind.decode('ascii')} may not be encoded")
        # Text that is mostly octets over 127 would grow threefold.
        elif region.kind.startswith(b"text/") and 4 * measure.high <= measure.size:
            coder, put = partial(QuotedPrintable, last), b"quoted-printable"
        else:
            coder, put = partial(Base64, last), b"base64"
        self.growth += measure.size * 21 // 57 + 6 if put == b"base64" else measure.quoted_size - measure.size
        self.changes.append(Recode(region.start, measure.size, coder))
        if put:
            self._label(region, put, bool(measure.high))

    def _sign(self) -> bytes:
        # RFC 2046 5.1.1: a sign that no boundary has, so that none can come about.
        delimiters = b"".join(frame.delimiter for frame in self._frames)
        for sign in (b"?", b"#", b"*"):
            if sign not in delimiters:
                return sign
        raise Refused("octets over 127 stand outside of all parts")

    def _relabel(self, region: _Region) -> None:
        # RFC 2045 6.2: what is called 8bit or binary could not be sent, though it is not.
        if region.encoding in (b"8bit", b"binary"):
            self._label(region, b"7bit", False)

    def _label(self, region: _Region, encoding: bytes, unknown: bool) -> None:
        fields = b"Content-Transfer-Encoding: " + encoding + CRLF
        at, cut = region.encoding_at or (region.insert_at, 0)
        if not region.typed and unknown and region.kind == b"text/plain":
            # RFC 1428 3
            self._put(Edit(region.insert_at, 0, b"Content-Type: text/plain; charset=unknown-8bit\r\n"))
        if not region.message.versioned:
            # RFC 2045 4
            region.message.versioned = True
            self._put(Edit(region.message.insert_at, 0, b"MIME-Version: 1.0\r\n"))
        self._put(Edit(at, cut, fields))

    def _put(self, edit: Edit) -> None:
        self.changes.append(edit)
        self.growth += len(edit.put) - edit.cut


def _encodable(region: _Region) -> bool:
    """RFC 2045 6.4: what is composed of parts is never encoded itself."""
    main, _, sub = region.kind.partition(b"/")
    if region.encoding not in _IDENTITY or main == b"multipart":
        return False
    # RFC 6532 3.7, RFC 6533: these may be.
    return main != b"message" or sub.startswith(b"global")
