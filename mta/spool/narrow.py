"""Which part of a long queue, or of its history, has to be looked at for a selection.

Contract: ``next_part`` cuts the table in order of its key; each part is a short read of at most ``SLICE`` rows.  Where
ids or an address are looked for a part has only the messages that can be meant (of an address: as far as the index has
come, ``mta.spool.named``; behind that it is every row); where a place is, rows of others are passed over unread.
``few`` gives, by index, the recipients of a place or those that are held, if there are not many.
Failure: SQLite's errors.
Limits: a place that is more than ``PLACES`` destinations (a service) narrows nothing; nor does the null sender.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from mta.spool.encode import HELD
from mta.spool.settle import mailbox
from mta.spool.store import part_of, through
from mta.spool.values import Selection, id_number

#: How many rows one short read looks at.
SLICE: Final = 20_000
#: Messages that one read takes from the index by address.
CANDIDATES: Final = 1000
PLACES: Final = 500
#: What is few.
FEW: Final = 5000
#: Greater than the number of any recipient: behind all of a message.
BEHIND: Final = 1 << 62

Key = tuple[int, int]


class Part(NamedTuple):
    """Conditions on ``r``, their values.  The next part begins behind the key ``following``; None: this is the last."""

    where: str
    values: dict[str, Any]
    following: Key | None


def next_part(db: sqlite3.Connection, selection: Selection, after: Key, history: bool = False) -> Part:
    """See the module's text.  ``after``: a key, or what is behind one."""
    messages, end = _messages(db, selection, after)
    only = "" if messages is None else f" AND message IN ({_list(messages)})"
    values: dict[str, Any] = {"message": after[0], "n": after[1], "slice": SLICE}
    table = "history" if history else "recipient"
    last = db.execute(
        f"SELECT message, n FROM {table} WHERE (message, n) > (:message, :n){only}"  # noqa: S608  # numbers
        " ORDER BY message, n LIMIT 1 OFFSET :slice - 1",
        values,
    ).fetchone()
    where = f"(r.message, r.n) > (:message, :n){only.replace('message', 'r.message')}"
    following = last or end
    if following is not None:
        values["last_message"], values["last_n"] = following
        where += " AND (r.message, r.n) <= (:last_message, :last_n)"
    places = None if history else places_of(db, selection)
    if places is not None:
        where += f" AND r.destination IN ({_list(places)})"
    return Part(where, values, following)


def _messages(db: sqlite3.Connection, selection: Selection, after: Key) -> tuple[list[int] | None, Key | None]:
    """The messages that can be meant, and up to which key that is so; None: any, or all."""
    if selection.ids:
        return numbers(selection.ids), None
    name = mailbox(selection.recipient or selection.sender or "").lower()
    known = through(db)
    first = after[0] + (after[1] >= BEHIND)
    if not name or not 0 <= known >= first:
        return None, None
    found = candidates(db, (name,), first, CANDIDATES)
    last = found[-1] if len(found) == CANDIDATES else known
    return found, (last, BEHIND)


def candidates(db: sqlite3.Connection, names: Sequence[str], first: int, limit: int) -> list[int]:
    """Messages from ``first`` on, as far as the index by address has come, that may name one of these."""
    query = "SELECT message FROM unnamed WHERE message >= ? ORDER BY message LIMIT ?"
    found = {number for (number,) in db.execute(query, (first, limit))}
    query = "SELECT message FROM named WHERE part = ? AND name = ? AND message >= ? ORDER BY message LIMIT ?"
    count = 0
    # From part to part that there is: a clock that once stood at 1970 leaves a gap of nearly a million.
    following = "SELECT min(part) FROM named WHERE part >= ?"
    (part,) = db.execute(following, (part_of(first),)).fetchone()
    while part is not None:
        there = {number for name in names for (number,) in db.execute(query, (part, name, first, limit))}
        found |= there
        count += len(there)
        if count >= limit:
            break
        (part,) = db.execute(following, (part + 1,)).fetchone()
    return sorted(found)[:limit]


def places_of(db: sqlite3.Connection, selection: Selection) -> list[int] | None:
    """The destinations that are meant; None: any, or very many."""
    parts = []
    values: list[str] = []
    if selection.destination is not None:
        parts.append("service = ? AND next_hop = ?")
        values += selection.destination
    if selection.place:
        parts.append("? IN (service, next_hop, service || ':' || next_hop)")
        values.append(selection.place)
    if not parts:
        return None
    query = f"SELECT id FROM destination WHERE {' AND '.join(parts)} LIMIT {PLACES + 1}"  # noqa: S608  # constants
    found = [number for (number,) in db.execute(query, values)]
    return found if len(found) <= PLACES else None


def few(db: sqlite3.Connection, selection: Selection, after: Key, free: bool) -> list[Key] | None:
    """The keys behind ``after`` of what waits for a place and is not claimed (``free``), or of what is held; None where
    the indexes do not say it, or there are many.  What is staged may be among them."""
    if selection.ids or not (free or selection.held):
        return None
    places = places_of(db, selection)
    if places is None and not selection.held:
        return None
    there = "" if places is None else f" AND destination IN ({_list(places)})"
    query = f"SELECT message, n FROM recipient WHERE state >= {HELD}{there}"  # noqa: S608  # numbers
    if not selection.held:
        query += f" UNION ALL SELECT message, n FROM recipient WHERE state = 0{there}"  # noqa: S608  # likewise
    found = db.execute(f"{query} LIMIT {FEW + 1}").fetchall()
    return None if len(found) > FEW else sorted(key for key in found if key > after)


def numbers(ids: Iterable[str]) -> list[int]:
    """The numbers of queue ids; a text that is none selects nothing."""
    found = []
    for text in ids:
        try:
            found.append(id_number(text))
        except KeyError:
            continue
    return found


def _list(found: Iterable[int]) -> str:
    return ",".join(map(str, found)) or "-1"  # of an empty list SQLite would go through all
