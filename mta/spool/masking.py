"""Addresses in the history: written as ``privacy.addresses`` says once a message has ended, or erased for one person.

What it is: functions that put other texts in the place of addresses: in the envelope, the story, the events and the
history of a message.
Contract: a message of which anything waits, or is owed to its sender, is left as it is: that is needed.  Figures,
times, hosts and codes stay.  ``secure_delete`` overwrites what was there before.
Limits: an address is what looks like one in running text.  Backups, logs and mailboxes
are not reached from here.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from json import loads
from typing import Any, Final, NamedTuple

from mta.spool.batch import needed, write_many
from mta.spool.encode import dump
from mta.spool.store import Store, part_of

#: What stands for an address that was erased.
NOBODY: Final = "erased"
Mask = Callable[[str], str]

_PLAIN: Final = r"[^\s<>()\[\]\"',:;@]"
#: A quoted local part, or a plain one; a domain or a literal.
ADDRESS: Final = re.compile(
    rf'(?:"(?:[^"\\]|\\.){{1,256}}"|{_PLAIN}{{1,256}})@(?:\[[^\]\s]{{1,64}}\]|{_PLAIN}{{0,255}}(?!\.){_PLAIN})'
)
#: An address, or what stands for one where ``privacy.addresses`` is "hash".
_NAME: Final = re.compile(rf"{ADDRESS.pattern}|#[0-9a-f]{{16}}")


def masked(mask: Mask, value: Any) -> Any:
    """A JSON value with all texts in it masked."""
    if isinstance(value, str):
        return mask(value) if value else value
    if isinstance(value, list | tuple):
        return [masked(mask, item) for item in value]
    if isinstance(value, dict):
        return {key: masked(mask, item) for key, item in value.items()}
    return value


class Broken(str):
    """What should be JSON and is not: it is taken as text, so that nothing is stopped by it and nobody left in it."""


class Known(NamedTuple):
    """A table that holds what is known of a message: its columns with an address each, with text, with JSON."""

    table: str
    key: str
    row: str
    addresses: tuple[str, ...]
    texts: tuple[str, ...]
    json: tuple[str, ...]


KNOWN: Final = (
    Known("message", "id", "id", ("sender",), (), ("envelope", "story")),
    Known("event", "message", "id", (), (), ("data",)),
    Known("history", "message", "n", ("address", "original"), ("reply",), ("detail",)),
)


def known(db: sqlite3.Connection, table: Known, number: int) -> list[tuple[int, list[Any]]]:
    """The rows of a message: what names the row, and the columns in their order, JSON as a value."""
    columns = ", ".join((table.row, *table.addresses, *table.texts, *table.json))
    rows = db.execute(f"SELECT {columns} FROM {table.table} WHERE {table.key} = ?", (number,))  # noqa: S608  # constants
    plain = 1 + len(table.addresses) + len(table.texts)
    return [(row[0], [*row[1:plain], *map(_decoded, row[plain:])]) for row in rows.fetchall()]


def _decoded(text: str) -> Any:
    try:
        return loads(text)
    except ValueError:
        return Broken(text)


def names_in(table: Known | None, columns: Sequence[Any]) -> set[str]:
    """Who is named in a row, as the index by address has it: in lower case; of what is in a column for addresses also
    "@" and the domain.  Without a table all are such columns."""
    names: set[str] = set()

    def note(text: str) -> str:
        names.update(match[0].lower() for match in _NAME.finditer(text))
        return text

    count = len(columns) if table is None else len(table.addresses)
    for address in columns[:count]:
        if address:
            local, at, domain = address.lower().rpartition("@")
            names.update((address.lower(), at + domain) if local else (address.lower(),))
    for value in columns if table is not None else ():
        masked(note, value)
    return names


def rewrite(store: Store, number: int, mask: Mask) -> bool:
    """Mask all that is known of a message, and what the index by address has of it; False where nothing had to be
    changed."""
    db = store.db
    changed = False
    gone: set[str] = set()
    come: set[str] = set()
    for table in KNOWN:
        plain = len(table.addresses) + len(table.texts)
        columns = (*table.addresses, *table.texts, *table.json)
        for row, before in known(db, table, number):
            after = [None if one is None else masked(mask, one) for one in before]
            gone |= names_in(table, before)
            come |= names_in(table, after)
            if after != before:
                changed = True
                sets = ", ".join(f"{column} = ?" for column in columns)
                where = f"{table.key} = ?" + (" AND n = ?" if table.row == "n" else " AND id = ?")
                broken = [isinstance(one, Broken) for one in before[plain:]]
                json = [one if raw else dump(one) for one, raw in zip(after[plain:], broken, strict=True)]
                values = (*after[:plain], *json, number, row)
                db.execute(f"UPDATE {table.table} SET {sets} WHERE {where}", values)  # noqa: S608  # constants
    if number <= store.named and changed:
        unname(db, number, gone - come)
        rows = [(part_of(number), name, number) for name in come - gone]
        write_many(db, "INSERT OR IGNORE INTO named VALUES ", "(?,?,?)", rows)
    return changed


def everybody(db: sqlite3.Connection, number: int) -> set[str]:
    """All that a message that has ended names."""
    return {name for table in KNOWN for _, columns in known(db, table, number) for name in names_in(table, columns)}


def unname(db: sqlite3.Connection, number: int, names: Iterable[str]) -> None:
    """Take a message out of the index by address."""
    rows = [(part_of(number), name, number) for name in sorted(names)]
    db.executemany("DELETE FROM named WHERE part = ? AND name = ? AND message = ?", rows)


def fade(store: Store, checked: Sequence[tuple[int]]) -> None:
    """Some recipients of these messages have just ended: mask those messages that are over; the index by address is to
    look again at those that it has."""
    late = [row for row in checked if row[0] <= store.named]
    if late:
        write_many(store.db, "INSERT OR IGNORE INTO unnamed VALUES ", "(?)", late)
    mask = store.masking.mask
    if mask is not None:
        for number in {number for (number,) in checked}:
            if not needed(store.db, number):
                rewrite(store, number, mask)
