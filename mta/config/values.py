"""From the text of a configuration to values: durations, sizes, names, networks, servers, addresses.

Contract: each function takes what stands in the file and returns the value, or raises ``Wrong`` with what is
wrong and what to write.  No file is touched and no key is known here.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final
from urllib.parse import urlsplit

from mta.address import Address, AddressError, normal_domain
from mta.config.option import Network, Server
from mta.config.problems import Wrong, show

_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_OCTETS: Final = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_DURATION: Final = re.compile(r"(?:[0-9]{1,13}(?:\.[0-9]{1,3})?(?:ms|s|m|h|d|w))+\Z")
_DURATION_PART: Final = re.compile(r"([0-9.]+)([a-z]+)")
_SIZE: Final = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,3})?) ?(B|KiB|MiB|GiB|TiB)\Z")
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\Z")
_MAX_INT: Final = 1 << 63
#: A hundred years: what is longer was not meant, and its milliseconds would not fit where times are stored.
_MAX_SECONDS: Final = 36525 * 86400
#: An exbibyte: RFC 1870 4 gives SIZE 20 digits, and the spool stores 63 bits.
_MAX_OCTETS: Final = 1 << 60


def nearest(word: str, known: Iterable[str]) -> str:
    """``did you mean "x"?``, or the list of what is known."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known are: {', '.join(names)}" if names else "none is known here"


def text(value: Any) -> str:
    """A string without NUL, which no file system, database or protocol takes."""
    if not isinstance(value, str):
        quotes = isinstance(value, int | float) and not isinstance(value, bool)
        raise Wrong(f"{show(value)} is not text", "write it in quotes" if quotes else 'write "..."')
    if "\0" in value:
        raise Wrong("has a NUL character", "leave it out")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Wrong("has characters that are not Unicode text", "write UTF-8") from None
    return value


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Wrong(f"{show(value)} is neither true nor false", "write true or false, without quotes")
    return value


def integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Wrong(f"{show(value)} is not a whole number", "write a number without quotes, such as 100")
    if not -_MAX_INT <= value < _MAX_INT:
        raise Wrong("the number is too large", "write one below 2^63")
    return value


def number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Wrong(f"{show(value)} is not a number", "write a number without quotes, such as 0.5")
    if isinstance(value, int):
        return float(integer(value))
    if not math.isfinite(value):
        raise Wrong(f"{show(value)} is not a finite number", "write a number such as 0.5")
    return value


def duration(value: Any) -> float:
    """Seconds from "90s", "5m", "1h30m", "5d"."""
    units = "ms, s, m, h, d, w"
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise Wrong(f"{show(value)} has no unit", f'write text with a unit ({units}), such as "90s" or "5m"')
    if not isinstance(value, str) or not _DURATION.match(value):
        raise Wrong(f"{show(value)} is not a duration", f'write a number and a unit ({units}), such as "5m"')
    seconds = float(sum(float(part) * _SECONDS[unit] for part, unit in _DURATION_PART.findall(value)))
    if seconds > _MAX_SECONDS:
        raise Wrong(f"{show(value)} is over a hundred years", "write a shorter one")
    return seconds


def size(value: Any) -> int:
    """Octets from "512KiB", "50MiB"."""
    units = ", ".join(_OCTETS)
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise Wrong(f"{show(value)} has no unit", f'write text with a unit ({units}), such as "50MiB"')
    match = _SIZE.match(value) if isinstance(value, str) else None
    if match is None:
        raise Wrong(f"{show(value)} is not a size", f'write a number and a unit ({units}), such as "50MiB"')
    octets = int((float if "." in match[1] else int)(match[1]) * _OCTETS[match[2]])
    if octets > _MAX_OCTETS:
        raise Wrong(f"{show(value)} is more than any machine has", "write a smaller one")
    return octets


def show_duration(seconds: float) -> str:
    """Seconds as they stand in a configuration: in the largest unit that divides them."""
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(seconds, _SECONDS[unit])
        if count and not rest:
            return f"{count:.0f}{unit}"
    return f"{seconds * 1000:.0f}ms" if seconds else "0s"


