"""What a run of octets holds: whether it may pass as 7bit (RFC 2045 2.7), and how much of it may not.  Pure.

Contract: the answer does not depend on where the run was cut into chunks.  Whole chunks are counted, never lines
one by one but for their lengths.
"""

from __future__ import annotations

from typing import Final

from mta.message.quoted import MAX_LINE

CRLF: Final = b"\r\n"
_HIGH: Final = bytes(range(128, 256))
#: What stands as it is in quoted-printable (RFC 2045 6.7), and CR and LF, which are counted apart.
_LITERAL: Final = bytes(octet for octet in range(0x20, 0x7F) if octet != 0x3D) + b"\t\r\n"


class Measure:
    """``feed`` each chunk in order, then ``finish``.

    ``high`` counts octets over 127, ``nul`` those that are 0, ``lines`` line ends.
    """

    __slots__ = ("_cr", "_held", "_lf", "_line", "_longest", "_special", "high", "lines", "nul", "size")

    def __init__(self) -> None:
        self.size = self.high = self.nul = self.lines = 0
        self._cr = self._lf = self._special = 0
        self._line = self._longest = 0
        self._held = b""

    def feed(self, octets: bytes) -> None:
        data = self._held + octets
        self._held = b""
        if data.endswith(b"\r"):
            data, self._held = data[:-1], b"\r"
        self._count(data)

    def finish(self) -> None:
        """Nothing more comes."""
        held, self._held = self._held, b""
        self._count(held)
        self._longest = max(self._longest, self._line)

    def _count(self, data: bytes) -> None:
        if not data:
            return
        self.size += len(data)
        if not data.isascii():
            self.high += len(data) - len(data.translate(None, _HIGH))
        self.nul += data.count(0)
        self._special += len(data.translate(None, _LITERAL))
        self._cr += data.count(b"\r")
        self._lf += data.count(b"\n")
        lengths = [len(line) for line in data.split(CRLF)]
        self.lines += len(lengths) - 1
        lengths[0] += self._line
        self._line = lengths[-1]
        self._longest = max(self._longest, *lengths)

    @property
    def plain(self) -> bool:
        """Nothing in it needs 8BITMIME or BINARYMIME."""
        return not (self.high or self.nul or self.bare)

    @property
    def bare(self) -> bool:
        """A CR or LF stands alone."""
        return self._cr != self.lines or self._lf != self.lines

    @property
    def quoted_size(self) -> int:
        """Octets of it as quoted-printable, at most."""
        escaped = self._special + self._cr + self._lf - 2 * self.lines
        # White space at the end of a line is escaped too; a soft break, and a hyphen behind it, cost five octets.
        longest = self.size + 2 * escaped + 2 * (self.lines + 1)
        return longest + 5 * (longest // 71 + 1)

    @property
    def long(self) -> bool:
        """A line is longer than 7bit and 8bit allow."""
        return self._longest > MAX_LINE
