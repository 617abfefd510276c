"""Who has the sole right to act for which recipients.  In memory: only one process has the spool.

Contract: a lease lives from ``add`` until ``take``, or until its time is over and somebody asks for
``expired``.  A user may narrow it (``Lease`` with the same token and some of its recipients) and end the parts
one by one.  Used in the reactor's thread alone.  ``taken`` work (a finish under way) is no longer live, so
nobody else can get its recipients before they are written.
Limits: ``kept`` counts the octets of the bodies that live leases keep in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Final

from mta.envelope import Recipient
from mta.spool.message import StoredMessage
from mta.spool.values import Lease

_SPARE: Final = 1000


@dataclass(slots=True)
class Held:
    """A live lease, as the spool knows it."""

    token: int
    owner: str
    until: int
    message: StoredMessage
    recipients: dict[int, Recipient]
    notice: bool

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Its recipients as the database names them."""
        number = self.message.number
        return [(number, n) for n in self.recipients]


class Leases:
    """The live ones."""

    def __init__(self) -> None:
        self._live: dict[int, Held] = {}
        self._ends: list[tuple[int, int]] = []
        self._token = 0
        self.kept = 0

    def __len__(self) -> int:
        return len(self._live)

    def add(
        self, owner: str, until: int, message: StoredMessage, recipients: Sequence[Recipient], notice: bool = False
    ) -> Lease:
        self._token += 1
        held = Held(self._token, owner, until, message, {recipient.id: recipient for recipient in recipients}, notice)
        self.put_back(held)
        return Lease(held.token, message, tuple(recipients), until)

    def put_back(self, held: Held) -> None:
        """It lives (again): what was to end it did not happen."""
        live = self._live.get(held.token)
        if live is not None:
            live.recipients.update(held.recipients)
            return
        self._live[held.token] = held
        self._note_end(held.until, held.token)
        self.kept += held.message.kept

    def take(self, lease: Lease) -> Held | None:
        """End it, or the part of it that ``lease`` was narrowed to; None where any of it was lost before."""
        live = self._live.get(lease.token)
        if live is None:
            return None
        recipients = live.recipients
        asked = [recipient.id for recipient in lease.recipients]
        if not all(n in recipients for n in asked):
            return None
        if len(asked) == len(recipients):
            self._forget(live)
            return live
        part = {n: recipients.pop(n) for n in asked}
        return Held(live.token, live.owner, live.until, live.message, part, live.notice)

    def _note_end(self, until: int, token: int) -> None:
        heappush(self._ends, (until, token))
        if len(self._ends) > 2 * len(self._live) + _SPARE:
            # Most leases end long before their time: what they left in the heap must not pile up.
            self._ends = [(held.until, held.token) for held in self._live.values()]
            heapify(self._ends)

    def _forget(self, held: Held) -> None:
        del self._live[held.token]
        self.kept -= held.message.kept

    def renew(self, leases: Iterable[Lease], until: int) -> list[Lease]:
        """Hold them longer; returns those that are lost."""
        lost = []
        for lease in leases:
            held = self._live.get(lease.token)
            if held is None:
                lost.append(lease)
            else:
                held.until = until
                self._note_end(until, held.token)
        return lost

    def expired(self, now: int) -> list[Held]:
        """End those whose time is over, and tell them."""
        over = []
        while self._ends and self._ends[0][0] < now:
            until, token = heappop(self._ends)
            held = self._live.get(token)
            # One that was renewed or has ended left its old time in the heap.
            if held is not None and held.until == until:
                self._forget(held)
                over.append(held)
        return over

    def of(self, owner: str) -> list[Held]:
        """End all of an owner, and tell them."""
        found = [held for held in self._live.values() if held.owner == owner]
        for held in found:
            self._forget(held)
        return found

    def pairs(self, notice: bool) -> set[tuple[int, int]]:
        """What is leased, on recipients or on notices."""
        return {pair for held in self._live.values() if held.notice is notice for pair in held.pairs}
