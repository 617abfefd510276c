"""From a spool that is read to a simulation: what waits, with its age, due time and last trouble.

Contract: ``copy_queue`` reads page by page and changes nothing, whether the service runs or not; what ends meanwhile
is left out.  Messages stay in the order of their arrival; held recipients come too, and stay held.
How it fails: a message that cannot be read is left out and counted.
Limits: ``limit`` recipients, the oldest; all recipients of the last message come with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from mta.envelope import Recipient
from mta.simulate.engine import Simulation
from mta.spool.values import Damaged, PageKey, Selection
from mta.workers.spools import Spools

_PAGE: Final = 500


class Copied(NamedTuple):
    """What was copied, in recipients; ``capped``: there is more."""

    messages: int = 0
    recipients: int = 0
    held: int = 0
    unreadable: int = 0  # messages
    capped: bool = False


def copy_queue(reader: Spools, simulation: Simulation, limit: int) -> Copied:
    """See the module's text."""
    messages = recipients = held = unreadable = 0
    for id, waiting in _messages(reader):
        if recipients >= limit:
            return Copied(messages, recipients, held, unreadable, capped=True)
        try:
            envelope = reader.record(id).envelope
        except KeyError:
            continue
        except Damaged:
            unreadable += 1
            continue
        simulation.add(envelope, waiting)
        messages += 1
        recipients += len(waiting)
        held += sum(1 for recipient in waiting if recipient.hold)
    return Copied(messages, recipients, held, unreadable)


def _messages(reader: Spools) -> Iterator[tuple[str, list[Recipient]]]:
    """Each message that waits, with its recipients; a page may end within one."""
    id, waiting = "", list[Recipient]()
    after: PageKey | None = None
    while page := reader.page(Selection(), after, _PAGE):
        for row in page:
            if row.id != id and waiting:
                yield id, waiting
                waiting = []
            id = row.id
            waiting.append(row.recipient)
        after = PageKey(page[-1].id, page[-1].recipient.id)
    if waiting:
        yield id, waiting
