"""The right side of an alias: ``target, target``, as in the classic aliases file.

Contract: a target is an address, or a local part of the alias's own domain; ``\\bob`` (sendmail's sign for "do
not expand further") is read as ``bob``, since an alias that names itself means its own mailbox here.
How it fails: ``ValueError`` in plain words.  Commands (``|``), files (``/``) and ``:include:`` are refused by
name: each is a delivery service or a list here, never a side effect of a table.
"""

from __future__ import annotations

import re
from typing import Final

from mta.address import Address, AddressError

# One target: quoted strings may hold commas; what stands outside of them may not.
_TARGET: Final = re.compile(r'\s*((?:"(?:\\.|[^"\\])*"|\[[^\]]*\]|[^,"\[])*)(,|\Z)')

_REFUSED: Final = {
    "|": "commands need a delivery service of type pipe",
    "/": "files need a delivery service",
    ":": ":include: is not supported; name the members, or make it a list",
}


def parse_targets(text: str, domain: str) -> tuple[Address, ...]:
    """The addresses that an alias of ``domain`` leads to, in order, each once.  Raises ``ValueError``."""
    targets: dict[Address, None] = {}
    position = 0
    while position < len(text):
        found = _TARGET.match(text, position)
        if found is None:
            raise ValueError("a quoted string or bracket is not closed")
        target = found[1].strip()
        if target:
            targets[_target(target, domain)] = None
        position = found.end()
    if not targets:
        raise ValueError("no target")
    return tuple(targets)


def _target(text: str, domain: str) -> Address:
    why = _REFUSED.get(text.removeprefix('"')[:1])
    if why is not None:
        raise ValueError(f"target {text}: {why}")
    text = text.removeprefix("\\")
    if "@" not in text:
        text = f"{text}@{domain}"
    try:
        return Address.parse(text, utf8=True)
    except AddressError as error:
        raise ValueError(f"target {text}: {error}") from error
