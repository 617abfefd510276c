"""From the forward-paths of a transaction to the recipients that are stored: expansion, then the first route.

Contract: an address that several paths lead to is delivered to once; each recipient keeps the address that
the sender used, the path from there, and what the sender wished for that address (RFC 3461 5.2.7).  Expansion
happens here, once; the route found here only says where the copy waits: it is found anew at each attempt.
How it fails: ``MailFailure`` with the reply for the whole message, where a table cannot answer.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

from mta import events
from mta.address import Address
from mta.envelope import Destination, Recipient
from mta.events import Event
from mta.interfaces import IRouter
from mta.routing.ask import Answerer, resolve
from mta.routing.values import EXPANSION, Expansion, Question, Route

#: How many recipients' ways are told in the story of one message; each can be asked for at any time.
MAX_TOLD: Final = 50


class Forward(NamedTuple):
    """A forward-path of a transaction with what RCPT wished for it; both as ``Recipient`` has them."""

    address: Address
    orcpt: str = ""
    notify: str = ""


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
) -> Leads:
    """Expand and route; see the module's text.  ``now`` is UTC milliseconds; ``due`` when they are (0: now)."""
    due = due or now
    recipients: dict[tuple[Address, Destination | None], Recipient] = {}
    expanded: dict[Address, Forward] = {}
    routes: list[Route] = []
    told: list[Event] = []
    for original, orcpt, notify in forwards:
        expansion = resolve(partial(router.expand, original), facts, answerer)
        if not isinstance(expansion, Expansion):
            expansion = await expansion
        for reason in expansion.reasons:
            told.append(reason._replace(at=now))
        if len(expansion.targets) > 1 and "SUCCESS" in notify:
            # RFC 3461 5.2.7.3 (c)
            expanded[router.identity(original)] = Forward(original, orcpt, notify)
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
                path=path,
                destination=route.destination,
                due=due,
                orcpt=orcpt,
                notify=notify,
                priority=priority,
                hold=route.hold,
            )
    if not expanded:
        return Leads(tuple(recipients.values()), tuple(told), tuple(routes), router)
    known = [*recipients.values()]
    known += [_expanded(len(known) + n, forward, now) for n, forward in enumerate(expanded.values())]
    return Leads(tuple(known), tuple(told), (*routes, *[Route(destination=EXPANSION)] * len(expanded)), router)


def _expanded(number: int, forward: Forward, now: int) -> Recipient:
    """The address itself, which ends at once as expanded: so its sender is told by the same rules as of all else."""
    address, orcpt, _ = forward
    return Recipient(
        id=number, address=address, original=address, destination=EXPANSION, due=now, orcpt=orcpt, notify="SUCCESS"
    )


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
