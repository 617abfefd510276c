"""What waits for a destination that rests: put off once, and all of it woken when that is reached.

What it is: while a destination rests its next-try time stands for all that waits for it.  A recipient that falls due
meanwhile is written once (``mta.queue.untried``): it is ``put off`` until it expires, and its own due time is kept;
what is to be said of it before that is said by ``mta.queue.sweep``.  One of them is to probe the destination when the
rest is over; when it is reached, by whatever message, all that was put off has its own due time again
(``ChangeKind.WAKE``).
Contract: somebody always probes.  One recipient of each destination falls due at the end of its rest, also for a
process that was started meanwhile and knows nothing of it; where that one is gone, another is taken.
How it fails: ``work`` raises ``MailFailure`` where the spool cannot be asked, and goes on with the rest when it is
called again.  A wake that fails is made up for at the next contact with the destination.
Limits: ``PROBES`` recipients are looked at for one to probe with; if none of them may be tried now, the first of them
to fall due does it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from mta.envelope import Destination, Recipient
from mta.interfaces import ISpool
from mta.queue.placing import narrowed
from mta.queue.progress import early, put_off
from mta.queue.retry import LONGEST_WAIT
from mta.queue.schedule import Schedule
from mta.queue.untried import Rest
from mta.spool.values import Change, ChangeKind, Claim, Due, Lease, Next, Selection
from mta.waiting import background

PROBES: Final = 16
PAGE: Final = 100
#: So many destinations are woken at once, and seconds until the next: each is a job of the writer, before which no
#: message is taken in.
WAKES: Final = 100
PAUSE: Final = 0.5
#: Later than anything is due.
END_OF_TIME: Final = 2**62
#: Seconds until somebody else probes a destination of which nothing was heard.
AGAIN: Final = 60.0


class Resting:
    """See the module's text.  ``rest`` says for how many seconds a destination rests; ``take`` and ``untried`` are as
    in ``mta.queue.refill``, ``look`` asks for a look, and so for ``work``, within some seconds."""

    def __init__(
        self,
        *,
        spool: ISpool,
        schedule: Schedule,
        seconds: Callable[[], float],
        now: Callable[[], int],
        claim: Callable[[], Claim],
        rest: Callable[[Destination], float],
        take: Callable[[Lease], None],
        untried: Callable[[Lease, Rest | None], Awaitable[None]],
        look: Callable[[float], None],
    ) -> None:
        self._spool = spool
        self._schedule = schedule
        self._seconds = seconds
        self._now = now
        self._claim = claim
        self._rest = rest
        self._take = take
        self._untried = untried
        self._look = look
        self._put_off: set[Destination] = set()  # of which something was
        self._begun: list[Destination] = []  # that need somebody who is due when their rest ends
        # Whose rest is over and of which nothing was heard since, and when somebody else is to probe it.
        self._silent: dict[Destination, float] = {}
        # Something waited there at the start, perhaps put off: whoever waits with it and gets through wakes it.
        self._before: set[Destination] = set()
        self._missed: set[Destination] = set()  # to be woken: something was put off after they were, or all are

    def __bool__(self) -> bool:
        """Was anything put off?"""
        return bool(self._put_off or self._before or self._missed)

    def sweep(self, destination: Destination, seconds: float) -> Rest:
        """What is due there is about to be put off; the first time one of it is to probe."""
        probe = destination not in self._put_off
        self._put_off.add(destination)
        return Rest(seconds, probe)

    def begins(self, destination: Destination, seconds: float) -> None:
        """It rests from now on."""
        self._silent.pop(destination, None)
        if destination in self._put_off:
            self._begun.append(destination)
            self._look(0.0)
        self._look(seconds)

    def tried(self, destination: Destination, recipients: Sequence[Recipient], reached: bool) -> None:
        """A batch ended there, after which it does not rest."""
        if destination not in self._put_off:
            told = reached and destination in self._before
            if not told and not any(put_off(recipient) for recipient in recipients):
                return
            self._before.discard(destination)
            self._put_off.add(destination)  # by a process before this one
        if reached:
            self._put_off.discard(destination)
            self._wake(destination)
        else:
            self._silent[destination] = 0.0
            self._look(0.0)

    def wake_all(self) -> None:
        """By a new configuration another look may be due."""
        self._missed |= self._put_off
        self._put_off.clear()
        self._look(0.0)

    def _wake(self, destination: Destination) -> None:
        change = self._spool.change(Selection(destination=destination), Change(ChangeKind.WAKE), "the queue")

        def failed(_: object) -> None:
            self._put_off.add(destination)
            self._silent[destination] = self._seconds() + AGAIN

        background(change, "waking what waits for a destination", failed).addCallback(lambda _: self._look(0.0))

    def put_back(self, steps: Iterable[Next]) -> None:
        """These were written: a wake while they were claimed did not find those that were put off."""
        for step in steps:
            if step.progress.get("try", step.due) < step.due and step.destination not in self._put_off:
                self._missed.add(step.destination)
                self._look(0.0)

    async def begin(self) -> None:
        """What a process before this one put off is not known; where nothing is due for long there is no probe."""
        far = self._now() + round(LONGEST_WAIT * 1000)
        after: Due | None = None
        while True:
            page = await self._spool.due(END_OF_TIME, after, PAGE)
            for due in page:
                if due.first_due > far:
                    self._put_off.add(due.destination)
                    self._silent.setdefault(due.destination, 0.0)
                elif due.destination not in self._put_off:
                    self._before.add(due.destination)
            if len(page) < PAGE:
                return
            after = page[-1]

    async def work(self) -> None:
        """Somebody is to probe each destination whose rest begins or is over."""
        for _ in range(min(len(self._missed), WAKES)):
            self._wake(self._missed.pop())
        if self._missed:
            self._look(PAUSE)
        while self._begun:
            if self._begun[-1] in self._put_off:
                await self._find_probe(self._begun[-1])
            self._begun.pop()
        seconds = self._seconds()
        while self._schedule.rested:
            self._silent[self._schedule.rested.pop()] = 0.0
        for destination, again in list(self._silent.items()):
            if destination not in self._put_off:
                del self._silent[destination]
            elif seconds >= again and not self._busy(destination):
                await self._find_probe(destination)
                self._silent[destination] = seconds + AGAIN

    def _busy(self, destination: Destination) -> bool:
        """Somebody is about to try it, or must not."""
        lane = self._schedule.lanes.get(destination)
        under_way = lane is not None and bool(lane.recipients or lane.window.active)
        return under_way or self._rest(destination) > 0 or self._schedule.paused(destination)

    async def _find_probe(self, destination: Destination) -> None:
        """One of those that were put off is tried, or is due when the rest is over."""
        owner, until = self._claim()
        now = self._now()
        leases = await self._spool.claim(owner, destination, END_OF_TIME, until, PROBES)
        others: list[Lease] = []
        found = False
        for lease in leases:
            ready = () if found or lease.message.envelope.hold_until > now else _ready(lease, now)
            if not ready:
                others.append(lease)
                continue
            found = True
            if len(ready) < len(lease.recipients):
                others.append(narrowed(lease, [one for one in lease.recipients if one not in ready]))
            rest = self._rest(destination)
            if rest:
                await self._untried(narrowed(lease, ready), Rest(rest, probe=True))
            else:
                self._take(narrowed(lease, ready))
        if others:
            await self._spool.release(others)
            if destination not in self._put_off:
                self._missed.add(destination)
                self._look(0.0)


def _ready(lease: Lease, now: int) -> tuple[Recipient, ...]:
    """Those that may be tried; who was given up by an operator is not."""
    return tuple(
        one
        for one in lease.recipients
        if (put_off(one) or (one.due <= now and not early(one, now))) and "bounce" not in one.progress
    )
