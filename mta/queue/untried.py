"""Recipients that were taken from the queue and are not tried now: who is early, and who waits for a host that rests.

Contract: nothing is counted as a try.  What is over expires, whoever is late is told, and the rest goes back to the
queue until something comes next for it (``mta.queue.resting``, ``mta.queue.sweep``).  What an operator gave up is
ready at once.
"""

from __future__ import annotations

from random import Random
from typing import Final, NamedTuple

from mta.bounce.decide import is_late
from mta.envelope import Envelope, Recipient, Status
from mta.queue.conclude import Draft
from mta.queue.progress import early, outcome_of, put_off
from mta.queue.retry import Retries, overdue
from mta.reply import Reply
from mta.spool.values import Lease, Next

TOO_LATE: Final = Reply.of(554, "5.4.7", "The time that the sender gave for the delivery is over")


class Rest(NamedTuple):
    """A destination rests for so many seconds; ``probe``: they are due then, for somebody must see whether it is back.
    0 seconds: they were only taken to be told of (``SWEPT``), and keep their place."""

    seconds: float
    probe: bool = False


#: See ``mta.queue.sweep``.
SWEPT: Final = Rest(0.0)


class Sorted(NamedTuple):
    """``ready`` are tried now; ``draft`` is what becomes of the others, None if there are none."""

    ready: tuple[Recipient, ...]
    draft: Draft | None


def looked_at_only(lease: Lease, now: int) -> bool:
    """Cheap: is there anybody in the lease who is not to be tried now?"""
    if lease.message.envelope.hold_until > now:
        return True
    return any("try" in recipient.progress and early(recipient, now) for recipient in lease.recipients)


def sort_out(lease: Lease, rules: Retries, now: int, random: Random, rest: Rest | None = None) -> Sorted:
    """See the module's text.  ``rest``: the destination rests."""
    envelope = lease.message.envelope
    ready: list[Recipient] = []
    others: list[Recipient] = []
    for recipient in lease.recipients:
        waits = rest is not None or envelope.hold_until > now or early(recipient, now)
        (others if waits and "bounce" not in recipient.progress else ready).append(recipient)
    if not others:
        return Sorted(tuple(ready), None)
    draft = Draft(Lease(lease.token, lease.message, tuple(others), lease.until), rules, now, random)
    for recipient in others:
        _place(draft, recipient, rest)
    return Sorted(tuple(ready), draft)


def _place(draft: Draft, recipient: Recipient, rest: Rest | None) -> None:
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
    outcome = outcome_of(recipient, Status.DEFERRED)
    own = recipient.progress["try"] if early(recipient, now) or put_off(recipient) else recipient.due
    if rest == SWEPT and put_off(recipient):
        draft.put_off(recipient, outcome, progress, own, min(recipient.due, end))
        return
    if rest is None or rest == SWEPT or own > now:
        draft.wait(recipient, outcome, recipient.destination, progress, min(own, end))
        return
    draft.put_off(recipient, outcome, progress, own, min(now + round(rest.seconds * 1000), end) if rest.probe else end)


def to_say(envelope: Envelope, recipient: Recipient, rules: Retries, now: int) -> bool:
    """Was something to be said or done by then, whether or not it can be tried?"""
    progress = recipient.progress
    if "bounce" in progress:
        return True
    if max(envelope.arrived, envelope.hold_until) > now:
        return False
    rule = rules.rule(progress.get("trouble", ""), recipient.address.domain)
    since = progress.get("since", 0)
    return (
        now >= rule.expires(envelope, since)
        or rule.warnings(envelope, now, since) > progress.get("warned", 0)
        or is_late(envelope, recipient, now)
    )


def next_time(envelope: Envelope, recipient: Recipient, rules: Retries, now: int) -> int:
    """When something is to be said next."""
    rule = rules.rule(recipient.progress.get("trouble", ""), recipient.address.domain)
    since = recipient.progress.get("since", 0)
    return rule.look_at(envelope, rule.expires(envelope, since), now, since, None)
