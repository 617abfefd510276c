"""One destination's window: how many batches may be under way to it, and when it rests.  Pure.

Control law.  Slow start: the window begins at ``INITIAL`` and grows by one with each batch that reached the
host, up to the service's limit.  Trouble of the host or the destination halves it; batches that were under
way together count as one trouble.  ``DEAD_AFTER`` troubles without a success between them and it rests:
``REST`` seconds, doubling up to ``LONGEST_REST``; then one batch probes it.  What a recipient or message was
refused for changes nothing: a 4yz to one recipient must not slow a host.
All times are monotonic seconds.
"""

from __future__ import annotations

from typing import Final

from mta.envelope import Scope

INITIAL: Final = 5
DEAD_AFTER: Final = 3
REST: Final = 60.0
LONGEST_REST: Final = 1800.0
#: Seconds without a batch after which troubles are forgotten: far beyond the longest rest.
FORGET_AFTER: Final = 2 * LONGEST_REST


class Window:
    """See the module's text.  ``limit`` is the most that the service allows at once."""

    __slots__ = ("_epoch", "_last", "_rest", "_troubles", "_window", "active", "limit", "rests_until")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.active = 0
        self.rests_until = 0.0
        self._window = min(INITIAL, limit)
        self._epoch = 0  # counts shrinkings: a batch begun before the last one does not shrink again
        self._troubles = 0
        self._rest = REST
        self._last = 0.0  # when the last batch ended

    @property
    def window(self) -> int:
        return min(self._window, self.limit)

    def end_rest(self) -> None:
        """What made it rest may be mended: one batch probes it now."""
        self.rests_until = 0.0

    @property
    def probing(self) -> bool:
        """It has rested and has not been reached since."""
        return self._troubles >= DEAD_AFTER

    def acquire(self, now: float) -> int | None:
        """A slot for one batch: a token for ``release``, or None."""
        if now < self.rests_until or self.active >= (1 if self.probing else self.window):
            return None
        self.active += 1
        return self._epoch

    def give_up(self) -> None:
        """A slot that was not used after all: nothing is learnt from it."""
        self.active -= 1

    def release(self, token: int, scope: Scope | None, now: float) -> float:
        """The batch ended; ``scope`` is that of its trouble, None for a host that was reached.

        Returns how many seconds the destination rests from now, 0.0 unless this batch made it rest.
        """
        self.active -= 1
        self._last = now
        if scope not in (Scope.HOST, Scope.DESTINATION):
            self._troubles = 0
            self._rest = REST
            self._window = min(self._window + 1, self.limit)
            return 0.0
        if token != self._epoch:
            return 0.0  # begun before the last trouble: the same trouble
        self._epoch += 1
        self._troubles += 1
        self._window = max(1, self._window // 2)
        if self._troubles < DEAD_AFTER:
            return 0.0
        rest = self._rest
        self.rests_until = now + rest
        self._rest = min(rest * 2, LONGEST_REST)
        return rest

    @property
    def kept_until(self) -> float:
        """It will not be ``idle`` before that, unless it is reached."""
        return self._last + FORGET_AFTER if self._troubles and not self.active else 0.0

    def idle(self, now: float) -> bool:
        """Nothing is known of it that a new window would not have, or that still matters."""
        return self.active == 0 and (self._troubles == 0 or now - self._last >= FORGET_AFTER)
