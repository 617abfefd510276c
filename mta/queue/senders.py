"""How much of the active set each sender may have.  Pure.

Contract: ``Shares`` lets a sender (``mta.sender``) of whom ``FEW``
recipients are in memory always have more; one with more than that may have no more than is still free.  So one flood
takes at most half of the active set, two of them two thirds, and there is room for a single message to go at once.
Nothing is counted while less than half is taken: most mail costs nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mta.sender import sender_of
from mta.spool.values import Lease

#: Recipients of one sender that are never too many.
FEW: Final = 200
#: The same for a destination that has too much in memory already.
LITTLE: Final = 10


class Shares:
    """See the module's text.  Numbers are recipients."""

    def __init__(self) -> None:
        self._counts: dict[str, int] | None = None

    def crowded(self, sender: str, size: int, room: int, leases: Iterable[Lease], few: int = FEW) -> bool:
        """May it have no more now?  ``size`` are in memory of ``room`` that may be; ``leases`` is what they are.

        ``few`` of one sender are never too many.
        """
        if size < room // 2:
            self._counts = None
            return False
        if self._counts is None:
            self._counts = {}
            for lease in leases:
                self.add(lease)
        count = self._counts.get(sender, 0)
        return count >= few and (few < FEW or count >= room - size)

    def add(self, lease: Lease) -> None:
        """It is in memory."""
        self._change(lease, len(lease.recipients))

    def remove(self, lease: Lease) -> None:
        """It, or a part of it, is not any more."""
        self._change(lease, -len(lease.recipients))

    def _change(self, lease: Lease, recipients: int) -> None:
        if self._counts is None:
            return
        sender = sender_of(lease.message.envelope)
        count = self._counts.get(sender, 0) + recipients
        if count > 0:
            self._counts[sender] = count
        else:
            self._counts.pop(sender, None)
