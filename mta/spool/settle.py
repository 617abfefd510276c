"""What a result, or an operator's change, makes of recipients.  Pure: every spool asks here.

Contract: ``settle`` sorts the recipients of a lease by what becomes of them; ``changed`` tells what one that
waits becomes.  Failure: ``KeyError`` for a recipient that is not of the lease, ``ValueError`` for a change
that lacks its argument; nothing has been done then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from mta import events
from mta.address import Address, AddressError, normal_domain
from mta.envelope import Destination, Outcome, Recipient
from mta.events import Event
from mta.spool.values import Change, ChangeKind, Next, Result, Row, Selection

#: How totals and history call what an operator deleted.
DELETED: Final = "deleted"
#: What a recipient that is to be bounced carries in ``progress``: the operator's reason.
BOUNCE: Final = "bounce"
#: What a recipient that an operator rerouted carries there: service and next hop.
VIA: Final = "via"


class Ended(NamedTuple):
    """A recipient that ends, and how."""

    recipient: Recipient
    status: str
    reply: str
    attempts: int
    events: list[Event]


@dataclass(slots=True)
class Settlement:
    """What becomes of the recipients of one lease; ``moved`` holds them as they are from now on, ``revived`` those
    whose end is taken back, with how they had ended."""

    ended: list[Ended]
    moved: list[Recipient]
    untried: list[int]
    events: list[Event]
    revived: list[tuple[Recipient, str]] = field(default_factory=list)


def stamp(events: Iterable[Event], at: int) -> list[Event]:
    """An event without a time has that of the decision it belongs to."""
    return [event if event.at else event._replace(at=at) for event in events]


def settle(recipients: Mapping[int, Recipient], result: Result, notice: bool, now: int) -> Settlement:
    """Sort them.  ``notice``: the lease is on reports owed, its recipients have ended before."""
    if len(recipients) == len(result.outcomes) == 1 and not (result.next or result.owed or notice):
        # What most results are: the one recipient has ended.
        (outcome,) = result.outcomes
        recipient = recipients[outcome.recipient]
        if outcome.status.final:
            happened = stamp(result.events, now)
            ended = Ended(recipient, outcome.status.value, str(outcome.reply), recipient.attempts + 1, happened)
            return Settlement([ended], [], [], [])
    outcomes = {outcome.recipient: outcome for outcome in result.outcomes}
    for named in (outcomes, result.next, result.owed, result.notices_done):
        for n in named:
            if n not in recipients:
                raise KeyError(n)
    settlement = Settlement([], [], [], [])
    if notice:
        if outcomes or any(not step.hold for step in result.next.values()):
            raise KeyError("the recipients of a notice have ended")
        settlement.revived = [_revived(recipients[n], step) for n, step in result.next.items()]
        settlement.untried = [n for n in recipients if n not in result.notices_done]
    else:
        _sort(settlement, recipients, outcomes, result)
    _place(settlement, stamp(result.events, now))
    return settlement


def _sort(
    settlement: Settlement, recipients: Mapping[int, Recipient], outcomes: Mapping[int, Outcome], result: Result
) -> None:
    for n, recipient in recipients.items():
        outcome = outcomes.get(n)
        if outcome is not None and outcome.status.final:
            attempts = recipient.attempts + 1
            if n in result.notes:
                recipient = replace(recipient, progress=dict(result.notes[n]))
            settlement.ended.append(Ended(recipient, outcome.status.value, str(outcome.reply), attempts, []))
        elif outcome is None and n not in result.next:
            settlement.untried.append(n)
        else:
            settlement.moved.append(_moved(recipient, outcome, result))


def _moved(recipient: Recipient, outcome: Outcome | None, result: Result) -> Recipient:
    attempts = recipient.attempts + (outcome is not None)
    following = result.next.get(recipient.id)
    if following is None:
        return replace(recipient, attempts=attempts)
    return replace(
        recipient,
        due=following.due,
        destination=following.destination,
        hold=following.hold,
        progress=dict(following.progress),
        attempts=attempts,
    )


def _revived(recipient: Recipient, step: Next) -> tuple[Recipient, str]:
    """One that has ended, held from now on; ``KeyError`` where it has not."""
    if "status" not in recipient.progress:
        raise KeyError(recipient.id)
    held = replace(recipient, due=step.due, destination=step.destination, hold=step.hold, progress=dict(step.progress))
    return held, recipient.progress["status"]


def _place(settlement: Settlement, happened: list[Event]) -> None:
    """Events go with the recipient that ends; one of the whole message with the first that does."""
    ended = settlement.ended
    if not ended:
        settlement.events = happened
        return
    if len(ended) == 1 and not settlement.moved and not settlement.untried:
        ended[0].events.extend(happened)
        return
    own = {end.recipient.id: end.events for end in ended}
    own.setdefault(-1, ended[0].events)
    for event in happened:
        own.get(event.recipient, settlement.events).append(event)


def check_change(change: Change) -> None:
    """Raise ``ValueError`` for a change whose argument is not of its kind."""
    argument, kind = change.argument, change.kind
    right: dict[ChangeKind, bool] = {
        ChangeKind.REROUTE: isinstance(argument, Destination),
        ChangeKind.PRIORITY: isinstance(argument, int),
        ChangeKind.HOLD: argument is None or isinstance(argument, str),
        ChangeKind.BOUNCE: argument is None or isinstance(argument, str),
    }
    if not right.get(kind, True):
        raise ValueError(f"{kind.value} needs another argument than {argument!r}")


def changed(recipient: Recipient, change: Change, by: str, now: int) -> Recipient | None:
    """The recipient after the change, or None where the change does not concern it.

    RETRY leaves what is held alone; RELEASE is for what is held.  REROUTE stays with the recipient, in
    ``progress["via"]``: the router is not asked for it any more.  BOUNCE makes it due at once with the reason
    in ``progress["bounce"]``: the queue fails it, with a report, at that attempt.  (DELETE is not for here.)
    """
    held = bool(recipient.hold)
    kind, argument = change
    if kind is ChangeKind.HOLD:
        return None if held else replace(recipient, hold=argument or f"by {by}")
    if kind is ChangeKind.RELEASE:
        return replace(recipient, hold="") if held else None
    if kind is ChangeKind.RETRY:
        return None if held else replace(recipient, due=min(recipient.due, now))
    if kind is ChangeKind.WAKE:
        return None if held else _woken(recipient)
    if kind is ChangeKind.REROUTE:
        return _rerouted(recipient, argument, now)
    if kind is ChangeKind.PRIORITY:
        return None if recipient.priority == argument else replace(recipient, priority=argument)
    if BOUNCE in recipient.progress and not held:
        return None
    progress = {**recipient.progress, BOUNCE: argument or ""}
    return replace(recipient, hold="", due=min(recipient.due, now), progress=progress)


def _woken(recipient: Recipient) -> Recipient | None:
    """Its own due time, where it was put off (``mta.queue.progress.put_off``)."""
    progress = dict(recipient.progress)
    own, look = progress.pop("try", None), progress.pop("look", None)
    if own is None or look != recipient.due or own >= look:
        return None
    return replace(recipient, due=own, progress=progress)


def _rerouted(recipient: Recipient, to: Destination, now: int) -> Recipient | None:
    """Without a service: by the configuration again; without a next hop: the recipient's domain."""
    progress = dict(recipient.progress)
    before = progress.pop(VIA, None)
    target = recipient.destination
    if to.service:
        target = to if to.next_hop else Destination(to.service, recipient.address.domain)
        progress[VIA] = list(target)
    if before == progress.get(VIA):
        return None
    return replace(recipient, destination=target, due=min(recipient.due, now), progress=progress)


