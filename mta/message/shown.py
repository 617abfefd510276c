"""What people see in a display name: encoded words decoded, quotes gone; and the addresses that it shows.  Pure.

Contract: what a reader might take for an address is found, in whatever characters it is written that look like those of
one: full-width letters and signs (NFKC), with invisible characters in it or spaces about the sign.
Limits: a look-alike of other scripts is an address of its own, and no more than that is said of it; ``MOST`` addresses
of one text are looked at.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import a2b_qp
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final
from unicodedata import category, normalize

from mta.address import Address, AddressError

MOST: Final = 20

_WORD = re.compile(r"=\?([^?*\s]{1,40})(?:\*[^?\s]{0,40})?\?([BbQq])\?([^?\s]{0,1000})\?=")
# RFC 2047 6.2: white space between two encoded words is not shown.
_BETWEEN = re.compile(r"(\?=)[ \t\r\n]+(?==\?)")
_QUOTES: Final = "'`.\u2018\u2019\u201c\u201d"
_PAIR = re.compile(r"\\(.)", re.DOTALL)
_BEFORE = re.compile(r"([^\s<>()\[\],;:@]+) ?\Z")
_BEHIND = re.compile(r" ?([^\s<>()\[\],;:@.]+(?:\.[^\s<>()\[\],;:@.]+)+)")
_NEAR: Final = 260  # characters of each side of the sign: no address has more


def visible(text: str) -> str:
    """A phrase or comment as it is shown, in compatible characters (NFKC) and without invisible ones."""
    text = _WORD.sub(_decoded, _BETWEEN.sub(r"\1", text))
    text = normalize("NFKC", _PAIR.sub(r"\1", text).replace('"', ""))
    return "".join(" " if char.isspace() else char for char in text if category(char) not in ("Cf", "Cc", "Cs", "Mn"))


def addresses_in(texts: Iterable[str]) -> Iterator[Address | str]:
    """What looks like an address in them; as text where it is none."""
    for text in texts:
        seen = visible(text)
        for sign in islice(re.finditer("@", seen), MOST):
            local = _BEFORE.search(seen[max(0, sign.start() - _NEAR) : sign.start()])
            domain = _BEHIND.match(seen[sign.end() : sign.end() + _NEAR])
            if local is None or domain is None:
                continue
            shown = f"{local[1].strip(_QUOTES)}@{domain[1].strip(_QUOTES)}"
            try:
                yield Address.parse(shown, utf8=True)
            except AddressError:
                yield shown


def _decoded(match: re.Match[str]) -> str:
    """RFC 2047 4: an encoded word; as it stands where it cannot be decoded."""
    charset, way, text = match.groups()
    try:
        octets = b64decode(text + "=" * (-len(text) % 4)) if way in "Bb" else a2b_qp(text.encode("ascii"), header=True)
        return octets.decode(charset, "replace")
    except (ValueError, LookupError):
        return match[0]
