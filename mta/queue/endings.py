"""How work under a lease ends: concluded, written to the spool, and told.

Contract: every lease, or part of one, that comes here is written once; ``concluded`` is called with it then, and with
what could not be written too.  Nothing fails whose report cannot be written: it waits, and is tried again.
How it fails: while the spool cannot write, what ended waits there (``unwritten`` counts it).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Final, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mta import events
from mta.envelope import Outcome, Recipient, Status
from mta.events import Event
from mta.interfaces import ISpool
from mta.queue.conclude import Conclusion, Draft, Reporter, conclude
from mta.queue.notices import Notices
from mta.queue.placing import ROUTING
from mta.queue.poison import Poison
from mta.queue.retry import Retries
from mta.queue.schedule import Job
from mta.queue.volume import Volume
from mta.spool.values import Claim, Lease, Next, Result

log = Logger()

#: Seconds until what could not be concluded is tried again.
CONCLUDE_AGAIN: Final = 60.0


class Policy(Protocol):
    """What a configuration says of it."""

    @property
    def retry(self) -> Retries: ...

    @property
    def poison_tries(self) -> int: ...

    @property
    def bounced(self) -> Callable[[str, int], None] | None: ...


class Endings:
    """See the module's text.  ``policy`` gives the configuration in force, ``open_ids`` the messages being worked on;
    ``look`` asks for a look into the spool within some seconds."""

    def __init__(
        self,
        *,
        spool: ISpool,
        reporter: Reporter,
        reactor: IReactorTime,
        now: Callable[[], int],
        random: Random,
        emit: Callable[[Event, str], None],
        policy: Callable[[], Policy],
        claim: Callable[[], Claim],
        open_ids: Callable[[], set[str]],
        concluded: Callable[[Lease], None],
        look: Callable[[float], None],
        volume: Volume,
        keep: Callable[[], Awaitable[None]],
    ) -> None:
        self._spool = spool
        self._reporter = reporter
        self._now = now
        self._random = random
        self._emit = emit
        self._policy = policy
        self._concluded = concluded
        self._look = look
        self._volume = volume
        self.unwritten = 0
        self.poison = Poison()
        self.notices = Notices(
            spool=spool,
            reporter=reporter,
            reactor=reactor,
            now=now,
            claim=claim,
            busy=open_ids,
            written=self._say,
            keep=keep,
        )

    async def end(self, job: Job, outcomes: Sequence[Outcome]) -> None:
        """An attempt, or the routing, came to this."""
        try:
            conclusion = await conclude(
                job,
                outcomes,
                self._policy().retry,
                self._reporter,
                now=self._now(),
                random=self._random,
                alone=self.notices.alone,
                set_aside=self._poisoned,
            )
        except Exception as error:
            log.failure("the outcome of {id} could not be concluded; it is tried again", id=job.lease.message.id)
            conclusion = self._unconcluded(job, outcomes, error)
        await self._write_conclusion(conclusion)

    async def end_untried(self, draft: Draft) -> None:
        """Recipients are not tried now."""
        try:
            conclusion = await draft.conclude(self._reporter, self.notices.alone)
        except Exception:
            log.failure("{id} could not be looked at; it is again", id=draft.lease.message.id)
            due = self._now() + round(CONCLUDE_AGAIN * 1000)
            following = {r.id: Next(due, r.destination, r.hold, r.progress) for r in draft.lease.recipients}
            conclusion = Conclusion(Result(lease=draft.lease, next=following), due)
        await self._write_conclusion(conclusion)

    def _poisoned(self, job: Job, recipient: Recipient, outcome: Outcome) -> str:
        part = str(outcome.attempt.get("stage", ""))
        if part == ROUTING:
            self.poison.failed(part, job.lease.message.id)
        return self.poison.reason(recipient, outcome, part, self._policy().poison_tries)

    def _unconcluded(self, job: Job, outcomes: Sequence[Outcome], error: Exception) -> Conclusion:
        """What went well has ended; the others are tried again, or held where this fails each time."""
        now, tries = self._now(), self._policy().poison_tries
        due = now + round(CONCLUDE_AGAIN * 1000)
        ended = tuple(o for o in outcomes if o.status.final and o.status not in (Status.FAILED, Status.EXPIRED))
        done = {outcome.recipient for outcome in ended}
        following: dict[int, Next] = {}
        told: list[Event] = []
        for recipient in job.recipients:
            if recipient.id in done:
                continue
            raised = recipient.progress.get("raised", 0) + 1
            hold = recipient.hold
            if raised >= tries:
                hold = f"set aside: its outcome could not be concluded {raised} times: {type(error).__name__}: {error}"
                told.append(events.HELD(now, recipient.id, address=str(recipient.address), reason=hold))
            progress = {**recipient.progress, "raised": raised}
            following[recipient.id] = Next(due, job.route.destination, hold, progress)
        spawned = tuple(one for outcome in ended for one in outcome.spawned)
        result = Result(lease=job.lease, outcomes=ended, next=following, spawned=spawned, events=tuple(told))
        return Conclusion(result, due)

    async def _write_conclusion(self, conclusion: Conclusion) -> None:
        await self.write(conclusion.result)
        self._say(conclusion.result)
        if (bounced := self._policy().bounced) is not None:
            _tell_bounced(bounced, conclusion.result)
        if conclusion.result.owed:
            self.notices.owe(conclusion.result.lease.message.id)
        if conclusion.due is not None and not conclusion.result.spawned:
            self._look((conclusion.due - self._now()) / 1000)

    def _say(self, result: Result) -> None:
        """It is on disk."""
        for event in result.events:
            self._emit(event, result.lease.message.id)
        if result.spawned:
            self._look(0.0)

    async def write(self, result: Result) -> None:
        """Write it as it is."""
        self.unwritten += 1
        try:
            lost = await self._spool.finish((result,))
            if self._volume.limited and not lost:
                self._volume.ended(result)
            for lease in lost:
                log.error("the lease of {id} was lost: its outcome is not written", id=lease.message.id)
        finally:
            self.unwritten -= 1
            self._concluded(result.lease)


def _tell_bounced(bounced: Callable[[str, int], None], result: Result) -> None:
    login = result.lease.message.envelope.origin.login
    count = sum(outcome.status is Status.FAILED for outcome in result.outcomes) if login else 0
    if count:
        bounced(login, count)
