"""What waits, counted: by destination and by class of trouble.  For people, not for the queue.

Contract: one pass over the recipients, in short reads (``mta.spool.narrow``), so that the log of the database can be
brought in meanwhile; what changes while it goes on is counted as it is when the pass comes by.
How it fails: as ``SpoolReader``.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from mta.envelope import Destination
from mta.reply import LOCAL_ERROR, TemporaryFailure
from mta.spool.encode import HELD
from mta.spool.load import conditions
from mta.spool.narrow import Key, next_part
from mta.spool.reader import SpoolReader
from mta.spool.values import Selection

#: How recipients count that are held, and those that were not tried yet.
HELD_BACK: Final = "held"
UNTRIED: Final = ""


@dataclass(slots=True)
class Waiting:
    """What waits for one destination."""

    recipients: int = 0
    due: int = 0
    held: int = 0
    claimed: int = 0
    oldest: int = 0
    next_due: int = 0  # of those that are not due yet; 0: there are none
    last: tuple[int, str] = (0, "")  # when the last one was tried, and the reply
    troubles: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Survey:
    """See the module's text."""

    recipients: int = 0
    messages: int = 0
    places: dict[Destination, Waiting] = field(default_factory=dict)


_GROUPS: Final = (
    "SELECT d.service, d.next_hop, r.state,"
    " CASE WHEN r.state = :held THEN 'held' ELSE coalesce(json_extract(r.progress, '$.trouble'), '') END,"
    " count(*), count(*) FILTER (WHERE r.due <= :now), min(m.arrived), min(r.due) FILTER (WHERE r.due > :now),"
    " max(printf('%015d', coalesce(json_extract(r.progress, '$.tried'), 0))"
    "  || CASE WHEN r.hold != '' THEN r.hold ELSE coalesce(json_extract(r.progress, '$.reply'), '') END)"
)


def survey(reader: SpoolReader, selection: Selection, now: int) -> Survey:
    """Count what is selected.  ``now``: what is due by then counts as due."""
    found = Survey()
    where, values = conditions(selection, False)
    values.update(now=now, held=HELD)
    last_message = -1
    after: Key | None = (-1, -1)
    try:
        while after is not None:
            part = next_part(reader.db, selection, after)
            rows = (
                " FROM recipient r JOIN destination d ON d.id = r.destination JOIN message m ON m.id = r.message"
                f" WHERE {part.where} AND {where}"
            )
            bound = values | part.values
            for row in reader.db.execute(f"{_GROUPS}{rows} GROUP BY 1, 2, 3, 4", bound):  # no text of a stranger
                _add(found, row)
            count, first, last = reader.db.execute(
                f"SELECT count(DISTINCT r.message), min(r.message), max(r.message){rows}",  # likewise
                bound,
            ).fetchone()
            # A part may end within a message that has very many recipients.
            found.messages += count - (count > 0 and first == last_message)
            last_message = last_message if last is None else last
            after = part.following
        return found
    except sqlite3.Error as error:
        raise TemporaryFailure(LOCAL_ERROR, f"reading the spool: {error}") from error


def _add(found: Survey, row: tuple[Any, ...]) -> None:
    service, hop, state, trouble, count, due, oldest, next_due, last = row
    place = found.places.setdefault(Destination(service, hop), Waiting())
    found.recipients += count
    place.recipients += count
    place.troubles[trouble] += count
    if state == HELD:
        place.held += count
    else:
        place.due += due
        place.claimed += count if state == 1 else 0
        if next_due is not None:
            place.next_due = min(place.next_due or next_due, next_due)
    place.oldest = min(place.oldest or oldest, oldest)
    tried, reply = int(last[:15]), last[15:]
    if (tried, reply) > place.last and reply:
        place.last = (tried, reply)
