"""The active set: jobs by destination, handed out fairly.  Pure: time is handed in, nothing is delivered here.

Contract: ``next`` serves the destinations that have a job and a slot in turn, so none holds up another; jobs of
one destination go by priority, then in order of arrival.  ``size`` counts recipients, being routed, waiting and under
way, until ``forget``: it is what ``queue.active`` bounds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from mta.envelope import Destination, Recipient, Scope
from mta.queue.destination import Window
from mta.routing.values import Route
from mta.spool.values import Lease

#: Once the active set is half full, no destination may have more waiting in it.
MANY: Final = 200


class Job(NamedTuple):
    """Recipients of one message that travel together by one route; ``lease`` is narrowed to them."""

    lease: Lease
    route: Route

    @property
    def recipients(self) -> tuple[Recipient, ...]:
        return self.lease.recipients


class Lane:
    """One destination's jobs and its window."""

    __slots__ = ("destination", "due_more", "jobs", "listed", "new_limit", "recipients", "window")

    def __init__(self, destination: Destination, limit: int) -> None:
        self.destination = destination
        self.window = Window(limit)
        self.jobs: dict[int, deque[Job]] = {}  # by priority
        self.recipients = 0  # waiting here in memory
        self.listed = False
        self.new_limit = False  # the limit is asked for with the next job
        self.due_more = False  # the spool may have more of them that are due

    def push(self, job: Job) -> None:
        priority = job.recipients[0].priority
        self.jobs.setdefault(priority, deque()).append(job)
        self.recipients += len(job.recipients)

    def pop(self) -> Job | None:
        if not self.jobs:
            return None
        priority = max(self.jobs) if len(self.jobs) > 1 else next(iter(self.jobs))
        queue = self.jobs[priority]
        job = queue.popleft()
        if not queue:
            del self.jobs[priority]
        self.recipients -= len(job.recipients)
        return job

    def drain(self) -> Iterator[Job]:
        while (job := self.pop()) is not None:
            yield job


class Start(NamedTuple):
    """A job that may go now, with what ``done`` needs."""

    job: Job
    lane: Lane
    token: int


class Schedule:
    """See the module's text.  ``limit_of`` gives the most batches at once for a route."""

    def __init__(self, limit_of: Callable[[Route], int]) -> None:
        self._limit_of = limit_of
        self.lanes: dict[Destination, Lane] = {}
        self._ring: deque[Lane] = deque()  # lanes that have jobs and may have a slot
        self.size = 0

    def add(self, job: Job) -> Lane:
        """A job waits for its destination's slot."""
        lane = self.lanes.get(job.route.destination)
        if lane is None:
            lane = self.lanes[job.route.destination] = Lane(job.route.destination, self._limit_of(job.route))
        elif lane.new_limit:
            lane.new_limit, lane.window.limit = False, self._limit_of(job.route)
        lane.push(job)
        self.size += len(job.recipients)
        self._list(lane)
        return lane

    def next(self, now: float) -> Start | None:
        """The next job that may go, or None."""
        ring = self._ring
        while ring:
            lane = ring.popleft()
            lane.listed = False
            if not lane.jobs:
                continue
            token = lane.window.acquire(now)
            if token is None:
                continue  # listed again when a slot is free or its rest is over
            job = lane.pop()
            assert job is not None
            if lane.jobs:
                self._list(lane)
            return Start(job, lane, token)
        return None

    def done(self, start: Start, scope: Scope | None, now: float) -> float:
        """A batch ended.  Returns the seconds for which its destination rests because of it, else 0.0."""
        rest = start.lane.window.release(start.token, scope, now)
        self._list(start.lane)
        return rest

    def expect(self, recipients: int) -> None:
        """So many recipients are in memory, but not jobs yet; ``forget`` when they are."""
        self.size += recipients

    def forget(self, recipients: int) -> None:
        """So many recipients left the active set: their outcomes are written, or they were given back."""
        self.size -= recipients

    def wake(self, now: float) -> None:
        """Lanes whose rest is over take part again; lanes of which nothing need be known are dropped."""
        for destination, lane in list(self.lanes.items()):
            if lane.jobs:
                if now >= lane.window.rests_until:
                    self._list(lane)
            elif lane.window.idle(now):
                del self.lanes[destination]

    def reconfigure(self) -> None:
        """The configuration changed: each lane takes its service's new limit with its next job, and none rests."""
        for lane in self.lanes.values():
            lane.new_limit = True
            lane.window.end_rest()

    def crowded(self, destination: Destination, now: float, room: int) -> bool:
        """Should no more for this destination be kept in memory?  ``room`` is how many recipients all may have.

        While it rests; and where one that is slow would take more than half of what there is for all.
        """
        lane = self.lanes.get(destination)
        if lane is None:
            return False
        return now < lane.window.rests_until or (lane.recipients >= MANY and self.size >= room // 2)

    def next_wake(self, now: float) -> float | None:
        """When the first resting lane may be tried again (monotonic seconds)."""
        times = [lane.window.rests_until for lane in self.lanes.values() if lane.window.rests_until > now]
        return min(times, default=None)

    def _list(self, lane: Lane) -> None:
        if lane.jobs and not lane.listed:
            lane.listed = True
            self._ring.append(lane)
