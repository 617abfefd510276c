"""Takes what waits in memory back out of the schedule, so that an operator's change in the spool reaches it too.

Contract: jobs with a recipient for which ``matches`` is true leave the schedule; what is under way goes on.  The caller
gives the leases back to the spool.
"""

from __future__ import annotations

from collections.abc import Callable

from mta.queue.schedule import Job, Schedule
from mta.spool.values import Lease


def withdraw(schedule: Schedule, matches: Callable[[Job], bool]) -> list[Lease]:
    """See the module's text."""
    taken: list[Lease] = []
    for lane in list(schedule.lanes.values()):
        for job in list(lane.drain()):
            schedule.forget(len(job.recipients))
            if matches(job):
                taken.append(job.lease)
                lane.due_more = True
            else:
                schedule.add(job)
    return taken
