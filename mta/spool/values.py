"""Values that go in and out of a spool (see ``ISpool``), and the queue id.

All times are UTC milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mta.envelope import Destination, Envelope, Outcome, Recipient
from mta.events import Event

if TYPE_CHECKING:
    from mta.interfaces import IIncoming, IMessage

# Crockford's base 32: sorts like the number, no letter that is mistaken for a digit.
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUE: Final = {letter: value for value, letter in enumerate(_ALPHABET)}
_PAIRS: Final = [a + b for a in _ALPHABET for b in _ALPHABET]
ID_LENGTH: Final = 13
_COUNTER_BITS: Final = 13
_WORKER_BITS: Final = 8
#: A queue id without these bits is the time at which it was given, in milliseconds.
ID_SHIFT: Final = _COUNTER_BITS + _WORKER_BITS


def id_text(number: int) -> str:
    """A queue id as people and files see it: 13 characters."""
    p = _PAIRS
    return (
        _ALPHABET[number >> 60] + p[(number >> 50) & 1023] + p[(number >> 40) & 1023] + p[(number >> 30) & 1023]
        + p[(number >> 20) & 1023] + p[(number >> 10) & 1023] + p[number & 1023]
    )  # fmt: skip


def id_number(text: str) -> int:
    """The number in a queue id.  Raises ``KeyError`` for text that is none."""
    text = text.upper()
    if len(text) != ID_LENGTH or text[0] not in _ALPHABET[:8]:
        raise KeyError(text)
    number = 0
    for letter in text:
        number = number << 5 | _VALUE[letter]
    return number


def worker_of(number: int) -> int:
    """The worker that gave a queue id."""
    return number >> _COUNTER_BITS & (1 << _WORKER_BITS) - 1


def last_id(before: int | None) -> int:
    """The greatest that can have been given by then; None: at any time."""
    return 2**63 - 1 if before is None else (max(before, 0) + 1 << ID_SHIFT) - 1


class QueueIds:
    """Makes queue ids: 42 bits of milliseconds, 8 of worker, 13 of counter.  Unique for ever.

    ``last`` is the greatest id ever stored here: the milliseconds never go back, even if the clock does.
    """

    def __init__(self, now: Callable[[], int], worker: int = 0, last: int = 0) -> None:
        self._now = now
        self._worker = worker << _COUNTER_BITS
        self._ms = last >> (_COUNTER_BITS + _WORKER_BITS)
        # The counters of the last millisecond may all be in use: begin with the next one.
        self._counter = (1 << _COUNTER_BITS) - 1 if last else -1

    @property
    def last(self) -> int:
        """No id up to now is greater, and each one to come is."""
        return self._ms << (_COUNTER_BITS + _WORKER_BITS) | self._worker | max(self._counter, 0)

    def next(self) -> int:
        now = self._now()
        if now > self._ms:
            self._ms, self._counter = now, 0
        else:
            self._counter += 1
            if self._counter >> _COUNTER_BITS:
                self._ms, self._counter = self._ms + 1, 0
        return self._ms << (_COUNTER_BITS + _WORKER_BITS) | self._worker | self._counter


class Claim(NamedTuple):
    """Who takes a lease, and until when it is theirs."""

    owner: str
    until: int


@dataclass(frozen=True, slots=True)
class Lease:
    """The sole right to act for some recipients of one message.  ``token`` fences a late ``finish``.

    Its holder may narrow it (the same token with some of the recipients) and end the parts one by one.
    """

    token: int
    message: IMessage
    recipients: tuple[Recipient, ...]
    until: int


class Next(NamedTuple):
    """What comes next for a recipient that was deferred.  ``hold`` is a reason: it then waits for a release."""

    due: int
    destination: Destination
    hold: str = ""
    progress: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How work under one lease ended.

    Each recipient of the lease that has no outcome, no ``next`` and no notice done goes back untried.
    ``next`` may also name recipients without an outcome: they were not tried but change their place or are
    held.  ``spawned`` are sealed messages that become visible in the same transaction.  ``owed`` are
    recipients of this lease whose sender is owed a report that could not be written yet; ``notes`` is what that report
    needs to know of those that end, and stands in their ``progress`` from then on.
    ``notices_done`` are those for whom it now is.  In a lease on reports owed ``next`` may name recipients that have
    ended, with a hold: their end is taken back, and they wait for a release.
    """

    lease: Lease
    outcomes: tuple[Outcome, ...] = ()
    next: Mapping[int, Next] = field(default_factory=dict)
    spawned: tuple[IIncoming, ...] = ()
    owed: tuple[int, ...] = ()
    notes: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    notices_done: tuple[int, ...] = ()
    events: tuple[Event, ...] = ()


class Due(NamedTuple):
    """A destination for which recipients wait, and when the first of them is due."""

    destination: Destination
    first_due: int


class ChangeKind(StrEnum):
    """What an operator may do to what waits.  ``DELETE`` sends no notice; ``BOUNCE`` fails it with a report.

    ``WAKE`` is the queue's own: what was put off while its destination rested is due as it was; no story tells it.
    """

    HOLD = "hold"
    RELEASE = "release"
    RETRY = "retry"
    REROUTE = "reroute"
    BOUNCE = "bounce"
    DELETE = "delete"
    PRIORITY = "priority"
    WAKE = "wake"


class Change(NamedTuple):
    """One change; ``argument`` is the reason (hold, bounce), the priority or the new destination."""

    kind: ChangeKind
    argument: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which recipients; what is empty selects all.  Conditions are joined by "and".

    Where an address is looked for, ``@domain`` stands for all of that domain.
    """

    ids: tuple[str, ...] = ()
    sender: str | None = None  # mailbox text, "" for the null sender
    recipient: str | None = None  # matches the final or the original address
    destination: Destination | None = None
    place: str = ""  # the name of a service, a next hop, or "service:next hop"
    reason: str = ""  # part of the last reply, or of why it is held; case does not count
    held: bool | None = None
    arrived_before: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One recipient as ``page`` shows it, from the queue or, with ``status`` set, from history."""

    id: str
    sender: str | None
    size: int
    arrived: int
    recipient: Recipient
    claimed: bool = False
    status: str = ""
    ended: int = 0
    reply: str = ""


class PageKey(NamedTuple):
    """Where a page begins: after this message and recipient."""

    id: str
    recipient: int


class Waiting(NamedTuple):
    """A recipient that waits and is nobody's, as ``ISpool.waiting`` shows it."""

    id: str
    envelope: Envelope
    recipient: Recipient


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """The conservation figures, in recipients, from one snapshot.

    ``ended`` counts by status, since the spool was made.  Of ``totals`` what is queued is what must be, of ``audit``
    what is there; ``miscounted`` is how much more is held, by ``audit``, than was counted.
    """

    accepted: int
    ended: Mapping[str, int]
    queued: int
    held: int
    miscounted: int = 0

    @property
    def unaccounted(self) -> int:
        """0 when nothing was lost and nothing appeared from nowhere."""
        return self.accepted - sum(self.ended.values()) - self.queued - self.held


class Damaged(Exception):
    """A stored message cannot be read.  ``args`` are the queue id and what is wrong."""


class Damage(NamedTuple):
    """One thing that ``recover`` found broken."""

    id: str
    what: str


class SpoolUnusable(OSError):
    """The spool cannot be opened as it is; ``str()`` says why, and what an operator can do."""


class SpoolLocked(SpoolUnusable):
    """Another process has the state; ``str()`` says which."""
