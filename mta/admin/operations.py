"""What an operator can have done: the commands behind the control socket, and behind the command line when the service
is stopped.

What it is: ``Operations`` works on a spool and, in the service, on the queue manager beside it; who asks is handed in
with each call and recorded with what is changed.
Contract: a change reaches what waits in memory too: it is given back to the spool first.  What is being delivered at
that moment is left alone.  A pause is on disk before the answer.
How it fails: ``ControlError`` says what is wrong with a request; ``MailFailure`` when the spool cannot write.
Limits: what is claimed again while a change of many goes on is taken back at most ``ROUNDS`` times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol

from mta import events
from mta.admin.control import ControlError, Handler
from mta.admin.privacy import known_hash
from mta.admin.selection import change_from_wire, concerns, from_wire
from mta.events import Event
from mta.queue.paused import EVERYTHING, Pause, Pauses
from mta.queue.schedule import Job, Lane, Limit, Schedule
from mta.spool.sqlite import SqliteSpool
from mta.spool.values import Change, ChangeKind, Selection

ROUNDS: Final = 5
#: Destinations of a selection that are tried at once although they rest; found in so many of its recipients.
LOOKED_AT: Final = 500
#: Changes after which something can go out at once.
_AT_ONCE: Final = (ChangeKind.RETRY, ChangeKind.RELEASE, ChangeKind.REROUTE, ChangeKind.BOUNCE)


class Queue(Protocol):
    """What is needed of the queue manager."""

    schedule: Schedule

    def withdraw(self, matches: Callable[[Job], bool]) -> int: ...

    def poke(self) -> None: ...


class Operations:
    """See the module's text.  ``queue`` is None while the service is stopped."""

    def __init__(
        self,
        spool: SqliteSpool,
        pauses: Pauses,
        *,
        state: str,
        now: Callable[[], int],
        emit: Callable[[Event, str], None],
        queue: Queue | None = None,
        seconds: Callable[[], float] | None = None,
    ) -> None:
        self._spool = spool
        self._pauses = pauses
        self._state = state
        self._now = now
        self._emit = emit
        self._queue = queue
        self._seconds = seconds

    def handlers(self) -> dict[str, Handler]:
        """The commands by their names on the control socket."""
        return {
            "change": self.change,
            "pause": self.pause,
            "resume": self.resume,
            "lanes": self.lanes,
            "pauses": self.pauses,
            "erase": self.erase,
        }

    # --- changes -------------------------------------------------------------------------------------------

    async def change(self, request: Mapping[str, Any], by: str) -> dict[str, int]:
        """Change what is selected; how many recipients changed."""
        try:
            selection = from_wire(request.get("selection"))
            change = change_from_wire(request.get("kind"), request.get("argument"))
        except ValueError as error:
            raise ControlError(str(error)) from None
        count = await self._change(selection, change, by)
        which = {name: value for name, value in request["selection"].items() if value not in (None, "", 0, [])}
        what = f"{change.kind.value} {change.argument}" if change.argument else change.kind.value
        self._emit(events.OPERATED(by=by, what=what, recipients=count, which=_text(which)), "")
        return {"changed": count}

    async def _change(self, selection: Selection, change: Change, by: str) -> int:
        queue, count = self._queue, 0
        if queue is not None and change.kind in _AT_ONCE:
            await self._end_rests(queue, selection)
        for round in range(ROUNDS):
            # Asked of the spool before the change, so that nothing is claimed again in between.
            taken = 0 if queue is None else queue.withdraw(partial(_among, selection))
            if round and not taken:
                break
            count += await self._spool.change(selection, change, by)
            if change.kind in _AT_ONCE:
                break  # what is in memory now has been changed, and is on its way
        if queue is not None:
            queue.poke()
        return count

    async def _end_rests(self, queue: Queue, selection: Selection) -> None:
        rows = await self._spool.page(selection, None, LOOKED_AT)
        for destination in {row.recipient.destination for row in rows}:
            lane = queue.schedule.lanes.get(destination)
            if lane is not None:
                lane.window.end_rest()

    # --- pauses --------------------------------------------------------------------------------------------

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

    # --- erasing -------------------------------------------------------------------------------------------

    async def erase(self, request: Mapping[str, Any], by: str) -> dict[str, int]:
        """Erase an address from the history of what has ended; how many messages named it, and how much waits."""
        address = request.get("address")
        if not isinstance(address, str) or "@" not in address:
            raise ControlError("what is to be erased is an address")
        messages = await self._spool.erase(address, known_hash(address, self._state))
        self._emit(events.ERASED(records=messages, by=by), "")
        return {"messages": messages}

    # --- what limits each destination ----------------------------------------------------------------------

    async def lanes(self, request: Mapping[str, Any], by: str) -> dict[str, Any]:
        """The destinations that the queue works on, with their windows."""
        if self._queue is None or self._seconds is None:
            return {}
        return {
            str(lane.destination): describe_lane(self._queue.schedule, lane, self._seconds())
            for lane in self._queue.schedule.lanes.values()
        }


def describe_lane(schedule: Schedule, lane: Lane, now: float) -> dict[str, Any]:
    """One destination's window, and what limits it now."""
    window, limited = lane.window, schedule.limited(lane.destination, now)
    return {
        "active": window.active,
        "window": 1 if window.probing else window.window,
        "limited_by": "" if limited.by is Limit.NOTHING else limited.by.value,
        "detail": limited.detail,
        "seconds": max(0, round(limited.until - now)) if limited.until else 0,
    }


def _among(selection: Selection, job: Job) -> bool:
    return concerns(selection, job.lease.message, job.recipients)


def _place(request: Mapping[str, Any]) -> str:
    place = request.get("place")
    if not isinstance(place, str) or not place:
        raise ControlError(f'a place is a service, a next hop, "service:next hop", or "{EVERYTHING}"')
    return place


def _text(which: Mapping[str, Any]) -> str:
    """Conditions in words; addresses stand alone, so that they can be masked."""
    said = []
    for name, value in which.items():
        if name in ("sender", "recipient"):
            said.append(f"{name} <{value}>")
        else:
            said.append(f"{name} {', '.join(value) if isinstance(value, list) else value}")
    return "; ".join(said) or "all"