def show_size(octets: int) -> str:
    """Octets as they stand in a configuration."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        count, rest = divmod(octets, _OCTETS[unit])
        if count and not rest:
            return f"{count}{unit}"
    return f"{octets}B"


def name(value: Any) -> str:
    """The name of a section: it stands in logs, commands and the spool."""
    found = text(value)
    if not _NAME.match(found):
        raise Wrong(f"{show(found)} is not a name", 'write letters, digits, "_", "-" and ".", at most 64')
    return found


def path(value: Any, base: str) -> str:
    """An absolute path; a relative one begins at ``base``, the folder of the file that holds the key."""
    found = text(value)
    if not found:
        raise Wrong("the path is empty", "write the path of a file or folder")
    return os.path.normpath(os.path.join(base, found))


def table_name(value: Any, base: str) -> str:
    """A table: "table:NAME", or "file:PATH" with the path made absolute."""
    found = text(value)
    kind, colon, rest = found.partition(":")
    if kind == "file" and rest:
        return f"file:{path(rest, base)}"
    if kind == "table" and rest:
        return f"table:{name(rest)}"
    written = (rest if colon and rest else found) or "users"
    named = os.path.basename(written) or "users"
    raise Wrong(f"{show(found)} is not a table", f'write "file:{written}" or "table:{named}"')


def url(value: Any) -> str:
    """The address of a web service."""
    found = text(value)
    try:
        parts = urlsplit(found)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        whole = False
    if not whole or not found.isascii() or not found.isprintable() or " " in found:
        raise Wrong(f"{show(found)} is not the address of a web service", 'write one such as "https://host/path"')
    return found


def domain(value: Any) -> str:
    """A domain as domains are compared."""
    found = text(value)
    try:
        return normal_domain(found)
    except AddressError as error:
        raise Wrong(f"{show(found)} is not a domain: {error}", 'write one such as "example.org"') from None


def domain_pattern(value: Any) -> str:
    """A domain, "*.domain" or "*"."""
    found = text(value)
    if found == "*":
        return found
    below, rest = ("*.", found[2:]) if found.startswith("*.") else ("", found)
    try:
        return below + normal_domain(rest)
    except AddressError as error:
        raise Wrong(f"{show(found)} is not a pattern: {error}", 'write "example.org", "*.example.org" or "*"') from None


def address(value: Any) -> Address:
    """A mailbox with its domain."""
    found = text(value)
    try:
        return Address.parse(found, utf8=True)
    except AddressError as error:
        raise Wrong(f"{show(found)}: {error}", 'write one such as "postmaster@example.org"') from None


def list_name(value: Any) -> str:
    """The address of a mailing list, as those of ours are compared."""
    found = address(value)
    return str(Address(found.local.lower(), found.domain))


def network(value: Any) -> Network:
    """A network, or one address; no bits may be set beyond the prefix."""
    found = text(value)
    try:
        return ip_network(found)
    except ValueError:
        try:
            meant = f'write "{ip_network(found, strict=False)}", or the address alone'
        except ValueError:
            meant = 'write one such as "192.0.2.0/24" or "2001:db8::/32"'
    raise Wrong(f"{show(found)} is not a network", meant)


def ip(value: Any) -> IPv4Address | IPv6Address:
    """An IP address."""
    found = text(value)
    try:
        return ip_address(found)
    except ValueError:
        raise Wrong(f"{show(found)} is not an IP address", 'write one such as "192.0.2.1"') from None


def server(value: Any, default_port: int = 53) -> Server:
    """The address of a server, with or without a port; an IPv6 address with a port stands in brackets."""
    found = text(value)
    host, port = found, str(default_port)
    if found.startswith("["):
        host, bracket, rest = found[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            host = ""
        elif rest:
            port = rest[1:]
    elif found.count(":") == 1:
        host, _, port = found.partition(":")
    try:
        where = str(ip_address(host))
        if re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) < 65536:
            return Server(where, int(port))
    except ValueError:
        pass
    raise Wrong(f"{show(found)} is not an address of a server", 'write "192.0.2.1:53" or "[2001:db8::1]:53"')
