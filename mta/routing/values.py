"""What routing decisions take and return.  Pure values.

A decision that lacks a fact returns ``Needs`` with its questions; the caller asks tables and DNS
(``mta.routing.ask``), puts the answers into the facts and calls again.  The facts are kept with the story.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

from mta.address import Address, ReversePath
from mta.envelope import Destination
from mta.events import Event
from mta.lists.values import ListRule
from mta.reply import Reply
from mta.routing.calling import CallQuestion

#: Where an address that leads to several others waits to be reported as expanded (RFC 3461 5.2.7.3); a name that no
#: service of a configuration can have.
EXPANSION: Final = Destination("(expansion)", "")
#: Where a note to the sender is owed: the person has moved (``mta.notes``).  The next hop is the new address, "" where
#: it is not to be told.
NOTE: Final = "(note)"
#: The services of places that addresses can lead to: the next hop is the command's argv (as ``shlex.join`` writes it)
#: or the path of the file.
COMMAND: Final = "(command)"
FILE: Final = "(file)"
#: The service of what a policy throws away; the next hop is the policy's name.
DISCARD: Final = "(discard)"


def is_place(destination: Destination) -> bool:
    """It is fixed at acceptance, and not found anew by rules: a service that no configuration can name."""
    return destination.service[:1] == "("


class TableQuestion(NamedTuple):
    """What does the table hold under the key?  Answer: its value (text), or None."""

    table: str
    key: str


# Not tuples: an MX question and an address question of one name would be equal, and so one key of ``Facts``.
@dataclass(frozen=True, slots=True)
class MxQuestion:
    """Which MX records has the domain?  Answer: ``Answer`` of ``MxRecord``."""

    domain: str


@dataclass(frozen=True, slots=True)
class AddressQuestion:
    """Which addresses has the host?  Answer: ``Answer`` of IP addresses as text, AAAA and A together."""

    host: str


@dataclass(frozen=True, slots=True)
class TxtQuestion:
    """Which TXT records has the name?  Answer: ``Answer`` of octets."""

    name: str


@dataclass(frozen=True, slots=True)
class HeaderQuestion:
    """What is the header of the message?  Answer: its octets, edits applied, as ``IMessage.header`` has them."""


@dataclass(frozen=True, slots=True)
class IncludeQuestion:
    """What does a file of targets hold (``:include:``)?  Answer: its targets in one line, "" for none."""

    path: str


@dataclass(frozen=True, slots=True)
class HomeFileQuestion:
    """What does a file in the home of a user of this machine say?  Answer: targets in one line, "" for none."""

    path: str
    user: str


@dataclass(frozen=True, slots=True)
class UsageQuestion:
    """How much does a mailbox hold?  Answer: octets.  ``mailbox`` is the value of the mailbox table."""

    service: str
    address: Address
    mailbox: str


@dataclass(frozen=True, slots=True)
class DayQuestion:
    """Which day is it?  Answer: the day in UTC, as "2027-03-31"."""


class Person(NamedTuple):
    """Somebody's address and full name."""

    address: Address
    name: str


@dataclass(frozen=True, slots=True)
class NameQuestion:
    """Who of a domain bears the name, as a table of full names has them?  Answer: ``Person``s, ``limit`` at most; None
    where the table cannot be searched."""

    table: str
    domain: str
    name: str
    limit: int


@dataclass(frozen=True, slots=True)
class MembersQuestion:
    """Who is on the list of this address?  Answer: addresses, ``limit`` at most; None where nobody can tell."""

    address: Address
    limit: int


@dataclass(frozen=True, slots=True)
class LeavesQuestion:
    """How many would get a message to the list of this address?  Answer: their number, over ``limit`` where there are
    more; None where nobody can tell cheaply."""

    address: Address
    limit: int


Question = (
    LeavesQuestion
    | CallQuestion
    | NameQuestion
    | MembersQuestion
    | TableQuestion
    | MxQuestion
    | AddressQuestion
    | TxtQuestion
    | HeaderQuestion
    | IncludeQuestion
    | HomeFileQuestion
    | DayQuestion
    | UsageQuestion
)


class CannotKnow(NamedTuple):
    """In place of an answer: the table or the DNS failed.  A decision must turn it into 4yz or a wait."""

    error: str


Facts = Mapping[Question, Any]


class Needs(NamedTuple):
    """The decision cannot be made yet: these have to be answered first."""

    questions: tuple[Question, ...]


class Found(StrEnum):
    """How a DNS question ended.  Only FAILED may change by asking again soon (RFC 5321 5.1)."""

    OK = "ok"
    NO_DOMAIN = "nxdomain"
    NO_DATA = "nodata"
    FAILED = "failed"


class MxRecord(NamedTuple):
    """One MX record; ``host`` is "." for a null MX (RFC 7505)."""

    preference: int
    host: str


class SrvRecord(NamedTuple):
    """One SRV record; ``host`` is "." where there is no such service (RFC 2782)."""

    priority: int
    weight: int
    port: int
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A DNS answer.  ``records`` is empty unless ``found`` is OK; ``expires`` is monotonic seconds."""

    found: Found
    records: tuple[Any, ...] = ()
    authentic: bool = False
    expires: float = 0.0
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """May mail to this address be taken from this client?  ``reply`` is None for yes."""

    reply: Reply | None
    reasons: tuple[Event, ...] = ()
    known: bool = False  # there is such a mailbox or alias: VRFY says so (RFC 5321 3.5.3)
    told: Reply | None = None  # the reply to RCPT where it is no plain 250: 251 (RFC 5321 3.4)
    only_null: Reply | None = None  # the reply to RCPT where there is a sender: it is a return path of SRS
    lists: tuple[ListRule, ...] = ()  # those that it leads to: see ``mta.lists.posting``


class Target(NamedTuple):
    """One end of an expansion: an address that is routed, or with ``destination`` a place of ours.

    At a place (a command, a file, a list) ``address`` is the last address that led to it: reports may name it.
    ``path``: the steps from the original address, "RULE:ADDRESS" each.  ``hold``: why it cannot go, for an operator.
    """

    address: Address
    path: tuple[str, ...] = ()
    destination: Destination | None = None
    hold: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    """Where an accepted address leads, decided once at acceptance."""

    targets: tuple[Target, ...]
    reasons: tuple[Event, ...] = ()
    told: Reply | None = None  # as in ``Admission``
    notes: tuple[Target, ...] = ()  # those who have moved, at the place ``NOTE``: only some senders are told


class Rewrite(NamedTuple):
    """In whose name a forwarded message goes on, as ``mta.routing.forwarding`` decides it.

    ``reverse_path``: what MAIL says; ``author``: who stands in From, None: as it is; ``growth``: octets that the
    message is longer by then.  ``reason`` says what was chosen and why, nothing having been changed too.
    """

    reverse_path: ReversePath
    author: Address | None
    reason: Event
    growth: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where a recipient goes now.  With ``hold`` it cannot go: the reason, for an operator.

    ``home``: its domain itself names the service, to which others have no claim; without the domain it waits."""

    destination: Destination
    reasons: tuple[Event, ...] = ()
    hold: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)  # e.g. the mailbox path's values
    home: bool = False
    rewrite: Rewrite | None = None  # of one message's recipients: only the queue sets it
