"""The header section of a message: where its fields stand, as offsets into octets that are never changed.

What it is: ``scan`` finds the end of the section and the names of its fields; offsets are found when somebody
asks for them.  Nothing is parsed in order to be written again: who wants a field changed makes an ``Edit``.
Contract: any octets scan; nothing raises.  Only CRLF ends a line and only an empty line ends the section
(RFC 5322 2.1, 2.2); without one all octets are header.  ``fields`` covers the section without a gap up to
its empty line; a line that is no field (and lines folded behind it) stands there with the name ``b""``.
Limits: the caller bounds the octets (``limits.header``); the work is linear in them.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from mta.message.edits import Edit

CRLF: Final = b"\r\n"
HEADER_END: Final = b"\r\n\r\n"
# RFC 5322 2.2: printable ASCII without the colon; 4.5: white space before the colon is obsolete, and seen.
_NAME: Final = rb"([\x21-\x39\x3b-\x7e]+)[ \t]*:"
_NAMES = re.compile(rb"\r\n" + _NAME)
_FIELD = re.compile(_NAME)
_FOLD = re.compile(rb"\r\n(?=[ \t])")


class Field(NamedTuple):
    """One field: its name in lower case; the field is ``start:end`` with its CRLF, its value begins at
    ``value_start``, behind the colon."""

    name: bytes
    start: int
    value_start: int
    end: int


def header_end(octets: bytes) -> int:
    """The offset of the body: behind the empty line; the length where there is none."""
    if octets.startswith(CRLF):
        return 2
    end = octets.find(HEADER_END)
    return len(octets) if end < 0 else end + 4


class Header:
    """A scanned header section; made by ``scan``.  ``end`` is the offset of the body."""

    __slots__ = ("_fields", "_names", "end", "octets")

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        self.end = header_end(octets)
        # The names alone cost a tenth of the offsets, and are all that most mail needs on its way in.
        self._names: list[bytes] = _NAMES.findall(CRLF + octets[: self.end].lower())
        self._fields: tuple[Field, ...] | None = None

    @property
    def complete(self) -> bool:
        """An empty line ends the section."""
        return self.octets.startswith(CRLF) or self.octets.endswith(HEADER_END, 0, self.end)

    @property
    def wellformed(self) -> bool:
        """It is complete, and each of its lines belongs to a field."""
        return self.complete and len(self._names) == len(self.fields)

    @property
    def fields(self) -> tuple[Field, ...]:
        """All fields, in order, and what stands between them."""
        if self._fields is None:
            self._fields = tuple(_walk(self.octets, self.end - 2 if self.complete else self.end))
        return self._fields

    def count(self, name: bytes) -> int:
        """How many fields have the name (in lower case)."""
        return self._names.count(name)

    def all(self, name: bytes) -> list[Field]:
        """The fields with the name (in lower case), in order."""
        if name not in self._names:
            return []
        return [field for field in self.fields if field.name == name]

    def get(self, name: bytes) -> bytes | None:
        """The unfolded value of the first field with the name (in lower case), None if there is none."""
        fields = self.all(name)
        return self.value(fields[0]) if fields else None

    def value(self, field: Field) -> bytes:
        """The value without its line breaks (RFC 5322 2.2.3) and the white space around it."""
        return _FOLD.sub(b"", self.octets[field.value_start : field.end]).strip(b" \t\r\n")

    def cuts(self, name: bytes) -> tuple[Edit, ...]:
        """Edits that take out every field with the name (in lower case)."""
        return tuple(Edit(field.start, field.end - field.start, b"") for field in self.all(name))


def scan(octets: bytes) -> Header:
    """Scan the header section at the beginning of the octets; what follows it is not looked at."""
    return Header(octets)


def _walk(octets: bytes, stop: int) -> list[Field]:
    fields: list[Field] = []
    start = 0
    while start < stop:
        end = octets.find(CRLF, start, stop)
        # RFC 5322 2.2.3: a line that begins with white space goes on with the field before it.
        while 0 <= end < stop - 2 and octets[end + 2] in b" \t":
            end = octets.find(CRLF, end + 2, stop)
        end = stop if end < 0 else end + 2
        match = _FIELD.match(octets, start, end)
        if match is None:
            fields.append(Field(b"", start, start, end))
        else:
            fields.append(Field(match[1].lower(), start, match.end(), end))
        start = end
    return fields
