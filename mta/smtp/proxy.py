"""The header of the PROXY protocol, versions 1 and 2: who the client is, as a proxy before us says.

What it is: a state machine over octets, no I/O.  The factory reads a header from the peers that a listener's
``proxy`` names, and from nobody else (factory.py).
Contract: ``HeaderReader.feed`` takes the octets in any cut and returns the header once it is whole; what came
behind it stands in ``rest``.  Addresses are as by ``normal_ip``.  Of the two ends of a connection only the client's
is told; a header that names no IP address (UNKNOWN, UNSPEC, a UNIX socket) tells a client without one.
How it fails: ``WrongHeader`` as soon as it is certain that this is no valid header; it says why, for the log alone.
Limits: ``MAX_V1`` and ``MAX_V2`` octets; a longer header is refused before it is read.
Source: the specification of HAProxy, "The PROXY protocol, versions 1 & 2" (named PROXY in the comments).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, NamedTuple

from mta.address import normal_ip

_V1_START: Final = b"PROXY "
_V2_START: Final = b"\r\n\r\n\0\r\nQUIT\n"
_V2_FIXED: Final = 16

#: PROXY 2.1: the longest line of version 1, its CRLF included.
MAX_V1: Final = 107
#: Of version 2, in all.  Certificates' names and the ids of cloud networks take some hundred octets.
MAX_V2: Final = 4096

# PROXY 2.1: one space between fields; numbers without leading zeros.
_PORT = re.compile(r"(?:0|[1-9][0-9]{0,4})\Z")
_CRC32C_TYPE: Final = 0x03  # PROXY 2.2.3


class WrongHeader(Exception):
    """These octets are no valid header; ``str()`` says why."""


class Header(NamedTuple):
    """Who the client is.  ``local``: the proxy itself (a health check), so the peer is the client.

    ``client`` is "" where the proxy tells no IP address; ``port`` is 0 then.
    """

    local: bool = False
    client: str = ""
    port: int = 0


_LOCAL: Final = Header(local=True)
_UNKNOWN: Final = Header()


class HeaderReader:
    """See the module's text.  One header; not to be fed once that has come back or anything was raised."""

    __slots__ = ("_buffer", "rest")

    def __init__(self) -> None:
        self._buffer = b""
        self.rest = b""

    def feed(self, octets: bytes) -> Header | None:
        """The header when it is whole, None when more is needed.  Raises ``WrongHeader``."""
        buffer = self._buffer = self._buffer + octets
        if buffer.startswith(_V2_START[: len(buffer)]):
            end = _v2_end(buffer)
            read = _v2
        elif buffer.startswith(_V1_START[: len(buffer)]):
            end = _v1_end(buffer)
            read = _v1
        else:
            raise WrongHeader("it does not begin with a header")
        if not end or len(buffer) < end:
            return None
        self._buffer, self.rest = b"", buffer[end:]
        return read(buffer[:end])


# --- version 1: a line of text (PROXY 2.1) -------------------------------------------------------------------


def _v1_end(buffer: bytes) -> int:
    """Where the header ends; 0 while that is not known."""
    end = buffer.find(b"\r\n", 0, MAX_V1)
    if end < 0 and len(buffer) >= MAX_V1:
        raise WrongHeader(f"its line is longer than {MAX_V1} octets")
    return end + 2 if end >= 0 else 0


def _v1(header: bytes) -> Header:
    line = header[len(_V1_START) : -2]
    if line == b"UNKNOWN" or line.startswith(b"UNKNOWN "):
        # PROXY 2.1: whatever follows the word is ignored.
        return _UNKNOWN
    try:
        words = line.decode("ascii").split(" ")
    except UnicodeDecodeError:
        raise WrongHeader("its line is not ASCII") from None
    if words[0] not in ("TCP4", "TCP6") or len(words) != 5:
        raise WrongHeader("its line is not made of TCP4 or TCP6, two addresses and two ports")
    kind = IPv4Address if words[0] == "TCP4" else IPv6Address
    try:
        source, _ = kind(words[1]), kind(words[2])
    except ValueError:
        raise WrongHeader("an address in it is not of its kind") from None
    if any(_PORT.match(word) is None or int(word) > 65535 for word in words[3:]):
        raise WrongHeader("a port in it is none")
    return _client(source, int(words[3]))


def _client(source: IPv4Address | IPv6Address, port: int) -> Header:
    if isinstance(source, IPv6Address) and source.scope_id is not None:
        raise WrongHeader("an address in it has a scope")
    return Header(client=normal_ip(str(source)), port=port)


# --- version 2: binary (PROXY 2.2) ---------------------------------------------------------------------------

#: By address family and transport protocol: how many octets the addresses take.  A stream is all that mail uses.
_ADDRESSES: Final = {0x11: 12, 0x21: 36, 0x31: 216}
_UNSPEC: Final = 0x00


def _v2_end(buffer: bytes) -> int:
    """Where the header ends; 0 while that is not known."""
    if len(buffer) < _V2_FIXED:
        return 0
    end = _V2_FIXED + int.from_bytes(buffer[14:16], "big")
    if end > MAX_V2:
        raise WrongHeader(f"it is longer than {MAX_V2} octets")
    return end


def _v2(header: bytes) -> Header:
    version, command, family = header[12] >> 4, header[12] & 0x0F, header[13]
    if version != 2 or command > 1:
        raise WrongHeader("its version or command is not known")
    if command == 0:
        # PROXY 2.2: for LOCAL the family, addresses and all else are skipped.
        return _LOCAL
    if family == _UNSPEC:
        return _UNKNOWN
    size = _ADDRESSES.get(family)
    if size is None:
        raise WrongHeader("its address family or transport protocol is not known")
    if len(header) < _V2_FIXED + size:
        raise WrongHeader("it is shorter than its addresses")
    _check_sum(header, _V2_FIXED + size)
    if family == 0x31:
        return _UNKNOWN
    half = 4 if family == 0x11 else 16
    source = header[_V2_FIXED : _V2_FIXED + half]
    (port,) = struct.unpack_from("!H", header, _V2_FIXED + 2 * half)
    return _client(ip_address(source), port)


def _check_sum(header: bytes, start: int) -> None:
    """PROXY 2.2.3: a checksum that is there must be right.  All other extensions are skipped, if well formed."""
    seen = False
    for kind, begin, end in _extensions(header, start):
        if kind != _CRC32C_TYPE:
            continue
        if seen or end - begin != 4:
            raise WrongHeader("its checksum is there twice or is none")
        seen = True
        zeroed = header[:begin] + bytes(4) + header[end:]
        if crc32c(zeroed) != int.from_bytes(header[begin:end], "big"):
            raise WrongHeader("its checksum is wrong")


def _extensions(header: bytes, place: int) -> Iterator[tuple[int, int, int]]:
    """Type, begin and end of each value (PROXY 2.2: type, length, value)."""
    while place < len(header):
        if place + 3 > len(header):
            raise WrongHeader("an extension in it is cut off")
        kind, begin = header[place], place + 3
        place = begin + int.from_bytes(header[place + 1 : begin], "big")
        if place > len(header):
            raise WrongHeader("an extension in it is cut off")
        yield kind, begin, place


def _crc32c_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC32C: Final = _crc32c_table()


def crc32c(octets: bytes) -> int:
    """CRC32C, with the check values of RFC 3720 B.4."""
    value = 0xFFFFFFFF
    for octet in octets:
        value = _CRC32C[(value ^ octet) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF
