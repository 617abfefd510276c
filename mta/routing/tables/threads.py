"""Threads of a table's own, for libraries that block.

The reactor's pool is shared with name lookups and disk work, which a database that hangs must not stop.
Contract: ``ask`` gives a key to the next thread that is free; the Deferred fires in the reactor's thread.  Threads
begin with the first question (a service may still be forked before), each with a worker of its own (one connection),
and end after ``close``; what is asked then has a thread of its own for the one question.  A question that was
cancelled meanwhile is not asked.
How it fails: what a worker raises is the Deferred's failure.
Limits: ``most`` threads; what waits for one is bounded by ``mta.routing.tables.remote``.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mta.interfaces import Maybe
from mta.plugin import Services
from mta.routing.tables.remote import Remote, RemoteOptions


class Worker(Protocol):
    """What one thread works with; it is made, asked and closed there alone."""

    def answer(self, key: str) -> str | None:
        """Blocks."""

    def close(self) -> None:
        """Give up connections.  Raises nothing."""


class Crew:
    """See the module's text."""

    def __init__(self, reactor: Any, make: Callable[[], Worker], most: int, name: str) -> None:
        self._reactor = reactor
        self._make = make
        self._most = most
        self._name = name
        self._threads = 0
        self._under_way = 0
        self._queue: SimpleQueue[tuple[str, Deferred[str | None]] | None] = SimpleQueue()
        self._closed = False

    def ask(self, key: str) -> Deferred[str | None]:
        """The value under the key, from a thread."""
        answer: Deferred[str | None] = Deferred()
        self._under_way += 1
        if self._closed or (self._under_way > self._threads and self._threads < self._most):
            self._threads += 1
            # Daemons: a database that hangs must not keep the process from ending.
            Thread(target=self._loop, name=f"table-{self._name}-{self._threads}", daemon=True).start()
        self._queue.put((key, answer))
        if self._closed:
            self._queue.put(None)  # by a session of before a reload: the thread ends with it
        return answer

    def close(self) -> None:
        """Let the threads end after what they were given.  Idempotent."""
        if not self._closed:
            self._closed = True
            for _ in range(self._threads):
                self._queue.put(None)

    def _loop(self) -> None:
        worker: Worker | None = None
        while (job := self._queue.get()) is not None:
            key, answer = job
            result: Any = None
            if not answer.called:
                try:
                    if worker is None:
                        worker = self._make()
                    result = worker.answer(key)
                except Exception:
                    result = Failure()
                    result.cleanFailure()
            self._reactor.callFromThread(self._done, answer, result)
        if worker is not None:
            worker.close()

    def _done(self, answer: Deferred[str | None], result: Any) -> None:
        self._under_way -= 1
        if not answer.called:
            answer.callback(result)


class ThreadedTable:
    """What the tables have in common whose library blocks: remote ones that a crew asks."""

    def __init__(self, options: RemoteOptions, services: Services, make: Callable[[], Worker], most: int) -> None:
        self._crew = Crew(services.reactor, make, most, services.name)
        self._remote = Remote(options, services, self._crew.ask)

    def lookup(self, key: str) -> Maybe[str | None]:
        """See ``ITable``."""
        return self._remote.lookup(key)

    def close(self) -> None:
        """Let the threads end, and their connections."""
        self._crew.close()
