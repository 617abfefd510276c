"""Lines of a bounded width from text of any script.  Pure.

Contract: breaks at spaces, and between wide characters (Chinese, Japanese), which have none; no line begins with a
mark that closes or ends with one that opens.  A word that is wider than a line stands in one of its own, whole, so
that an address or a queue id can be copied.  No-break spaces are no places to break.
Limits: linear in the text; the caller bounds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from unicodedata import category, combining, east_asian_width

#: General categories of Unicode: brackets, quotes, other punctuation.
_CLOSING: Final = ("Pe", "Pf", "Po")
_OPENING: Final = ("Ps", "Pi")


def columns(text: str) -> int:
    """How wide it shows where each character has a cell, and a wide one two (UAX 11)."""
    if text.isascii():
        return len(text)
    return sum(2 if _is_wide(one) else not combining(one) for one in text)


def wrap(text: str, width: int, first: str = "", rest: str = "") -> list[str]:
    """The lines; ``first`` stands before the first of them, ``rest`` before all others."""
    lines: list[str] = []
    line, used, begun = first, columns(first), False
    for spaced, unit in _units(text):
        needed = columns(unit)
        if begun and used + spaced + needed > width:
            lines.append(line)
            line, used, begun = rest, columns(rest), False
        if begun and spaced:
            line, used = f"{line} ", used + 1
        line, used, begun = line + unit, used + needed, True
    return [*lines, line] if begun else lines


def _units(text: str) -> Iterator[tuple[bool, str]]:
    """What may not be parted, and whether a space goes before it."""
    for word in text.split(" "):
        start = 0
        if not word.isascii():
            for at in range(1, len(word)):
                if _may_part(word[at - 1], word[at]):
                    yield not start, word[start:at]
                    start = at
        if word:
            yield not start, word[start:]


def _may_part(before: str, after: str) -> bool:
    if category(before) in _OPENING or category(after) in _CLOSING or combining(after):
        return False
    return _is_wide(before) or _is_wide(after)


def _is_wide(character: str) -> bool:
    return east_asian_width(character) in ("W", "F")
