"""Which IP addresses mail may be sent to when strangers name them in DNS.

Contract: an address that is not of the public Internet (loopback, private, link-local, shared, multicast,
unspecified, reserved) is refused unless the operator listed its network: else any domain's MX could point our
client at hosts behind our firewall.  An IPv4 address inside an IPv6 one (mapped, NAT64, 6to4) counts as itself.
Networks for documentation (192.0.2.0/24 and its like) lead nowhere and are not refused.
Source: the IANA special-purpose address registries (RFC 6890), RFC 6052, RFC 8215, RFC 3056.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network
IpAddress = IPv4Address | IPv6Address

_SPECIAL: Final[tuple[tuple[Network, str], ...]] = tuple(
    (ip_network(network), what)
    for network, what in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "reserved"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::/96", "reserved"),  # IPv4-compatible, RFC 4291 2.5.5.1: no host has one
        ("100::/64", "reserved"),  # discard-only, RFC 6666
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "private"),  # site-local, RFC 3879
        ("ff00::/8", "multicast"),
    )
)
_NAT64: Final = IPv6Network("64:ff9b::/96")
_NAT64_LOCAL: Final = IPv6Network("64:ff9b:1::/48")


def plain_ip(text: str) -> IpAddress:
    """The address meant: an IPv4-mapped one is the IPv4 one, since connecting to either is the same.

    Raises ``ValueError``.
    """
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def refusal(address: IpAddress, allow: Sequence[Network]) -> str:
    """Why mail may not be sent to the address: the kind of network it is in; "" where it may."""
    inner = _inside(address)
    if _listed(address, allow) or (inner is not None and _listed(inner, allow)):
        return ""
    return _special(address) or (_special(inner) if inner is not None else "")


def _special(address: IpAddress) -> str:
    if address.version == 6 and address in _NAT64_LOCAL:
        return "private"  # a translator of our own network, RFC 8215
    for network, what in _SPECIAL:
        if address.version == network.version and address in network:
            return what
    return ""


def _inside(address: IpAddress) -> IPv4Address | None:
    """The IPv4 address that packets to an IPv6 one would end up at."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def _listed(address: IpAddress, allow: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in allow)
