"""The spool of a simulation: the memory spool without stories, with every outcome counted as it is written.

Contract: ``ISpool``; see ``mta.spool.memory``.  What is asked for is there at once, and who awaits it goes on without
a turn of the Deferred's machinery.
Limits: nothing of it outlives the process; nothing of it fails on demand.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mta.envelope import Destination, Recipient
from mta.spool.incoming import Incoming
from mta.spool.memory import MemorySpool, Record
from mta.spool.values import Claim, Lease, Next, Result, Selection

T = TypeVar("T")


class Done(Deferred[T]):
    """One that has its result."""

    def __init__(self, result: T) -> None:
        super().__init__()
        self.called, self.result = True, result

    def __await__(self) -> Generator[Deferred[T], None, T]:
        result: Any = self.result
        if isinstance(result, Deferred | Failure):
            result = yield from super().__await__()
        return cast("T", result)


class SimulatedSpool(MemorySpool):
    """See the module's text.  ``written`` is called with each result.  ``grain``: waits are rounded up by one part in
    so many at most, so that what falls due at nearly the same time costs one look; 0: they are not."""

    def __init__(self, now: Callable[[], int], written: Callable[[Result], None], grain: int) -> None:
        super().__init__(now)
        self._written = written
        self._grain = grain
        self._to: defaultdict[Destination, list[Record]] = defaultdict(list)

    def do(self, operation: str, work: Callable[[], T], undo: Callable[[], None] | None = None) -> Deferred[T]:
        """See ``Drill``."""
        return Done(work())

    def _commit(self, incoming: Incoming, lease: Claim | None) -> Lease | None:
        born = super()._commit(incoming, lease)
        record = self.records[incoming.number]
        for place in {one.destination for one in record.waiting.values()}:
            self._to[place].append(record)
        return born

    def _among(self, selection: Selection) -> Iterable[Record]:
        # Nobody is routed anew here: what waits for a destination has always waited for it.
        return self.records.values() if selection.destination is None else self._to.get(selection.destination, ())

    def finish(self, results: Sequence[Result]) -> Deferred[list[Lease]]:
        """Events are for stories, which nobody will read; five days of them would fill the memory."""
        for result in results:
            self._written(result)
        return super().finish([self._plain(result) for result in results])

    def _plain(self, result: Result) -> Result:
        return Result(
            lease=result.lease,
            outcomes=result.outcomes,
            next=self._rounded(result),
            spawned=result.spawned,
            owed=result.owed,
            notes=result.notes,
            notices_done=result.notices_done,
        )

    def _rounded(self, result: Result) -> Mapping[int, Next]:
        if not self._grain:
            return result.next
        now = self._now()
        return {
            # What is to be looked at at a time knows that time.
            n: step if step.due <= now or "look" in step.progress else step._replace(due=self._round(step.due, now))
            for n, step in result.next.items()
        }

    def _round(self, due: int, now: int) -> int:
        """To a full power of two, that other times are rounded to."""
        grain = 1 << max(0, ((due - now) // self._grain).bit_length() - 1)
        return -(-due // grain) * grain

    def recipients(self) -> Iterator[Recipient]:
        """All that wait."""
        for record in self.records.values():
            yield from record.waiting.values()

    def places(self) -> Counter[Destination]:
        """How many wait where, held ones not counted."""
        return Counter(one.destination for one in self.recipients() if not one.hold)
