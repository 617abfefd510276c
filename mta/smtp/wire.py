"""The wire: bytes into command lines, message data and replies, and message data into bytes.

What it is: pure state machines over chunks; each takes what the network gave, in any cut, and gives the same
result for every cut.  All scanning is by whole chunk (find, count, replace), never line by line.
Contract: only CRLF ends a line and only CRLF.CRLF ends data (RFC 5321 2.3.8, 4.1.1.4); bare CR, bare LF and
NUL are found and told, never repaired.
Limits: a line is given up, not buffered, once it is over its limit; so is a reply of a peer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

from mta.reply import Reply

CRLF: Final = b"\r\n"
_END: Final = b"\r\n.\r\n"
_DOT: Final = 0x2E
_DOT_LINE: Final = b"\r\n."
_NOTHING_LONGER: Final[Mapping[bytes, int]] = {}


class BadLine(Exception):
    """What came is no command line and is never run.  ``verb``: the four octets that it began with, in capitals."""

    def __init__(self, verb: bytes = b"") -> None:
        super().__init__()
        self.verb = verb


class LineTooLong(BadLine):
    """A command line was over its limit; it has been skipped to its end (RFC 5321 4.5.3.1.4)."""


class BareNewline(BadLine):
    """A line that ended in LF without CR (RFC 5321 2.3.8)."""


class CommandSplitter:
    """Octets of a client, as command lines; what follows can be taken raw for DATA and BDAT.

    ``limit`` counts the line with its CRLF; ``longer`` has verbs of four letters whose lines may have so many octets
    more.  Memory: at most the longest line and the chunk that the network gave.  A bare LF ends a line that is
    refused, so that a person who types into ``nc`` is told what is wrong; nothing that stands before one is ever
    run.
    """

    __slots__ = ("_buffer", "_longer", "_skipped", "_skipping", "_start", "limit")

    def __init__(self, limit: int, longer: Mapping[bytes, int] = _NOTHING_LONGER) -> None:
        self.limit = limit
        self._longer = longer
        self._buffer = b""
        self._start = 0  # what stands before it has been given out
        self._skipping = False
        self._skipped = b""  # what the line that is skipped began with

    def feed(self, octets: bytes) -> None:
        if self._start == len(self._buffer):
            self._buffer = octets
        else:
            self._buffer = self._buffer[self._start :] + octets
        self._start = 0

    def next_line(self) -> bytes | None:
        """The next whole line without its CRLF, or None.  Raises ``BadLine`` once for each that is none."""
        start = self._start
        end = self._buffer.find(b"\n", start)
        if end < 0:
            size = len(self._buffer) - start
            if self._skipping or (size > self.limit and self._too_long(start, start + size)):
                if not self._skipping:
                    self._skipping, self._skipped = True, self._verb(start)
                self._buffer, self._start = b"", 0
            return None
        self._start = end + 1
        if self._skipping or (end + 1 - start > self.limit and self._too_long(start, end + 1)):
            verb = self._skipped if self._skipping else self._verb(start)
            self._skipping = False
            raise LineTooLong(verb)
        line = self._buffer[start:end]
        if not line.endswith(b"\r"):
            raise BareNewline(self._verb(start))
        return line[:-1]

    def _too_long(self, start: int, end: int) -> bool:
        return end - start > self.limit + self._longer.get(self._verb(start), 0)

    def _verb(self, start: int) -> bytes:
        return self._buffer[start : start + 4].upper()

    def take_rest(self) -> bytes:
        """All octets not given out yet: the beginning of data, or what is thrown away at STARTTLS."""
        rest = self._buffer[self._start :]
        self._buffer, self._start = b"", 0
        return rest

    def take(self, most: int) -> bytes:
        """Octets not given out yet, so many at the most: the beginning of a chunk (RFC 3030 2)."""
        taken = self._buffer[self._start : self._start + most]
        self._start += len(taken)
        return taken

    @property
    def waiting(self) -> int:
        """Octets not given out yet."""
        return len(self._buffer) - self._start


class _Octets:
    """What is remembered of the octets of a message.  ``_note`` takes pieces that do not cut a CRLF."""

    __slots__ = ("_line", "_line_limit", "bare", "done", "eight_bit", "line_too_long", "nul", "rest", "size")

    def __init__(self, line_limit: int) -> None:
        self._line_limit = line_limit
        self._line = 0  # octets of the line under way
        self.size = 0  # octets of the message so far
        self.done = False
        self.rest = b""
        self.bare = False  # a CR or LF that is not part of CRLF
        self.nul = False
        self.eight_bit = False
        self.line_too_long = False

    def _note(self, data: bytes) -> None:
        lines = data.count(b"\n")
        if data.count(CRLF) != lines or data.count(b"\r") != lines:
            self.bare = True
        if not data.isascii():
            self.eight_bit = True
        if b"\0" in data:
            self.nul = True
        if not self.line_too_long:
            self._measure(data)

    def _measure(self, data: bytes) -> None:
        # Longest line by strides of the limit rather than line by line.
        limit = self._line_limit - 2
        end = data.find(CRLF)
        if end < 0:
            self._line += len(data)
            self.line_too_long = self._line > limit
            return
        if self._line + end > limit:
            self.line_too_long = True
            return
        size, start = len(data), end + 2
        while size - start > limit:
            end = data.rfind(CRLF, start, start + limit + 2)
            if end < 0:
                self.line_too_long = True
                return
            start = end + 2
        self._line = size - data.rfind(CRLF) - 2


class DataDecoder(_Octets):
    """Message data after 354, until its end.

    ``feed`` returns the octets of the message (dots unstuffed) that are certain now; ``done`` is true once
    CRLF.CRLF has passed, and ``rest`` is what came after it.  What is wrong with the data is remembered, not
    raised: the reader goes on to the true end (RFC 5321 4.5.3.1.6: the rest is never taken as commands).
    """

    __slots__ = ("_tail",)

    def __init__(self, line_limit: int) -> None:
        super().__init__(line_limit)
        # Data begins at the start of a line: the same as after a CRLF that is not data, and not counted.
        self._tail = CRLF
        self._line = self.size = -2

    def feed(self, octets: bytes) -> bytes:
        first = self.size < 0
        data = self._tail + octets
        # One scan for both: RFC 5321 4.5.2: the first dot of a line goes, and a line of one dot alone is the end.
        pieces = data.split(_DOT_LINE)
        if len(pieces) > 1 and (end := _end(pieces)):
            self.done = True
            self.rest = _DOT_LINE.join(pieces[end:])[2:]
            self._tail = b""
            data = CRLF.join(pieces[:end]) + CRLF
        else:
            keep = _undecided(data)
            self._tail = data[len(data) - keep :]
            if keep > 2:
                pieces.pop()
                keep = 0
            data = CRLF.join(pieces) if len(pieces) > 1 else pieces[0]
            data = data[: len(data) - keep]
        if not data:
            return b""
        self._note(data)
        self.size += len(data)
        return data[2:] if first else data


class ChunkDecoder(_Octets):
    """Message data in chunks of known size, by BDAT (RFC 3030 2): one decoder for all chunks of a message.

    ``begin`` a chunk, then ``feed``: ``done`` is true once all its octets have passed, and ``rest`` is what came
    after them.  ``binary``: the octets are no lines (RFC 3030 3), so neither bare CR, LF and NUL nor long lines
    are anything to tell.
    """

    __slots__ = ("_binary", "_cr", "wanted")

    def __init__(self, line_limit: int, binary: bool = False) -> None:
        super().__init__(line_limit)
        self._binary = binary
        self._cr = False  # the last octet was a CR, whose LF may yet come
        self.wanted = 0  # octets of this chunk that are still to come

    def begin(self, size: int) -> None:
        """A chunk of so many octets begins."""
        self.wanted = size
        self.done = size == 0

    def feed(self, octets: bytes) -> bytes:
        piece, self.rest = octets[: self.wanted], octets[self.wanted :]
        self.wanted -= len(piece)
        self.done = self.wanted == 0
        self.size += len(piece)
        if self._binary:
            self.eight_bit = self.eight_bit or not piece.isascii()
            return piece
        data = b"\r" + piece if self._cr else piece
        if piece:
            self._cr = data.endswith(b"\r")
            self._note(data[:-1] if self._cr else data)
        return piece

    def end(self) -> None:
        """The last chunk has passed: nothing can complete its last octet."""
        if self._cr:
            self.bare = True


def _end(pieces: list[bytes]) -> int:
    """What stood between ``CRLF.`` and ``CRLF.``: the index of the first that is a line of one dot, else 0."""
    last = len(pieces) - 1
    for index, piece in enumerate(pieces):
        # Nothing before the next ``CRLF.``: its CRLF ends this line.
        if index and (piece[:2] == CRLF or (not piece and index < last)):
            return index
    return 0


def _undecided(data: bytes) -> int:
    """How many octets at the end may yet turn out to begin ``CRLF.``: they are kept for the next chunk."""
    for size in (4, 3, 2, 1):
        if data.endswith(_END[:size]):
            return size
    return 0


class DotStuffer:
    """Message octets as data for the wire, in chunks cut anywhere (RFC 5321 4.5.2).

    Every line that begins with a dot gets one more; only what ``end`` returns can end the data.  Octets that
    are no line end (bare CR, bare LF) make no line start and pass as they are; but a dot after one is doubled too,
    so that a peer that takes them for line ends finds no lone dot either.
    """

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = CRLF  # the last two octets sent

    def feed(self, octets: bytes) -> bytes:
        if not octets:
            return b""
        data = octets
        if b"." in octets:
            # A dot after CRLF must be doubled; after a bare LF or CR it is doubled for peers that would take
            # them for a line end (CVE-2023-51764): such messages are refused on the way in anyhow.
            data = octets.replace(b"\n.", b"\n..").replace(b"\r.", b"\r..")
            if octets[0] == _DOT and self._last[-1:] in (b"\r", b"\n"):
                data = b"." + data
        self._last = octets[-2:] if len(octets) > 1 else self._last[-1:] + octets
        return data

    def end(self) -> bytes:
        """The final CRLF, where the message has none, and the dot."""
        return b".\r\n" if self._last == CRLF else b"\r\n.\r\n"


class BadReply(Exception):
    """The peer sent no SMTP reply; ``str()`` says what is wrong with it."""


class ReplyParser:
    """Octets of a server, as replies (RFC 5321 4.2.1, RFC 2034 4).

    Raises ``BadReply`` for lines that are no reply, for one over ``MAX_LINE`` octets, ``MAX_LINES`` lines or
    ``MAX_REPLY`` octets in all its lines.
    A bare LF ends a line too: RFC 5321 forbids it, but some embedded servers send it, and a reply cannot
    smuggle anything.
    """

    # RFC 5321 4.5.3.1.5 says 512, and long texts with URLs are common; RFC 4954 4: challenges may be so long.
    MAX_LINE: Final = 12_288
    MAX_LINES: Final = 200
    #: Octets of all lines: a reply is kept for each of its recipients, in the log, the story and reports.
    MAX_REPLY: Final = 32 << 10

    __slots__ = ("_buffer", "_code", "_enhanced", "_lines", "_size")

    def __init__(self) -> None:
        self._buffer = b""
        self._code = 0
        self._enhanced = ""
        self._lines: list[str] = []
        self._size = 0

    @property
    def pending(self) -> bool:
        """Octets of a reply that has not ended are here."""
        return bool(self._buffer or self._lines)

    def feed(self, octets: bytes) -> Iterator[Reply]:
        """The replies that end in these octets, one by one: what is good before something bad still counts."""
        *lines, self._buffer = (self._buffer + octets).split(b"\n")
        for line in lines:
            known = None if self._lines or len(line) > _SHORT else _short_reply(line)
            reply = known or self._line(line[:-1] if line.endswith(b"\r") else line)
            if reply is not None:
                yield reply
        # One more for a CR: a line must not be too long only because the network cut it in front of its LF.
        if len(self._buffer) > self.MAX_LINE + 1:
            raise BadReply("a reply line without end")

    def _line(self, line: bytes) -> Reply | None:
        if len(line) > self.MAX_LINE:
            raise BadReply("a reply line that is too long")
        code, mark, text = line[:3], line[3:4], line[4:].decode("utf-8", "replace")
        if not (code.isdigit() and 200 <= int(code) < 600 and mark in (b" ", b"-", b"")):
            raise BadReply("a line that is no reply")
        if self._lines and int(code) != self._code:
            raise BadReply("a reply whose lines differ in their code")
        self._code = int(code)
        enhanced, text = _enhanced(self._code, text)
        if not self._lines:
            self._enhanced = enhanced
        self._lines.append(text)
        self._size += len(line)
        if len(self._lines) > self.MAX_LINES or self._size > self.MAX_REPLY:
            raise BadReply("a reply of too many lines")
        if mark == b"-":
            return None
        reply = Reply(self._code, self._enhanced, tuple(self._lines))
        self._lines = []
        self._size = 0
        return reply


_ENHANCED = re.compile(r"([2-5])\.[0-9]{1,3}\.[0-9]{1,3}(?: |\Z)")
#: Octets of a line that is worth remembering.
_SHORT: Final = 80


@lru_cache(maxsize=256)
def _short_reply(line: bytes) -> Reply | None:
    """A reply of one line, remembered: servers say the same few all day long.  None: not of this simple kind."""
    if not (line[:3].isdigit() and line[3:4] == b" " and line[-1:] == b"\r" and b"200" <= line[:3] < b"600"):
        return None
    code = int(line[:3])
    enhanced, text = _enhanced(code, line[4:-1].decode("utf-8", "replace"))
    return Reply(code, enhanced, (text,))


def _enhanced(code: int, text: str) -> tuple[str, str]:
    """Split an enhanced status code (RFC 3463 2) off the text; it counts only if its class is the reply's."""
    found = _ENHANCED.match(text)
    if found is None or found[1] != str(code // 100):
        return "", text
    return found[0].removesuffix(" "), text[found.end() :]
