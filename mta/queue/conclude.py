"""What an attempt means for each recipient: when next, or how it ended, and who is told.

Contract: one ``Result`` for the spool, which holds the outcomes, what comes next, the story and the reports
that failures cause, so that all of it is written in one transaction: nothing bounces without its bounce.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any, Final, NamedTuple, Protocol

from mta import events
from mta.bounce.decide import FAILED, Ended, concerns, is_late
from mta.envelope import Outcome, Recipient, Scope, Status
from mta.events import Event
from mta.interfaces import IIncoming, IMessage
from mta.queue.retry import RetryRule
from mta.queue.schedule import Job
from mta.reply import PermanentFailure, Reply
from mta.spool.values import Next, Result


class Report(NamedTuple):
    """What telling the sender comes to: sealed messages to spawn, and the events that say so."""

    spawned: tuple[IIncoming, ...] = ()
    events: tuple[Event, ...] = ()
    hold: str = ""  # nobody can be told: the recipients are held for this reason instead of ended


class Reporter(Protocol):
    """Composes the reports about recipients of one message that failed, arrived or are late (``mta.bounce``)."""

    async def report(self, message: IMessage, ended: Sequence[Ended], now: int) -> Report: ...


class Conclusion(NamedTuple):
    """``due``: when the first of the deferred recipients is tried again."""

    result: Result
    due: int | None


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
    job: Job, outcomes: Sequence[Outcome], rule: RetryRule, reporter: Reporter, *, now: int, random: Random
) -> Conclusion:
    """See the module's text."""
    message = job.lease.message
    wishes = job.recipients[0].notify or message.envelope.deliver_by
    if len(outcomes) == len(job.recipients) == 1 and outcomes[0].status in _DONE and not wishes:
        # What most attempts come to, and nobody is told.
        event = _attempt_event(job, job.recipients[0], outcomes[0], now)
        return Conclusion(Result(lease=job.lease, outcomes=tuple(outcomes), events=(event,)), None)
    recipients = {recipient.id: recipient for recipient in job.recipients}
    told: list[Event] = []
    ended: list[Outcome] = []
    failed: list[Ended] = []
    reported: list[Ended] = []
    following: dict[int, Next] = {}
    for outcome in outcomes:
        recipient = recipients[outcome.recipient]
        attempts = recipient.attempts + 1
        told.append(_attempt_event(job, recipient, outcome, now))
        if outcome.status is Status.DEFERRED:
            due = rule.next_due(message.envelope, attempts, now, random, outcome.retry_at)
            if due is None:
                outcome = replace(outcome, status=Status.EXPIRED)
            else:
                progress: dict[str, Any] = {"reply": str(outcome.reply), "scope": outcome.scope.value}
                if "late" in recipient.progress or is_late(message.envelope, recipient, now):
                    progress["late"] = True  # its sender is told now, or was
                following[recipient.id] = Next(due, job.route.destination, "", progress)
        ended.append(outcome)
        if outcome.status is Status.EXPIRED:
            told.append(_expired_event(job, recipient, outcome, now))
        if outcome.status in FAILED:
            failed.append((recipient, outcome))
        if concerns(message.envelope, recipient, outcome, now):
            reported.append((recipient, outcome))
    report = Report()
    if reported:
        report = await reporter.report(message, reported, now)
    if report.hold:
        ended = [outcome for outcome in ended if outcome.status not in FAILED]
        for recipient, outcome in failed:
            progress = {"reply": str(outcome.reply), "scope": outcome.scope.value}
            following[recipient.id] = Next(now, job.route.destination, report.hold, progress)
            told.append(events.HELD(now, recipient.id, address=str(recipient.address), reason=report.hold))
    result = Result(
        lease=job.lease,
        outcomes=tuple(ended),
        next=following,
        spawned=report.spawned,
        events=(*told, *report.events),
    )
    due_times = [step.due for step in following.values() if not step.hold]
    return Conclusion(result, min(due_times, default=None))


def _attempt_event(job: Job, recipient: Recipient, outcome: Outcome, now: int) -> Event:
    attempt: dict[str, Any] = dict(outcome.attempt)
    attempt.setdefault("stage", "")
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


def _expired_event(job: Job, recipient: Recipient, outcome: Outcome, now: int) -> Event:
    hours = (now - job.lease.message.envelope.arrived) / 3_600_000
    return events.EXPIRED(
        now, recipient.id, address=str(recipient.address), age=f"{hours:.1f} hours", reply=str(outcome.reply)
    )
