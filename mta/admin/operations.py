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
from typing import Any, Final

from mta import events
from mta.address import Address, AddressError
from mta.admin.control import ControlError, Handler
from mta.admin.pausing import Pausing, Queue
from mta.admin.privacy import known_hash
from mta.admin.refusals import Refusals, erase_refused
from mta.admin.selection import change_from_wire, concerns, from_wire
from mta.events import Event
from mta.queue.paused import Pauses
from mta.queue.schedule import Job, Lane, Limit, Schedule
from mta.spool.sqlite import SqliteSpool
from mta.spool.values import Change, ChangeKind, Selection
from mta.submission.brakes import Brakes, opened_here
from mta.submission.holding import selection as held_of

ROUNDS: Final = 5
#: Destinations of a selection that are tried at once although they rest; found in so many of its recipients.
LOOKED_AT: Final = 500
#: Changes after which something can go out at once.
_AT_ONCE: Final = (ChangeKind.RETRY, ChangeKind.RELEASE, ChangeKind.REROUTE, ChangeKind.BOUNCE)


class Operations(Pausing):
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
        refusals: Refusals | None = None,
        brakes: Brakes | None = None,
    ) -> None:
        super().__init__(pauses, now=now, emit=emit, queue=queue)
        self._spool = spool
        self._state = state
        self._seconds = seconds
        self._refusals = refusals
        self._brakes = brakes

    def handlers(self) -> dict[str, Handler]:
        """The commands by their names on the control socket."""
        return {
            **super().handlers(),
            "change": self.change,
            "lanes": self.lanes,
            "erase": self.erase,
            "account-release": self.release_account,
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
            changed = await self._spool.change(selection, change, by)
            count += changed
            if change.kind in _AT_ONCE:
                break  # what is in memory now has been changed, and is on its way
            if round and not taken and not changed:
                break  # a second look: what was on its way back into the spool meanwhile was in neither
        if queue is not None:
            queue.poke()
            if change.kind in (ChangeKind.BOUNCE, ChangeKind.RELEASE):
                queue.look_at_all()  # also what waits for a destination that is paused
        return count

    async def _end_rests(self, queue: Queue, selection: Selection) -> None:
        rows = await self._spool.page(selection, None, LOOKED_AT)
        for destination in {row.recipient.destination for row in rows}:
            lane = queue.schedule.lanes.get(destination)
            if lane is not None:
                queue.schedule.end_rest(lane)

    async def release_account(self, request: Mapping[str, Any], by: str) -> dict[str, Any]:
        """Open the brake of an account, and let go or delete what is held because of it."""
        name, drop = request.get("account"), request.get("drop") is True
        if not isinstance(name, str) or not name:
            raise ControlError("say which account")
        # First, or what is let go would be held again.
        why = await (opened_here(self._state, self._now, name) if self._brakes is None else self._brakes.release(name))
        count = await self._change(held_of(name), Change(ChangeKind.DELETE if drop else ChangeKind.RELEASE), by)
        done = f"{'deleted' if drop else 'released'} by {by}"
        self._emit(events.ACCOUNT_RELEASED(account=name, recipients=count, by=done), "")
        return {"changed": count, "why": why}

    # --- erasing -------------------------------------------------------------------------------------------

    async def erase(self, request: Mapping[str, Any], by: str) -> dict[str, int]:
        """Erase an address from the history of what has ended, and of what was refused; how many named it."""
        address = request.get("address")
        try:
            Address.parse(address if isinstance(address, str) else "", utf8=True)
        except AddressError as error:
            raise ControlError(f"what is to be erased is one address: {error}") from None
        assert isinstance(address, str)
        hashed = known_hash(address, self._state)
        messages = await self._spool.erase(address, hashed)
        try:
            if self._refusals is not None:
                refused = self._refusals.erase(address, hashed)
            else:
                refused = erase_refused(self._state, address, hashed)
        except OSError as error:
            raise ControlError(f"not erased from what is known of refused mail: {error}") from None
        self._emit(events.ERASED(records=messages, by=by), "")
        return {"messages": messages, "refused": refused}

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


def _text(which: Mapping[str, Any]) -> str:
    """Conditions in words; addresses stand alone, so that they can be masked."""
    said = []
    for name, value in which.items():
        if name in ("sender", "recipient"):
            said.append(f"{name} <{value}>")
        else:
            said.append(f"{name} {', '.join(value) if isinstance(value, list) else value}")
    return "; ".join(said) or "all"
