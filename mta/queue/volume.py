"""How much waits, in all and of each sender, against ``queue.max_size`` and ``queue.max_per_sender``.

Contract: the sum is the spool's own at the start and every ``SYNC`` seconds, and counted in between; what a sender has
waiting is counted from the start of the process on: what waited before does not count against anybody.  Nothing is
counted while no limit is set.  A message that passes a limit by its number of recipients is taken; the next is not.
How it fails: where the spool cannot be asked, the sum goes on as counted.
Limits: ``SENDERS`` are remembered; while there are more, the further ones are not limited.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mta.envelope import Envelope
from mta.interfaces import ISpool
from mta.reply import MailFailure, Reply
from mta.sender import sender_of
from mta.spool.values import Result
from mta.waiting import background

log = Logger()

SYNC: Final = 300.0
SENDERS: Final = 100_000

FULL: Final = Reply.of(452, "4.3.1", "The queue is full, please try again later")
TOO_MUCH: Final = Reply.of(452, "4.3.2", "Too much of your mail is waiting here, please try again later")


class Volume:
    """See the module's text.  ``now``: UTC milliseconds."""

    def __init__(self, spool: ISpool, reactor: IReactorTime, now: Callable[[], int]) -> None:
        self._spool = spool
        self._reactor = reactor
        self._synced: float | None = None
        self._now = now
        self._max_size = 0
        self._max_per_sender = 0
        self._since = now()
        self._waiting = 0
        self._senders: dict[str, int] = {}

    def configure(self, max_size: int, max_per_sender: int) -> None:
        """The limits; 0 is none."""
        if max_per_sender and not self._max_per_sender:
            self._since, self._senders = self._now(), {}
        if max_size and not self._max_size:
            self._synced = None
        self._max_size, self._max_per_sender = max_size, max_per_sender

    @property
    def limited(self) -> bool:
        """Is anything to be counted?"""
        return bool(self._max_size or self._max_per_sender)

    def tick(self) -> None:
        """Take the sum from the spool, where it is time to."""
        seconds = self._reactor.seconds()
        if self._max_size and (self._synced is None or seconds - self._synced >= SYNC):
            self._synced = seconds
            background(self._sync(), "counting what waits")

    async def _sync(self) -> None:
        try:
            totals = await self._spool.totals()
        except MailFailure as failure:
            log.warn("the spool could not say how much waits: {failure}", failure=str(failure))
            return
        self._waiting = totals.queued + totals.held

    def refuses(self, envelope: Envelope) -> Reply | None:
        """See ``IQueue``."""
        if self._max_size and self._waiting >= self._max_size:
            return FULL
        if self._max_per_sender and self._senders.get(sender_of(envelope), 0) >= self._max_per_sender:
            return TOO_MUCH
        return None

    def accepted(self, envelope: Envelope, recipients: int) -> None:
        """So many more wait."""
        if not self.limited:
            return
        self._waiting += recipients
        if self._max_per_sender:
            sender = sender_of(envelope)
            if sender in self._senders or len(self._senders) < SENDERS:
                self._senders[sender] = self._senders.get(sender, 0) + recipients

    def ended(self, result: Result) -> None:
        """What ended in it waits no more."""
        ended = sum(1 for outcome in result.outcomes if outcome.status.final)
        self._waiting += len(result.spawned) - ended
        envelope = result.lease.message.envelope
        if not self._max_per_sender or not ended or envelope.arrived < self._since:
            return
        sender = sender_of(envelope)
        left = self._senders.get(sender, 0) - ended
        if left > 0:
            self._senders[sender] = left
        else:
            self._senders.pop(sender, None)
