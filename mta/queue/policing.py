"""Where the queue asks policies: before each attempt to deliver, and what it does with what they say.

Contract: who may not go now has his outcome, by the policy's name, without the delivery service having been asked:
HOLD and QUARANTINE wait for an operator, DEFER comes again by the retry rule, REJECT fails with its report, DISCARD
ends as discarded.  The others are delivered as if they had been alone.
How it fails: as ``mta.policy.engine``: a policy in trouble has its ``on_error``; by default the mail comes again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mta.delivery.values import Batch
from mta.envelope import Outcome, Recipient, Status
from mta.interfaces import IDeliveryService
from mta.policy.engine import Opinion, Policies, Stage
from mta.policy.values import DispatchContext
from mta.reply import Reply
from mta.verdict import Decision, Verdict

WAITS: Final = Reply.of(451, "4.7.1", "Held by a policy, until an operator releases it")
THROWN_AWAY: Final = Reply.of(250, "2.0.0", "Discarded by a policy")


async def deliver(service: IDeliveryService, batch: Batch, policies: Policies) -> None:
    """Ask, then deliver to those who may go."""
    await _ask(policies, batch)
    left = batch.pending
    if len(left) == len(batch.recipients):
        await service.deliver(batch)
    elif left:
        part = Batch(batch.message, left, batch.route, batch.deadline, batch.passage)
        try:
            await service.deliver(part)
        finally:
            for outcome in part.outcomes:
                batch.report(outcome)


async def _ask(policies: Policies, batch: Batch) -> None:
    about = DispatchContext(
        message=batch.message,
        recipients=batch.recipients,
        route=batch.route,
        attempts=max(recipient.attempts for recipient in batch.recipients),
    )
    ruling = await policies.check(Stage.DISPATCH, about)
    for opinion in ruling.opinions:
        if opinion.notable:
            policies.tell(opinion.event, batch.message.id)
    for recipient in batch.recipients:
        said = _hardest(ruling.counted, recipient.id)
        if said is not None:
            batch.report(_outcome(recipient, *said))


def _hardest(opinions: list[Opinion], recipient: int) -> tuple[Verdict, Opinion] | None:
    """The first that is final, else the first that holds; of the whole batch and of this recipient."""
    found: tuple[Verdict, Opinion] | None = None
    for opinion in opinions:
        own: Mapping[int, Verdict] = opinion.verdict.per_recipient
        for verdict in (opinion.verdict, own.get(recipient)):
            if verdict is None or verdict.decision is Decision.ACCEPT:
                continue
            if verdict.decision.final:
                return verdict, opinion
            found = found or (verdict, opinion)
    return found


def _outcome(recipient: Recipient, verdict: Verdict, opinion: Opinion) -> Outcome:
    why = opinion._replace(verdict=verdict).why
    status, reply, hold = Status.DEFERRED, verdict.reply or WAITS, ""
    if verdict.decision is Decision.REJECT:
        status = Status.FAILED
    elif verdict.decision is Decision.DISCARD:
        status, reply = Status.DISCARDED, THROWN_AWAY
    elif verdict.decision is not Decision.DEFER:
        hold = why
    attempt: dict[str, Any] = {"stage": why}
    return Outcome(recipient=recipient.id, status=status, reply=reply, hold=hold, attempt=attempt)
