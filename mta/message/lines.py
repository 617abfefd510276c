"""Line ends: CRLF of the wire into LF of files, in chunks cut anywhere.

Contract: only CRLF becomes LF; a bare CR or LF passes as it is.  A message that came by SMTP has neither
(RFC 5321 2.3.8), so turning every LF of the result into CRLF gives the octets back.
"""

from __future__ import annotations

from typing import Final

CRLF: Final = b"\r\n"


def to_lf(octets: bytes) -> bytes:
    """For octets that are in memory whole."""
    return octets.replace(CRLF, b"\n")


class LfStream:
    """The same in chunks: ``feed`` each in order, then ``finish``."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""  # a CR whose LF may begin the next chunk

    def feed(self, chunk: bytes) -> bytes:
        """What is certain now."""
        data = self._held + chunk
        self._held = b""
        if data.endswith(b"\r"):
            data, self._held = data[:-1], b"\r"
        return to_lf(data)

    def finish(self) -> bytes:
        """What was held back."""
        held, self._held = self._held, b""
        return held
