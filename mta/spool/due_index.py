"""What waits and may be claimed, by destination, priority and due time: the index of the memory spool.

Contract: ``note`` says how a recipient stands now; what is asked for then costs what it returns, not what waits.
Limits: an entry that no longer holds stays in its heap until it comes to the top.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TypeAlias

from mta.envelope import Destination, Recipient

#: When it is due, the number of its message, and its own in it.
Entry: TypeAlias = tuple[int, int, int]


class Group:
    """Free recipients of one destination and priority."""

    __slots__ = ("count", "destination", "heap")

    def __init__(self, destination: Destination) -> None:
        self.destination = destination
        self.count = 0
        self.heap: list[Entry] = []


class DueIndex:
    """See the module's text."""

    def __init__(self) -> None:
        self._groups: dict[Destination, dict[int, Group]] = {}
        self._free: dict[tuple[int, int], tuple[Group, int]] = {}
        # A destination that has something is in ``_ripe``, or has an entry here that is no later than its first.
        self._coming: list[tuple[int, int, int, Destination]] = []
        self._ripe: dict[Destination, None] = {}  # had something due when they were last looked at

    def note(self, number: int, recipient: Recipient, free: bool) -> None:
        """The recipient of this message is free to be claimed when it is due, or is not."""
        key = (number, recipient.id)
        old = self._free.pop(key, None)
        if old is not None:
            old[0].count -= 1
        if not free:
            return
        priorities = self._groups.setdefault(recipient.destination, {})
        group = priorities.get(recipient.priority)
        if group is None:
            group = priorities[recipient.priority] = Group(recipient.destination)
        group.count += 1
        self._free[key] = (group, recipient.due)
        if old != (group, recipient.due):
            entry = (recipient.due, *key)
            heappush(group.heap, entry)
            heappush(self._coming, (*entry, recipient.destination))

    def destinations(self, now: int) -> list[tuple[int, Destination]]:
        """Those that have something due, and the one whose turn is next, each with its first due time; in no order."""
        coming, ripe = self._coming, self._ripe
        found: list[tuple[int, Destination]] = []
        while coming and coming[0][0] <= now:
            ripe[heappop(coming)[3]] = None
        for destination in list(ripe):
            first = self._first(destination)
            if first is not None and first[0] <= now:
                found.append((first[0], destination))
                continue
            del ripe[destination]
            if first is not None:
                heappush(coming, (*first, destination))
        while coming:
            entry, destination = coming[0][:3], coming[0][3]
            first = None if destination in ripe else self._first(destination)
            if first == entry:
                found.append((entry[0], destination))
                break
            heappop(coming)
            if first is not None:
                heappush(coming, (*first, destination))
        return found

    def take(self, destination: Destination, now: int, limit: int) -> list[tuple[int, int]]:
        """Up to ``limit`` that are due, as message and recipient: by priority, then due time, then order of arrival.
        They are free no more."""
        taken: list[tuple[int, int]] = []
        priorities = self._groups.get(destination, {})
        for priority in sorted(priorities, reverse=True):
            group = priorities[priority]
            while group.count and len(taken) < limit and self._top(group)[0] <= now:
                _, number, n = heappop(group.heap)
                del self._free[number, n]
                group.count -= 1
                taken.append((number, n))
        return taken

    def _first(self, destination: Destination) -> Entry | None:
        return min((self._top(group) for group in self._groups[destination].values() if group.count), default=None)

    def _top(self, group: Group) -> Entry:
        """The first that still holds; only for a group that has something."""
        heap, free = group.heap, self._free
        while True:
            entry = heap[0]
            if free.get(entry[1:]) == (group, entry[0]):
                return entry
            heappop(heap)
