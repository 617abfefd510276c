"""Where the recipients of a lease go now: by a route, on hold, to another place in the spool, or nowhere.

What it is: the routing step of the queue manager without its state; each function returns what to do or write.
Contract: every recipient of the lease is in exactly one of the groups.
How it fails: a table that cannot answer, and any error of a router, is the trouble of that recipient alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from twisted.logger import Logger
from twisted.python.failure import Failure

from mta import events
from mta.envelope import Destination, Outcome, Recipient, Status
from mta.interfaces import IMessage, IRouter
from mta.queue.conclude import failed_at_routing
from mta.queue.schedule import Job, Schedule
from mta.queue.setup import Setup
from mta.reply import MailFailure, failure_reply
from mta.routing.ask import Answerer, resolve
from mta.routing.forwarding import Forwarding, decide_rewrite
from mta.routing.recipients import Leads
from mta.routing.values import HeaderQuestion, Rewrite, Route
from mta.spool.values import Lease, Next, Result

log = Logger()

#: The stage of an attempt that did not get beyond its route.
ROUTING: Final = "routing"

Groups = list[tuple[Route, list[Recipient]]]
Troubles = list[tuple[Recipient, Exception]]


def settled(setup: Setup, leads: Leads) -> bool:
    """For a message to one: it was routed a moment ago by the configuration in force, and nothing is left to ask.
    What most mail is."""
    return leads.router is setup.router and not (leads.recipients[0].path and setup.forwarding)


async def find_routes(
    router: IRouter, answerer: Answerer, lease: Lease, forwarding: Forwarding | None = None
) -> tuple[Groups, Troubles]:
    """The recipients by their routes, and those without one."""
    facts: dict[Any, Any] = {}
    groups: dict[Any, tuple[Route, list[Recipient]]] = {}
    troubles: Troubles = []
    rewrites: dict[Any, Rewrite | None] = {}
    for recipient in lease.recipients:
        try:
            if "bounce" in recipient.progress:
                # An operator gave it up: see ChangeKind.BOUNCE.
                raise failed_at_routing(recipient.progress["bounce"])
            via = recipient.progress.get("via")
            if via:  # by an operator: see ChangeKind.REROUTE
                route: Any = Route(destination=Destination(*via), reasons=(events.RULE(rule="rerouted"),))
            else:
                home = recipient.progress.get("home") is True
                route = resolve(
                    partial(router.route, recipient.address, recipient.destination, home=home), facts, answerer
                )
            if not isinstance(route, Route):
                route = await route
            if recipient.path and forwarding is not None and not route.hold:
                # All that it hangs on: a list may have many members in a few domains.
                same = (recipient.original, recipient.address.domain, route.destination)
                if same not in rewrites:
                    rewrites[same] = await _in_whose_name(forwarding, answerer, lease.message, recipient, route, facts)
                route = replace(route, rewrite=rewrites[same])
        except Exception as error:
            troubles.append((recipient, error))
            continue
        key: Any = (route.destination, tuple(route.facts.items()), route.hold)
        if route.rewrite is not None:
            key = (*key, route.rewrite.reverse_path, route.rewrite.author, str(route.rewrite.reason))
        groups.setdefault(key, (route, []))[1].append(recipient)
    return list(groups.values()), troubles


async def _in_whose_name(
    forwarding: Forwarding,
    answerer: Answerer,
    message: IMessage,
    recipient: Recipient,
    route: Route,
    facts: dict[Any, Any],
) -> Rewrite | None:
    """What is changed of a message for somebody whom another address led to."""
    asked = answerer.with_others({HeaderQuestion: lambda question: message.header()})
    found = resolve(partial(decide_rewrite, forwarding, message.envelope, recipient, route), facts, asked)
    return found if found is None or isinstance(found, Rewrite) else await found


def parks(schedule: Schedule, route: Route, recipients: Sequence[Recipient], seconds: float, active: int) -> bool:
    """Held, or paused; or led to another destination than they waited for, which can take no more now."""
    if route.hold or schedule.paused(route.destination):
        return True
    return recipients[0].destination != route.destination and schedule.crowded(route.destination, seconds, active)


def park(lease: Lease, route: Route, recipients: Sequence[Recipient], now: int) -> Result:
    """Untried: on hold where they are, if the route says so; else in the spool, at the route's destination."""
    places = {r.id: r.destination if route.hold else route.destination for r in recipients}
    return Result(
        lease=narrowed(lease, recipients),
        next={r.id: Next(r.due, places[r.id], route.hold, r.progress) for r in recipients},
        events=tuple(
            events.HELD(now, r.id, address=str(r.address), reason=route.hold)
            for r in recipients
            if r.hold != route.hold
        ),
    )


def without_route(lease: Lease, troubles: Troubles) -> list[tuple[Job, list[Outcome]]]:
    """Those that cannot be routed, each place where they wait at once: one report for all of them."""
    places: dict[Destination, list[tuple[Recipient, Outcome]]] = {}
    for recipient, error in troubles:
        if not isinstance(error, MailFailure):
            log.failure("routing of {address} failed", failure=Failure(error), address=str(recipient.address))
        reply = failure_reply(error)
        status = Status.FAILED if reply.permanent else Status.DEFERRED
        attempt = {"stage": ROUTING}
        if not isinstance(error, MailFailure):
            attempt["error"] = f"{type(error).__name__}: {error}"
        outcome = Outcome(recipient=recipient.id, status=status, reply=reply, attempt=attempt)
        places.setdefault(recipient.destination, []).append((recipient, outcome))
    return [
        (
            Job(narrowed(lease, [recipient for recipient, _ in group]), Route(destination=destination)),
            [outcome for _, outcome in group],
        )
        for destination, group in places.items()
    ]


def narrowed(lease: Lease, recipients: Sequence[Recipient]) -> Lease:
    """The part of a lease for some of its recipients."""
    return Lease(lease.token, lease.message, tuple(recipients), lease.until)
