"""What is kept of an attempt between attempts, in a recipient's ``progress``: for the next try, a report, and people.

Contract: ``kept`` is JSON; ``outcome_of`` makes of it the outcome that it came from, as far as reports need it,
whatever an older version or a plugin left there.
Keys: ``reply``, ``scope``, ``host``, ``stage``, ``trouble`` (``mta.queue.trouble``) and ``tried`` of the last try;
``late`` (RFC 2852 mode N was told), ``warned`` (how many delay warnings were due), ``until`` (when it is given up, as
the warning said), ``raised`` (tries at which a part of this program failed), ``since`` (its arrival lay in the
future), ``try`` and ``look`` (it was put into the queue until ``look``, to be tried at ``try``: where that is before,
as soon as its destination is reached again), ``aside`` (it was set
aside), ``taken``, ``dropped`` and ``owed`` (its status) of one that has ended and whose report is owed, ``bounce`` and
``via`` (an operator gave it up, or rerouted it), ``home`` (its domain itself had named the service: ``Route.home``).
Limits: ``MAX_TEXT`` characters of a reply.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from mta.envelope import Outcome, Recipient, Scope, Status
from mta.queue.trouble import classify
from mta.reply import Reply

MAX_TEXT: Final = 2000
#: What outlives one try.
_LASTING: Final = ("late", "warned", "until", "raised", "since", "via", "home")
_REPLY = re.compile(r"([2-5][0-9]{2})(?: ([245]\.[0-9]{1,3}\.[0-9]{1,3}))?(?: (.*))?\Z", re.DOTALL)
_UNKNOWN: Final = Reply.of(451, "4.4.7", "Not tried yet")


def kept(recipient: Recipient, outcome: Outcome, now: int) -> dict[str, Any]:
    """Of a try that ended now."""
    progress: dict[str, Any] = {
        "reply": str(outcome.reply)[:MAX_TEXT],
        "scope": outcome.scope.value,
        "tried": now,
    }
    if not outcome.reply.positive:
        progress["trouble"] = classify(outcome).value
    for name in ("host", "stage"):
        if value := outcome.attempt.get(name):
            progress[name] = str(value)
    old = recipient.progress
    if old:
        progress.update({name: old[name] for name in _LASTING if name in old})
    return progress


def owed(recipient: Recipient, outcome: Outcome, now: int) -> dict[str, Any]:
    """Of one that ends now and whose sender is told later."""
    progress = kept(recipient, outcome, now)
    progress["owed"] = outcome.status.value
    if outcome.dsn_taken_over:
        progress["taken"] = True
    if outcome.time_dropped:
        progress["dropped"] = True
    if "bounce" in recipient.progress:
        progress["bounce"] = recipient.progress["bounce"]
    return progress


def outcome_of(recipient: Recipient, status: Status, reply: Reply | None = None) -> Outcome:
    """The last outcome of a recipient, with this status; ``reply`` where it is not the last one."""
    progress = recipient.progress
    scope = progress.get("scope")
    return Outcome(
        recipient=recipient.id,
        status=status,
        reply=reply or read_reply(progress.get("reply")),
        scope=Scope(scope) if scope in list(Scope) else Scope.RECIPIENT,
        dsn_taken_over=bool(progress.get("taken")),
        time_dropped=bool(progress.get("dropped")),
        attempt={name: progress[name] for name in ("host", "stage") if name in progress},
    )


def read_reply(text: Any) -> Reply:
    """What ``str(Reply)`` wrote."""
    match = _REPLY.match(text) if isinstance(text, str) else None
    if match is None:
        return _UNKNOWN
    return Reply.of(int(match[1]), match[2] or "", match[3] or "")


def early(recipient: Recipient, now: int) -> bool:
    """It was taken from the queue to be looked at, not yet to be tried; a change by an operator overrules that."""
    progress: Mapping[str, Any] = recipient.progress
    return "try" in progress and progress.get("look") == recipient.due and now < progress["try"]


def put_off(recipient: Recipient) -> bool:
    """It waits until its destination, which rested when it was due, is reached again (``mta.queue.resting``)."""
    progress: Mapping[str, Any] = recipient.progress
    return "try" in progress and progress.get("look") == recipient.due and progress["try"] < recipient.due
