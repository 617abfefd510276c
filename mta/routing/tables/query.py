"""Queries to databases: text of SQL with ``:key``, ``:local`` and ``:domain`` in it, as SQLite and PostgreSQL take it.

What it is: ``names`` finds the parameters of a query, ``for_psycopg`` writes them as psycopg wants them, ``parameters``
gives their values for a key, ``value_of`` makes a value of rows.
Contract: a key is only ever handed over as a parameter: it is never part of the text of a query (CVE-2025-26794 is
what comes of it else).  Parameters are
known outside of quotes and comments alone; ``::`` is PostgreSQL's sign for a cast.
Limits: ``MOST_ROWS`` rows an answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

KNOWN: Final = ("key", "local", "domain")
MOST_ROWS: Final = 1000
LIST_QUERY: Final = (
    "What is asked for the members of a list: all that the table holds, without a key. The first column is the member, "
    "the second, if there is one, the value. Left out, no list can have its members from here."
)
_PART: Final = re.compile(
    r"""(?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|--[^\n]*|/\*.*?\*/|::)|:(?P<name>[A-Za-z_]\w*)""",
    re.DOTALL,
)


def names(query: str) -> frozenset[str]:
    """The parameters of a query."""
    return frozenset(part["name"] for part in _PART.finditer(query) if part["name"])


def wrong(query: str) -> str | None:
    """What is wrong with a query, as a check of an option says it."""
    found = names(query)
    unknown = sorted(found.difference(KNOWN))
    if unknown:
        return f"has :{unknown[0]}; write :key, :local or :domain"
    return None if found else "has no parameter; write :key, :local or :domain where the key belongs, without quotes"


def wrong_for_all(query: str) -> str | None:
    """What is wrong with a query for all that a table holds."""
    return "has a parameter, and is asked without a key" if names(query) else None


def for_psycopg(query: str) -> str:
    """The query with ``%(key)s`` for ``:key``."""
    return "".join(_written(query))


def _written(query: str) -> Iterator[str]:
    at = 0
    for part in _PART.finditer(query):
        yield query[at : part.start()].replace("%", "%%")
        yield f"%({part['name']})s" if part["name"] else part[0].replace("%", "%%")
        at = part.end()
    yield query[at:].replace("%", "%%")


def parts_of(key: str) -> tuple[str, str]:
    """Local part and domain of a key; one without a domain is a local part."""
    local, at, domain = key.rpartition("@")
    return (local, domain) if at else (key, "")


def parameters(key: str) -> dict[str, str]:
    """The value of each parameter."""
    local, domain = parts_of(key)
    return {"key": key, "local": local, "domain": domain}


def value_of(rows: Sequence[Sequence[Any]]) -> str | None:
    """The first column of all rows, joined as targets of an alias are; NULL is no row.  Raises ``ValueError``."""
    if len(rows) > MOST_ROWS:
        raise ValueError(f"the query gives more than {MOST_ROWS} rows")
    return joined(text_of(row[0]) for row in rows if row[0] is not None)


def joined(values: Iterable[str]) -> str | None:
    """Several values as one; None where there are none."""
    found = list(values)
    return ", ".join(found) if found else None


def text_of(value: Any) -> str:
    """A column's value.  Raises ``ValueError``."""
    if isinstance(value, bytes | memoryview):
        return bytes(value).decode("utf-8")
    return str(value)
