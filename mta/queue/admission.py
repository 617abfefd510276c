"""May a new message go out at once, or does it wait in the spool for its turn?  Pure.

Contract: while half of the active set is free, all may but what is for a destination that rests.  Above that, a
message that has nothing before it goes while a quarter is free; one that has to queue up behind others stays out where
its sender has too much in memory already (``senders``), or its destination has: then only the first few of a sender
come in, and none into the last eighth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mta.envelope import Envelope
from mta.queue.schedule import Schedule
from mta.queue.senders import FEW, LITTLE
from mta.sender import sender_of

if TYPE_CHECKING:
    from mta.queue.holding import Holding
    from mta.routing.recipients import Leads


def no_room(
    schedule: Schedule, holding: Holding, room: int, now: float, leads: Leads, envelope: Envelope | None
) -> bool:
    """See the module's text.  ``room`` is how many recipients may be in memory; ``now`` is monotonic."""
    if schedule.size < room // 2:
        return any(schedule.rests(route.destination, now) for route in leads.routes)
    few, queued = FEW, schedule.size >= room - room // 4
    for route in leads.routes:
        queued = queued or schedule.waits(route.destination)
        if schedule.crowded(route.destination, now, room):
            if schedule.rests(route.destination, now) or schedule.size >= room - room // 8 or envelope is None:
                return True
            few = LITTLE
    if not queued:
        return False
    return holding.crowded("" if envelope is None else sender_of(envelope), schedule.size, room, few)
