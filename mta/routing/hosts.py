"""What the decision on mail hosts (``mta.routing.mx``) takes and returns.  Pure values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from mta.events import Event
from mta.reply import Reply
from mta.routing.networks import Network


def _none(address: str) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """What is ourselves: host names as by ``normal_domain`` and IP addresses as by ``normal_ip``; ``is_own`` tells of
    further ones."""

    names: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()
    is_own: Callable[[str], bool] = _none

    def has(self, address: object) -> bool:
        """Is the IP address one of ours?"""
        text = str(address)
        return text in self.addresses or self.is_own(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class MxPolicy:
    """How a service of type ``smtp`` finds its hosts.  With ``host`` (a name, an address or ``[literal]``) it
    has a smart host: no MX is asked for, and the host may be on any network."""

    host: str = ""
    port: int = 25
    allow: tuple[Network, ...] = ()
    max_hosts: int = 20
    max_addresses: int = 50


class Target(NamedTuple):
    """One thing to connect to."""

    host: str
    address: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One host with its addresses, in the order of trying.  ``authentic``: DNSSEC vouches for the addresses."""

    name: str
    preference: int
    port: int
    addresses: tuple[str, ...]
    authentic: bool = False

    def __str__(self) -> str:
        return f"{self.name} ({self.preference}) [{' '.join(self.addresses)}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Hosts in the order of trying; where there are none, ``failure`` says why."""

    hosts: tuple[Host, ...] = ()
    failure: Reply | None = None
    reasons: tuple[Event, ...] = ()
    authentic: bool = False  # DNSSEC vouches for the list of hosts

    @property
    def targets(self) -> Iterator[Target]:
        """(host, address, port), one after the other."""
        return (Target(host.name, address, host.port) for host in self.hosts for address in host.addresses)
