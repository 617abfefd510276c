"""When to try again, and when to give up.  Pure.

Expiry counts from arrival, or from the release of what was to be held (RFC 4865); a sender who wants it back by
a time (RFC 2852, mode R) has it then.  The last try falls on the moment of expiry, so that a long last step of the
retry rule does not give up early.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from mta.envelope import Envelope


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

    def expires(self, envelope: Envelope) -> int:
        """When a message is given up (UTC milliseconds)."""
        end = max(envelope.arrived, envelope.hold_until) + round(self.expire_after * 1000)
        # RFC 2852 4.1.4: in mode R it comes back when its time is over.
        return min(end, envelope.deliver_by) if envelope.by_mode[:1] == "R" else end

    def next_due(self, envelope: Envelope, attempts: int, now: int, random: Random, retry_at: int = 0) -> int | None:
        """When to try again after try number ``attempts`` failed now; None: the time is over.

        ``retry_at`` is what the far end asked for; it may put the next try off, not bring it forward.
        """
        end = self.expires(envelope)
        if now >= end:
            return None
        due = min(max(now + round(self.delay(attempts, random) * 1000), retry_at), end)
        if now < envelope.deliver_by < due:
            # RFC 2852 4.1.4: in mode N the sender is told at that time that it is late.
            due = envelope.deliver_by
        return due


def overdue(envelope: Envelope, now: int) -> bool:
    """RFC 2852 4.1.4: the sender wants it back rather than late, and it is late."""
    return envelope.by_mode[:1] == "R" and now >= envelope.deliver_by
