"""One destination's place in the active set: its jobs, its window, the gates on its way, and what limits it.  Pure."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Final, NamedTuple

from mta.envelope import Destination, Recipient
from mta.queue.destination import Window
from mta.queue.pace import MINUTE, Gate
from mta.queue.trouble import Trouble
from mta.queue.turns import Turns
from mta.routing.values import Route
from mta.sender import sender_of
from mta.spool.values import Lease


class Job(NamedTuple):
    """Recipients of one message that travel together by one route; ``lease`` is narrowed to them."""

    lease: Lease
    route: Route

    @property
    def recipients(self) -> tuple[Recipient, ...]:
        return self.lease.recipients


class Limit(StrEnum):
    """What keeps the mail of a destination from going faster."""

    NOTHING = "nothing"
    OWN_WINDOW = "own window"  # as many batches are under way as may be
    OWN_PACE = "own pace"  # a rule of the configuration
    REFUSAL = "remote refusal"  # a host asked us to go slower, or refused us
    UNREACHABLE = "no connection"
    DNS = "DNS"
    TLS = "TLS"
    DISK = "disk"  # ours: outcomes wait to be written
    PAUSED = "paused"  # by an operator


_BY_TROUBLE: Final = {
    Trouble.DNS: Limit.DNS,
    Trouble.TLS: Limit.TLS,
    Trouble.UNREACHABLE: Limit.UNREACHABLE,
    Trouble.DISK: Limit.DISK,
}


class Limited(NamedTuple):
    """``detail`` for people: the reply of the host, or the name of the rule; ``until``: monotonic, 0.0 for no time."""

    by: Limit
    detail: str = ""
    until: float = 0.0


class Setback(NamedTuple):
    """Why the last batch did not get through."""

    trouble: Trouble
    reply: str


class Lane:
    """See the module's text.  ``service`` and ``gates`` must all let a job through."""

    __slots__ = (
        "_first",
        "_turns",
        "destination",
        "due_more",
        "gates",
        "listed",
        "new_limit",
        "own",
        "parked",
        "recipients",
        "service",
        "setback",
        "since",
        "slices",
        "started",
        "window",
        "woken",
    )

    def __init__(self, destination: Destination, limit: int, service: Gate, gates: tuple[Gate, ...] = ()) -> None:
        self.destination = destination
        self.window = Window(limit)
        self.service = service
        self.gates = gates
        self.own: Gate | None = None  # made when a host first asks us to go slower
        self.recipients = 0  # waiting here in memory
        self.listed = False  # in the ring, or in the line of a gate
        self.parked: Gate | None = None  # in whose line it is
        self.woken: Gate | None = None  # whose line it had waited in, until it has been seen to use its turn
        self.new_limit = False  # the limit is asked for with the next job
        self.due_more = False  # the spool may have more of them that are due
        self.slices = 0  # fetched from the spool
        self.started = 0  # batches since ``since``
        self.since = 0.0
        self.setback: Setback | None = None
        self._first: Job | None = None  # alone, which is what most are
        self._turns: Turns[Job] | None = None

    def push(self, job: Job) -> None:
        """It waits its turn."""
        recipients = job.lease.recipients
        if not self.recipients:
            self._first = job
        else:
            self._line().push(job, recipients[0].priority, sender_of(job.lease.message.envelope), len(recipients))
        self.recipients += len(recipients)

    def push_back(self, job: Job) -> None:
        """It was taken, and not tried: it is the first again."""
        recipients = job.lease.recipients
        if not self.recipients:
            self._first = job
        else:
            self._line().push_back(job, recipients[0].priority, sender_of(job.lease.message.envelope), len(recipients))
        self.recipients += len(recipients)

    def pop(self) -> Job | None:
        """Whose turn it is: see ``Turns``."""
        job = self._first
        if job is not None:
            self._first = None
        elif self._turns is None or (job := self._turns.pop()) is None:
            return None
        self.recipients -= len(job.lease.recipients)
        return job

    def drain(self) -> Iterator[Job]:
        while (job := self.pop()) is not None:
            yield job

    def queue_at(self, gate: Gate, job: Job | None = None) -> None:
        """Into the gate's line, by the sender and priority of this job, or of the next one."""
        job = job or self._first
        if job is not None:
            gate.line.push(self, job.lease.recipients[0].priority, sender_of(job.lease.message.envelope), 1)
        elif self._turns is not None:
            gate.line.push(self, *self._turns.next_place(), 1)

    def limited(self, now: float) -> Limited:
        """What keeps its mail from going faster now."""
        setback = self.setback
        reply = "" if setback is None else setback.reply
        if now < self.window.rests_until or self.window.probing:
            by = Limit.REFUSAL if setback is None else _BY_TROUBLE.get(setback.trouble, Limit.REFUSAL)
            return Limited(by, reply, max(self.window.rests_until, now))
        held = self.parked
        for gate in self.gates if held is None else (held,):
            wait = gate.wait(now)
            if gate.slowed and wait:
                return Limited(Limit.REFUSAL, reply or gate.name, now + wait)
            if wait or gate is held:
                return Limited(Limit.OWN_PACE, gate.name, now + wait)
        if self.recipients and self.window.active >= self.window.window:
            return Limited(Limit.OWN_WINDOW, f"{self.window.active} of {self.window.limit}")
        return Limited(Limit.NOTHING)

    def idle(self, now: float) -> bool:
        """Nothing is known of it that a new lane would not have, or that still matters."""
        own = self.own
        if own is not None and (own.active or (own.rate is not None and not own.rate.forgotten(now))):
            return False
        return self.window.idle(now)

    @property
    def kept_until(self) -> float:
        """It will not be ``idle`` before that, unless it is reached."""
        return 0.0 if self.recipients or self.own is not None else self.window.kept_until

    def learn(self, now: float, refused: bool, gates: tuple[Gate, ...]) -> None:
        """A host asked us to go slower, or took a message; ``gates`` are those that it went through."""
        if refused and self.own is None and not any(gate.adapts for gate in gates):
            self.own = Gate(str(self.destination), adapts=True)
            self.own.count, self.own.since = self.started, self.since
            self.gates = (*self.gates, self.own)
            gates = (*gates, self.own)
        for gate in gates:
            gate.learn(now, refused)

    def tick(self, now: float) -> None:
        """Once in a while: what is counted as lately."""
        if now - self.since >= 2 * MINUTE:
            self.since, self.started = now, 0
        if self.own is not None:
            self.own.tick(now)
            if not self.own.slowed and not self.own.active:
                self.gates = tuple(gate for gate in self.gates if gate is not self.own)
                self.own = None

    def _line(self) -> Turns[Job]:
        """The turns, with the one that was alone."""
        turns = self._turns
        if turns is None:
            turns = self._turns = Turns()
        if self._first is not None:
            first, self._first = self._first, None
            recipients = first.lease.recipients
            turns.push(first, recipients[0].priority, sender_of(first.lease.message.envelope), len(recipients))
        return turns
