"""What waits and may be claimed: the index of the memory spool, with the turns of ``mta.spool.fairness``.

Contract: ``note`` says how a recipient stands now; what is asked for then costs what it returns, not what waits.
Limits: an entry that no longer holds stays in its heap until it comes to the top.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import islice
from typing import Final, TypeAlias

from mta.envelope import Destination, Recipient
from mta.spool.fairness import Pair, choose

#: When it is due, the number of its message, and its own in it.
Entry: TypeAlias = tuple[int, int, int]
#: Of the lines that have something due so many are asked since when: more need not be known.
_ASKED: Final = 100


class Queue:
    """What is free of one sender with one priority."""

    __slots__ = ("count", "heap", "index", "ripe", "sender")

    def __init__(self, index: DueIndex, sender: int) -> None:
        self.index = index
        self.sender = sender
        self.count = 0
        self.heap: list[Entry] = []
        self.ripe = False

    def top(self) -> Entry | None:
        """The first that still holds."""
        heap, free = self.heap, self.index.free
        while self.count:
            entry = heap[0]
            if free.get(entry[1:]) == (self, entry[0]):
                return entry
            heappop(heap)
        return None


class Turn:
    """``fairness.Line``, for one claim."""

    __slots__ = ("_now", "asked", "queue")

    def __init__(self, queue: Queue, now: int) -> None:
        self.queue = queue
        self._now = now
        self.asked = False

    def take(self, most: int) -> list[Pair]:
        self.asked = True
        queue, taken = self.queue, list[Pair]()
        while len(taken) < most and (entry := queue.top()) is not None and entry[0] <= self._now:
            heappop(queue.heap)
            del queue.index.free[entry[1:]]
            queue.count -= 1
            taken.append(entry[1:])
        return taken


class Group:
    """``fairness.Level``: free recipients of one destination and priority."""

    __slots__ = ("_now", "_told", "coming", "queues", "ripe")

    def __init__(self) -> None:
        self.queues: dict[int, Queue] = {}  # by sender
        self.ripe: deque[Queue] = deque()  # had something due when they were last looked at, by their turns
        # A queue that is not ripe and has something has an entry here that is no later than its first.
        self.coming: list[tuple[int, int]] = []
        self._told: list[Turn] = []
        self._now = 0

    def begin(self, now: int) -> None:
        """A claim: who has something due has a turn."""
        self._now, self._told = now, []
        while (first := self._next()) is not None and first[0] <= now:
            queue = self.queues[heappop(self.coming)[1]]
            queue.ripe = True
            self.ripe.append(queue)

    def lines(self, most: int) -> Sequence[Turn]:
        turns: list[Turn] = []
        while self.ripe and len(turns) < most:
            turns.append(Turn(self.ripe.popleft(), self._now))
        self._told += turns
        return turns

    def end(self) -> None:
        """Who had his turn comes behind all others, or has none until something is due."""
        self.ripe.extendleft(turn.queue for turn in reversed(self._told) if not turn.asked)
        for turn in self._told:
            queue = turn.queue
            if not turn.asked:
                continue
            first = queue.top()
            if first is not None and first[0] <= self._now:
                self.ripe.append(queue)
                continue
            queue.ripe = False
            if first is None:
                del self.queues[queue.sender]
            else:
                heappush(self.coming, (first[0], queue.sender))
        self._told = []

    def first(self) -> int | None:
        """When the first is due."""
        times = [entry[0] for queue in islice(self.ripe, _ASKED) if (entry := queue.top()) is not None]
        following = self._next()
        return min(times if following is None else [*times, following[0]], default=None)

    def _next(self) -> tuple[int, int] | None:
        """The first of ``coming`` that still holds."""
        while self.coming:
            due, sender = self.coming[0]
            queue = self.queues.get(sender)
            first = None if queue is None or queue.ripe else queue.top()
            if first is not None and first[0] == due:
                return due, sender
            heappop(self.coming)
            if first is not None and first[0] > due:
                heappush(self.coming, (first[0], sender))
        return None


class DueIndex:
    """See the module's text."""

    def __init__(self) -> None:
        self.free: dict[tuple[int, int], tuple[Queue, int]] = {}
        self._groups: dict[Destination, dict[int, Group]] = {}
        # A destination that has something is in ``_ripe``, or has an entry here that is no later than its first.
        self._coming: list[tuple[int, Destination]] = []
        self._ripe: dict[Destination, None] = {}  # had something due when they were last looked at

    def note(self, number: int, recipient: Recipient, free: bool, sender: int = 0) -> None:
        """The recipient of this message is free to be claimed when it is due, or is not."""
        key = (number, recipient.id)
        old = self.free.pop(key, None)
        if old is not None:
            old[0].count -= 1
        if not free:
            return
        group = self._groups.setdefault(recipient.destination, {}).setdefault(recipient.priority, Group())
        queue = group.queues.get(sender)
        if queue is None:
            queue = group.queues[sender] = Queue(self, sender)
        queue.count += 1
        self.free[key] = (queue, recipient.due)
        if old != (queue, recipient.due):
            heappush(queue.heap, (recipient.due, *key))
            if not queue.ripe:
                heappush(group.coming, (recipient.due, sender))
            heappush(self._coming, (recipient.due, recipient.destination))

    def destinations(self, now: int) -> list[tuple[int, Destination]]:
        """Those that have something due, and the one whose turn is next, each with its first due time; in no order."""
        coming, ripe = self._coming, self._ripe
        found: list[tuple[int, Destination]] = []
        while coming and coming[0][0] <= now:
            ripe[heappop(coming)[1]] = None
        for destination in list(ripe):
            first = self._first(destination)
            if first is not None and first <= now:
                found.append((first, destination))
                continue
            del ripe[destination]
            if first is not None:
                heappush(coming, (first, destination))
        while coming:
            due, destination = coming[0]
            first = None if destination in ripe else self._first(destination)
            if first == due:
                found.append((due, destination))
                break
            heappop(coming)
            if first is not None:
                heappush(coming, (first, destination))
        return found

    def take(self, destination: Destination, now: int, limit: int) -> list[Pair]:
        """Up to ``limit`` that are due, as message and recipient, in the order of ``mta.spool.fairness``.  They are
        free no more."""
        priorities = self._groups.get(destination, {})
        groups = [priorities[priority] for priority in sorted(priorities, reverse=True)]
        for group in groups:
            group.begin(now)
        taken = choose(groups, limit)
        for group in groups:
            group.end()
        return taken

    def _first(self, destination: Destination) -> int | None:
        times = [group.first() for group in self._groups[destination].values()]
        return min((time for time in times if time is not None), default=None)
