"""What the sessions of one listener work with: one frozen value, replaced whole at a reload.

A session takes the factory's newest context at each MAIL, so a new configuration is used from the next
transaction on and a running one ends with the old.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import NamedTuple, Protocol, TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator

from mta.envelope import Right
from mta.events import Event
from mta.interfaces import IAccounts, IQueue, IResolver, IRouter, ISpool
from mta.policy.engine import Policies
from mta.reply import Reply
from mta.routing.ask import Answerer
from mta.routing.canonical import Canonical
from mta.routing.disclosure import Disclosure
from mta.sasl.server import Offer
from mta.smtp.allowance import Allowance

Networks: TypeAlias = tuple[IPv4Network | IPv6Network, ...]


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
    def proxy_timeout(self) -> float: ...
    @property
    def greet_delay(self) -> float: ...
    @property
    def slow_after(self) -> int: ...
    @property
    def slow_most(self) -> float: ...
    @property
    def deliver_by(self) -> float: ...
    @property
    def future_release(self) -> float: ...
    @property
    def command_timeout(self) -> float: ...
    @property
    def data_timeout(self) -> float: ...
    @property
    def transaction_timeout(self) -> float: ...
    @property
    def session_timeout(self) -> float: ...


class MemoryBudget:
    """Octets that all sessions hold in memory together (``limits.memory``): ``used``, and ``promised`` to bodies that
    may grow to so many before they have to go to disk."""

    __slots__ = ("promised", "used")

    def __init__(self) -> None:
        self.promised = 0
        self.used = 0


class ListenerTls(NamedTuple):
    """How a listener speaks TLS: ``creator`` is what ``startTLS`` takes; ``implicit``: from the first octet."""

    creator: IOpenSSLServerConnectionCreator
    implicit: bool
    handshake_timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """See the module's text.  ``seconds`` is the monotonic clock, ``now`` UTC milliseconds; ``sleep`` waits seconds.

    ``proxy``, ``xclient`` and ``xforward`` are peers that may say who the client is (proxy.py, commands/xclient.py).
    """

    listener: str
    hostname: str
    limits: SessionLimits
    networks: Networks
    router: IRouter
    answerer: Answerer
    resolver: IResolver
    spool: ISpool
    queue: IQueue
    memory: MemoryBudget
    configuration: str
    seconds: Callable[[], float]
    sleep: Callable[[float], Deferred[None]]
    now: Callable[[], int]
    emit: Callable[[Event, str], None]
    banner: Reply
    queue_limited: bool = False  # the queue is to be asked whether more may wait
    tell_strangers: bool = False  # of success and delay, as those who have a right are told
    lmtp: bool = False  # the listener speaks LMTP (RFC 2033)
    submission: bool = False  # the listener is for those who log in (RFC 6409)
    accounts: IAccounts | None = None  # of those who may; None: there are none
    auth: Offer | None = None  # how they log in; None: nobody does here
    qualify: str = ""  # the domain that names without one get, on the listener of local programs
    policies: Policies | None = None  # whom the listener asks; None: nobody
    tls: ListenerTls | None = None  # None: it does not
    proxy: Networks = ()
    xclient: Networks = ()
    xforward: Networks = ()
    canonical: Canonical | None = None  # None: no address is ever given another form
    disclosure: Disclosure = field(default_factory=Disclosure)
    questions: Allowance = field(default_factory=Allowance)  # of the whole process

    def rights_of(self, client: str) -> frozenset[Right]:
        """What the client's address alone permits; ``client`` as by ``normal_ip``."""
        return frozenset({Right.NETWORK}) if listed(client, self.networks) else frozenset()


def listed(client: str, networks: Networks) -> bool:
    """Is the client, as by ``normal_ip``, in one of the networks?  One without an IP address is in none."""
    if not networks:
        return False
    try:
        address = ip_address(client)
    except ValueError:
        return False
    return any(address.version == network.version and address in network for network in networks)
