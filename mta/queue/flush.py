"""Try now what waits for a host: what a client asks for by ETRN (RFC 1985).

Contract: all that waits for the domain is due at once and its destinations rest no more; what is held stays held, what
is under way goes on.  Returns how many recipients it concerned.
How it fails: ``MailFailure`` where the spool cannot be asked.
Limits: the spool is read by its index of destinations, a page at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mta.envelope import Destination
from mta.interfaces import ISpool
from mta.queue.schedule import Schedule
from mta.spool.values import Change, ChangeKind, Due, Selection

PAGE: Final = 200
#: Later than anything is due.
END_OF_TIME: Final = 2**62


async def flush(spool: ISpool, schedule: Schedule, domain: str, subdomains: bool) -> int:
    """See the module's text.  ``domain`` is as by ``normal_domain``; ``subdomains``: those below it too."""
    memory = [lane for lane in schedule.lanes.values() if _concerns(lane.destination, domain, subdomains)]
    count = sum(lane.recipients for lane in memory)
    waiting: set[Destination] = set()
    after: Due | None = None
    while True:
        page = await spool.due(END_OF_TIME, after, PAGE)
        waiting.update(due.destination for due in page if _concerns(due.destination, domain, subdomains))
        if len(page) < PAGE:
            break
        after = page[-1]
    for destination in waiting:
        count += await spool.change(Selection(destination=destination), Change(ChangeKind.RETRY), "ETRN")
    _end_rests(schedule, {lane.destination for lane in memory} | waiting)
    return count


def _concerns(destination: Destination, domain: str, subdomains: bool) -> bool:
    hop = destination.next_hop
    return hop == domain or (subdomains and hop.endswith("." + domain))


def _end_rests(schedule: Schedule, destinations: Iterable[Destination]) -> None:
    for destination in destinations:
        lane = schedule.lanes.get(destination)
        if lane is not None:
            schedule.end_rest(lane)
