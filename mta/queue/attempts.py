"""One delivery attempt, and those that are under way.

Contract: ``attempt`` gives an outcome for every recipient, whatever the delivery service does: what it did not report
is deferred, scope host; a recipient whose sender wants it back rather than late is not tried when it is late.  Only
where our own pace held the batch up (``Paced``) are recipients left, untried.
``Running`` knows what is under way, to cancel what takes too long.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from math import inf
from typing import Any, Final, NamedTuple

from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure

from mta.delivery.rewritten import Rewritten
from mta.delivery.values import Batch, Paced
from mta.dkim.signer import Signer
from mta.envelope import Outcome, Scope, Status
from mta.interfaces import IDeliveryService
from mta.queue.lane import Setback
from mta.queue.pace import Gate
from mta.queue.poison import Poison
from mta.queue.policing import deliver
from mta.queue.retry import overdue
from mta.queue.setup import Setup
from mta.queue.trouble import Trouble, classify
from mta.queue.untried import TOO_LATE
from mta.reply import LOCAL_ERROR, MailFailure, Reply
from mta.waiting import Run, drive

log = Logger()

SILENT: Final = Reply.of(451, "4.3.0", "The delivery service gave no result")
STOPPED: Final = Reply.of(451, "4.3.2", "The service was stopped")
OVERDUE: Final = Reply.of(451, "4.4.7", "The delivery took too long and was stopped")


class Attempted(NamedTuple):
    """How an attempt ended.  ``shut``: the gate that held up the recipients without an outcome."""

    outcomes: list[Outcome]
    shut: Gate | None = None


async def attempt(
    service: IDeliveryService | None,
    batch: Batch,
    poison: Poison,
    now: Callable[[], int],
    seconds: Callable[[], float],
    setup: Setup,
) -> Attempted:
    """See the module's text.  ``now`` is UTC milliseconds, ``seconds`` monotonic; of ``setup`` those who are asked or
    change something on the way: the policies, and the signer of what has another author than it came with."""
    reply = SILENT
    try:
        if service is None:
            raise LookupError(batch.route.destination.service)
        if overdue(batch.message.envelope, now()):
            batch.report_all(Status.EXPIRED, TOO_LATE, Scope.MESSAGE)
        else:
            if setup.signer is not None and isinstance(batch.message, Rewritten):
                await _sign(batch, batch.message, setup.signer)
                if not batch.pending:
                    return Attempted(batch.outcomes)
            policies = setup.login_policies if batch.message.envelope.origin.login else setup.policies
            if policies is None:
                await service.deliver(batch)
            else:
                await deliver(service, batch, policies)
            if poison:
                poison.worked(service.name)
    except Paced as paced:
        if batch.pending:
            return Attempted(batch.outcomes, paced.gate)
    except MailFailure as failure:
        reply = failure.reply
    except CancelledError:
        reply = OVERDUE if seconds() >= batch.deadline else STOPPED
    except Exception as error:
        name = batch.route.destination.service
        scope = poison.failed(name, batch.message.id)
        batch.report_all(
            Status.DEFERRED, LOCAL_ERROR, scope, {"stage": name, "error": f"{type(error).__name__}: {error}"}
        )
        log.failure(
            "delivery of {id} by {service} failed: {error}",
            id=batch.message.id,
            service=str(batch.route.destination),
            error=str(error),
        )
    return Attempted(batch.close(reply))


async def _sign(batch: Batch, message: Rewritten, signer: Signer) -> None:
    """Keys that cannot be used are the trouble of this message, and of no host."""
    try:
        await message.sign(signer)
    except MailFailure as failure:
        attempt = {"stage": "dkim", "error": failure.reason}
        batch.report_all(Status.DEFERRED, failure.reply, Scope.MESSAGE, attempt)


def judge(outcomes: Sequence[Outcome], scope: Scope | None) -> tuple[bool, Setback | None]:
    """Did a host ask us to go slower; and, where nothing got through (``scope`` is HOST or DESTINATION), why not?"""
    troubles = [(outcome, classify(outcome)) for outcome in outcomes if outcome.status is Status.DEFERRED]
    refused = any(trouble is Trouble.RATE_LIMITED for _, trouble in troubles)
    if not troubles or not (refused or scope in (Scope.HOST, Scope.DESTINATION)):
        return refused, None
    outcome, trouble = troubles[0]
    return refused, Setback(trouble, str(outcome.reply))


class Running:
    """Attempts that are under way, by number."""

    def __init__(self) -> None:
        self._works: dict[int, tuple[Run[None] | None, float]] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._works)

    def start(self, work: Callable[[int], Coroutine[Any, Any, None]], deadline: float) -> None:
        """Begin one; it gets its number, and calls ``ended``.  ``deadline`` is monotonic."""
        self._count += 1
        number = self._count
        self._works[number] = (None, deadline)  # known before it runs: it may end at once
        run = drive(work(number), _note)
        if run is not None and number in self._works:
            self._works[number] = (run, deadline)

    def ended(self, number: int) -> None:
        """It does not deliver any more."""
        del self._works[number]

    def cancel(self, now: float = inf) -> None:
        """Those whose time is over."""
        for work, deadline in list(self._works.values()):
            if now >= deadline and work is not None:
                work.cancel()


def _note(result: Failure | None) -> None:
    if isinstance(result, Failure):
        log.failure("an attempt failed", failure=result)
