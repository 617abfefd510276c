"""Fetches what is due from the spool into the active set, per destination and in slices.

Contract: a destination gets a slice only while few of its recipients wait in memory and it does not rest; a full
active set is never filled further.  The spool is looked at when something falls due, when somebody says so, and at
least every ``LONGEST_SLEEP`` seconds whatever the timers say: the wall clock may jump.
How it fails: a spool that cannot be asked is asked again after ``TROUBLE_PAUSE``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mta.envelope import Destination
from mta.interfaces import ISpool
from mta.queue.schedule import Lane, Schedule
from mta.reply import MailFailure
from mta.spool.values import Claim, Due, Lease
from mta.waiting import background

log = Logger()

LONGEST_SLEEP: Final = 60.0
TROUBLE_PAUSE: Final = 5.0
LOOK_SOON: Final = 0.5
#: Recipients claimed at once for one destination; it gets more when it is down to a quarter of that.
SLICE: Final = 200
LOW: Final = SLICE // 4
DUE_PAGE: Final = 100


class Refill:
    """See the module's text.  ``claim`` makes the claim for a lease, ``keep`` renews those that there are, for a
    spool gives away what is over by the wall clock, ``take`` gets each lease, ``room`` is how many
    recipients the active set may hold, ``done`` is called after each look."""

    def __init__(
        self,
        *,
        spool: ISpool,
        schedule: Schedule,
        reactor: IReactorTime,
        now: Callable[[], int],
        claim: Callable[[], Claim],
        keep: Callable[[], Awaitable[None]],
        take: Callable[[Lease], None],
        room: Callable[[], int],
        done: Callable[[], None],
    ) -> None:
        self._spool = spool
        self._schedule = schedule
        self._reactor = reactor
        self._now = now
        self._claim_made = claim
        self._keep = keep
        self._take = take
        self._room = room
        self._done = done
        self._timer: Any = None
        self._looking = False
        self._again = False
        self._running = False
        self.overflow = False  # something stayed in the spool because the active set was full

    def start(self) -> None:
        """Begin with a look."""
        self._running = True
        self.within(0.0)

    def stop(self) -> None:
        """No further look begins."""
        self._running = False
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    @property
    def running(self) -> bool:
        return self._running

    def within(self, seconds: float) -> None:
        """Look into the spool so many seconds from now at the latest."""
        if not self._running:
            return
        seconds = min(max(seconds, 0.0), LONGEST_SLEEP)
        timer = self._timer
        if timer is not None and timer.active():
            if timer.getTime() <= self._reactor.seconds() + seconds:
                return
            timer.cancel()
        self._timer = self._reactor.callLater(seconds, self._wake)

    def after(self, lane: Lane) -> None:
        """A job of this lane ended: fetch more where the spool has more."""
        room_again = self.overflow and self._schedule.size <= self._room() * 3 // 4
        if room_again or (lane.due_more and lane.recipients < LOW):
            self.within(0.0)

    def _wake(self) -> None:
        if self._looking:
            self._again = True
            return
        self._looking = True
        background(self._look(), "claiming from the spool")

    async def _look(self) -> None:
        wait = TROUBLE_PAUSE
        try:
            self._schedule.wake(self._reactor.seconds())
            self.overflow = False
            await self._keep()
            wait = (await self._claim_due() - self._now()) / 1000
        except MailFailure as failure:
            log.warn("the spool could not be asked: {failure}", failure=str(failure))
        finally:
            self._looking = False
            rested = self._schedule.next_wake(self._reactor.seconds())
            if rested is not None:
                wait = min(wait, rested - self._reactor.seconds())
            if self._again:
                self._again, wait = False, 0.0
            self.within(wait)
            self._done()

    async def _claim_due(self) -> int:
        """Claim a slice for each destination that has something due; returns when the next falls due."""
        while True:
            soonest, claimed = await self._pass()
            if not claimed:
                return soonest
            # What was due is taken: look once more, for when the rest of these destinations falls due.

    async def _pass(self) -> tuple[int, int]:
        """Once over all destinations: when the next falls due that is not now, and how many were claimed."""
        after: Due | None = None
        soonest, claimed = self._now() + round(LONGEST_SLEEP * 1000), 0
        while self._running:
            if self._schedule.size >= self._room():
                self.overflow = True
                break
            page = await self._spool.due(self._now(), after, DUE_PAGE)
            for due in page:
                if due.first_due > self._now():
                    soonest = min(soonest, due.first_due)
                elif self._schedule.size < self._room():
                    claimed += await self._claim(due.destination)
                else:
                    self.overflow = True
            if len(page) < DUE_PAGE:
                break
            after = page[-1]
        return soonest, claimed

    async def _claim(self, destination: Destination) -> int:
        lane = self._schedule.lanes.get(destination)
        if lane is not None and (self._reactor.seconds() < lane.window.rests_until or lane.recipients >= LOW):
            lane.due_more = True  # fetched when it is low, or has rested
            return 0
        owner, until = self._claim_made()
        leases = await self._spool.claim(owner, destination, self._now(), until, SLICE)
        claimed = 0
        for lease in leases:
            claimed += len(lease.recipients)
            self._take(lease)
        lane = self._schedule.lanes.get(destination)
        if lane is not None:
            lane.due_more = claimed >= SLICE
        self._done()
        return claimed
