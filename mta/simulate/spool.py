"""The spool of a simulation: the memory spool without stories, with every outcome counted as it is written.

Contract: ``ISpool``; see ``mta.spool.memory``.
Limits: nothing of it outlives the process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from twisted.internet.defer import Deferred

from mta.envelope import Destination, Recipient
from mta.spool.memory import MemorySpool
from mta.spool.values import Lease, Next, Result


class SimulatedSpool(MemorySpool):
    """See the module's text.  ``written`` is called with each result; due times are rounded up to full ``grain``
    milliseconds, so that what falls due at nearly the same time costs one look."""

    def __init__(self, now: Callable[[], int], written: Callable[[Result], None], grain: int) -> None:
        super().__init__(now)
        self._written = written
        self._grain = grain

    def finish(self, results: Sequence[Result]) -> Deferred[list[Lease]]:
        """Events are for stories, which nobody will read; five days of them would fill the memory."""
        for result in results:
            self._written(result)
        return super().finish([replace(result, events=(), next=self._rounded(result)) for result in results])

    def _rounded(self, result: Result) -> Mapping[int, Next]:
        grain, now = self._grain, self._now()
        if grain <= 1:
            return result.next
        return {
            n: step._replace(due=-(-step.due // grain) * grain) if step.due > now else step
            for n, step in result.next.items()
        }

    def recipients(self) -> Iterator[Recipient]:
        """All that wait."""
        for record in self.records.values():
            yield from record.waiting.values()

    def waiting(self) -> Counter[Destination]:
        """How many wait where, held ones not counted."""
        return Counter(one.destination for one in self.recipients() if not one.hold)
