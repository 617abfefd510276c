"""The leases that the queue manager holds: how much of each is not concluded yet, whose it is, and until when.

Contract: every lease that is added is removed by ``concluded``, in parts or whole.  ``keep`` renews them when a third
of their time is over.
How it fails: a lease that is lost is forgotten: ``finish`` says so when its outcome is written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime

from mta.interfaces import ISpool
from mta.queue.senders import FEW, Shares
from mta.spool.values import Claim, Lease

LEASE_SECONDS: Final = 1800.0


class Holding:
    """See the module's text.  ``owner`` is the name under which they are held; ``now`` is UTC milliseconds."""

    def __init__(self, owner: str, spool: ISpool, reactor: IReactorTime, now: Callable[[], int]) -> None:
        self._owner = owner
        self._spool = spool
        self._reactor = reactor
        self._now = now
        self._leases: dict[int, tuple[Lease, int]] = {}  # token: the lease, recipients not yet concluded
        self._shares = Shares()
        self._renewed = (reactor.seconds(), now())

    def claim(self) -> Claim:
        """For a lease from now on."""
        return Claim(self._owner, self._now() + round(LEASE_SECONDS * 1000))

    def add(self, lease: Lease) -> None:
        """It is ours."""
        self._leases[lease.token] = (lease, len(lease.recipients))
        self._shares.add(lease)

    def concluded(self, lease: Lease) -> None:
        """Nothing more is to be done for it, or for the recipients that this part of it has."""
        self._shares.remove(lease)
        whole, left = self._leases.get(lease.token, (lease, 0))
        left -= len(lease.recipients)
        if left > 0:
            self._leases[lease.token] = (whole, left)
        else:
            self._leases.pop(lease.token, None)

    def leases(self) -> list[Lease]:
        """All that are ours, whole."""
        return [lease for lease, _ in self._leases.values()]

    def ids(self) -> set[str]:
        """The messages of which some recipients are ours."""
        return {lease.message.id for lease, _ in self._leases.values()}

    def crowded(self, sender: str, size: int, room: int, few: int = FEW) -> bool:
        """May the sender have no more in memory?  See ``Shares``."""
        return self._shares.crowded(sender, size, room, (lease for lease, _ in self._leases.values()), few)

    async def keep(self) -> None:
        """Renew them when it is time, by either clock: their end is wall time, which jumps."""
        seconds, now = self._reactor.seconds(), self._now()
        third = LEASE_SECONDS / 3
        if seconds - self._renewed[0] < third and abs(now - self._renewed[1]) < third * 1000:
            return
        leases = [lease for lease, _ in self._leases.values()]
        for lease in await self._spool.renew(leases, now + round(LEASE_SECONDS * 1000)):
            # Being finished just now; or lost, then ``finish`` will say so.
            self._leases.pop(lease.token, None)
        self._renewed = (seconds, now)
