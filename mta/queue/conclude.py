"""What an attempt means for each recipient: when next, or how it ended, and who is told.

Contract: one ``Result`` for the spool, which holds the outcomes, what comes next, the story and the reports
that failures cause, so that all of it is written in one transaction: nothing bounces without its bounce.  Where others
of the same message are still on their way the report is owed instead, in that transaction too, and one report for all
of them follows (``mta.queue.notices``); so it is where a report cannot be composed now.
``untried`` does the same for recipients that are not tried now: what is early, and what waits for a host that rests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final, NamedTuple, Protocol

from mta import events
from mta.bounce.decide import FAILED, Ended, concerns, is_late
from mta.envelope import Destination, Outcome, Recipient, Scope, Status
from mta.events import Event
from mta.interfaces import IIncoming, IMessage
from mta.queue.progress import kept, owed
from mta.queue.retry import Retries, RetryRule
from mta.queue.schedule import Job
from mta.reply import LOCAL_ERROR, PermanentFailure, Reply
from mta.spool.values import Lease, Next, Result


class Report(NamedTuple):
    """What telling the sender comes to: sealed messages to spawn, and the events that say so."""

    spawned: tuple[IIncoming, ...] = ()
    events: tuple[Event, ...] = ()
    hold: str = ""  # nobody can be told: the recipients are held for this reason instead of ended
    again: bool = False  # ... because a report could not be written now: it may be later


class Reporter(Protocol):
    """Composes the reports about recipients of one message that failed, arrived or are late (``mta.bounce``)."""

    async def report(self, message: IMessage, ended: Sequence[Ended], now: int) -> Report: ...


class Conclusion(NamedTuple):
    """``due``: when the first of the deferred recipients is tried again."""

    result: Result
    due: int | None


#: Says whether a lease holds all recipients of its message that can still come to an end.
Alone = Callable[[Lease], Awaitable[bool]]

_DONE: Final = (Status.RELAYED, Status.DELIVERED)
_RANK: Final = {Scope.RECIPIENT: 0, Scope.MESSAGE: 1, Scope.HOST: 2, Scope.DESTINATION: 3}


def worst_scope(outcomes: Sequence[Outcome]) -> Scope | None:
    """What the outcomes say of the host: None if it was reached for one of them at least."""
    worst: Scope | None = None
    for outcome in outcomes:
        if outcome.status is not Status.DEFERRED:
            return None
        if worst is None or _RANK[outcome.scope] > _RANK[worst]:
            worst = outcome.scope
    return worst


def failed_at_routing(reason: str) -> PermanentFailure:
    """An operator gave a recipient up."""
    return PermanentFailure(Reply.of(550, "5.3.0", reason or "Given up by the administrator"))


async def conclude(
    job: Job,
    outcomes: Sequence[Outcome],
    rules: Retries,
    reporter: Reporter,
    *,
    now: int,
    random: Random,
    alone: Alone | None = None,
    set_aside: Callable[[Job, Recipient, Outcome], str] | None = None,
) -> Conclusion:
    """See the module's text.  ``set_aside`` says why a recipient at which a part of this program failed is held, if it
    is to be."""
    message = job.lease.message
    wishes = job.recipients[0].notify or message.envelope.deliver_by
    if len(outcomes) == len(job.recipients) == 1 and outcomes[0].status in _DONE and not wishes:
        # What most attempts come to, and nobody is told.
        event = _attempt_event(job, job.recipients[0], outcomes[0], now)
        return Conclusion(Result(lease=job.lease, outcomes=tuple(outcomes), events=(event,)), None)
    recipients = {recipient.id: recipient for recipient in job.recipients}
    draft = Draft(job.lease, rules, now, random)
    for outcome in outcomes:
        recipient = recipients[outcome.recipient]
        draft.events.append(_attempt_event(job, recipient, outcome, now))
        if outcome.status is not Status.DEFERRED:
            draft.end(recipient, outcome, job.route.destination)
            continue
        reason = outcome.hold
        if not reason and set_aside is not None and outcome.reply == LOCAL_ERROR:
            reason = set_aside(job, recipient, outcome)
        if reason:
            draft.set_aside(recipient, outcome, job.route.destination, reason)
        else:
            draft.defer(recipient, outcome, job.route.destination)
    return await draft.conclude(reporter, alone)


@dataclass(slots=True)
class Draft:
    """A conclusion in the making: what becomes of the recipients of a lease, one by one."""

    lease: Lease
    rules: Retries
    now: int
    random: Random
    events: list[Event] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    next: dict[int, Next] = field(default_factory=dict)
    failed: list[tuple[Recipient, Outcome, Destination]] = field(default_factory=list)
    reported: list[Ended] = field(default_factory=list)

    def defer(self, recipient: Recipient, outcome: Outcome, destination: Destination) -> None:
        """It failed now and is tried again, if there is time."""
        progress = kept(recipient, outcome, self.now)
        envelope = self.lease.message.envelope
        if envelope.arrived > self.now:
            progress.setdefault("since", self.now)
        rule = self.rules.rule(progress.get("trouble", ""), recipient.address.domain)
        since = progress.get("since", 0)
        attempts = recipient.attempts + 1
        try_at = rule.next_due(envelope, attempts, self.now, self.random, outcome.retry_at, since)
        if try_at is None:
            self.end(recipient, replace(outcome, status=Status.EXPIRED), destination)
            return
        if outcome.reply == LOCAL_ERROR:
            progress["raised"] = progress.get("raised", 0) + 1
        else:
            progress.pop("raised", None)
        self.outcomes.append(outcome)
        self.wait(recipient, outcome, destination, progress, try_at)

    def wait(
        self, recipient: Recipient, outcome: Outcome, destination: Destination, progress: dict[str, Any], try_at: int
    ) -> None:
        """It is tried at that time; until then its sender may have to be warned, now or later."""
        rule, since = self._warn(recipient, outcome, progress)
        look = rule.look_at(self.lease.message.envelope, try_at, self.now, since)
        if look < try_at:
            progress["try"], progress["look"] = try_at, look
        self.next[recipient.id] = Next(look, destination, "", progress)

    def put_off(self, recipient: Recipient, outcome: Outcome, progress: dict[str, Any], own: int, until: int) -> None:
        """Its time, ``own``, has come while its destination rests: it waits until that is reached, or ``until``."""
        self._warn(recipient, outcome, progress)
        progress["try"], progress["look"] = own, until
        self.next[recipient.id] = Next(until, recipient.destination, "", progress)

    def _warn(self, recipient: Recipient, outcome: Outcome, progress: dict[str, Any]) -> tuple[RetryRule, int]:
        """Its sender may have to be told now.  The rule that counts, and since when its time does."""
        envelope = self.lease.message.envelope
        rule = self.rules.rule(progress.get("trouble", ""), recipient.address.domain)
        since: int = progress.get("since", 0)
        warned, late = rule.warnings(envelope, self.now, since), is_late(envelope, recipient, self.now)
        if late:
            progress["late"] = True
        if late or warned > progress.get("warned", 0):
            progress["warned"] = warned
            progress["until"] = rule.expires(envelope, since)
            self.reported.append((replace(recipient, progress=progress), outcome))
        return rule, since

    def end(self, recipient: Recipient, outcome: Outcome, destination: Destination) -> None:
        """It is over."""
        self.outcomes.append(outcome)
        if outcome.status is Status.EXPIRED:
            self.events.append(_expired_event(self.lease, recipient, outcome, self.now))
        if outcome.status in FAILED:
            self.failed.append((recipient, outcome, destination))
        if concerns(self.lease.message.envelope, recipient, outcome, self.now):
            self.reported.append((recipient, outcome))

    def set_aside(self, recipient: Recipient, outcome: Outcome, destination: Destination, reason: str) -> None:
        """It is held."""
        self.outcomes.append(outcome)
        progress = kept(recipient, outcome, self.now)
        progress.pop("raised", None)
        self.next[recipient.id] = Next(self.now, destination, reason, {**progress, "aside": True})
        self.reported.append((replace(recipient, progress={**progress, "aside": True}), outcome))
        self.events.append(events.HELD(self.now, recipient.id, address=str(recipient.address), reason=reason))

    async def conclude(self, reporter: Reporter, alone: Alone | None) -> Conclusion:
        """Compose the reports, or owe them."""
        report = Report()
        ids: tuple[int, ...] = ()
        if self.reported:
            if await self._tells_now(alone):
                report = await reporter.report(self.lease.message, self.reported, self.now)
            else:
                report = Report(again=True)
            if report.again:
                for incoming in report.spawned:
                    incoming.abort()
                report = Report()
                ids = tuple(recipient.id for recipient, _ in self.reported)
        if report.hold:
            self._hold(report.hold)
        result = Result(
            lease=self.lease,
            outcomes=tuple(self.outcomes),
            next=self.next,
            spawned=(*report.spawned, *(one for outcome in self.outcomes for one in outcome.spawned)),
            owed=ids,
            notes={
                recipient.id: owed(recipient, outcome, self.now)
                for recipient, outcome in self.reported
                if ids and outcome.status.final
            },
            events=(*self.events, *report.events),
        )
        due_times = [step.due for step in self.next.values() if not step.hold]
        return Conclusion(result, min(due_times, default=None))

    async def _tells_now(self, alone: Alone | None) -> bool:
        # Who has no sender is told of by notices to the postmaster, and where nobody is left it must not end.
        return alone is None or self.lease.message.envelope.reverse_path is None or await alone(self.lease)

    def _hold(self, reason: str) -> None:
        """Nobody can be told: those that failed do not end."""
        self.outcomes = [outcome for outcome in self.outcomes if outcome.status not in FAILED]
        for recipient, outcome, destination in self.failed:
            progress = kept(recipient, outcome, self.now)
            self.next[recipient.id] = Next(self.now, destination, reason, progress)
            self.events.append(events.HELD(self.now, recipient.id, address=str(recipient.address), reason=reason))


def _attempt_event(job: Job, recipient: Recipient, outcome: Outcome, now: int) -> Event:
    attempt: dict[str, Any] = dict(outcome.attempt)
    attempt.setdefault("stage", "")
    rewrite = job.route.rewrite
    if rewrite is not None:
        attempt["rewrite"] = str(rewrite.reason)
        if rewrite.reverse_path != job.lease.message.envelope.reverse_path:
            attempt["sent_as"] = str(rewrite.reverse_path)
    return events.ATTEMPT(
        now,
        recipient.id,
        attempt=recipient.attempts + 1,
        address=str(recipient.address),
        status=outcome.status.value,
        service=job.route.destination.service,
        reply=str(outcome.reply),
        scope=outcome.scope.value,
        **attempt,
    )


def _expired_event(lease: Lease, recipient: Recipient, outcome: Outcome, now: int) -> Event:
    hours = (now - lease.message.envelope.arrived) / 3_600_000
    return events.EXPIRED(
        now, recipient.id, address=str(recipient.address), age=f"{hours:.1f} hours", reply=str(outcome.reply)
    )
