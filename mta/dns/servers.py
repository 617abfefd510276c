"""Which DNS servers are asked: those of the configuration, or the system's.

Contract: the system's ``resolv.conf`` is read when a question needs it and again when it has changed, so a
machine whose network comes up late needs no restart.
How it fails: a wrong text in the configuration is ``ValueError`` at once; a ``resolv.conf`` that is missing or
names no server is ``NoServers`` at each question.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Final

import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.resolver

from mta.routing.networks import plain_ip

RESOLV_CONF: Final = "/etc/resolv.conf"
CHECK_SECONDS: Final = 5.0


class NoServers(Exception):
    """There is no DNS server to ask; ``str()`` says why."""


def parse_server(text: str) -> tuple[str, int]:
    """``"127.0.0.1:53"``, ``"[::1]:53"``; the port may be left out.  Raises ``ValueError``."""
    wrong = f'"{text}" is no DNS server; write an address and a port, like "127.0.0.1:53" or "[::1]:53"'
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(wrong)
        port = rest[1:] if rest else "53"
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, "53"
    try:
        ip_address(host)
    except ValueError as error:
        raise ValueError(wrong) from error
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(wrong)
    return host, int(port)


def _is_local(server: str | dns.nameserver.Nameserver) -> bool:
    if isinstance(server, str):
        address = server
    elif isinstance(server, dns.nameserver.AddressAndPortNameserver):
        address = server.address
    else:
        return False
    try:
        return plain_ip(address).is_loopback
    except ValueError:
        return False


class Servers:
    """The servers in force, as ``dns.nameserver.Nameserver``s.  ``seconds`` is monotonic; ``trust_ad`` as in [dns]."""

    def __init__(
        self,
        servers: Sequence[str],
        seconds: Callable[[], float],
        resolv_conf: str = RESOLV_CONF,
        trust_ad: bool = False,
    ) -> None:
        self._trust_ad = trust_ad
        self._fixed = [dns.nameserver.Do53Nameserver(*parse_server(text)) for text in servers]
        self._seconds = seconds
        self._path = resolv_conf
        self._next_check = float("-inf")
        self._signature: tuple[int, int, int] | None = None
        self._system: Sequence[str | dns.nameserver.Nameserver] = ()
        self._trouble = ""

    def current(self) -> Sequence[str | dns.nameserver.Nameserver]:
        """Whom to ask, in order.  Raises ``NoServers``."""
        if self._fixed:
            return self._fixed
        now = self._seconds()
        if now >= self._next_check:
            self._next_check = now + CHECK_SECONDS
            self._read_system()
        if not self._system:
            raise NoServers(self._trouble)
        return self._system

    def trusted(self) -> bool:
        """Is their AD bit worth something?  (RFC 4035 4.9.3: where the way to the server is secure.)

        By the least of them: any may answer, and who is in the way chooses which does.
        """
        return self._trust_ad or all(_is_local(server) for server in self.current())

    def _read_system(self) -> None:
        try:
            status = os.stat(self._path)
            signature = (status.st_mtime_ns, status.st_size, status.st_ino)
            if signature == self._signature:
                return
            reader = dns.asyncresolver.Resolver(configure=False)
            reader.read_resolv_conf(self._path)
            self._system, self._signature, self._trouble = reader.nameservers, signature, ""
        except (OSError, ValueError, dns.resolver.NoResolverConfiguration, dns.exception.DNSException) as error:
            self._system, self._signature = (), None
            self._trouble = f"{self._path} names no DNS server: {error}"
