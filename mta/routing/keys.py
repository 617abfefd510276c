"""The form in which addresses and names are compared as keys of tables.

What it is: ``table_key`` for text from a table or a question, ``address_keys`` for an address of ours.
Contract: a local part of ours is compared without regard to case, and its NFC and NFD forms are one (RFC 6532
3.1); a domain as its A-labels (RFC 5891 5).  A local part that needs quoting keeps it, so that
``"bob@other.example"@example.org`` is never taken for ``bob@other.example``.
"""

from __future__ import annotations

import re
from typing import Final
from unicodedata import normalize

from mta.address import Address, AddressError

_PLAIN: Final = re.compile(r"[\w+\-.]+(?:@[a-z0-9\-.]*[a-z0-9])?\Z", re.ASCII)


def fold(text: str) -> str:
    """Two texts that fold to the same are the same name.  Idempotent."""
    if text.isascii():
        return text.lower()
    # Unicode 3.13, D145: folding wants a normal form to begin with, and can break it.
    return normalize("NFC", normalize("NFD", text).casefold())


def table_key(text: str) -> str:
    """The form in which a key is stored and looked up.  Text that is no address is only folded."""
    folded = fold(text)
    if "@" not in folded or (_PLAIN.match(folded) and "xn--" not in folded):
        return folded
    try:
        return str(Address.parse(folded, utf8=True))
    except AddressError:
        return folded


def address_keys(address: Address) -> tuple[str, ...]:
    """The keys under which a table may hold an address of ours: whole, then the local part alone."""
    local = fold(address.local)
    whole = str(Address(local, address.domain))
    if "@" in local:
        return (whole,)
    return (whole, local)
