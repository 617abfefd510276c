"""What a delivery service asks before it connects to a host and before it sends: the gates that only a host has.

What it is: a ``Passage`` for each batch, and an ``Entrance`` for each connection (``mta.delivery.values``).
Contract: a connection counts at the gates of its host and source address from before it is opened until it is gone;
each message counts at them when it is sent.  Nothing waits here: where a gate is shut, ``Paced`` is raised, the batch
ends untried, and its lane waits in the gate's line.  A connection that is only kept for more gives way to one that is
needed.
Limits: one that gives way has still to say QUIT; for that moment there is one connection more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mta.delivery.values import Paced
from mta.queue.pace import TURN, Gate
from mta.queue.schedule import Schedule, Start


class Entrance:
    """One connection at its gates.  ``source``: from where it connects, "" where the system chooses."""

    __slots__ = ("_most", "_stir", "gates", "source")

    def __init__(self, gates: tuple[Gate, ...], source: str, most: int, stir: Callable[[Gate], None]) -> None:
        self.gates = gates
        self.source = source
        self._most = most
        self._stir = stir

    @property
    def most(self) -> int:
        """Messages after which it ends: others may wait for its place."""
        return min(self._most, TURN) if any(gate.line.count for gate in self.gates) else self._most

    def idle(self, end: Callable[[], object]) -> None:
        """It is kept for more; ``end`` ends it."""
        for gate in self.gates:
            gate.idle[self] = end

    def busy(self) -> None:
        """It is used again."""
        for gate in self.gates:
            gate.idle.pop(self, None)

    def gone(self) -> None:
        """It counts no more.  Idempotent."""
        gates, self.gates = self.gates, ()
        for gate in gates:
            gate.idle.pop(self, None)
            gate.active -= 1
        for gate in gates:
            self._stir(gate)


class Passage:
    """See the module's text: for one batch.  ``used`` are the gates that its messages went through."""

    __slots__ = ("_hop", "_schedule", "_seconds", "_stir", "used")

    def __init__(
        self, schedule: Schedule, start: Start, seconds: Callable[[], float], stir: Callable[[Gate], None]
    ) -> None:
        self._schedule = schedule
        self._hop = start.job.route.destination.next_hop
        self._seconds = seconds
        self._stir = stir
        self.used: tuple[Gate, ...] = ()

    def enter(self, host: str, sources: Sequence[str]) -> Entrance:
        """Before a connection to ``host`` is opened, from one of ``sources`` if any is named.  Raises ``Paced``."""
        pace, now = self._schedule.pace, self._seconds()
        shut: Gate | None = None
        for source in sources or ("",):
            gates = pace.for_host(host, source)
            shut = next((gate for gate in gates if not gate.room() or gate.wait(now)), None)
            if shut is None:
                entrance = Entrance(gates, source, pace.messages(self._hop, host, source), self._stir)
                for gate in gates:
                    _make_room(gate)
                    gate.active += 1
                for gate in gates:
                    self._stir(gate)
                return entrance
        raise Paced(shut)

    def charge(self, entrance: Entrance, recipients: int) -> None:
        """Before a message is sent.  Raises ``Paced``."""
        now = self._seconds()
        for gate in entrance.gates:
            if gate.wait(now):
                raise Paced(gate)
        for gate in entrance.gates:
            gate.charge(now, recipients)
            if gate not in self.used:
                self.used = (*self.used, gate)


def _make_room(gate: Gate) -> None:
    """The connection that has been idle for longest ends."""
    while gate.active >= gate.most and gate.idle:
        entrance = next(iter(gate.idle))
        end = gate.idle[entrance]
        entrance.gone()
        end()
