"""Says on time what is to be said of mail that waits, wherever it waits: warnings, and the end.

What it is: mail is looked at when it reaches one of the ages at which something may have to be said (``Retries.ages``),
whatever its destination does meanwhile: it rests, is paused, or works for others first.  The spool is read in the order
of arrival, from where the last look at that age ended, so each message costs one look an age, and nothing is written of
those of whom nothing is to be said.  Whose times do not count from the arrival (RFC 2852, RFC 4865, a slow transfer) is
remembered with his own time.
Contract: what is to be said is said within ``SLACK`` + ``period`` seconds of its time.  Who is over then has had no try
at that time, and ends without one.  After ``again`` (a new configuration, an operator's change), a start, and a clock
that was set, everything that waits is looked at, in slices; after the last two only when ``PATIENCE`` seconds are over,
for what has become too old meanwhile may have its last try.  What is held is not looked at.
How it fails: a spool that cannot be asked is asked again after ``period``.
Limits: ``SLICE`` recipients a look, ``PAUSE`` seconds between two; ``MOST`` messages with times of their own are
remembered, while there are more everything is looked at every ``ROUND`` seconds.
"""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mta.envelope import Envelope, Recipient
from mta.interfaces import ISpool
from mta.queue.passes import Passes
from mta.queue.retry import Retries
from mta.queue.schedule import Job
from mta.queue.untried import next_time, to_say
from mta.reply import MailFailure
from mta.spool.values import ID_SHIFT, Claim, Lease, PageKey, Waiting, id_number, id_text

log = Logger()

#: Milliseconds: what is due by itself has its try first, and the end of a transfer may be so long after its beginning.
SLACK: Final = 60_000
PERIOD: Final = 30.0
#: The longest time without a look, in seconds.
LONGEST: Final = 600.0
PATIENCE: Final = 300.0
SLICE: Final = 1000
PAUSE: Final = 0.05
MOST: Final = 100_000
ROUND: Final = 600.0
#: A clock is set that goes by so many milliseconds more or less than the other one.
SET: Final = 600_000
_ALL: Final = (1 << ID_SHIFT) - 1


class _Age:
    """``after`` is the last that was looked at; ``at`` is when to ask again, by the wall clock; ``all``: everything is
    looked at first, whatever its age."""

    __slots__ = ("after", "all", "at", "milliseconds")

    def __init__(self, milliseconds: int, after: PageKey | None = None) -> None:
        self.milliseconds = milliseconds
        self.after = after
        self.all = after is None
        self.at = 0


