"""Reports owed: one for all recipients of a message whose ends come together, rather than one for each batch.

Contract: what is owed stands in the spool, written with the outcomes it is about; a pass leases it, composes one report
for each message and kind, and writes that in the transaction that marks it done.  A message is reported once none of
its recipients is being worked on and none has ended for ``QUIET`` seconds, or ``ROUND`` seconds after the first.  Where
nobody else of a message waits, nothing is owed at all: ``alone`` says so, and the report goes with the outcome.
How it fails: a report that cannot be composed is tried again after ``AGAIN`` seconds, doubled each time; after
``TRIES`` tries the recipients that failed are held with the reason, for nobody ends untold.  A crash loses nothing:
what is owed is found at the next start, and a report is visible only with the mark that it is done.
Limits: ``PAGE`` recipients a pass; ``KNOWN`` messages are watched for others that end, more are reported at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mta import events
from mta.bounce.decide import FAILED, Ended
from mta.envelope import Recipient, Status
from mta.events import Event
from mta.interfaces import ISpool
from mta.queue.conclude import Report, Reporter
from mta.queue.passes import Passes
from mta.queue.progress import outcome_of
from mta.reply import MailFailure
from mta.spool.values import Claim, Lease, Next, Result, Selection

log = Logger()

QUIET: Final = 5.0
ROUND: Final = 30.0
AGAIN: Final = 60.0
TRIES: Final = 5
PAGE: Final = 2000
KNOWN: Final = 10_000


class _Round(NamedTuple):
    """Monotonic seconds of the first and the last end of a message's round; ``tries`` that failed, ``after`` when the
    next is."""

    first: float
    last: float
    tries: int = 0
    after: float = 0.0


class Notices:
    """See the module's text.  ``busy`` gives the ids of messages being worked on; ``claim`` makes the claim for
    a lease; ``written`` is called with each result that is on disk; ``keep`` holds what is being worked on."""

    def __init__(
        self,
        *,
        spool: ISpool,
        reporter: Reporter,
        reactor: IReactorTime,
        now: Callable[[], int],
        claim: Callable[[], Claim],
        busy: Callable[[], set[str]],
        written: Callable[[Result], None],
        keep: Callable[[], Awaitable[None]],
    ) -> None:
        self._spool = spool
        self._reporter = reporter
        self._reactor = reactor
        self._now = now
        self._claim = claim
        self._busy = busy
        self._written = written
        self._keep = keep
        self._rounds: dict[str, _Round] = {}
        self._passes = Passes(reactor, self._pass_and_wait, "reports owed", QUIET)
        #: What was owed when the process ended is told at the start; what is owed at the stop stays so.
        self.start, self.stop = self._passes.start, self._passes.stop

    def owe(self, id: str) -> None:
        """A report about recipients of this message is owed: that is on disk now."""
        seconds = self._reactor.seconds()
        known = self._rounds.get(id)
        if known is not None:
            self._rounds[id] = known._replace(last=seconds)
        elif len(self._rounds) < KNOWN:
            self._rounds[id] = _Round(seconds, seconds)
        self._passes.within(QUIET)

    async def alone(self, lease: Lease) -> bool:
        """Does the lease hold all of its message that can still come to an end, with nothing owed about others?"""
        id, some = lease.message.id, len(lease.recipients)
        if id in self._rounds:
            return False
        try:
            rows = await self._spool.page(Selection(ids=(id,)), None, some + 1)
        except MailFailure:
            return False
        # Those that are held or wait for something else may take days: what they come to is another round's.
        mine = {recipient.id for recipient in lease.recipients}
        return all(row.recipient.id in mine for row in rows)

    async def _pass_and_wait(self) -> float | None:
        more = True
        try:
            more = await self._pass()
        except MailFailure as failure:
            log.warn("reports owed could not be read: {failure}", failure=str(failure))
        return QUIET if more or self._rounds else None

    async def _pass(self) -> bool:
        """Tell what is ripe.  Returns whether something stays owed."""
        await self._keep()
        owner, until = self._claim()
        leases = await self._spool.claim_notices(owner, self._now(), until, PAGE)
        if not leases:
            self._rounds.clear()  # what was owed has been told, by a lease that was thought lost
            return False
        full = sum(len(lease.recipients) for lease in leases) >= PAGE
        # Where the page is full it may end within the last message.
        left = leases if not full or len(leases) == 1 else leases[:-1]
        later = leases[len(left) :]
        busy, seconds = self._busy(), self._reactor.seconds()
        left.reverse()
        try:
            while left:
                if not self._ripe(left[-1].message.id, busy, seconds) or not await self._tell(left[-1]):
                    later.append(left[-1])
                left.pop()
        finally:
            later += left
            if later:
                await self._spool.release(later)
        return bool(later) or full

    def _ripe(self, id: str, busy: set[str], seconds: float) -> bool:
        known = self._rounds.get(id)
        if known is None:
            return True
        if seconds < known.after:
            return False
        quiet = seconds - known.last >= QUIET and id not in busy
        return quiet or seconds - known.first >= ROUND

    async def _tell(self, lease: Lease) -> bool:
        """Compose and write.  False: it stays owed."""
        now, ended = self._now(), _ended(lease.recipients)
        report = await self._compose(lease, ended, now)
        if report.again and not self._give_up(lease.message.id):
            for incoming in report.spawned:
                incoming.abort()
            return False
        following, held = _held(ended, report.hold, now) if report.hold else ({}, [])
        result = Result(
            lease=lease,
            next=following,
            spawned=report.spawned,
            notices_done=tuple(recipient.id for recipient in lease.recipients),
            events=(*report.events, *held),
        )
        self._rounds.pop(lease.message.id, None)
        for lost in await self._spool.finish((result,)):
            log.error("the lease of {id} was lost: its report is made again", id=lost.message.id)
            return True
        self._written(result)
        return True

    async def _compose(self, lease: Lease, ended: Sequence[Ended], now: int) -> Report:
        if not ended:
            return Report()
        try:
            return await self._reporter.report(lease.message, ended, now)
        except Exception as error:
            log.failure("the report about {id} could not be made", id=lease.message.id)
            why = f"the report about it could not be made: {str(error) or type(error).__name__}"
            return Report(hold=why, again=True)

    def _give_up(self, id: str) -> bool:
        """One more report about this message could not be composed."""
        seconds = self._reactor.seconds()
        known = self._rounds.get(id, _Round(seconds, seconds))
        tries = known.tries + 1
        self._rounds[id] = known._replace(tries=tries, after=seconds + AGAIN * 2 ** (tries - 1))
        return tries >= TRIES


def _ended(recipients: Sequence[Recipient]) -> list[Ended]:
    """What is to be told.  Who was to be warned and has ended since needs no warning any more."""
    ended: list[Ended] = []
    for recipient in recipients:
        progress = recipient.progress
        if "status" not in progress:
            ended.append((recipient, outcome_of(recipient, Status.DEFERRED)))
        elif progress.get("owed") == progress["status"]:
            ended.append((recipient, outcome_of(recipient, Status(progress["status"]))))
    return ended


def _held(ended: Sequence[Ended], reason: str, now: int) -> tuple[dict[int, Next], list[Event]]:
    """Those that failed are held instead."""
    failed = [recipient for recipient, outcome in ended if outcome.status in FAILED]
    lasting = ("reply", "scope", "host", "stage", "trouble", "tried", "warned", "since")
    following = {
        recipient.id: Next(
            now,
            recipient.destination,
            reason,
            {name: recipient.progress[name] for name in lasting if name in recipient.progress},
        )
        for recipient in failed
    }
    told = [events.HELD(now, recipient.id, address=str(recipient.address), reason=reason) for recipient in failed]
    return following, told
