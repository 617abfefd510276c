"""Reading messages and selections out of the database: what writer and readers share.

Failure: ``KeyError`` for what is not there (any more), ``Damaged`` for what cannot be read.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from mta.spool.batch import needed
from mta.spool.bodies import BodyFolder
from mta.spool.encode import HELD, WAITING, decode_edits, decode_envelope
from mta.spool.message import HEADER_LIMIT, Bodies, StoredMessage
from mta.spool.narrow import Key, Part, few, next_part, numbers
from mta.spool.settle import mailbox
from mta.spool.values import Damaged, Selection, id_text


def load_message(db: sqlite3.Connection, number: int, bodies: Bodies, limit: int = HEADER_LIMIT) -> StoredMessage:
    """The message without its octets.  Raises ``KeyError``, ``Damaged``."""
    query = "SELECT envelope, sender, arrived, edits, stored, external FROM message WHERE id = ?"
    try:
        row = db.execute(query, (number,)).fetchone()
        if row is None:
            raise KeyError(id_text(number))
        text, sender, arrived, edits, stored, external = row
        envelope = decode_envelope(text, sender, arrived)
        return StoredMessage(
            id_text(number), number, envelope, decode_edits(edits), stored, bool(external), bodies, None, limit
        )
    except (sqlite3.DatabaseError, ValueError, TypeError, AttributeError) as error:
        raise Damaged(id_text(number), f"its row cannot be read: {error}") from error


def load_waiting_message(
    db: sqlite3.Connection, number: int, bodies: Bodies, limit: int = HEADER_LIMIT
) -> StoredMessage:
    """The same for one that has not ended; of one that has, only history is left."""
    if not needed(db, number):
        raise KeyError(id_text(number))
    return load_message(db, number, bodies, limit)


def check_body(db: sqlite3.Connection, message: StoredMessage, folder: BodyFolder) -> None:
    """Raise ``Damaged`` if the body is not there with its size.  Its octets are not read."""
    if message.external:
        found = folder.size(message.number)
    else:
        query = "SELECT length(data) FROM body WHERE id = ?"
        try:
            row = db.execute(query, (message.number,)).fetchone()
        except sqlite3.DatabaseError as error:
            raise Damaged(message.id, f"its body cannot be read: {error}") from error
        found = -1 if row is None else row[0]
    if found < 0:
        raise Damaged(message.id, "its body is missing")
    if found != message.stored:
        raise Damaged(message.id, f"its body has {found} octets and should have {message.stored}")


def small_body(db: sqlite3.Connection, number: int) -> bytes:
    """The octets of a body that is in the database.  Raises ``Damaged``."""
    try:
        row = db.execute("SELECT data FROM body WHERE id = ?", (number,)).fetchone()
    except sqlite3.DatabaseError as error:
        raise Damaged(id_text(number), f"its body cannot be read: {error}") from error
    if row is None:
        raise Damaged(id_text(number), "its body is missing")
    data: bytes = row[0]
    return data


def external_bodies(db: sqlite3.Connection) -> dict[int, int]:
    """Messages that still need their body file, and the octets that it must have."""
    query = (
        "SELECT id, stored FROM message m WHERE external = 1 AND"
        " (EXISTS (SELECT 1 FROM recipient WHERE message = m.id)"
        " OR EXISTS (SELECT 1 FROM notice WHERE message = m.id))"
    )
    return dict(db.execute(query).fetchall())


def conditions(selection: Selection, history: bool) -> tuple[str, dict[str, Any]]:
    """A selection as SQL on ``r`` (recipient with its destination ``d``, or history) and message ``m``."""
    place = "r" if history else "d"
    parts: list[str] = []
    values: dict[str, Any] = {}
    if selection.ids:
        listed = ",".join(str(number) for number in numbers(selection.ids))
        parts.append(f"r.message IN ({listed})")
    if selection.sender is not None:
        values["sender"] = mailbox(selection.sender)
        parts.append(_names("coalesce(m.sender, '')", "sender", values["sender"]))
    if selection.recipient is not None:
        values["recipient"] = wanted = mailbox(selection.recipient)
        parts.append(f"({_names('r.address', 'recipient', wanted)} OR {_names('r.original', 'recipient', wanted)})")
    if selection.destination is not None:
        parts.append(f"{place}.service = :service AND {place}.next_hop = :next_hop")
        values["service"], values["next_hop"] = selection.destination
    if selection.place:
        values["place"] = selection.place
        parts.append(f":place IN ({place}.service, {place}.next_hop, {place}.service || ':' || {place}.next_hop)")
    if selection.reason:
        values["reason"] = selection.reason.casefold()
        said = "r.reply" if history else "r.hold || coalesce(json_extract(r.progress, '$.reply'), '')"
        parts.append(f"instr(lower({said}), :reason) > 0")
    if selection.held is not None:
        held = "0" if history else f"r.state = {HELD}"
        parts.append(held if selection.held else f"NOT ({held})")
    if selection.arrived_before:
        parts.append("m.arrived < :before")
        values["before"] = selection.arrived_before
    return " AND ".join(parts) or "1", values


def _names(column: str, value: str, text: str) -> str:
    """That a column holds the address, or one of its domain where the text is ``@domain``."""
    if text.startswith("@"):
        return f"substr({column}, -length(:{value})) = :{value}"
    return f"{column} = :{value}"


def find(
    db: sqlite3.Connection,
    columns: str,
    selection: Selection,
    after: Key,
    limit: int,
    history: bool = False,
    free: bool = False,
) -> tuple[list[Any], Key | None]:
    """The next selected rows of queue or history, looking at a bounded number of them (``mta.spool.narrow``).

    Returns them, each as its key and the columns, and the key after which to go on, None at the end.  Rows
    whose message is not committed are not seen.  ``free``: what is claimed is left out.
    """
    where, values = conditions(selection, history)
    if free:
        where += f" AND r.state IN ({WAITING}, {HELD})"
    values["limit"] = limit
    keys = None if history else few(db, selection, after, free)
    if keys is not None:
        some = keys[:limit]
        named = ",".join(f"({number},{n})" for number, n in some) or "(-1,-1)"
        these = f"(r.message, r.n) IN (SELECT column1, column2 FROM (VALUES {named}))"  # noqa: S608  # numbers
        part = Part(these, {}, some[-1] if len(keys) > limit else None)
    else:
        part = next_part(db, selection, after, history)
    source = "history r" if history else "recipient r JOIN destination d ON d.id = r.destination"
    rows = db.execute(
        f"SELECT r.message, r.n, {columns} FROM {source} JOIN message m ON m.id = r.message"  # noqa: S608  # no text of a stranger
        f" WHERE {part.where} AND {where} ORDER BY r.message, r.n LIMIT :limit",
        values | part.values,
    ).fetchall()
    if len(rows) == limit:
        return rows, (rows[-1][0], rows[-1][1])
    return rows, part.following
