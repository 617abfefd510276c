"""What the sessions of one listener work with: one frozen value, replaced whole at a reload.

A session takes the factory's newest context at each MAIL, so a new configuration is used from the next
transaction on and a running one ends with the old.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Protocol

from mta.envelope import Right
from mta.events import Event
from mta.interfaces import IQueue, IResolver, IRouter, ISpool
from mta.reply import Reply
from mta.routing.ask import Answerer


class SessionLimits(Protocol):
    """The ``[limits]`` that a session enforces; octets, counts and seconds."""

    @property
    def message_size(self) -> int: ...
    @property
    def recipients(self) -> int: ...
    @property
    def header(self) -> int: ...
    @property
    def data_line(self) -> int: ...
    @property
    def command_line(self) -> int: ...
    @property
    def memory(self) -> int: ...
    @property
    def errors(self) -> int: ...
    @property
    def idle_commands(self) -> int: ...
    @property
    def transactions(self) -> int: ...
    @property
    def received_hops(self) -> int: ...
    @property
    def command_timeout(self) -> float: ...
    @property
    def data_timeout(self) -> float: ...
    @property
    def transaction_timeout(self) -> float: ...
    @property
    def session_timeout(self) -> float: ...


class MemoryBudget:
    """Octets of message bodies that all sessions hold in memory together (``limits.memory``)."""

    __slots__ = ("used",)

    def __init__(self) -> None:
        self.used = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """See the module's text.  ``seconds`` is the monotonic clock, ``now`` UTC milliseconds."""

    listener: str
    hostname: str
    limits: SessionLimits
    networks: tuple[IPv4Network | IPv6Network, ...]
    router: IRouter
    answerer: Answerer
    resolver: IResolver
    spool: ISpool
    queue: IQueue
    memory: MemoryBudget
    configuration: str
    seconds: Callable[[], float]
    now: Callable[[], int]
    emit: Callable[[Event, str], None]
    ehlo: tuple[str, ...]  # the lines of EHLO after the first
    banner: Reply

    def rights_of(self, client: str) -> frozenset[Right]:
        """What the client's address alone permits; ``client`` as by ``normal_ip``."""
        try:
            address = ip_address(client)
        except ValueError:
            return frozenset()
        if any(address.version == network.version and address in network for network in self.networks):
            return frozenset({Right.NETWORK})
        return frozenset()
