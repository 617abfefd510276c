"""Threads of the spool's own: each lane runs what it is given in order, many things at a time.

The reactor's thread pool is shared with name lookups, so the spool does not use it.
Contract: ``Lanes.start(name, work)`` gives a lane; ``put`` hands it a job, in the reactor's thread; ``work`` gets
all jobs that wait (at most ``MOST``), in order, and never raises.  ``Threads`` is for the service; ``Inline`` runs
everything at once in the caller's thread, or when told, so that tests need neither threads nor time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

T = TypeVar("T")
Work = Callable[[list[Any]], None]
MOST: Final = 1000
_STOP: Final = object()
log = Logger()


class SpoolReactor(Protocol):
    """What the spool needs of the reactor."""

    def callFromThread(self, call: Callable[..., Any], *args: Any) -> None: ...

    def callLater(self, delay: float, call: Callable[..., Any], *args: Any) -> Any: ...


class Lane(Protocol):
    def put(self, job: Any) -> None:
        """Hand in a job, in the reactor's thread."""

    def stop(self) -> None:
        """Do what was put before, then end."""


class Lanes(Protocol):
    def start(self, name: str, work: Work) -> Lane: ...


class Threads:
    """A real thread for each lane.

    Jobs are handed over together at the end of the reactor's turn: a thread that was woken by the first of them would
    fight for the interpreter with the reactor, which is still making the others, and write them by twos and threes.
    Measured: batches twice as large, and a tenth less CPU a message.
    """

    def __init__(self, reactor: SpoolReactor) -> None:
        self._reactor = reactor

    def start(self, name: str, work: Work) -> Lane:
        return _ThreadLane(name, work, self._reactor)


class _ThreadLane:
    def __init__(self, name: str, work: Work, reactor: SpoolReactor) -> None:
        self._work = work
        self._reactor = reactor
        self._gathered: list[Any] = []
        self._queue: SimpleQueue[list[Any]] = SimpleQueue()
        # A daemon: a process that dies without close() must not hang; what was not committed was not promised.
        self._thread = Thread(target=self._loop, name=f"spool-{name}", daemon=True)
        self._thread.start()

    def put(self, job: Any) -> None:
        self._gathered.append(job)
        if len(self._gathered) == 1:
            self._reactor.callLater(0, self._hand_over)

    def stop(self) -> None:
        self._gathered.append(_STOP)
        self._hand_over()
        self._thread.join()

    def _hand_over(self) -> None:
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            self._queue.put(gathered)

    def _loop(self) -> None:
        take, more = self._queue.get, self._queue.get_nowait
        stopping = False
        while not stopping:
            jobs = take()
            try:
                while len(jobs) < MOST:
                    jobs += more()
            except Empty:
                pass
            if _STOP in jobs:
                stopping = True
                jobs = [job for job in jobs if job is not _STOP]
            if jobs:
                run(self._work, jobs)


class Inline:
    """No threads: a job runs before ``put`` returns, or, while ``paused``, when ``run`` is called."""

    def __init__(self) -> None:
        self.paused = False
        self._lanes: list[_InlineLane] = []

    def start(self, name: str, work: Work) -> Lane:
        lane = _InlineLane(self, work)
        self._lanes.append(lane)
        return lane

    def run(self) -> None:
        """Let go: all that waits in a lane is handed to it as one batch."""
        self.paused = False
        for lane in self._lanes:
            lane.drain()


class _InlineLane:
    def __init__(self, owner: Inline, work: Work) -> None:
        self._owner = owner
        self._work = work
        self._jobs: deque[Any] = deque()
        self._running = False

    def put(self, job: Any) -> None:
        self._jobs.append(job)
        if not self._owner.paused:
            self.drain()

    def stop(self) -> None:
        self.drain()

    def drain(self) -> None:
        if self._running:  # a job handed in by a job: its turn comes in the loop below
            return
        self._running = True
        try:
            while self._jobs:
                jobs = [self._jobs.popleft() for _ in range(min(MOST, len(self._jobs)))]
                run(self._work, jobs)
        finally:
            self._running = False


def run(work: Work, jobs: list[Any]) -> None:
    """A lane must outlive a bug in its work."""
    try:
        work(jobs)
    except Exception:
        log.failure("a spool lane failed")


class Caller:
    """Runs functions in a lane; each result comes back to the reactor as a Deferred."""

    def __init__(self, lanes: Lanes, name: str, reactor: SpoolReactor) -> None:
        self._reactor = reactor
        self._lane = lanes.start(name, self._run)
        self.stop = self._lane.stop

    def call(self, work: Callable[..., T], *args: Any) -> Deferred[T]:
        deferred: Deferred[T] = Deferred()
        self._lane.put((deferred, work, args))
        return deferred

    def _run(self, jobs: list[Any]) -> None:
        for deferred, work, args in jobs:
            try:
                result = work(*args)
            except Exception as error:
                self._reactor.callFromThread(deferred.errback, error)
            else:
                self._reactor.callFromThread(deferred.callback, result)
