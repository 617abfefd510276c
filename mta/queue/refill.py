"""Fetches what is due from the spool into the active set, per destination and in slices.

Contract: a destination gets a slice only while few of its recipients wait in memory and it does not rest; a full
active set is never filled further, and the next pass begins with who had no room.  What is due while its destination
rests is put off (``mta.queue.resting``).  What waits for one that is paused stays as it is, and is passed over; what is
to be said of it is said by ``mta.queue.sweep``.  The spool is looked at when something falls due, when somebody says
so, and at least every ``sleep`` seconds whatever the timers say: the wall clock may jump.
How it fails: a spool that cannot be asked is asked again after ``TROUBLE_PAUSE``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mta.envelope import Destination
from mta.interfaces import ISpool
from mta.queue.passes import Passes
from mta.queue.resting import Resting
from mta.queue.schedule import Lane, Schedule
from mta.queue.untried import Rest, looked_at_only
from mta.reply import MailFailure
from mta.spool.values import ID_SHIFT, Change, ChangeKind, Claim, Due, Lease, PageKey, Selection, id_text

log = Logger()

TROUBLE_PAUSE: Final = 5.0
LOOK_SOON: Final = 0.5
#: Recipients claimed at once for one destination; it gets more when it is down to a quarter of that.
SLICE: Final = 200
LOW: Final = SLICE // 4
DUE_PAGE: Final = 100
#: Milliseconds between two slices of a destination that rests.
SLICE_PAUSE: Final = 1000
#: A clock that is set back by so many milliseconds is minded; a message from so far ahead came by a wrong one.
SET_BACK: Final = 600_000
FUTURE: Final = 3_600_000


class Refill:
    """See the module's text.  ``claim`` makes the claim for a lease, ``keep`` renews those that there are, for a
    spool gives away what is over by the wall clock, ``take`` gets each lease, ``room`` is how many
    recipients the active set may hold, ``done`` is called after each look.  ``untried`` gets a lease of which not all
    is to be tried now, and whether its destination rests."""

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
        untried: Callable[[Lease, Rest | None], Awaitable[None]],
        room: Callable[[], int],
        done: Callable[[], None],
        sleep: float,
    ) -> None:
        self._spool = spool
        self._schedule = schedule
        self._reactor = reactor
        self._now = now
        self._claim_made = claim
        self._keep = keep
        self._take = take
        self._untried = untried
        self._room = room
        self._done = done
        self._sleep = sleep
        self._passes = Passes(reactor, self._look, "claiming from the spool", TROUBLE_PAUSE)
        #: It begins with a look; after a stop no further one begins.
        self.start, self.stop = self._passes.start, self._passes.stop
        self._begin: Due | None = None  # where the next pass begins, so that who comes last is not always last
        self._ahead: int | None = None  # milliseconds of the wall clock over the monotonic one, at the last look
        self.resting = Resting(
            spool=spool,
            schedule=schedule,
            seconds=reactor.seconds,
            now=now,
            claim=claim,
            rest=self._rests,
            take=take,
            untried=untried,
            look=self.within,
        )
        self._begun = False  # of what was put off by a process before this one all is known
        self.overflow = False  # something stayed in the spool because the active set was full

    @property
    def running(self) -> bool:
        return self._passes.running

    def within(self, seconds: float) -> None:
        """Look into the spool so many seconds from now at the latest."""
        self._passes.within(min(seconds, self._sleep))

    def after(self, lane: Lane) -> None:
        """A job of this lane ended: fetch more where the spool has more."""
        room_again = self.overflow and self._schedule.size <= self._room() * 3 // 4
        if room_again or (lane.due_more and lane.recipients < LOW):
            self.within(0.0)

    async def _look(self) -> float:
        wait = TROUBLE_PAUSE
        try:
            self._schedule.wake(self._reactor.seconds())
            self.overflow = False
            await self._keep()
            await self._mind_the_clock()
            if not self._begun:
                await self.resting.begin()
                self._begun = True
            due = await self._claim_due()
            await self.resting.work()
            wait = (due - self._now()) / 1000
        except MailFailure as failure:
            log.warn("the spool could not be asked: {failure}", failure=str(failure))
        rested = self._schedule.next_wake(self._reactor.seconds())
        if rested is not None:
            wait = min(wait, rested - self._reactor.seconds())
        self._done()
        return min(wait, self._sleep)

    async def _claim_due(self) -> int:
        """Claim a slice for each destination that has something due; returns when the next falls due."""
        while True:
            soonest, claimed = await self._pass()
            if not claimed:
                return soonest
            # What was due is taken: look once more, for when the rest of these destinations falls due.

    async def _pass(self) -> tuple[int, int]:
        """Once over all destinations: when the next falls due that is not now, and how many were claimed.

        It begins with the one that had no room the last time, and ends where it began.
        """
        begin, self._begin = self._begin, None
        before, wrapped, full = begin, begin is None, False
        soonest, claimed = self._now() + round(self._sleep * 1000), 0
        while self.running and not full:
            page = await self._spool.due(self._now(), before, DUE_PAGE)
            for due in page:
                if due.first_due > self._now():
                    soonest = min(soonest, due.first_due)
                elif wrapped and begin is not None and due.first_due > begin.first_due:
                    return soonest, claimed
                elif self._schedule.paused(due.destination):
                    pass  # it costs no more than the question
                elif rest := self._rests(due.destination):
                    soonest = min(soonest, await self._look_at(due.destination, rest))
                elif self._schedule.size < self._room():
                    claimed += await self._claim(due.destination)
                elif not full:
                    full, self.overflow, self._begin = True, True, before
                before = due
            if len(page) < DUE_PAGE:
                if wrapped:
                    break
                before, wrapped = None, True
        return soonest, claimed

    async def _mind_the_clock(self) -> None:
        """Where the clock was set back what waits would wait for times that do not come soon: it is due at once.  (What
        is to wait until a time, RFC 4865, is put back by ``mta.queue.untried``.)"""
        now, seconds = self._now(), round(self._reactor.seconds() * 1000)
        ahead, new = self._ahead, now - seconds
        if ahead is None:
            # What arrived in the future did so by another clock, before we were started.
            future = PageKey(id_text((now + FUTURE) << ID_SHIFT), 0)
            back = bool(await self._spool.page(Selection(), future, 1))
        else:
            back = new < ahead - SET_BACK
        if back:
            log.warn("the clock was set back: all that waits is tried now")
            await self._spool.change(Selection(), Change(ChangeKind.RETRY), "the clock")
        self._ahead = new  # only now: where the spool could not be asked it is asked again

    def _rests(self, destination: Destination) -> float:
        """For how many seconds nothing may be tried there; 0: it may."""
        lane = self._schedule.lanes.get(destination)
        rest = 0.0 if lane is None else lane.window.rests_until - self._reactor.seconds()
        return max(rest, 1.0) if rest > 0 else 0.0

    async def _claim(self, destination: Destination) -> int:
        """A slice for a destination; returns how many recipients."""
        lane = self._schedule.lanes.get(destination)
        probing = lane is not None and lane.window.probing
        if lane is not None and (lane.recipients >= LOW or (probing and (lane.recipients or lane.window.active))):
            lane.due_more = True  # fetched when it is low, or was reached
            return 0
        most = 1 if probing else SLICE
        claimed = await self._slice(destination, most)
        lane = self._schedule.lanes.get(destination)
        if lane is not None:
            lane.due_more = claimed >= most
        self._done()
        return claimed

    async def _look_at(self, destination: Destination, rest: float) -> int:
        """A slice of what is due while its destination rests, for what is to be said and done without an attempt;
        returns when to come again."""
        lane = self._schedule.lanes.get(destination)
        if lane is not None:
            lane.due_more = True  # fetched when it has rested
        looked = await self._slice(destination, SLICE, self.resting.sweep(destination, rest))
        return self._now() + (SLICE_PAUSE if looked >= SLICE else round(self._sleep * 1000))

    async def _slice(self, destination: Destination, most: int, rest: Rest | None = None) -> int:
        owner, until = self._claim_made()
        leases = await self._spool.claim(owner, destination, self._now(), until, most)
        for lease in leases:
            if rest is not None or looked_at_only(lease, self._now()):
                await self._untried(lease, rest)
                if rest is not None and rest.probe:
                    rest = rest._replace(probe=False)  # one is enough
            else:
                self._take(lease)
        return sum(len(lease.recipients) for lease in leases)
