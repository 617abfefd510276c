"""When to try again, and when to give up.  Pure.

Expiry counts from arrival; the last try falls on the moment of expiry, so that a long last step of the
retry rule does not give up early.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRule:
    """``after``: seconds before the second try, the third, ...; the last one repeats.

    ``jitter``: each delay is made longer or shorter by up to this part of it, by chance, so that what failed
    together does not come back together.  ``expire_after``: seconds in the queue before giving up.
    """

    after: tuple[float, ...]
    jitter: float
    expire_after: float

    def delay(self, attempts: int, random: Random) -> float:
        """Seconds from the end of try number ``attempts`` (1 for the first) to the next."""
        base = self.after[min(max(attempts, 1), len(self.after)) - 1]
        return base * (1 + self.jitter * (2 * random.random() - 1))

    def expires(self, arrived: int) -> int:
        """When a message that arrived then is given up (UTC milliseconds)."""
        return arrived + round(self.expire_after * 1000)

    def next_due(self, arrived: int, attempts: int, now: int, random: Random, retry_at: int = 0) -> int | None:
        """When to try again after try number ``attempts`` failed now; None: the time is over.

        ``retry_at`` is what the far end asked for; it may put the next try off, not bring it forward.
        """
        end = self.expires(arrived)
        if now >= end:
            return None
        due = max(now + round(self.delay(attempts, random) * 1000), retry_at)
        return min(due, end)
