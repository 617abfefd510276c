"""What a simulation counts: by hour, by destination, and in all.

Contract: outcomes are counted when they are written to the (simulated) spool, in the hour and for the destination
where the recipient waited; connections when they are begun.  Counts are of recipients, but for connections and notices.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from mta.envelope import Destination, Status
from mta.spool.values import Result

HOUR: Final = 3600.0


@dataclass(slots=True)
class Count:
    """``tries`` are outcomes of attempts; ``waiting`` those that wait at the end of the time, held ones not counted."""

    tries: int = 0
    delivered: int = 0
    deferred: int = 0
    failed: int = 0
    expired: int = 0
    held: int = 0
    notices: int = 0
    connections: int = 0
    waiting: int = 0

    def add(self, status: Status) -> None:
        """The outcome of one recipient."""
        self.tries += 1
        if status is Status.DEFERRED:
            self.deferred += 1
        elif status is Status.FAILED:
            self.failed += 1
        elif status is Status.EXPIRED:
            self.expired += 1
        else:
            self.delivered += 1

    @property
    def ended(self) -> int:
        """Recipients that need no more."""
        return self.delivered + self.failed + self.expired

    def values(self) -> dict[str, int]:
        """For ``--json``."""
        return asdict(self)


class Tally:
    """See the module's text.  Seconds count from the start of the simulation."""

    def __init__(self) -> None:
        self.total = Count()
        self.hours: dict[int, Count] = {}
        self.destinations: dict[Destination, Count] = {}
        self.notices: Counter[str] = Counter()  # by kind
        self.last_end: dict[Destination, float] = {}
        self.most_connections = 0
        self._open = 0

    def result(self, result: Result, seconds: float) -> None:
        """Outcomes were written."""
        places = {recipient.id: recipient for recipient in result.lease.recipients}
        for outcome in result.outcomes:
            destination = places[outcome.recipient].destination
            for count in self._counts(destination, seconds):
                count.add(outcome.status)
            if outcome.status.final:
                self.last_end[destination] = seconds
        for n, following in result.next.items():
            if following.hold and not places[n].hold:
                for count in self._counts(following.destination, seconds):
                    count.held += 1

    def connection(self, destination: Destination, seconds: float) -> None:
        """One is begun; ``closed`` when it is over."""
        for count in self._counts(destination, seconds):
            count.connections += 1
        self._open += 1
        self.most_connections = max(self.most_connections, self._open)

    def closed(self) -> None:
        """A connection is over."""
        self._open -= 1

    def notice(self, kind: str, destination: Destination, seconds: float) -> None:
        """The sender would be told."""
        self.notices[kind] += 1
        for count in self._counts(destination, seconds):
            count.notices += 1

    def close(self, waiting: Mapping[Destination, int]) -> None:
        """The time is over; so many still wait."""
        for destination, n in waiting.items():
            self.destinations.setdefault(destination, Count()).waiting = n
        self.total.waiting = sum(waiting.values())

    def _counts(self, destination: Destination, seconds: float) -> tuple[Count, Count, Count]:
        hour = self.hours.get(int(seconds // HOUR))
        if hour is None:
            hour = self.hours[int(seconds // HOUR)] = Count()
        place = self.destinations.get(destination)
        if place is None:
            place = self.destinations[destination] = Count()
        return self.total, hour, place

    def values(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "total": self.total.values(),
            "notices": dict(self.notices),
            "most_connections": self.most_connections,
            "hours": {str(hour): count.values() for hour, count in sorted(self.hours.items())},
            "destinations": {str(place): count.values() for place, count in self.destinations.items()},
        }
