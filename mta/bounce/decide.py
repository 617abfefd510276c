"""Who is told that recipients of a message failed: a pure decision.

Contract: the sender is told unless the recipient's NOTIFY says no (RFC 3461 4.1).  Nothing is ever sent to the
null reverse-path (RFC 5321 4.5.5): when such a message fails the postmaster is told, and when it is the
postmaster's copy of such a message that failed, nobody is left: it is held, and with it whatever failed at the
same moment.  So no chain is longer than message, report, notice to the postmaster.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

from mta import events
from mta.address import Address
from mta.envelope import Envelope, Outcome, Recipient
from mta.events import Event
from mta.routing.keys import fold

#: A recipient and its last outcome, FAILED or EXPIRED.
Failed: TypeAlias = tuple[Recipient, Outcome]

NOBODY_LEFT: Final = "a report to the postmaster failed, so nobody is left who could be told"


class Kind(StrEnum):
    """What a report is."""

    FAILURE = "failure report"
    DOUBLE_BOUNCE = "notice of an undeliverable report"


class Notice(NamedTuple):
    """A report that is owed: to whom, of which kind, about which recipients."""

    to: Address
    kind: Kind
    failed: tuple[Failed, ...]


class Plan(NamedTuple):
    """``notice`` is None where nobody is told; ``events`` say why; with ``hold`` the recipients do not end but
    are held for that reason."""

    notice: Notice | None = None
    events: tuple[Event, ...] = ()
    hold: str = ""


def decide(envelope: Envelope, failed: Sequence[Failed], postmaster: Address, at_ms: int) -> Plan:
    """See the module's text.  ``failed`` are of one message and have ended now."""
    told = tuple(pair for pair in failed if _wants_failure(pair[0].notify))
    silent = tuple(
        events.NOT_BOUNCED(at_ms, recipient.id, reason=f"the sender asked for NOTIFY={recipient.notify}")
        for recipient, _ in failed
        if not _wants_failure(recipient.notify)
    )
    if not told:
        return Plan(events=silent)
    if envelope.reverse_path is not None:
        return Plan(Notice(envelope.reverse_path, Kind.FAILURE, told), silent)
    if any(_is_postmaster(it, postmaster) for recipient, _ in told for it in (recipient.address, recipient.original)):
        return Plan(hold=NOBODY_LEFT)
    return Plan(Notice(postmaster, Kind.DOUBLE_BOUNCE, told), silent)


def _wants_failure(notify: str) -> bool:
    # RFC 3461 4.1: without NOTIFY a report of failure is sent.
    return not notify or "FAILURE" in notify.upper().split(",")


def _is_postmaster(address: Address, postmaster: Address) -> bool:
    if not address.domain:
        # RFC 5321 4.5.1: the only mailbox that may stand without a domain, and it is ours.
        return address.is_postmaster
    return address.domain == postmaster.domain and fold(address.local) == fold(postmaster.local)
