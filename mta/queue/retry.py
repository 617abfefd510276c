"""When to try again, when to warn the sender, and when to give up.  Pure.

Contract: which rule counts is decided by the class of trouble and the recipient's domain at each failure, so that a
changed configuration is in force from the next one on; for warnings and the end at once (``mta.queue.sweep``).  These
count from the arrival, or from the release of what was to be held (RFC 4865), and never from anything that was computed
before; a sender who wants it back by a time (RFC 2852, mode R) has it then.  The last try falls on the moment of
expiry, so that a long last step of the retry rule does not give up early.
A clock that was wrong at the arrival does no harm: who waits is looked at every ``LONGEST_WAIT`` at least, and what
seems to have arrived in the future counts from when that was noticed (``since``).
All times are UTC milliseconds, all delays seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final, NamedTuple, Protocol

from mta.envelope import Envelope
from mta.queue.trouble import Trouble
from mta.routing.patterns import DomainPatterns

MINUTE: Final = 60.0
HOUR: Final = 3600.0
#: Whoever waits is looked at after this time at the latest, so that a new configuration or another clock counts.
LONGEST_WAIT: Final = 6 * HOUR

#: The waits between tries of most classes.
USUAL: Final = (MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR)
#: The waits of the classes that have times of their own by nature.
BY_CLASS: Final[Mapping[Trouble, tuple[float, ...]]] = {
    # Most greylists let pass after one to five minutes; hosts of several addresses need some tries more.
    Trouble.GREYLISTED: (MINUTE, 5 * MINUTE, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR),
    # To ask at once again is what was asked not to be done.
    Trouble.RATE_LIMITED: (5 * MINUTE, 10 * MINUTE, 20 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR),
    # A mailbox is emptied by a person.
    Trouble.OVER_QUOTA: (30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR),
    # Ours, and hurried about.
    Trouble.DISK: (MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRule:
    """``after``: seconds before the second try, the third, ...; the last one repeats.

    ``jitter``: each delay is made longer or shorter by up to this part of it, by chance, so that what failed
    together does not come back together.  ``expire_after``: seconds in the queue before giving up; ``warn_after``:
    seconds after which the sender is told that it is late, in order.  ``name`` is for people.
    """

    after: tuple[float, ...]
    jitter: float
    expire_after: float
    warn_after: tuple[float, ...] = ()
    name: str = ""

    def rule(self, trouble: str, domain: str) -> RetryRule:
        """As ``Retries``: the same for everything."""
        return self

    @property
    def ages(self) -> frozenset[float]:
        """See ``Retries``."""
        return frozenset((*self.warn_after, self.expire_after))

    def delay(self, attempts: int, random: Random) -> float:
        """Seconds from the end of try number ``attempts`` (1 for the first) to the next."""
        base = self.after[min(max(attempts, 1), len(self.after)) - 1]
        return base * (1 + self.jitter * (2 * random.random() - 1))

    def expires(self, envelope: Envelope, since: int = 0) -> int:
        """When a message is given up.  ``since``: when it was noticed that its arrival lies in the future, or 0."""
        end = _begins(envelope, since) + round(self.expire_after * 1000)
        # RFC 2852 4.1.4: in mode R it comes back when its time is over.
        return min(end, envelope.deliver_by) if envelope.by_mode[:1] == "R" else end

    def next_due(
        self, envelope: Envelope, attempts: int, now: int, random: Random, retry_at: int = 0, since: int = 0
    ) -> int | None:
        """When to try again after try number ``attempts`` failed now; None: the time is over.

        ``retry_at`` is what the far end asked for; it may put the next try off, not bring it forward.
        """
        end = self.expires(envelope, since)
        if now >= end:
            return None
        return min(max(now + round(self.delay(attempts, random) * 1000), retry_at), end)

    def warnings(self, envelope: Envelope, now: int, since: int = 0) -> int:
        """How many of the warnings are due by now."""
        waits = (now - _begins(envelope, since)) / 1000
        return sum(1 for step in self.warn_after if step <= waits)

    def look_at(
        self, envelope: Envelope, try_at: int, now: int, since: int = 0, longest: float | None = LONGEST_WAIT
    ) -> int:
        """When something comes next: the try, a warning before it, or the end of the longest wait."""
        look = try_at if longest is None else min(try_at, now + round(longest * 1000))
        begins = _begins(envelope, since)
        for step in self.warn_after:
            moment = begins + round(step * 1000)
            if now < moment < look:
                look = moment
        if envelope.by_mode[:1] == "N" and now < envelope.deliver_by < look:
            # RFC 2852 4.1.4: in mode N the sender is told at that time that it is late.
            look = envelope.deliver_by
        return look


class Retries(Protocol):
    """Knows the rule for a trouble and the domain of a recipient."""

    def rule(self, trouble: str, domain: str) -> RetryRule:
        """``trouble`` is a ``Trouble``, or "" where none is known; ``domain`` as by ``normal_domain``."""
        ...

    @property
    def ages(self) -> frozenset[float]:
        """Seconds after the arrival at which any of the rules warns or gives up."""
        ...


class Case(NamedTuple):
    """One ``[[retry]]``; what is None stays as it is without it.  No ``on``: every class."""

    on: frozenset[str]
    to: DomainPatterns
    after: tuple[float, ...] | None = None
    expire_after: float | None = None
    warn_after: tuple[float, ...] | None = None
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRules:
    """``Retries``: the first case that matches, on top of the rule of the class, else ``usual``."""

    usual: RetryRule
    classes: Mapping[str, RetryRule] = field(default_factory=dict)
    cases: Sequence[Case] = ()

    def rule(self, trouble: str, domain: str) -> RetryRule:
        """See ``Retries``."""
        base = self.classes.get(trouble, self.usual)
        for one in self.cases:
            if (not one.on or trouble in one.on) and one.to.match(domain):
                return replace(
                    base,
                    after=base.after if one.after is None else one.after,
                    expire_after=base.expire_after if one.expire_after is None else one.expire_after,
                    warn_after=base.warn_after if one.warn_after is None else one.warn_after,
                    name=one.name,
                )
        return base

    @property
    def ages(self) -> frozenset[float]:
        """See ``Retries``."""
        times = set(self.usual.ages).union(*(rule.ages for rule in self.classes.values()))
        for one in self.cases:
            times.update(one.warn_after or ())
            times.update(() if one.expire_after is None else (one.expire_after,))
        return frozenset(times)


def by_class(usual: RetryRule) -> dict[str, RetryRule]:
    """The rules of the classes that have times of their own."""
    return {trouble.value: replace(usual, after=after, name=trouble.value) for trouble, after in BY_CLASS.items()}


def overdue(envelope: Envelope, now: int) -> bool:
    """RFC 2852 4.1.4: the sender wants it back rather than late, and it is late."""
    return envelope.by_mode[:1] == "R" and now >= envelope.deliver_by


def _begins(envelope: Envelope, since: int) -> int:
    arrived = min(envelope.arrived, since) if since else envelope.arrived
    return max(arrived, envelope.hold_until)
