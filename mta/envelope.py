"""The envelope of a message, its recipients, where they go and what became of them.  Values only.

Terms: RFC 5321 (reverse-path, forward-path), RFC 3461 (NOTIFY, ORCPT, ENVID, RET), Postfix (next hop).
All times are UTC milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mta.address import Address, ReversePath
from mta.reply import Reply

if TYPE_CHECKING:
    from mta.interfaces import IIncoming


#: ``Origin.protocol`` of what did not come over a network: from ourselves, or from a user of this machine, who is
#: ``helo`` by name and ``login`` by number.
LOCAL: Final = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """From whom a message came: what Received, policies and the story need of the client."""

    listener: str
    protocol: str  # the "with" of Received: SMTP, ESMTP, ... (RFC 3848), or ``LOCAL``
    client: str = ""  # IP address as by normal_ip; "" for ourselves
    port: int = 0
    helo: str = ""
    reverse_name: str = ""
    tls: str = ""
    login: str = ""


class Right(StrEnum):
    """Why mail to addresses that are not ours may pass.  Stored with the message at acceptance."""

    NETWORK = "network"  # the client is in relay.networks
    AUTHENTICATED = "authenticated"
    OURSELVES = "ourselves"  # reports that we write


class Destination(NamedTuple):
    """Where a recipient's copy waits to go: a delivery service by its name, and the next hop."""

    service: str
    next_hop: str

    def __str__(self) -> str:
        return f"{self.service}:{self.next_hop}" if self.next_hop else self.service


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What belongs to a message beside its octets."""

    origin: Origin
    reverse_path: ReversePath
    arrived: int
    body: str = ""  # BODY of MAIL: "", 7BIT, 8BITMIME, BINARYMIME
    eight_bit: bool = False  # the octets do hold some over 127, whatever was declared
    ret: str = ""  # RFC 3461 4.3: "", FULL, HDRS
    envid: str = ""
    smtputf8: bool = False
    requiretls: bool = False  # RFC 8689 2: TLS at every hop, or a report
    tls_optional: bool = False  # RFC 8689 3: the field "TLS-Required: no"
    deliver_by: int = 0  # RFC 2852: when the time for the delivery is over; 0: no such wish
    by_mode: str = ""  # RFC 2852 4: "R" (return it then) or "N" (notify then), with "T" for trace
    hold_until: int = 0  # RFC 4865: not to be sent before; expiry counts from then
    rights: frozenset[Right] = frozenset()
    configuration: str = ""  # fingerprint of the configuration that accepted it


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """One forward-path of a message.  ``id`` counts from 0 within the message."""

    id: int
    address: Address
    original: Address  # as the sender gave it; differs after expansion
    destination: Destination
    due: int
    path: tuple[str, ...] = ()  # how ``original`` led to ``address``
    orcpt: str = ""
    notify: str = ""
    priority: int = 0
    hold: str = ""  # the reason, where it is held
    attempts: int = 0
    progress: Mapping[str, Any] = field(default_factory=dict)  # last reply, first trouble: for the next try


class Status(StrEnum):
    """What one attempt, or the end, was for one recipient."""

    DELIVERED = "delivered"  # into a mailbox, or to a host that keeps DSN promises
    RELAYED = "relayed"
    EXPANDED = "expanded"
    DISCARDED = "discarded"  # by a rule that has a name
    DEFERRED = "deferred"
    FAILED = "failed"
    EXPIRED = "expired"

    @property
    def final(self) -> bool:
        return self is not Status.DEFERRED


class Scope(StrEnum):
    """Whom a trouble concerns: a 4yz to one recipient must not slow a host."""

    RECIPIENT = "recipient"
    MESSAGE = "message"
    HOST = "host"
    DESTINATION = "destination"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one recipient in one attempt."""

    recipient: int
    status: Status
    reply: Reply
    scope: Scope = Scope.RECIPIENT
    retry_at: int = 0  # the far end asked for this time; 0: by the retry rule
    may_duplicate: bool = False  # the connection was lost between the final dot and its reply
    # RELAYED to a host that was given NOTIFY; where it was not, the "relayed" report of NOTIFY=SUCCESS is ours
    # (RFC 3461 5.2.2)
    dsn_taken_over: bool = False
    # RELAYED to a host that keeps no time, which the report of BY with mode N tells (RFC 2852 4.1.4.2)
    time_dropped: bool = False
    attempt: Mapping[str, Any] = field(default_factory=dict)  # host, stage, tls, seconds: for the story
    hold: str = ""  # DEFERRED, and not tried again until an operator releases it: why
    spawned: tuple[IIncoming, ...] = ()  # of one that ends: sealed messages that become visible with its end
