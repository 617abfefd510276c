"""Who is told of what became of the recipients of a message: a pure decision.

Contract: the sender is told of failures unless the recipient's NOTIFY says no (RFC 3461 4.1); of success only where it
was asked for and nobody else will tell (a next host that was given the wish); that it is late, where it does not mind
(DELAY) and whoever asks says that it is: the time of ``queue.warn_after`` or that of the sender (RFC 2852 4, mode N) is
over.  Nothing is ever sent to the null reverse-path (RFC 5321 4.5.5):
when such a message fails the postmaster is told, and when it is the postmaster's copy of such a message that
failed, nobody is left: it is held, and with it whatever failed at the same moment.  So no chain is longer than
message, report, notice to the postmaster.
Of a message that was set aside, because a part of this program failed at it, the postmaster is told; not of one
without a sender, as such a notice is itself.
Success and delay are told only to senders whom we know: authenticated, or of our networks.  A reverse-path that a
stranger wrote may be anybody's, and a report about mail that arrived would be one more way to send to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

from mta import events
from mta.address import Address
from mta.envelope import Envelope, Outcome, Recipient, Right, Status
from mta.events import Event
from mta.routing.keys import fold

#: A recipient and its last outcome.
Ended: TypeAlias = tuple[Recipient, Outcome]

NOBODY_LEFT: Final = "a report to the postmaster failed, so nobody is left who could be told"
NOT_KNOWN: Final = "success and delay are told only to authenticated senders and those of our networks"

#: Outcomes that are failures.
FAILED: Final = (Status.FAILED, Status.EXPIRED)
_SUCCEEDED: Final = (Status.DELIVERED, Status.RELAYED, Status.EXPANDED)
_KNOWN: Final = frozenset({Right.AUTHENTICATED, Right.NETWORK})


class Kind(StrEnum):
    """What a report is."""

    FAILURE = "failure report"
    DOUBLE_BOUNCE = "notice of an undeliverable report"
    SUCCESS = "success report"
    DELAY = "delay warning"
    SET_ASIDE = "notice of a message set aside"

    @property
    def of_failure(self) -> bool:
        return self in (Kind.FAILURE, Kind.DOUBLE_BOUNCE)

    @property
    def to_postmaster(self) -> bool:
        """It goes to the postmaster, not to the sender."""
        return self in (Kind.DOUBLE_BOUNCE, Kind.SET_ASIDE)


class Notice(NamedTuple):
    """A report that is owed: to whom, of which kind, about which recipients."""

    to: Address
    kind: Kind
    ended: tuple[Ended, ...]


class Plan(NamedTuple):
    """The reports that are owed; ``events`` say why others are not; with ``hold`` the recipients that failed do not
    end but are held for that reason."""

    notices: tuple[Notice, ...] = ()
    events: tuple[Event, ...] = ()
    hold: str = ""


def concerns(envelope: Envelope, recipient: Recipient, outcome: Outcome, now: int) -> bool:
    """Cheap: can there be anything to tell of one that ended?  Whatever else is given makes no difference."""
    if outcome.status in FAILED:
        return True
    if not recipient.notify and not envelope.deliver_by:
        return False  # what nearly all mail is
    return _wants_success(envelope, recipient, outcome, now)


def is_late(envelope: Envelope, recipient: Recipient, now: int) -> bool:
    """RFC 2852 4.1.3, mode N: its time is over, and its sender has not been told yet (``late`` in its progress)."""
    return envelope.by_mode[:1] == "N" and now >= envelope.deliver_by and "late" not in recipient.progress


def decide(envelope: Envelope, ended: Sequence[Ended], postmaster: Address, now: int, strangers: bool = False) -> Plan:
    """See the module's text.  ``ended`` are of one message: ended now, or late if they are deferred, or set aside if
    their ``progress`` has ``aside``.  ``strangers``: everybody is told of success and delay."""
    failed, silent = _failed(envelope, ended, now)
    good = _good(envelope, ended, now)
    to = envelope.reverse_path
    if to is None:
        if not failed:
            return Plan(events=silent)
        if any(
            _is_postmaster(it, postmaster) for recipient, _ in failed for it in (recipient.address, recipient.original)
        ):
            return Plan(hold=NOBODY_LEFT)
        return Plan((Notice(postmaster, Kind.DOUBLE_BOUNCE, failed),), silent)
    notices = [Notice(to, Kind.FAILURE, failed)] if failed else []
    aside = tuple(pair for pair in ended if "aside" in pair[0].progress and pair[1].status is Status.DEFERRED)
    if aside:
        notices.append(Notice(postmaster, Kind.SET_ASIDE, aside))
    if good and not (strangers or envelope.rights & _KNOWN):
        silent += tuple(events.NOT_BOUNCED(now, recipient.id, reason=NOT_KNOWN) for recipient, _ in good)
    elif good:
        late = tuple(pair for pair in good if pair[1].status is Status.DEFERRED)
        success = tuple(pair for pair in good if pair[1].status is not Status.DEFERRED)
        notices += [Notice(to, kind, pairs) for kind, pairs in ((Kind.SUCCESS, success), (Kind.DELAY, late)) if pairs]
    return Plan(tuple(notices), silent)


def _failed(envelope: Envelope, ended: Sequence[Ended], now: int) -> tuple[tuple[Ended, ...], tuple[Event, ...]]:
    failed = tuple(pair for pair in ended if pair[1].status in FAILED)
    silent = tuple(
        events.NOT_BOUNCED(now, recipient.id, reason=f"the sender asked for NOTIFY={recipient.notify}")
        for recipient, _ in failed
        if not _wants(recipient.notify, "FAILURE")
    )
    return tuple(pair for pair in failed if _wants(pair[0].notify, "FAILURE")), silent


def _good(envelope: Envelope, ended: Sequence[Ended], now: int) -> tuple[Ended, ...]:
    return tuple(
        (recipient, outcome)
        for recipient, outcome in ended
        if (
            "aside" not in recipient.progress and _wants(recipient.notify, "DELAY")
            if outcome.status is Status.DEFERRED
            else _wants_success(envelope, recipient, outcome, now)
        )
    )


def _wants(notify: str, what: str) -> bool:
    # RFC 3461 4.1: without NOTIFY a report of failure is sent, and a warning may be.
    return not notify or what in notify.upper().split(",")


def _wants_success(envelope: Envelope, recipient: Recipient, outcome: Outcome, now: int) -> bool:
    if outcome.status not in _SUCCEEDED:
        return False
    if outcome.status is Status.RELAYED and envelope.by_mode and recipient.notify.upper() != "NEVER":
        # RFC 2852 4.1.4: with trace each relay tells.
        if "T" in envelope.by_mode:
            return True
        # RFC 2852 4.1.4.2: in time, to a host that does not keep it.
        if envelope.by_mode[:1] == "N" and outcome.time_dropped and now < envelope.deliver_by:
            return True
    # RFC 3461 5.2.2: a host that was given NOTIFY tells itself.
    return bool(recipient.notify) and not outcome.dsn_taken_over and _wants(recipient.notify, "SUCCESS")


def _is_postmaster(address: Address, postmaster: Address) -> bool:
    if not address.domain:
        # RFC 5321 4.5.1: the only mailbox that may stand without a domain, and it is ours.
        return address.is_postmaster
    return address.domain == postmaster.domain and fold(address.local) == fold(postmaster.local)
