"""What is known without asking DNS: literals and the names that never reach it (RFC 6761)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from mta.routing.values import Answer, Found

_FOR_EVER: Final = float("inf")
_LOOPBACK: Final = Answer(found=Found.OK, records=("::1", "127.0.0.1"), expires=_FOR_EVER)
_NO_DATA: Final = Answer(found=Found.NO_DATA, expires=_FOR_EVER)
_NO_DOMAIN: Final = Answer(found=Found.NO_DOMAIN, expires=_FOR_EVER)


def known_answer(kind: str, name: str) -> Answer | None:
    """The answer to a question that DNS must not be asked, else None.  ``name``: lower case, no final dot."""
    if name[-1:].isdigit() or ":" in name or name.startswith("["):
        literal = _literal(name)
        if literal is not None:
            if kind != "addresses":
                return _NO_DATA
            return Answer(found=Found.OK, records=(str(literal),), expires=_FOR_EVER)
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761 6.3
        return _LOOPBACK if kind == "addresses" else _NO_DATA
    if not name or name == "invalid" or name.endswith(".invalid"):  # RFC 6761 6.4
        return _NO_DOMAIN
    return None


def _literal(name: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(name.removeprefix("[").removesuffix("]").removeprefix("ipv6:"))
    except ValueError:
        return None
