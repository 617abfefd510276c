"""What routing decisions take and return.  Pure values.

A decision that lacks a fact returns ``Needs`` with its questions; the caller asks tables and DNS
(``mta.routing.ask``), puts the answers into the facts and calls again.  The facts are kept with the story.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

from mta.address import Address
from mta.envelope import Destination
from mta.events import Event
from mta.reply import Reply

#: Where an address that leads to several others waits to be reported as expanded (RFC 3461 5.2.7.3); a name that no
#: service of a configuration can have.
EXPANSION: Final = Destination("(expansion)", "")


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


Question = TableQuestion | MxQuestion | AddressQuestion


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    """Where an accepted address leads, decided once at acceptance: (address, path) pairs."""

    targets: tuple[tuple[Address, tuple[str, ...]], ...]
    reasons: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where a recipient goes now.  With ``hold`` it cannot go: the reason, for an operator."""

    destination: Destination
    reasons: tuple[Event, ...] = ()
    hold: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)  # e.g. the mailbox path's values
