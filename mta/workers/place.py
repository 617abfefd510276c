"""Which of the processes one is: what a worker is told when it is started.

Contract: ``Place()`` is the whole service in one process.  It is handed on as JSON on the command line; descriptors are
numbers that are open in the worker.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Final

#: The parent asks here, and the worker answers there; the end of the first is the end of the worker.
ASKS: Final = 0
ANSWERS: Final = 3
#: The lock of the state, held as long as any of the processes lives; and what they count together.
LOCK: Final = 4
COUNTS: Final = 5
#: What a worker that is started again has from its parent, whatever the file says by then (kept.py).
KEPT: Final = 6
#: The first of the listening sockets.
LISTENERS: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """``number`` is that of the spool too.  ``share``: among how many processes limits are divided; ``workers``: how
    many count connections together, 0 where one is alone.  ``listeners`` are names with descriptor and address family;
    a process that only empties a spool has none."""

    number: int = 0
    share: int = 1
    workers: int = 0
    listeners: tuple[tuple[str, int, int], ...] = ()

    @property
    def alone(self) -> bool:
        """Is it the whole service?"""
        return not self.workers

    @property
    def empties(self) -> bool:
        """Does it take no mail, and end when its spool has nothing any more?"""
        return not self.alone and not self.listeners

    def text(self) -> str:
        """For the command line."""
        return json.dumps(asdict(self))

    @staticmethod
    def read(text: str) -> Place:
        """From the command line.  Raises ``ValueError``, ``KeyError``, ``TypeError``."""
        found: dict[str, Any] = json.loads(text)
        found["listeners"] = tuple((name, descriptor, family) for name, descriptor, family in found["listeners"])
        return Place(**found)
