"""Records as a zone file has them (RFC 1035 5.1)."""

from __future__ import annotations

from typing import Final

#: RFC 1035 3.3: octets of one character-string.
_MOST: Final = 255


def txt_data(text: str) -> str:
    """The data of a TXT record: as many strings as it takes, which whoever reads it joins."""
    pieces = [text[at : at + _MOST] for at in range(0, len(text), _MOST)] or [""]
    return " ".join('"' + piece.replace("\\", "\\\\").replace('"', '\\"') + '"' for piece in pieces)


def zone_line(name: str, kind: str, data: str) -> str:
    """One record; ``name`` without its last dot."""
    return f"{name}. IN {kind} {data}"
