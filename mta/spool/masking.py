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
from collections.abc import Callable, Iterable
from json import loads
from typing import Any, Final

from mta.spool.batch import needed
from mta.spool.encode import dump
from mta.spool.store import Store

#: What stands for an address that was erased.
NOBODY: Final = "erased"
Mask = Callable[[str], str]

_PLAIN: Final = r"[^\s<>()\[\]\"',:;@]"
#: A quoted local part, or a plain one; a domain or a literal.
ADDRESS: Final = re.compile(
    rf'(?:"(?:[^"\\]|\\.){{1,256}}"|{_PLAIN}{{1,256}})@(?:\[[^\]\s]{{1,64}}\]|{_PLAIN}{{0,255}}(?!\.){_PLAIN})'
)


def masked(mask: Mask, value: Any) -> Any:
    """A JSON value with all texts in it masked."""
    if isinstance(value, str):
        return mask(value) if value else value
    if isinstance(value, list | tuple):
        return [masked(mask, item) for item in value]
    if isinstance(value, dict):
        return {key: masked(mask, item) for key, item in value.items()}
    return value


def rewrite(db: sqlite3.Connection, number: int, mask: Mask) -> bool:
    """Mask all that is known of a message; False where nothing had to be changed."""
    changed = False
    for table, key, plain, json in (
        ("message", "id = ?", ("sender",), ("envelope", "story")),
        ("event", "message = ?", (), ("data",)),
        ("history", "message = ?", ("address", "original", "reply"), ("detail",)),
    ):
        columns = (*plain, *json)
        row_key = {"message": "id", "event": "id", "history": "n"}[table]
        rows = db.execute(f"SELECT {row_key}, {', '.join(columns)} FROM {table} WHERE {key}", (number,))  # noqa: S608  # constants
        for which, *before in rows.fetchall():
            after = [None if one is None else mask(one) for one in before[: len(plain)]]
            after += [dump(masked(mask, loads(one))) for one in before[len(plain) :]]
            if after != before:
                changed = True
                sets = ", ".join(f"{column} = ?" for column in columns)
                where = f"{key} AND n = ?" if table == "history" else "id = ?"
                values = (number, which) if table == "history" else (which,)
                db.execute(f"UPDATE {table} SET {sets} WHERE {where}", (*after, *values))  # noqa: S608  # constants
    return changed


def fade(store: Store, checked: Iterable[tuple[int]]) -> None:
    """Some recipients of these messages have just ended: mask those messages that are over."""
    mask = store.masking.mask
    if mask is not None:
        for number in {number for (number,) in checked}:
            if not needed(store.db, number):
                rewrite(store.db, number, mask)
