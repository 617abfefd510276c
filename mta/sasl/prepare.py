"""SASLprep (RFC 4013): user names and passwords in the one form in which both sides compare them.

Contract: ``saslprep`` is that of a query: code points that Unicode 3.2 does not know pass as they are (RFC 3454 7).
How it fails: ``ValueError`` for characters that may not stand in a name or password.
"""

from __future__ import annotations

import stringprep
from typing import Final
from unicodedata import ucd_3_2_0

#: RFC 4013 2.3.
_PROHIBITED: Final = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def saslprep(text: str) -> str:
    """The prepared form.  Raises ``ValueError``."""
    if text.isascii() and text.isprintable():
        return text
    mapped = "".join(
        # RFC 4013 2.1: other spaces become a space, what is commonly mapped to nothing goes.
        " " if stringprep.in_table_c12(char) else char
        for char in text
        if not stringprep.in_table_b1(char)
    )
    prepared = ucd_3_2_0.normalize("NFKC", mapped)
    for char in prepared:
        if any(forbidden(char) for forbidden in _PROHIBITED):
            raise ValueError(f"U+{ord(char):04X} may not stand in a name or password")
    _check_direction(prepared)
    return prepared


def _check_direction(text: str) -> None:
    """RFC 3454 6: text from right to left has nothing from left to right in it, and begins and ends as such."""
    right = [stringprep.in_table_d1(char) for char in text]
    if any(right) and (any(stringprep.in_table_d2(char) for char in text) or not (right[0] and right[-1])):
        raise ValueError("a name or password must not mix directions of writing")
