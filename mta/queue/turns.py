"""Things that wait for one place, in turn between senders and by priority.  Pure.

Contract: of one priority, the senders are served in turn, each for ``QUANTUM`` recipients (deficit round robin,
Shreedhar and Varghese 1996: what a large message takes beyond its turn, its sender goes without later); what one
sender has goes in order of arrival.  A higher priority goes first, but one in ``SHARE`` is taken from the lower ones,
so that none of them waits for ever.  ``push`` and ``pop`` take the same time however much waits, as long as the cost
of one thing is some small multiple of ``QUANTUM``.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from mta.sender import QUANTUM, SHARE

T = TypeVar("T")


class Turns(Generic[T]):
    """See the module's text.  ``cost`` is in recipients."""

    __slots__ = ("_lines", "_served", "count")

    def __init__(self) -> None:
        self._lines: dict[int, _Line[T]] = {}  # by priority
        self._served = 0  # while there was more than one priority
        self.count = 0

    def push(self, item: T, priority: int, sender: str, cost: int) -> None:
        """It waits behind what its sender has there."""
        line = self._lines.get(priority)
        if line is None:
            line = self._lines[priority] = _Line()
        line.push(item, sender, cost)
        self.count += 1

    def push_back(self, item: T, priority: int, sender: str, cost: int) -> None:
        """It was taken, and could not be used: it is its sender's next one again."""
        self._lines.setdefault(priority, _Line()).push_first(item, sender, cost)
        self.count += 1

    def pop(self) -> T | None:
        """Whose turn it is."""
        lines = self._lines
        if not lines:
            return None
        priority = next(iter(lines)) if len(lines) == 1 else self._priority()
        line = lines[priority]
        item = line.pop()
        if not line.order:
            del lines[priority]
        self.count -= 1
        return item

    def next_place(self) -> tuple[int, str]:
        """The priority and sender of what nearly always comes next: for a place in another queue."""
        priority = max(self._lines)
        return priority, self._lines[priority].order[0]

    def _priority(self) -> int:
        self._served += 1
        turn, others = divmod(self._served, SHARE)
        if others:
            return max(self._lines)
        lower = sorted(self._lines)[:-1]
        return lower[turn % len(lower)]


class _Line(Generic[T]):
    """What waits with one priority."""

    __slots__ = ("_credit", "_queues", "order")

    def __init__(self) -> None:
        self.order: deque[str] = deque()  # senders that have something
        self._queues: dict[str, deque[tuple[T, int]]] = {}
        self._credit: dict[str, int] = {}

    def push(self, item: T, sender: str, cost: int) -> None:
        queue = self._queues.get(sender)
        if queue is not None:
            queue.append((item, cost))
            return
        self._queues[sender] = deque(((item, cost),))
        self._credit[sender] = QUANTUM
        self.order.append(sender)

    def push_first(self, item: T, sender: str, cost: int) -> None:
        queue = self._queues.get(sender)
        if queue is not None:
            queue.appendleft((item, cost))
            return
        self.push(item, sender, cost)
        self.order.rotate(1)

    def pop(self) -> T:
        order = self.order
        sender = order[0]
        alone = len(order) == 1
        if not alone:
            sender = self._turn()
        queue = self._queues[sender]
        item, cost = queue.popleft()
        if not queue:
            order.popleft()
            del self._queues[sender], self._credit[sender]
        elif not alone:
            self._credit[sender] -= cost
            if self._credit[sender] <= 0:
                order.rotate(-1)
        return item

    def _turn(self) -> str:
        """The first sender in the order that has not to pay for what it took, which is the first one then."""
        order, credit = self.order, self._credit
        while credit[order[0]] <= 0:
            credit[order[0]] += QUANTUM
            if credit[order[0]] <= 0:
                order.rotate(-1)
        return order[0]
