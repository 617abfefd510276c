"""What is asked of a state, so that several questions can be one transaction.  Values only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias


class Get(NamedTuple):
    """The value under the key: text, or None."""

    key: str


class Put(NamedTuple):
    """Keep a value for so many seconds; 0: forget it.  Nothing comes back (None)."""

    key: str
    value: str
    seconds: float


class Add(NamedTuple):
    """Add to a counter that lives so many seconds from its first addition: the sum comes back, as text."""

    key: str
    amount: int
    seconds: float


class Mark(NamedTuple):
    """Mark the key for so many seconds: text if it was marked, None if not.  A mark that is there is made longer once a
    day, so that one that is met often costs no write."""

    key: str
    seconds: float


Op: TypeAlias = Get | Put | Add | Mark
#: Asks several, within one transaction.
Ask: TypeAlias = Callable[[Sequence[Op]], "list[str | None]"]
