"""Reads the rows of a spool's tables out of the pages of its database file, without SQLite and without its help.

Contract: ``rows`` gives each row that lies on a page which is whole, with the name of its table, whatever became of the
pages that lead there: a row tells by its form of which table it is.  Values have the types that the schema gives them.
How it fails: it does not; what cannot be read does not come.  A value that was changed within its type comes as it is.
Limits: pages of ``PAGE_SIZE`` octets, UTF-8, as the spool makes them; the log must have been brought into the file.
(The format: https://www.sqlite.org/fileformat2.html, 1.6 and 2.1.)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

from mta.spool.schema import PAGE_SIZE

Value = int | float | str | bytes | None
Row = tuple[Value, ...]

_TABLE_LEAF: Final = 0x0D
#: An index, and a table WITHOUT ROWID, has rows on inner pages too.
_INDEX: Final = {0x0A: 8, 0x02: 12}
#: The least queue id of our century; a destination's number is far below.
_LEAST_ID: Final = 1 << 50
_INTEGERS: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_TEXT: Final = (str, type(None))


class Pages:
    """See the module's text.  ``octets`` is the file, or a map of it."""

    def __init__(self, octets: Any) -> None:
        self._octets = octets
        self._count = len(octets) // PAGE_SIZE

    def rows(self) -> Iterator[tuple[str, Row]]:
        """See the module's text.  Tables: message, body, destination, event, recipient, history, notice, totals."""
        for number in range(2, self._count + 1):
            page = self._page(number)
            kind = page[0]
            if kind == _TABLE_LEAF:
                header = 8
            elif kind in _INDEX:
                header = _INDEX[kind]
            else:
                continue
            for cell in range(min(int.from_bytes(page[3:5], "big"), (PAGE_SIZE - header) // 2)):
                start = header + 2 * cell
                try:
                    found = self._row(page, int.from_bytes(page[start : start + 2], "big"), kind)
                except (IndexError, ValueError, struct.error):
                    continue
                if found is not None:
                    yield found

    def _page(self, number: int) -> bytes:
        if not 1 <= number <= self._count:
            raise ValueError(number)
        octets: bytes = self._octets[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]
        return octets

    def _row(self, page: bytes, at: int, kind: int) -> tuple[str, Row] | None:
        rowid = 0
        if kind == 0x02:
            at += 4  # the page to the left
        length, at = _varint(page, at)
        if kind == _TABLE_LEAF:
            rowid, at = _varint(page, at)
        values = _values(self._payload(page, at, length, kind))
        return _of_table(rowid, values) if kind == _TABLE_LEAF else _of_index(values)

    def _payload(self, page: bytes, at: int, length: int, kind: int) -> bytes:
        """What is in the cell, and on the pages that it goes on to."""
        most = PAGE_SIZE - 35 if kind == _TABLE_LEAF else (PAGE_SIZE - 12) * 64 // 255 - 23
        if length <= most:
            return _exactly(page[at : at + length], length)
        if length > self._count * PAGE_SIZE:
            raise ValueError(length)
        least = (PAGE_SIZE - 12) * 32 // 255 - 23
        local = least + (length - least) % (PAGE_SIZE - 4)
        if local > most:
            local = least
        parts = [_exactly(page[at : at + local], local)]
        left, following = length - local, int.from_bytes(page[at + local : at + local + 4], "big")
        while left > 0:
            more = self._page(following)
            parts.append(more[4 : 4 + left])
            left -= PAGE_SIZE - 4
            following = int.from_bytes(more[:4], "big")
        return b"".join(parts)


def _exactly(octets: bytes, length: int) -> bytes:
    if len(octets) != length:
        raise ValueError(length)
    return octets


def _varint(octets: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(8):
        octet = octets[at + place]
        value = value << 7 | octet & 0x7F
        if octet < 0x80:
            return value, at + place + 1
    value = value << 8 | octets[at + 8]
    return value - (1 << 64) if value >> 63 else value, at + 9


def _values(record: bytes) -> list[Value]:
    end, at = _varint(record, 0)
    data = end
    values: list[Value] = []
    while at < end:
        code, at = _varint(record, at)
        value, size = _value(record, code, data)
        values.append(value)
        data += size
    if at != end or data != len(record):
        raise ValueError("the record has another length than its header says")
    return values


def _value(record: bytes, code: int, at: int) -> tuple[Value, int]:
    if code == 0:
        return None, 0
    if code in (8, 9):
        return code - 8, 0
    if code in _INTEGERS:
        size = _INTEGERS[code]
        return int.from_bytes(_exactly(record[at : at + size], size), "big", signed=True), size
    if code == 7:
        number: float = struct.unpack(">d", record[at : at + 8])[0]
        return number, 8
    if code < 12:
        raise ValueError(code)
    size = (code - 12) // 2
    octets = _exactly(record[at : at + size], size)
    return (octets.decode() if code % 2 else octets), size


def _fits(values: list[Value], *kinds: Any) -> bool:
    return len(values) == len(kinds) and all(isinstance(value, kind) for value, kind in zip(values, kinds, strict=True))


def _of_table(rowid: int, values: list[Value]) -> tuple[str, Row] | None:
    """A table's own row; the key is not in it (INTEGER PRIMARY KEY)."""
    none = type(None)
    if _fits(values, none, int, _TEXT, int, int, int, str, _TEXT, str):
        return "message", (rowid, *values[1:])
    if _fits(values, none, bytes):
        return "body", (rowid, values[1])
    if _fits(values, none, int, str):
        return "event", (rowid, *values[1:])
    if _fits(values[:3], none, str, str) and len(values) <= 4:
        return "destination", (rowid, values[1], values[2])
    return None


def _of_index(values: list[Value]) -> tuple[str, Row] | None:
    """A row of a table WITHOUT ROWID; None for an entry of an index, which is no row."""
    count = len(values)
    if count in (13, 14, 15) and _fits(values[:7], *[int] * 7) and _fits(values[10:13], str, str, str):
        # One that was written by version 0 has no progress; before version 3 none had a sender.
        return "recipient", (*values, *(None, 0)[count - 13 :])
    if _fits(values, int, int, str, int, str, str, _TEXT, str, str, str):
        return "history", tuple(values)
    if _fits(values, int, int, int) and isinstance(values[0], int) and values[0] >= _LEAST_ID:
        return "notice", tuple(values)
    if _fits(values, int, str, int):
        return "totals", tuple(values)
    return None