class Sweep:
    """See the module's text.  ``claim`` makes the claim for a lease; ``leases`` are those in memory; ``withdraw`` takes
    jobs that match out of the schedule; ``untried`` gets what was taken from the spool, ``withdrawn`` what was in
    memory."""

    def __init__(
        self,
        *,
        spool: ISpool,
        reactor: IReactorTime,
        now: Callable[[], int],
        rules: Callable[[], Retries],
        claim: Callable[[], Claim],
        leases: Callable[[], Iterable[Lease]],
        withdraw: Callable[[Callable[[Job], bool]], list[Lease]],
        untried: Callable[[Lease], Awaitable[None]],
        withdrawn: Callable[[Lease], Awaitable[None]],
        period: float = PERIOD,
    ) -> None:
        self._spool = spool
        self._reactor = reactor
        self._now = now
        self._rules = rules
        self._claim = claim
        self._leases = leases
        self._withdraw = withdraw
        self._untried = untried
        self._withdrawn = withdrawn
        self._period = period
        self._passes = Passes(reactor, self._pass, "looking at what waits", period)
        self.stop = self._passes.stop
        self._ages: list[_Age] = []
        self._own: list[tuple[int, str]] = []  # when, by the wall clock, which message
        self._anew = False
        self._patient = True  # only what an operator gave up is looked for
        self._not_before = 0.0
        self._round: float | None = None
        self._ahead = 0  # milliseconds of the wall clock over the monotonic one

    def start(self) -> None:
        """Begin, when what has become too old while nothing ran has had its try."""
        self._ahead = self._difference()
        self._not_before = self._reactor.seconds() + PATIENCE
        self._passes.start()

    def again(self) -> None:
        """Look at everything."""
        self._anew = True
        self._passes.within(0.0)

    def _difference(self) -> int:
        return self._now() - round(self._reactor.seconds() * 1000)

    async def _pass(self) -> float:
        seconds, ahead = self._reactor.seconds(), self._difference()
        if abs(ahead - self._ahead) > SET:
            self._patient, self._not_before = True, seconds + PATIENCE
        self._ahead = ahead
        if self._patient and seconds >= self._not_before:
            self._patient, self._anew = False, True
        if self._patient and not self._anew and not self._ages:
            return min(self._not_before - seconds, self._period)
        try:
            if self._anew or (self._round is not None and seconds >= self._round):
                self._begin()
            await self._look_at_memory()
            await self._look_at_own()
            more = False
            for age in self._ages:
                more = await self._look(age) or more
        except MailFailure as failure:
            log.warn("the spool could not be asked: {failure}", failure=str(failure))
            return self._period
        return PAUSE if more or self._anew else self._period

    def _begin(self) -> None:
        """The least age goes over everything; the others need what comes to them from now on."""
        self._anew, self._round, self._own = False, None, []
        now = self._now()
        least, *others = sorted({0, *(round(seconds * 1000) for seconds in self._rules().ages)})
        self._ages = [_Age(least), *[_Age(other, _until(now - other - SLACK)) for other in others]]

    async def _look_at_memory(self) -> None:
        """What waits in memory may wait long there, behind a gate."""
        ids = {lease.message.id for lease in self._leases() if self._to_say(lease)}
        if ids:
            for lease in self._withdraw(lambda job: job.lease.message.id in ids):
                await self._withdrawn(lease)

    def _to_say(self, lease: Lease) -> bool:
        return any(self._concerns(lease.message.envelope, recipient) for recipient in lease.recipients)

    def _concerns(self, envelope: Envelope, recipient: Recipient) -> bool:
        if self._patient:
            return "bounce" in recipient.progress
        return to_say(envelope, recipient, self._rules(), self._now() - SLACK)

    async def _look_at_own(self) -> None:
        now = self._now()
        while self._own and self._own[0][0] <= now:
            entry = heapq.heappop(self._own)
            try:
                after: PageKey | None = PageKey(entry[1], -1)
                while after is not None:
                    waiting, after = await self._spool.waiting(after, id_number(entry[1]) >> ID_SHIFT, SLICE)
                    await self._examine([one for one in waiting if one.id == entry[1]])
            except BaseException:
                heapq.heappush(self._own, entry)  # the next sweep asks again
                raise

    async def _look(self, age: _Age) -> bool:
        """The next slice of those that have come to an age; is there more?"""
        now = self._now()
        if now < age.at:
            return False
        until = now - age.milliseconds - SLACK
        waiting, following = await self._spool.waiting(age.after, None if age.all else until, SLICE)
        await self._examine(waiting)
        if following is not None:
            age.after = following
            return True
        age.after, age.all = _until(until), False
        soonest = now + round(self._period * 1000)
        _, another = await self._spool.waiting(age.after, None, 1)
        latest = now + round(LONGEST * 1000)
        if another is None:
            # Who comes from now on has not come to this age before it is over.
            age.at = max(soonest, min(now + age.milliseconds, latest))
        else:
            comes = (id_number(another.id) >> ID_SHIFT) + age.milliseconds + SLACK
            age.at = max(soonest, min(comes, latest))
        return False

    async def _examine(self, waiting: Iterable[Waiting]) -> None:
        now, rules = self._now(), self._rules()
        concerned: list[PageKey] = []
        for one in waiting:
            if self._concerns(one.envelope, one.recipient):
                concerned.append(PageKey(one.id, one.recipient.id))
                continue
            envelope = one.envelope
            begun = id_number(one.id) >> ID_SHIFT
            if envelope.by_mode or envelope.hold_until or abs(envelope.arrived - begun) > SLACK:
                self._remember(next_time(envelope, one.recipient, rules, now - SLACK) + SLACK, one.id)
        if concerned:
            owner, until = self._claim()
            for lease in await self._spool.claim_some(owner, concerned, until):
                await self._untried(lease)

    def _remember(self, when: int, id: str) -> None:
        if len(self._own) < MOST:
            if not self._own or (when, id) != self._own[-1]:  # most of a message's recipients have the same
                heapq.heappush(self._own, (when, id))
        elif self._round is None:
            self._round = self._reactor.seconds() + ROUND


def _until(time: int) -> PageKey:
    """After all messages whose id was given by then."""
    return PageKey(id_text(max(time, 0) << ID_SHIFT | _ALL), 2**31)
