"""Recipients that were taken from the queue and are not tried now: who is early, and who waits for a host that rests.

Contract: nothing is counted as a try.  What is over expires, whoever is late is told, and the rest goes back to the
queue until something comes next for it; so expiry and warnings come in every state of a destination.  What an
operator gave up is ready at once.
"""

from __future__ import annotations

from random import Random
from typing import Final, NamedTuple

from mta.envelope import Recipient, Status
from mta.queue.conclude import Draft
from mta.queue.progress import early, outcome_of
from mta.queue.retry import Retries, overdue
from mta.reply import Reply
from mta.spool.values import Lease, Next

TOO_LATE: Final = Reply.of(554, "5.4.7", "The time that the sender gave for the delivery is over")


class Sorted(NamedTuple):
    """``ready`` are tried now; ``draft`` is what becomes of the others, None if there are none."""

    ready: tuple[Recipient, ...]
    draft: Draft | None


def looked_at_only(lease: Lease, now: int) -> bool:
    """Cheap: is there anybody in the lease who is not to be tried now?"""
    if lease.message.envelope.hold_until > now:
        return True
    return any("try" in recipient.progress and early(recipient, now) for recipient in lease.recipients)


def sort_out(lease: Lease, rules: Retries, now: int, random: Random, put_off: float = 0.0) -> Sorted:
    """See the module's text.  ``put_off``: the destination rests, and those that are due are looked at again after so
    many seconds; 0: it does not."""
    envelope = lease.message.envelope
    ready: list[Recipient] = []
    others: list[Recipient] = []
    for recipient in lease.recipients:
        waits = put_off or envelope.hold_until > now or early(recipient, now)
        (others if waits and "bounce" not in recipient.progress else ready).append(recipient)
    if not others:
        return Sorted(tuple(ready), None)
    draft = Draft(Lease(lease.token, lease.message, tuple(others), lease.until), rules, now, random)
    for recipient in others:
        _place(draft, recipient, put_off)
    return Sorted(tuple(ready), draft)


def _place(draft: Draft, recipient: Recipient, put_off: float) -> None:
    envelope, now = draft.lease.message.envelope, draft.now
    if envelope.hold_until > now:
        # RFC 4865: no clock and no ETRN sends it before.
        draft.next[recipient.id] = Next(envelope.hold_until, recipient.destination, "", recipient.progress)
        return
    progress = {name: value for name, value in recipient.progress.items() if name not in ("try", "look")}
    if envelope.arrived > now:
        progress.setdefault("since", now)
    rule = draft.rules.rule(progress.get("trouble", ""), recipient.address.domain)
    end = rule.expires(envelope, progress.get("since", 0))
    if now >= end:
        outcome = outcome_of(recipient, Status.EXPIRED, TOO_LATE if overdue(envelope, now) else None)
        draft.end(recipient, outcome, recipient.destination)
        return
    try_at = recipient.progress["try"] if early(recipient, now) else 0
    if put_off:
        try_at = max(try_at, now + round(put_off * 1000))
    outcome = outcome_of(recipient, Status.DEFERRED)
    draft.wait(recipient, outcome, recipient.destination, progress, min(try_at, end))
