"""Edits: how a message is changed without touching its stored octets.

What it is: a record is the octets that came in plus an ordered list of edits (offset, length cut, octets put
in).  Offsets count in the stored octets.  Everybody who reads a message reads it with its edits applied.
Contract: edits are sorted by offset and do not overlap; several insertions at one offset keep their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Edit(NamedTuple):
    """Cut ``cut`` octets at ``offset`` of the stored octets and put ``put`` in their place."""

    offset: int
    cut: int
    put: bytes


def merge(*groups: Iterable[Edit]) -> tuple[Edit, ...]:
    """One ordered list out of several.  At the same offset, edits of an earlier group stand first, and what is only put
    in before what is cut.

    Raises ``ValueError`` where two edits cut the same octets or lie inside another's cut.
    """
    edits = sorted((edit for group in groups for edit in group), key=lambda edit: (edit.offset, edit.cut > 0))
    end = 0
    for edit in edits:
        if edit.offset < end or edit.cut < 0:
            raise ValueError("edits overlap")
        end = max(end, edit.offset + edit.cut)
    return tuple(edits)


def growth(edits: Iterable[Edit]) -> int:
    """By how many octets the edits make a message longer (negative: shorter)."""
    return sum(len(edit.put) - edit.cut for edit in edits)


def apply(octets: bytes, edits: Sequence[Edit]) -> bytes:
    """The message with its edits, for octets that lie in memory whole."""
    if not edits:
        return octets
    parts: list[bytes] = []
    position = 0
    for offset, cut, put in edits:
        if offset > position:
            parts.append(octets[position:offset])
        parts.append(put)
        position = offset + cut
    parts.append(octets[position:])
    return b"".join(parts)


class EditedStream:
    """The same for octets that pass in chunks: ``feed`` each chunk in order, then ``finish``."""

    def __init__(self, edits: Sequence[Edit]) -> None:
        self._edits = edits
        self._next = 0
        self._position = 0  # offset in the stored octets of what comes next
        self._cutting_until = 0

    def feed(self, chunk: bytes) -> bytes:
        """What to send on for this chunk; may be empty while octets are cut."""
        if self._next == len(self._edits) and self._position >= self._cutting_until:
            self._position += len(chunk)
            return chunk
        parts: list[bytes] = []
        start, end = self._position, self._position + len(chunk)
        position = min(max(start, self._cutting_until), end)
        while self._next < len(self._edits) and self._edits[self._next].offset < end:
            offset, cut, put = self._edits[self._next]
            self._next += 1
            if offset > position:
                parts.append(chunk[position - start : offset - start])
            parts.append(put)
            self._cutting_until = offset + cut
            position = min(max(offset, self._cutting_until), end)
        parts.append(chunk[position - start :])
        self._position = end
        return b"".join(parts)

    def finish(self) -> bytes:
        """What is put in at the very end."""
        rest = b"".join(edit.put for edit in self._edits[self._next :])
        self._next = len(self._edits)
        return rest
