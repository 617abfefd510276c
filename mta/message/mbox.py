"""The mbox form of a message: the line that begins it, and the lines within that must not look like one.

Contract: ``from_line`` is one line whatever a sender is called.  ``FromQuoting`` puts ">" before each line that begins
with any number of ">" and then "From " (mboxrd: RFC 4155 speaks of it; a reader takes one ">" off again, so nothing is
lost).  Lines end with LF here.
"""

from __future__ import annotations

import re
import time
from typing import Final

from mta.address import ReversePath

#: Who the sender of a message with the null reverse-path is, to readers of mbox files.
NOBODY: Final = "MAILER-DAEMON"
_FROM = re.compile(rb"^(?=>*From )", re.MULTILINE)
_PERHAPS = re.compile(rb">*(?:F(?:r(?:om?)?)?)?\Z")
_SPACE = re.compile(r"[\s\x00-\x20\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def from_line(path: ReversePath, at_ms: int) -> bytes:
    """``From sender date``, the date in UTC as asctime(3) writes it."""
    sender = _SPACE.sub("_", str(path)) if path is not None else NOBODY
    return f"From {sender} {time.asctime(time.gmtime(at_ms // 1000))}\n".encode()


class FromQuoting:
    """``feed`` octets in chunks cut anywhere, then ``finish``.  It begins at the start of a line."""

    __slots__ = ("_held", "_inside")

    def __init__(self) -> None:
        self._held = b""  # the start of a line that may yet become one
        self._inside = False  # what comes goes on with a line that is out

    def feed(self, chunk: bytes) -> bytes:
        """What is certain now."""
        octets = self._held + chunk
        last = octets.rfind(b"\n") + 1
        self._held = octets[last:] if (last or not self._inside) and _PERHAPS.match(octets, last) else b""
        out = octets[: len(octets) - len(self._held)]
        if not out:
            return out
        # The octet before it keeps the rest of a line from being taken for the start of one.
        quoted = _FROM.sub(b">", b"." + out)[1:] if self._inside else _FROM.sub(b">", out)
        self._inside = not out.endswith(b"\n")
        return quoted

    def finish(self) -> bytes:
        """What was held back: no such line after all."""
        held, self._held = self._held, b""
        return held
