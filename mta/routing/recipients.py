"""From the forward-paths of a transaction to the recipients that are stored: expansion, then the first route.

Contract: an address that several paths lead to is delivered to once; each recipient keeps the address that
the sender used, the path from there, and what the sender wished for that address (RFC 3461 5.2.7).  Expansion
happens here, once; the route found here only says where the copy waits: it is found anew at each attempt.
How it fails: ``MailFailure`` with the reply for the whole message, where a table cannot answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

from mta import events
from mta.address import Address
from mta.envelope import Destination, Recipient
from mta.events import Event
from mta.interfaces import IRouter
from mta.routing.ask import Answerer, resolve
from mta.routing.values import EXPANSION, Expansion, Question, Route, Target

#: How many recipients' ways are told in the story of one message; each can be asked for at any time.
MAX_TOLD: Final = 50
#: Of a recipient whose domain itself named the service (``Route.home``).
HOME: Final[Mapping[str, bool]] = {"home": True}
NOTHING: Final[Mapping[str, bool]] = {}


class Forward(NamedTuple):
    """A forward-path of a transaction with what RCPT wished for it; both as ``Recipient`` has them.

    ``given``: the address as the sender wrote it, where it was given another form (``mta.routing.canonical``)."""

    address: Address
    orcpt: str = ""
    notify: str = ""
    given: Address | None = None


class Leads(NamedTuple):
    """Where the recipients lead, and the events that tell why."""

    recipients: tuple[Recipient, ...]
    events: tuple[Event, ...]
    routes: tuple[Route, ...] = ()  # of the recipients, in their order
    router: IRouter | None = None  # who found them


async def lead(
    router: IRouter,
    answerer: Answerer,
    forwards: Iterable[Forward],
    facts: MutableMapping[Question, Any],
    now: int,
    due: int = 0,
    priority: int = 0,
    notes: bool = False,
) -> Leads:
    """Expand and route; see the module's text.  ``now`` is UTC milliseconds; ``due`` when they are (0: now).

    ``notes``: the sender is one who may be told of people who have moved (``mta.notes``)."""
    due = due or now
    recipients: dict[tuple[Address, Destination | None], Recipient] = {}
    expanded: dict[Address, Forward] = {}
    owed: dict[Address, Target] = {}
    routes: list[Route] = []
    told: list[Event] = []
    for forward, orcpt, notify, given in forwards:
        original = forward if given is None else given
        expansion = resolve(partial(router.expand, forward), facts, answerer)
        if not isinstance(expansion, Expansion):
            expansion = await expansion
        for reason in expansion.reasons:
            told.append(_placed(reason, answerer)._replace(at=now))
        if notes and expansion.notes:
            owed.update((router.identity(note.address), note) for note in expansion.notes)
        if len(expansion.targets) > 1 and "SUCCESS" in notify:
            # RFC 3461 5.2.7.3 (c)
            expanded[router.identity(forward)] = Forward(original, orcpt, notify)
            notify = _without_success(notify)
        for address, path, destination, hold in expansion.targets:
            same = (router.identity(address), destination)
            if same in recipients:
                continue
            number = len(recipients)
            route = resolve(partial(router.route, address, destination), facts, answerer)
            if not isinstance(route, Route):
                route = await route
            if hold:
                route = replace(route, hold=hold)
            if number < MAX_TOLD:
                told.append(_routed(number, address, route, now))
            routes.append(route)
            recipients[same] = Recipient(
                id=number,
                address=address,
                original=original,
                path=path if given is None else (f"canonical:{given}", *path),
                destination=route.destination,
                due=due,
                orcpt=orcpt,
                notify=notify,
                priority=priority,
                hold=route.hold,
                progress=HOME if route.home else NOTHING,
            )
    if not expanded and not owed:
        return Leads(tuple(recipients.values()), tuple(told), tuple(routes), router)
    known = [*recipients.values()]
    known += [_expanded(len(known) + n, forward, now) for n, forward in enumerate(expanded.values())]
    known += [_owed(len(known) + n, note, now) for n, note in enumerate(owed.values())]
    routes += [Route(destination=one.destination) for one in known[len(recipients) :]]
    return Leads(tuple(known), tuple(told), tuple(routes), router)


def _owed(number: int, note: Target, now: int) -> Recipient:
    """A note to the sender, as a recipient at a place: so it is stored with the message that causes it."""
    address, path, place, _ = note
    assert place is not None
    return Recipient(
        id=number, address=address, original=address, path=path, destination=place, due=now, notify="NEVER"
    )


def _expanded(number: int, forward: Forward, now: int) -> Recipient:
    """The address itself, which ends at once as expanded: so its sender is told by the same rules as of all else."""
    address, orcpt = forward.address, forward.orcpt
    return Recipient(
        id=number, address=address, original=address, destination=EXPANSION, due=now, orcpt=orcpt, notify="SUCCESS"
    )


def _placed(step: Event, answerer: Answerer) -> Event:
    """With file and line of the entry that led on, where its table can tell."""
    table = step.args.get("table")
    where = answerer.where(table, step.args["address"]) if table else ""
    return step._replace(args={**step.args, "where": where}) if where else step


def _without_success(notify: str) -> str:
    return ",".join(word for word in notify.split(",") if word != "SUCCESS") or "NEVER"


def _routed(number: int, address: Address, route: Route, now: int) -> Event:
    return events.ROUTED(
        now,
        number,
        address=str(address),
        service=route.destination.service,
        next_hop=route.destination.next_hop,
        rule=[reason.args.get("rule") or str(reason) for reason in route.reasons],
    )
