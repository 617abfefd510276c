"""How many questions of each client are answered: a bound that fills up again with time.  Pure.

Contract: whoever asked nothing for an hour may ask ``per_hour`` at once, and from there on as many in an hour: at most
twice that in any hour.  What is refused does not count.
Limits: ``MOST`` clients are remembered; beyond, the one that asked longest ago is forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

MOST: Final = 10_000
_HOUR: Final = 3600.0


class Allowance:
    """See the module's text.  ``share``: one of so many processes, which have the number together."""

    __slots__ = ("_asked", "_share")

    def __init__(self, share: int = 1) -> None:
        self._share = share
        self._asked: OrderedDict[str, tuple[float, float]] = OrderedDict()  # how many, and when

    def take(self, client: str, per_hour: int, now: float) -> bool:
        """May the client ask once more?  ``now``: monotonic seconds."""
        most = max(1.0, per_hour / self._share)
        count, at = self._asked.pop(client, (0.0, now))
        count = max(0.0, count - (now - at) * most / _HOUR)
        allowed = count + 1 <= most
        self._asked[client] = (count + allowed, now)
        if len(self._asked) > MOST:
            self._asked.popitem(last=False)
        return allowed
