"""User names in the one form in which they are compared: the profile UsernameCaseMapped of PRECIS (RFC 8265 3.3).

Contract: ``username`` gives the prepared form; it is its own prepared form.  What may stand in a name is the
IdentifierClass of RFC 8264 4.2, so neither spaces nor controls nor anything invisible.
How it fails: ``ValueError`` with the reason in words that do not repeat the name.
Limits: ``MOST`` characters.  Unicode is that of the interpreter.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

import idna

MOST: Final = 255
_ROUNDS: Final = 3
_PLAIN: Final = re.compile(r"[a-z0-9!#$%&'*+\-/=?^_`{|}~.@]{1,255}\Z")
#: RFC 8264 9.1 LetterDigits.
_LETTERS: Final = frozenset(("Ll", "Lu", "Lo", "Nd", "Lm", "Mn", "Mc"))
#: RFC 8264 9.6 Exceptions (those of RFC 5892 2.6): allowed, and not, whatever their class.
_ALLOWED: Final = frozenset("\u00df\u03c2\u06fd\u06fe\u0f0b\u3007")
_FORBIDDEN: Final = frozenset("\u0640\u07fa\u302e\u302f\u3031\u3032\u3033\u3034\u3035\u303b")
_CONTEXT_J: Final = frozenset("\u200c\u200d")
_CONTEXT_O: Final = frozenset(
    "\u00b7\u0375\u05f3\u05f4\u30fb" + "".join(map(chr, (*range(0x660, 0x66A), *range(0x6F0, 0x6FA))))
)
_RIGHT_TO_LEFT: Final = frozenset(("R", "AL", "AN"))


def username(text: str) -> str:
    """The prepared form.  Raises ``ValueError``."""
    if _PLAIN.match(text):
        return text
    if not text:
        raise ValueError("the name is empty")
    prepared = _mapped(text)
    for _ in range(_ROUNDS):
        before, prepared = prepared, _mapped(prepared)
        if prepared == before:
            break
    else:
        raise ValueError("the name changes each time that it is prepared")  # RFC 8264 7
    for position, char in enumerate(prepared):
        if not _may_stand(prepared, position):
            raise ValueError(f"U+{ord(char):04X} may not stand in a name")
    if any(unicodedata.bidirectional(char) in _RIGHT_TO_LEFT for char in prepared):
        _check_direction(prepared)
    return prepared


def _mapped(text: str) -> str:
    """RFC 8265 3.3.2: width, case, normalization, in this order."""
    if len(text) > MOST:
        raise ValueError(f"a name has {MOST} characters at most")
    return unicodedata.normalize("NFC", "".join(map(_narrow, text)).lower())


def _narrow(char: str) -> str:
    """RFC 8264 5.2.1: fullwidth and halfwidth characters become those that they are forms of."""
    mapping = unicodedata.decomposition(char)
    if mapping.startswith(("<wide>", "<narrow>")):
        return chr(int(mapping.split()[1], 16))
    return char


def _may_stand(text: str, position: int) -> bool:
    """RFC 8264 8: the derived property, for the IdentifierClass, in this order."""
    char = text[position]
    if "\x21" <= char <= "\x7e" or char in _ALLOWED:
        return True
    if char in _FORBIDDEN:
        return False
    if char in _CONTEXT_J:
        return idna.valid_contextj(text, position)
    if char in _CONTEXT_O:
        return idna.valid_contexto(text, position)
    if 0x1100 <= ord(char) <= 0x11FF or 0xA960 <= ord(char) <= 0xA97C or 0xD7B0 <= ord(char) <= 0xD7FB:
        return False  # RFC 8264 9.9 OldHangulJamo
    if unicodedata.normalize("NFKC", char) != char:
        return False  # RFC 8264 9.17 HasCompat
    return unicodedata.category(char) in _LETTERS


def _check_direction(text: str) -> None:
    try:
        idna.check_bidi(text)
    except idna.IDNAError:
        raise ValueError("a name must not mix directions of writing") from None  # RFC 5893 2
