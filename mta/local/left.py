"""A file of the pickup folder, opened: its envelope, the header of its message, and the rest in pieces.

Contract: nothing of it is believed; the file belongs to a user who may be writing to it at this moment.
How it fails: ``NotOurs`` with the reason.
Limits: ``MOST_HEADER`` octets of header.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mta.message.header import header_end
from mta.sendmail.dropped import MOST_HEAD, Envelope, read_envelope

MOST_HEADER: Final = 1 << 20
PIECE: Final = 64 * 1024


class NotOurs(Exception):
    """No program of ours wrote it; ``str()`` says why."""


@dataclass(frozen=True, slots=True)
class Left:
    """See the module's text.  ``header`` is b"" where it does not end within ``MOST_HEADER``: it is then part of the
    body, and refused as the session refuses it."""

    envelope: Envelope
    header: bytes
    size: int  # of what comes behind the header
    _descriptor: int
    _body: int

    def body(self) -> Iterator[bytes]:
        """What comes behind the header, as far as it is there."""
        position, end = self._body, self._body + self.size
        while position < end:
            piece = os.pread(self._descriptor, min(PIECE, end - position), position)
            if not piece:
                return
            position += len(piece)
            yield piece


def read_left(descriptor: int, size: int) -> Left:
    """Look at the beginning of a file of so many octets."""
    head = _read(descriptor, MOST_HEAD, 0)
    try:
        envelope, start = read_envelope(head)
    except ValueError as why:
        raise NotOurs(str(why)) from None
    octets = _read(descriptor, MOST_HEADER, start)
    end = header_end(octets)
    if end == len(octets) == MOST_HEADER:
        end = 0
    return Left(envelope, octets[:end], size - start - end, descriptor, start + end)


def _read(descriptor: int, most: int, position: int) -> bytes:
    pieces: list[bytes] = []
    while most > 0:
        piece = os.pread(descriptor, most, position)
        if not piece:
            break
        pieces.append(piece)
        most -= len(piece)
        position += len(piece)
    return b"".join(pieces)
