"""The attributes of XCLIENT and XFORWARD: octets in, checked values out.

What it is: ``read`` for the argument of either command.  A value is xtext (RFC 3461 4); what it decodes to is checked
by its kind.  "[UNAVAILABLE]" and "[TEMPUNAVAIL]" become "": what the proxy does not know.
Contract: what comes back is of its kind: IP addresses as by ``normal_ip``, names as by ``normal_domain`` where they
are domains, no control characters anywhere; everything else raises ``PermanentFailure`` with 501 5.5.4.
Limits: a value has at most ``MAX_VALUE`` characters; each attribute stands once.
Source: Postfix's XCLIENT_README and XFORWARD_README, which define the commands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from mta.address import AddressError, normal_domain, normal_ip
from mta.reply import PermanentFailure
from mta.smtp import replies
from mta.smtp.grammar import parse_greeting
from mta.smtp.parameters import decode_xtext

MAX_VALUE: Final = 255
_UNKNOWN: Final = frozenset({"[UNAVAILABLE]", "[TEMPUNAVAIL]"})
_PORT = re.compile(r"[0-9]{1,5}\Z")

Reader = Callable[[str], str]


def _address(text: str) -> str:
    try:
        if text[:5].upper() == "IPV6:":
            address = IPv6Address(text[5:])
            return _wrong() if address.scope_id is not None else normal_ip(str(address))
        return str(IPv4Address(text))
    except ValueError:
        return _wrong()


def _port(text: str) -> str:
    return text if _PORT.match(text) and int(text) <= 65535 else _wrong()


def _name(text: str) -> str:
    try:
        return normal_domain(text)
    except AddressError:
        return _wrong()


def _greeting(text: str) -> str:
    return parse_greeting(text.encode("ascii"))


def _protocol(text: str) -> str:
    return _one_of(text, "SMTP", "ESMTP", "LMTP")


def _source(text: str) -> str:
    return _one_of(text, "LOCAL", "REMOTE")


def _one_of(text: str, *words: str) -> str:
    return text.upper() if text.upper() in words else _wrong()


def _text(text: str) -> str:
    return text or _wrong()


def _wrong() -> str:
    raise PermanentFailure(replies.BAD_ATTRIBUTE)


#: In the order in which EHLO shows them.
XCLIENT: Final[Mapping[str, Reader]] = {
    "NAME": _name,
    "ADDR": _address,
    "PORT": _port,
    "PROTO": _protocol,
    "HELO": _greeting,
    "LOGIN": _text,
    "DESTADDR": _address,
    "DESTPORT": _port,
}
XFORWARD: Final[Mapping[str, Reader]] = {
    "NAME": _name,
    "ADDR": _address,
    "PORT": _port,
    "PROTO": _protocol,
    "HELO": _greeting,
    "IDENT": _text,
    "SOURCE": _source,
}


def read(argument: bytes, readers: Mapping[str, Reader]) -> dict[str, str]:
    """``NAME=value NAME=value ...``, names in capitals.  Raises ``PermanentFailure``."""
    found: dict[str, str] = {}
    try:
        words = argument.decode("ascii").split()
    except UnicodeDecodeError:
        raise PermanentFailure(replies.BAD_ATTRIBUTE) from None
    if not words:
        raise PermanentFailure(replies.BAD_ATTRIBUTE)
    for word in words:
        name, equals, encoded = word.partition("=")
        name = name.upper()
        reader = readers.get(name)
        if reader is None or not equals or name in found or len(encoded) > 3 * MAX_VALUE:
            raise PermanentFailure(replies.BAD_ATTRIBUTE)
        value = decode_xtext(encoded)
        if len(value) > MAX_VALUE:
            raise PermanentFailure(replies.BAD_ATTRIBUTE)
        found[name] = "" if value.upper() in _UNKNOWN else reader(value)
    return found
