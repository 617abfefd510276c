"""Pauses, begun and ended by an operator: of the operations, those that need no spool.

Contract: a pause is on disk before the answer, and what waits in memory for its place is given back to the spool.
Several processes share the file (mta/workers/): one writes it, the others read it again (``reread_pauses``).
How it fails: ``ControlError``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from mta import events
from mta.admin.control import ControlError, Handler
from mta.events import Event
from mta.queue.paused import EVERYTHING, Pause, Pauses
from mta.queue.schedule import Job, Schedule


class Queue(Protocol):
    """What is needed of the queue manager."""

    schedule: Schedule

    def withdraw(self, matches: Callable[[Job], bool]) -> int: ...

    def poke(self) -> None: ...

    def look_at_all(self) -> None: ...


class Pausing:
    """See the module's text.  ``queue`` is None where none runs in this process."""

    def __init__(
        self,
        pauses: Pauses,
        *,
        now: Callable[[], int],
        emit: Callable[[Event, str], None],
        queue: Queue | None = None,
    ) -> None:
        self._pauses = pauses
        self._now = now
        self._emit = emit
        self._queue = queue

    def handlers(self) -> dict[str, Handler]:
        """The commands by their names on the control socket."""
        return {"pause": self.pause, "resume": self.resume, "pauses": self.pauses}

    async def pause(self, request: Mapping[str, Any], by: str) -> dict[str, Any]:
        """Send nothing to a place; ``*`` is everything."""
        place, reason = _place(request), str(request.get("reason") or "")
        try:
            new = self._pauses.put(Pause(place, by, self._now(), reason))
        except (OSError, ValueError) as error:
            raise ControlError(f"the pause cannot be kept: {error}") from None
        if new:
            self._emit(events.PAUSED(place=place, by=by, reason=reason), "")
            if self._queue is not None:
                self._queue.withdraw(lambda job: self._pauses.paused(job.route.destination))
        return {"paused": place, "new": new}

    async def resume(self, request: Mapping[str, Any], by: str) -> dict[str, Any]:
        """End a pause, or with ``*`` all of them."""
        place = _place(request)
        try:
            ended = self._pauses.end(place)
        except OSError as error:
            raise ControlError(f"the end of the pause cannot be kept: {error}") from None
        for pause in ended:
            self._emit(events.RESUMED(place=pause.place, by=by), "")
        if ended and self._queue is not None:
            self._queue.poke()
        return {"resumed": [pause.place for pause in ended]}

    async def pauses(self, request: Mapping[str, Any], by: str) -> list[dict[str, Any]]:
        """What is paused."""
        return [pause._asdict() for pause in self._pauses]

    async def reread_pauses(self, request: Mapping[str, Any], by: str) -> str:
        """Another process has changed the file."""
        try:
            self._pauses.read()
        except (OSError, ValueError) as error:
            raise ControlError(str(error)) from None
        if self._queue is not None:
            self._queue.withdraw(lambda job: self._pauses.paused(job.route.destination))
            self._queue.poke()
        return "read again"


def _place(request: Mapping[str, Any]) -> str:
    place = request.get("place")
    if not isinstance(place, str) or not place:
        raise ControlError(f'a place is a service, a next hop, "service:next hop", or "{EVERYTHING}"')
    return place
