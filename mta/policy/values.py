"""What a policy sees of a connection, a greeting, a transaction, a message and an attempt.  Frozen values.

What it is: one context for each stage, and each of a session's holds what those before it did.  A policy reads it and
returns a ``Verdict``; nothing that it does to a context reaches anybody.
Contract: a context is made only where a policy is configured for its stage.  What a client said is as it was parsed;
addresses are values, the client's IP address is as by ``normal_ip``.  ``facts`` are what earlier policies of the
session found (``Verdict.facts``), by the names that they gave.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mta.address import Address, ReversePath
from mta.envelope import Origin, Recipient, Right
from mta.message.edits import Edit
from mta.message.header import Header

if TYPE_CHECKING:
    from mta.accounts.values import Account
    from mta.interfaces import IChunks, IMessage
    from mta.routing.values import Route


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionContext:
    """Before the greeting: all that is known is who connects, and where.

    ``client`` is "" where it has no IP address (a UNIX socket), and ``uid:N`` of a program of this machine; ``tls``
    what was negotiated, "" in clear.
    """

    listener: str
    client: str
    port: int = 0
    tls: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class GreetingContext(ConnectionContext):
    """HELO, EHLO or LHLO: ``helo`` is what the client calls itself; ``reverse_name`` is "" where DNS has none, or has
    not answered yet."""

    helo: str
    reverse_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderContext:
    """MAIL: ``origin`` is the client, ``reverse_path`` the sender (None: ``<>``).

    ``account`` is who has logged in, as it was then; None: nobody.  ``size`` is what SIZE declares, 0 where it says
    nothing.  The parameters are those that were granted, as ``Envelope`` has them.  Times: UTC milliseconds.
    """

    origin: Origin
    reverse_path: ReversePath
    now: int
    rights: frozenset[Right] = frozenset()
    account: Account | None = None
    submission: bool = False  # the listener is one for submission
    size: int = 0
    body: str = ""
    smtputf8: bool = False
    requiretls: bool = False
    ret: str = ""
    envid: str = ""
    deliver_by: int = 0
    hold_until: int = 0
    priority: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientContext(SenderContext):
    """RCPT: what MAIL said, and a recipient that may be sent to and exists; ``accepted``: how many came before it."""

    recipient: Address
    accepted: int = 0
    orcpt: str = ""
    notify: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageContext(SenderContext):
    """After the final dot: the whole message.

    ``recipients`` are those of RCPT, in order; a verdict's ``per_recipient`` counts in them.  ``header`` is the header
    section as it came in: offsets in it are those of the stored octets, in which ``Edit`` counts.  ``edits`` are those
    made so far, Received and those of earlier policies included.  ``size`` is what came in.
    ``source`` gives the octets that came in with some edits applied: use ``open``.
    """

    id: str
    recipients: tuple[Address, ...]
    header: Header
    eight_bit: bool = False
    edits: tuple[Edit, ...] = ()
    source: Callable[[Sequence[Edit]], IChunks] = field(repr=False, compare=False)

    def open(self) -> IChunks:
        """Read the message with the edits so far, from its first octet.  As often as wished; close each."""
        return self.source(self.edits)


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchContext:
    """Before a delivery attempt: some recipients of a message that go the same way now.

    ``attempts``: how often the one that was tried most has been tried before.
    """

    message: IMessage
    recipients: tuple[Recipient, ...]
    route: Route
    attempts: int = 0
