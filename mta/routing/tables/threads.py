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
from typing import Any, Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mta.interfaces import Maybe
from mta.plugin import Services
from mta.routing.tables.listing import CannotTell, Listing, Pages, Pair
from mta.routing.tables.remote import Remote, RemoteOptions

Q = TypeVar("Q")
A = TypeVar("A")
Q_contra = TypeVar("Q_contra", contravariant=True)
A_co = TypeVar("A_co", covariant=True)


class Worker(Protocol[Q_contra, A_co]):
    """What one thread works with; it is made, asked and closed there alone."""

    def answer(self, question: Q_contra, /) -> A_co:
        """Blocks."""

    def close(self) -> None:
        """Give up connections.  Raises nothing."""


class Crew(Generic[Q, A]):
    """See the module's text."""

    def __init__(self, reactor: Any, make: Callable[[], Worker[Q, A]], most: int, name: str) -> None:
        self._reactor = reactor
        self._make = make
        self._most = most
        self._name = name
        self._threads = 0
        self._under_way = 0
        self._queue: SimpleQueue[tuple[Q, Deferred[A]] | None] = SimpleQueue()
        self._closed = False

    @property
    def under_way(self) -> int:
        """Questions that have no answer yet."""
        return self._under_way

    def ask(self, question: Q) -> Deferred[A]:
        """The answer, from a thread."""
        answer: Deferred[A] = Deferred()
        self._under_way += 1
        if self._closed or (self._under_way > self._threads and self._threads < self._most):
            self._threads += 1
            # Daemons: a database that hangs must not keep the process from ending.
            Thread(target=self._loop, name=f"{self._name}-{self._threads}", daemon=True).start()
        self._queue.put((question, answer))
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
        worker: Worker[Q, A] | None = None
        while (job := self._queue.get()) is not None:
            question, answer = job
            result: Any = None
            if not answer.called:
                try:
                    if worker is None:
                        worker = self._make()
                    result = worker.answer(question)
                except Exception:
                    result = Failure()
                    result.cleanFailure()
            self._reactor.callFromThread(self._done, answer, result)
        if worker is not None:
            worker.close()

    def _done(self, answer: Deferred[A], result: Any) -> None:
        self._under_way -= 1
        if not answer.called:
            answer.callback(result)


class ThreadedTable:
    """What the tables have in common whose library blocks: remote ones that a crew asks.

    ``lister`` makes the worker of one listing, with a thread of its own, so that no look-up waits for it: it gives the
    next entries, so many at most, none at the end.  None: the table cannot tell all that it holds."""

    def __init__(
        self,
        options: RemoteOptions,
        services: Services,
        make: Callable[[], Worker[str, str | None]],
        most: int,
        lister: Callable[[], Worker[int, list[Pair]]] | None = None,
    ) -> None:
        self._name = services.name
        self._reactor = services.reactor
        self._lister = lister
        self._listing = Listing(services, options.timeout, self._list)
        self._crew = Crew(services.reactor, make, most, f"table-{services.name}")
        self._remote = Remote(options, services, self._crew.ask)

    def lookup(self, key: str) -> Maybe[str | None]:
        """See ``ITable``."""
        return self._remote.lookup(key)

    def pages(self, limit: int) -> Pages:
        """See ``IPagedTable``."""
        return self._listing.pages(limit)

    def _list(self) -> tuple[Callable[[int], Deferred[list[Pair]]], Callable[[], object]]:
        if self._lister is None:
            raise CannotTell(f"table:{self._name}")
        crew = Crew(self._reactor, self._lister, 1, f"table-{self._name}-all")
        return crew.ask, crew.close

    def close(self) -> None:
        """Let the threads end, and their connections."""
        self._crew.close()
