"""xtext (RFC 3461 4), as our clients write it.  Pure, and imports nothing of ours: ``mta-sendmail`` has it too."""

from __future__ import annotations

import re

# RFC 3461 4: all but xchar.
_NO_XCHAR = re.compile(r"[^\x21-\x2a\x2c-\x3c\x3e-\x7e]")


def encode_xtext(text: str) -> str:
    """xtext (RFC 3461 4); characters outside ASCII, which cannot stand in it, become ``?``."""
    return _NO_XCHAR.sub(lambda match: f"+{ord(match[0]):02X}" if match[0].isascii() else "?", text)
