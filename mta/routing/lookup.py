"""What a table says of an address, as far as the facts tell."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from mta.address import Address
from mta.reply import Reply, TemporaryFailure
from mta.routing.keys import address_keys
from mta.routing.values import CannotKnow, Facts, Needs, TableQuestion

#: Never "unknown user" because a table is out of order: mail would bounce.
TABLE_FAILED: Final = Reply.of(451, "4.3.0", "Temporary lookup failure, please try again later")
_NOT_ASKED: Final = object()


def look(table: str, address: Address, facts: Facts) -> str | CannotKnow | Needs | None:
    """The value under the address, else under its local part alone; None when neither is there."""
    for question in _questions(table, address):
        value: Any = facts.get(question, _NOT_ASKED)
        if value is _NOT_ASKED:
            return Needs((question,))
        if value is not None:
            found: str | CannotKnow = value
            return found
    return None


@lru_cache(maxsize=4096)  # every decision on an address asks them, and in each of its rounds
def _questions(table: str, address: Address) -> tuple[TableQuestion, ...]:
    return tuple(TableQuestion(table, key) for key in address_keys(address))


def cannot_know(table: str, trouble: CannotKnow) -> TemporaryFailure:
    """The failure to raise where a decision cannot go on without the table."""
    return TemporaryFailure(TABLE_FAILED, f"table {table}: {trouble.error}")
