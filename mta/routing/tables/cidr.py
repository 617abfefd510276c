"""Tables of networks (``type = "cidr"``): what is said of a client's address by the network it is in.

What it is: a file of lines ``NETWORK VALUE`` (or ``NETWORK: VALUE``); the network with the longest prefix answers.
Contract: a key that is no IP address is not there.  An IPv4-mapped IPv6 address is the IPv4 one (RFC 4291 2.5.5.2).
A look-up costs one probe for each length of prefix that the file uses.
How it fails: see ``mta.routing.tables.watched``; a network twice or with bits beyond its prefix is a mistake.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Network, ip_network
from typing import ClassVar, Final, NamedTuple

from zope.interface import implementer

from mta.config.option import Path, option
from mta.interfaces import IPlacedTable
from mta.plugin import Services, provider
from mta.routing.networks import IpAddress, Network, plain_ip
from mta.routing.tables.entries import TableError
from mta.routing.tables.lines import content_lines
from mta.routing.tables.watched import FileOptions, Watched, examine

_MAPPED: Final = IPv6Network("::ffff:0:0/96")


class Entry(NamedTuple):
    """What is said of a network, and in which line."""

    value: str
    line: int


class Networks:
    """Networks and what is said of them."""

    def __init__(self) -> None:
        self._count = 0
        #: By version: the bits that are no part of the prefix, the fewest first, and the networks of that length.
        self._lengths: dict[int, dict[int, dict[int, Entry]]] = {4: {}, 6: {}}

    def add(self, network: Network, entry: Entry) -> Entry | None:
        """Add one; the one that is there already, if it is."""
        host_bits = network.max_prefixlen - network.prefixlen
        lengths = self._lengths[network.version]
        if host_bits not in lengths:
            self._lengths[network.version] = lengths = dict(sorted([*lengths.items(), (host_bits, {})]))
        prefix = int(network.network_address) >> host_bits
        first = lengths[host_bits].setdefault(prefix, entry)
        self._count += first is entry
        return None if first is entry else first

    def find(self, address: IpAddress) -> Entry | None:
        """What is said of the longest prefix that the address has."""
        number = int(address)
        for host_bits, networks in self._lengths[address.version].items():
            entry = networks.get(number >> host_bits)
            if entry is not None:
                return entry
        return None

    def __len__(self) -> int:
        return self._count


def parse_networks(blocks: Iterable[bytes], lines: int, path: str) -> Networks:
    """The networks of a file.  Raises ``TableError``."""
    found = Networks()
    for number, line in content_lines(blocks, path):
        name, *rest = line.split(None, 1)
        network = _network(name, path, number)
        first = found.add(network, Entry(rest[0] if rest else "", number))
        if first is not None:
            raise TableError(path, number, f"the network {network} stands already in line {first.line}")
    return found


def _network(text: str, path: str, line: int) -> Network:
    problem = ""
    for written in (text, text.removesuffix(":")):  # "::" is an address itself
        try:
            network = ip_network(written)
        except ValueError as error:
            problem = str(error)
            continue
        if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
            mapped = f"{plain_ip(str(network.network_address))}/{network.prefixlen - 96}"
            raise TableError(path, line, f"{written} is never found: clients there are IPv4; write {mapped}")
        return network
    raise TableError(path, line, f'"{text[:60]}" is not a network: {problem}')


class CidrTableOptions(FileOptions):
    """Options of a table of networks, for keys that are addresses of clients; the longest prefix counts."""

    path: Path = option(
        doc="The file: one `192.0.2.0/24 value` a line; `#` begins a comment line.", example='"clients"'
    )


@provider("table", "cidr", CidrTableOptions)
@implementer(IPlacedTable)
class CidrTable:
    """See the module's text."""

    file_option: ClassVar = "path"

    def __init__(self, options: CidrTableOptions, services: Services) -> None:
        self._file = Watched(options.path, parse_networks, services)

    @staticmethod
    def examine(options: CidrTableOptions) -> None:
        """Raise what would stop the start."""
        examine(options.path, parse_networks)

    def lookup(self, key: str) -> str | None:
        """See ``ITable``."""
        entry = self._find(key)
        return None if entry is None else entry.value

    def where(self, key: str) -> str:
        """See ``IPlacedTable``."""
        entry = self._find(key)
        return "" if entry is None else f"{self._file.path}:{entry.line}"

    def _find(self, key: str) -> Entry | None:
        networks = self._file.current()
        try:
            address = plain_ip(key.removeprefix("[").removesuffix("]"))
        except ValueError:
            return None
        return networks.find(address)
