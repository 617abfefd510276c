"""A message from standard input, as text of this machine, to octets of the Internet: ``read_content``.

What it is: lines end in CRLF, the From_ line of an mbox is dropped, a header that is none becomes body; and what is
needed of it before it is sent: its size and its header fields.
Contract: all is read before anything is sent: a program that writes slowly, or a person at a terminal, runs into no
time-out of the service, and what was cut off by a failed read is never sent.  A CR that ends no line becomes a line
end in the body (progress bars of jobs are full of them) and a space in the header, where a line end could add a field.
How it fails: ``Trouble``: EX_DATAERR for a NUL and for a header over ``MOST_HEADER``, EX_IOERR for a failed read.
Limits: ``IN_MEMORY`` octets are held in memory, more in a file without a name.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from typing import IO, Final, NamedTuple

from mta.sendmail.statuses import DATAERR, IOERR, NOINPUT, Trouble

IN_MEMORY: Final = 1 << 20
#: The service's own limit (``limits.header``) is told by the service.
MOST_HEADER: Final = 1 << 20
PIECE: Final = 64 * 1024

# RFC 5322 2.2; 4.5: white space before the colon is obsolete, and seen.
_FIELD: Final = re.compile(rb"([\x21-\x39\x3b-\x7e]+)[ \t]*:(.*(?:\n[ \t].*)*)\n?")
_FOLD: Final = re.compile(rb"\n(?=[ \t])")


class Field(NamedTuple):
    """A header field: its name in lower case, its value unfolded."""

    name: bytes
    value: bytes


class Octets:
    """Octets that are written once and read as often as wished."""

    def __init__(self) -> None:
        self.size = 0
        self._pieces: list[bytes] = []
        self._file: IO[bytes] | None = None

    def write(self, octets: bytes) -> None:
        """Add some."""
        self.size += len(octets)
        if self._file is None and self.size > IN_MEMORY:
            import tempfile  # costs a third of a start, and few messages are so large

            self._file = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the process
            for piece in self._pieces:
                self._file.write(piece)
            self._pieces.clear()
        if self._file is None:
            self._pieces.append(octets)
        else:
            self._file.write(octets)

    def read(self) -> Iterator[bytes]:
        """All of them, in pieces."""
        if self._file is None:
            yield from self._pieces
            return
        self._file.seek(0)
        while piece := self._file.read(PIECE):
            yield piece


class Content(NamedTuple):
    """``header`` is the section as it came, with CRLF but without its closing empty line."""

    header: bytes
    fields: tuple[Field, ...]
    body: Octets


def read_content(read: Callable[[int], bytes], dot_ends: bool) -> Content:
    """Read a message; ``read`` gives some octets, b"" at the end.  ``dot_ends``: a line of a dot alone is the end."""
    lines = _lines(read, dot_ends)
    head = b""
    looked = 0
    end: int | None = None
    for piece in lines:
        head += piece
        if len(head) < 2 * looked:
            continue  # not at each line of a long header again
        end, looked = _header_end(head), len(head)
        if end is not None:
            break
        if len(head) > MOST_HEADER:
            raise Trouble(DATAERR, f"the header is larger than {MOST_HEADER >> 20} MiB")
    if end is None:
        end = _header_end(head + b"\n\n") or 0
    start = _from_line(head)
    section, rest = head[start:end], head[end:]
    body = Octets()
    _write(body, rest.removeprefix(b"\n"))
    for piece in lines:
        _write(body, piece)
    section = section.replace(b"\r", b" ")
    if section and not section.endswith(b"\n"):
        section += b"\n"
    fields = tuple(
        Field(match[1].lower(), _FOLD.sub(b"", match[2]).strip(b" \t")) for match in _FIELD.finditer(section)
    )
    return Content(section.replace(b"\n", b"\r\n"), fields, body)


def _write(body: Octets, text: bytes) -> None:
    if text:
        body.write(text.replace(b"\r", b"\n").replace(b"\n", b"\r\n"))


def _from_line(head: bytes) -> int:
    """Behind the line that divides messages in an mbox."""
    return head.find(b"\n") + 1 if head.startswith(b"From ") else 0


def _header_end(head: bytes) -> int | None:
    """Where the header section ends: before the empty line, or the first line that is no field; None: it goes on."""
    position = _from_line(head)
    if head.startswith(b"From ") and not position:
        return None
    while position < len(head):
        match = _FIELD.match(head, position)
        if match is None:
            line = head.find(b"\n", position)
            # What has begun may still become a field.
            return position if line >= 0 or len(head) - position > PIECE else None
        position = match.end()
    return None


def _lines(read: Callable[[int], bytes], dot_ends: bool) -> Iterator[bytes]:
    """Pieces that end with a line or within a long one, up to the end or the dot; a CR before an LF is gone."""
    rest, fresh = b"", True  # fresh: what comes next begins a line
    while octets := _read(read):
        whole, newline, rest = (rest + octets).rpartition(b"\n")
        if not newline and len(rest) <= PIECE:
            continue
        if not newline:
            whole, rest = rest[:-1], rest[-1:]  # the last may be the CR of a line end
        text = (whole + newline).replace(b"\r\n", b"\n")
        end = _dot(text, fresh) if dot_ends else -1
        if end >= 0:
            if end:
                yield text[:end]
            return
        yield text
        fresh = bool(newline)
    if rest and not (dot_ends and fresh and rest in (b".", b".\r")):
        yield rest.removesuffix(b"\r") + b"\n"


def _read(read: Callable[[int], bytes]) -> bytes:
    try:
        octets = read(PIECE)
    except OSError as error:
        status = NOINPUT if error.errno == errno.EBADF else IOERR
        raise Trouble(status, f"standard input cannot be read: {error.strerror or error}") from None
    if b"\0" in octets:
        raise Trouble(DATAERR, "the message has a NUL octet, which no mail may have: encode it, as base64 does")
    return octets


def _dot(text: bytes, fresh: bool) -> int:
    """Where the line of a dot alone is; -1: there is none."""
    if fresh and text.startswith(b".\n"):
        return 0
    found = text.find(b"\n.\n")
    return found + 1 if found >= 0 else -1


def standard_input(size: int) -> bytes:
    """The next octets of standard input."""
    return os.read(0, size)
