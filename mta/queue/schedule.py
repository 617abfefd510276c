"""The active set: jobs by destination, handed out fairly.  Pure: time is handed in, nothing is delivered here.

Contract: ``next`` serves the destinations that have a job and a slot in turn, so none holds up another; the jobs of
one destination go by priority and in turn between senders (``turns``).  A job goes when the window of its destination
and every gate on its way let it through; a lane that a gate holds up waits in its line, again in turn between senders,
and costs nothing meanwhile.  ``size`` counts recipients, being routed, waiting and under way, until ``forget``: it is
what ``queue.active`` bounds.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from mta.envelope import Destination, Scope
from mta.queue.calendar import Calendar
from mta.queue.lane import Job, Lane, Limit, Limited, Setback
from mta.queue.pace import Gate, Pace
from mta.routing.values import Route

__all__ = ["MANY", "Job", "Lane", "Limit", "Limited", "Schedule", "Setback", "Start"]

#: Once the active set is half full, no destination may have more waiting in it.
MANY: Final = 200
#: Seconds until a lane that was used is looked at again: may it be forgotten?
LATER: Final = 30.0


class Start(NamedTuple):
    """A job that may go now, with what ``done`` needs."""

    job: Job
    lane: Lane
    token: int
    gates: tuple[Gate, ...]


class Schedule:
    """See the module's text.  ``limit_of`` gives the most batches at once for a route."""

    def __init__(self, limit_of: Callable[[Route], int], pace: Pace | None = None) -> None:
        self._limit_of = limit_of
        self.pace = pace or Pace()
        self.paused: Callable[[Destination], bool] = lambda destination: False  # by an operator
        self.lanes: dict[Destination, Lane] = {}
        self._ring: deque[Lane] = deque()  # lanes that have jobs and may have a slot
        self._timed: list[tuple[float, int, Gate]] = []  # when the next may go through a gate that holds somebody up
        self._serial = 0
        self._rests = Calendar()  # when the rest of a lane ends
        self._looks = Calendar()  # when a lane is looked at: it may be forgotten
        self.rested: list[Destination] = []  # whose rest ended; for ``mta.queue.resting``, which empties it
        self.size = 0

    def add(self, job: Job) -> Lane:
        """A job waits for its destination's slot."""
        destination = job.route.destination
        lane = self.lanes.get(destination)
        if lane is None:
            lane = self.lanes[destination] = self._new_lane(job.route)
            self._looks.set(lane, 0.0)
        elif lane.new_limit:
            lane.new_limit, lane.window.limit = False, self._limit_of(job.route)
        lane.push(job)
        self.size += len(job.lease.recipients)
        if not lane.listed:
            lane.listed = True
            self._ring.append(lane)
        elif lane.parked is not None:
            lane.queue_at(lane.parked, job)  # perhaps its sender's turn is sooner
        return lane

    def _new_lane(self, route: Route) -> Lane:
        destination, pace = route.destination, self.pace
        service = pace.for_service(destination.service)
        return Lane(destination, self._limit_of(route), service, pace.for_destination(destination))

    def next(self, now: float) -> Start | None:
        """The next job that may go, or None."""
        ring = self._ring
        if self._timed:
            self._look_at_times(now)
        while ring:
            lane = ring.popleft()
            if lane.parked is not None:
                continue  # since it was listed: see ``put_back``
            lane.listed = False
            if lane.recipients and (token := lane.window.acquire(now)) is not None:
                service, gates = lane.service, lane.gates
                shut = service if service.active >= service.most else gates and _shut(gates, now)
                if not shut:
                    break
                lane.window.give_up()
                self.park(lane, shut, now)
            # Else it is listed again when it has a job, a slot is free or its rest is over.
            self._pass_by(lane, now)
        else:
            return None
        job = lane.pop()
        assert job is not None
        lane.started += 1
        service.active += 1
        if gates or service.line.count:
            self._pass(lane, len(job.lease.recipients), now)
        if lane.recipients and not lane.listed:
            lane.listed = True
            ring.append(lane)
        return Start(job, lane, token, gates)

    def done(
        self,
        start: Start,
        scope: Scope | None,
        now: float,
        *,
        refused: bool = False,
        setback: Setback | None = None,
        through: tuple[Gate, ...] = (),
    ) -> float:
        """A batch ended; ``refused``: a host asked us to go slower, ``setback``: nothing of it got through.

        ``through`` are the gates behind which its host was, which hear of it too.

        Returns the seconds for which its destination rests because of it, else 0.0.
        """
        lane = start.lane
        rest = lane.window.release(start.token, scope, now)
        if rest:
            self._rests.set(lane, lane.window.rests_until)
        lane.service.active -= 1
        lane.setback = setback
        if start.gates or through or refused:
            for gate in start.gates:
                gate.active -= 1
            lane.learn(now, refused, (*start.gates, *through))
            self._stir_all((*start.gates, *through), now)
        if lane.woken is not None:
            self._woke(lane, now)
        if lane.service.line.count:
            self.stir(lane.service, now)
        if lane.recipients and not lane.listed:
            lane.listed = True
            self._ring.append(lane)
        return rest

    def put_back(self, start: Start, job: Job, gate: Gate, now: float) -> None:
        """What is left of a job was not tried: a gate that its host is behind held it up."""
        lane = start.lane
        lane.push_back(job)
        lane.window.give_up()
        self._woke(lane, now)
        if lane.parked is None:
            self.park(lane, gate, now)
        for held in (lane.service, *start.gates):
            held.active -= 1
            self.stir(held, now)

    # --- gates ---------------------------------------------------------------------------------------------

    def park(self, lane: Lane, gate: Gate, now: float) -> None:
        """The lane waits in the gate's line."""
        lane.listed, lane.parked = True, gate
        lane.queue_at(gate)
        if gate.room():
            self._wait_for(gate, now)

    def stir(self, gate: Gate, now: float) -> None:
        """If the gate lets somebody through, the next in its line may try; whoever goes through stirs it again."""
        while gate.line.count and gate.room():
            if gate.wait(now):
                self._wait_for(gate, now)
                return
            lane = gate.line.pop()
            if lane is not None and lane.parked is gate:
                lane.parked, lane.woken = None, gate
                self._ring.append(lane)
                return

    def _woke(self, lane: Lane, now: float) -> None:
        """It had its turn at a gate, and may not have used it."""
        gate, lane.woken = lane.woken, None
        if gate is not None and gate.line.count:
            self.stir(gate, now)

    def _pass(self, lane: Lane, recipients: int, now: float) -> None:
        """A job goes through its gates; who waits there may be next."""
        for gate in lane.gates:
            gate.active += 1
            gate.charge(now, recipients)
        self._pass_by(lane, now)

    def _pass_by(self, lane: Lane, now: float) -> None:
        """A lane that might have been the next at its gates is not, or not any more: somebody else may."""
        if lane.service.line.count:
            self.stir(lane.service, now)
        if lane.gates:
            self._stir_all(lane.gates, now)

    def _stir_all(self, gates: Iterable[Gate], now: float) -> None:
        for gate in gates:
            if gate.line.count:
                self.stir(gate, now)

    def _wait_for(self, gate: Gate, now: float) -> None:
        if not gate.timed:
            gate.timed = True
            self._serial += 1
            heapq.heappush(self._timed, (now + gate.wait(now), self._serial, gate))

    def _look_at_times(self, now: float) -> None:
        while self._timed and self._timed[0][0] <= now:
            gate = heapq.heappop(self._timed)[2]
            gate.timed = False
            self.stir(gate, now)

    def next_start(self) -> float | None:
        """When a gate that holds somebody up lets the next through (monotonic seconds)."""
        return self._timed[0][0] if self._timed else None

    # --- the set -------------------------------------------------------------------------------------------

    def expect(self, recipients: int) -> None:
        """So many recipients are in memory, but not jobs yet; ``forget`` when they are."""
        self.size += recipients

    def forget(self, recipients: int) -> None:
        """So many recipients left the active set: their outcomes are written, or they were given back."""
        self.size -= recipients

    def wake(self, now: float) -> None:
        """Lanes whose rest is over take part again; lanes of which nothing need be known are dropped."""
        for lane in self._rests.due(now):
            self.rested.append(lane.destination)
            self._list(lane)
        for lane in self._looks.due(now):
            lane.tick(now)
            if lane.recipients or not lane.idle(now):
                self._looks.set(lane, max(now + LATER, lane.kept_until))
            elif self.lanes.get(lane.destination) is lane:
                del self.lanes[lane.destination]
        self.pace.tick(now)
        self._stir_all(self.pace.gates(), now)

    def reconfigure(self, pace: Pace | None = None) -> None:
        """The configuration changed: each lane takes its service's new limit with its next job, and none rests."""
        if pace is not None:
            self.pace = pace
        for gate in self.pace.gates():
            gate.line = type(gate.line)()
        self._timed.clear()
        for lane in self.lanes.values():
            lane.new_limit = True
            self.end_rest(lane)
            lane.gates = self.pace.for_destination(lane.destination)
            lane.service = self.pace.for_service(lane.destination.service)
            if lane.own is not None:
                lane.gates = (*lane.gates, lane.own)
            if lane.parked is not None:
                lane.parked.timed = False
                lane.parked, lane.listed = None, False
                self._list(lane)

    def end_rest(self, lane: Lane) -> None:
        """What made it rest may be mended: at the next ``wake`` it takes part again."""
        lane.window.end_rest()
        self._rests.set(lane, 0.0)

    def crowded(self, destination: Destination, now: float, room: int) -> bool:
        """Should no more for this destination be kept in memory?  ``room`` is how many recipients all may have.

        While it rests or is paused; and where one that is slow would take more than half of what there is for all.
        """
        if self.paused(destination):
            return True
        lane = self.lanes.get(destination)
        if lane is None:
            return False
        return now < lane.window.rests_until or (lane.recipients >= MANY and self.size >= room // 2)

    def waits(self, destination: Destination) -> bool:
        """Something waits for it in memory."""
        lane = self.lanes.get(destination)
        return lane is not None and bool(lane.recipients)

    def rests(self, destination: Destination, now: float) -> bool:
        """It rests: nothing is tried there now."""
        lane = self.lanes.get(destination)
        return lane is not None and now < lane.window.rests_until

    def limited(self, destination: Destination, now: float) -> Limited:
        """What keeps the mail of a destination from going faster now."""
        if self.paused(destination):
            return Limited(Limit.PAUSED)
        lane = self.lanes.get(destination)
        return Limited(Limit.NOTHING) if lane is None else lane.limited(now)

    def next_wake(self, now: float) -> float | None:
        """When the first resting lane may be tried again (monotonic seconds)."""
        return self._rests.first()

    def _list(self, lane: Lane) -> None:
        if lane.recipients and not lane.listed:
            lane.listed = True
            self._ring.append(lane)


def _shut(gates: tuple[Gate, ...], now: float) -> Gate | None:
    """The first that lets nothing through now."""
    for gate in gates:
        if gate.active >= gate.most or gate.wait(now):
            return gate
    return None