def deleted(recipient: Recipient, by: str, now: int) -> Ended:
    """The end of what an operator deletes: no report."""
    detail = "nobody is told"
    event = events.CHANGED(now, recipient.id, change=ChangeKind.DELETE.value, by=by, detail=detail)
    return Ended(recipient, DELETED, "", recipient.attempts, [event])


def change_event(change: Change, by: str, now: int, recipients: list[int]) -> Event:
    """What the story of a message says about a change of some of its recipients."""
    argument = change.argument
    detail = ":".join(argument) if isinstance(argument, Destination) else "" if argument is None else str(argument)
    if len(recipients) == 1:
        return events.CHANGED(now, recipients[0], change=change.kind.value, by=by, detail=detail)
    return events.CHANGED(now, change=change.kind.value, by=by, detail=detail, recipients=len(recipients))


def mailbox(text: str) -> str:
    """A mailbox, or ``@domain``, as a person types it, in the form in which it is stored."""
    try:
        if text.startswith("@"):
            return f"@{normal_domain(text[1:])}"
        return str(Address.parse(text, utf8=True))
    except AddressError:
        return text


def said_last(row: Row) -> str:
    """Why it is held, and the last reply."""
    return row.reply if row.status else row.recipient.hold + str(row.recipient.progress.get("reply", ""))


def _named(wanted: str, *addresses: str) -> bool:
    if wanted.startswith("@"):
        return any(address.endswith(wanted) for address in addresses)
    return wanted in addresses


def matches(selection: Selection, row: Row) -> bool:
    """The conditions of a selection, for a line of queue or history."""
    recipient = row.recipient
    wanted = None if selection.recipient is None else mailbox(selection.recipient)
    return (
        (not selection.ids or row.id in [id.upper() for id in selection.ids])
        and (selection.sender is None or _named(mailbox(selection.sender), row.sender or ""))
        and (wanted is None or _named(wanted, str(recipient.address), str(recipient.original)))
        and (selection.destination is None or recipient.destination == selection.destination)
        and (selection.place in ("", *recipient.destination, ":".join(recipient.destination)))
        and (selection.reason.casefold() in said_last(row).casefold())
        and (selection.held is None or bool(recipient.hold) == selection.held)
        and (not selection.arrived_before or row.arrived < selection.arrived_before)
    )
