"""How fast: limits from the configuration (``[[pace]]``), and the law that slows down where a host asks for it.  Pure.

What it is: a ``Gate`` counts what goes to one place (a service, a destination, the hosts of a provider, a source
address): how many at once, and how many a minute.  ``Pace`` finds the gates.
Contract: of the rules of one kind (``to``, ``hosts``, ``source``) the first that matches counts; the kinds hold
together, so the tightest is felt.
Control law (additive increase, multiplicative decrease; Chiu and Jain 1989).  A reply that speaks of rate
(``mta.queue.trouble``) halves the rate of the gate: that of the configuration, or where there is none the rate at
which it went lately; not below ``FLOOR`` messages a minute.  What was under way together counts once (``SETTLE``).
With each success that comes ``STEP`` seconds or more after the last change the rate grows by a twentieth of that at
which it was refused; without a rate in the configuration it is no longer limited at ``FREE`` times that.  Starts are
spread evenly: no more than ``BURST`` seconds' worth go together, and time in which nothing was sent earns neither a
burst nor growth.
All times are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mta.envelope import Destination
from mta.queue.turns import Turns
from mta.routing.patterns import DomainPatterns

if TYPE_CHECKING:
    from mta.queue.lane import Lane

MINUTE: Final = 60.0
#: Messages a minute below which no refusal brings the rate.
FLOOR: Final = 6.0
DECREASE: Final = 0.5
INCREASE: Final = 0.05
STEP: Final = 60.0
SETTLE: Final = 30.0
FREE: Final = 4.0
BURST: Final = 1.0
#: Seconds without a change after which a gate that nothing uses is forgotten.
FORGET_AFTER: Final = 3600.0
#: Messages that a connection still carries while others wait for its place.
TURN: Final = 10
#: Less than the clocks can tell.
_NOTHING: Final = 1e-6
NO_LIMIT: Final = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class PaceRule:
    """One ``[[pace]]``.  One of ``to``, ``hosts`` and ``source`` says what it is for; ``shared``: all that matches
    counts together, else each by itself.  0 is no limit."""

    name: str
    to: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    shared: bool = False
    connections: int = 0
    messages_per_connection: int = 0
    messages_per_minute: float = 0
    recipients_per_minute: float = 0


class Rate:
    """So many a minute at most, by the control law.  ``ceiling`` is the configuration's; inf: there is none."""

    __slots__ = ("_changed", "_full", "_refused_at", "ceiling", "per_minute")

    def __init__(self, ceiling: float = inf) -> None:
        self.ceiling = ceiling
        self.per_minute = ceiling
        self._full = -inf  # when what has started has had its time
        self._refused_at = ceiling
        self._changed = -inf

    def wait(self, now: float) -> float:
        """Seconds until the next may start."""
        left = self._full - BURST - now
        return left if left > _NOTHING else 0.0

    def take(self, now: float, cost: int = 1) -> None:
        """One starts, which counts as so many."""
        if self.per_minute < inf:
            self._full = max(self._full, now) + cost * MINUTE / self.per_minute

    def refused(self, now: float, measured: float) -> None:
        """A host asked us to go slower; ``measured`` is how many a minute went to it lately."""
        if now - self._changed < SETTLE and self.slowed:
            return
        rate = self.per_minute if self.per_minute < inf else measured
        self._refused_at = rate = max(rate, FLOOR)
        self.per_minute = min(max(rate * DECREASE, FLOOR), self.ceiling)
        self._changed = now
        self._full = max(self._full, now + BURST + MINUTE / self.per_minute)

    def succeeded(self, now: float) -> None:
        """A message was taken."""
        if not self.slowed or now - self._changed < STEP:
            return
        self.per_minute = min(self.per_minute + max(self._refused_at * INCREASE, 1.0), self.ceiling)
        self._changed = now
        if self.ceiling == inf and self.per_minute >= FREE * self._refused_at:
            self.per_minute = inf
            self._full = -inf

    @property
    def slowed(self) -> bool:
        """By a host, below what the configuration allows."""
        return self.per_minute < self.ceiling

    def forgotten(self, now: float) -> bool:
        """Nothing is known of it that a new one would not have, or that still matters."""
        return (not self.slowed or now - self._changed >= FORGET_AFTER) and self._full - BURST <= now


class Gate:
    """One place: ``most`` at once, ``rate`` messages and ``recipients`` recipients a minute.  ``adapts``: by the law.

    ``line`` are the lanes that wait for it; ``idle`` are connections that only wait for more, and how to end them.
    """

    __slots__ = ("active", "adapts", "count", "idle", "line", "most", "name", "rate", "recipients", "since", "timed")

    def __init__(
        self, name: str, most: int = NO_LIMIT, rate: float = inf, recipients: float = inf, adapts: bool = False
    ) -> None:
        self.name = name
        self.most = most
        self.adapts = adapts
        self.rate = Rate(rate) if adapts or rate < inf else None
        self.recipients = Rate(recipients) if recipients < inf else None
        self.active = 0
        self.count = 0  # messages since ``since``
        self.since = 0.0
        self.timed = False  # somebody looks when its time has come
        self.line: Turns[Lane] = Turns()
        self.idle: dict[Any, Callable[[], object]] = {}

    def room(self) -> bool:
        """May one more be under way, or take the place of an idle connection?"""
        return self.active < self.most or bool(self.idle)

    def wait(self, now: float) -> float:
        """Seconds until the next message may start."""
        wait = 0.0 if self.rate is None else self.rate.wait(now)
        return wait if self.recipients is None else max(wait, self.recipients.wait(now))

    def charge(self, now: float, recipients: int) -> None:
        """A message starts."""
        self.count += 1
        if self.rate is not None:
            self.rate.take(now)
        if self.recipients is not None:
            self.recipients.take(now, recipients)

    def learn(self, now: float, refused: bool) -> None:
        """What a host that is behind it said: slower, or nothing of that kind to a message that was taken."""
        if not self.adapts or self.rate is None:
            return
        if refused:
            self.rate.refused(now, self.measured(now))
        else:
            self.rate.succeeded(now)

    def measured(self, now: float) -> float:
        """Messages a minute, of late."""
        return self.count * MINUTE / max(now - self.since, MINUTE)

    def tick(self, now: float) -> None:
        """Lately is the last minute or two."""
        if now - self.since >= 2 * MINUTE:
            self.since, self.count = now, 0

    @property
    def slowed(self) -> bool:
        """By a host."""
        return self.rate is not None and self.rate.slowed

    def forgotten(self, now: float) -> bool:
        """It need not be kept."""
        rates = (self.rate, self.recipients)
        return not (self.active or self.line.count or self.idle) and all(r is None or r.forgotten(now) for r in rates)


class _Rule(NamedTuple):
    rule: PaceRule
    match: Callable[[str], bool]


class Pace:
    """See the module's text.  ``attempts`` are the most at once for each delivery service.

    ``before`` is the one that this replaces: what is under way stays counted where the rule is the same.
    """

    def __init__(self, rules: Iterable[PaceRule] = (), attempts: int = NO_LIMIT, before: Pace | None = None) -> None:
        self._attempts = attempts
        self._gates: dict[Any, Gate] = {} if before is None else dict(before._gates)
        self._to = [_Rule(rule, DomainPatterns(rule.to).match) for rule in rules if rule.to]
        self._hosts = [_Rule(rule, DomainPatterns(rule.hosts).match) for rule in rules if rule.hosts]
        self._sources = [_Rule(rule, frozenset(rule.source).__contains__) for rule in rules if rule.source]
        for key, gate in self._gates.items():
            if isinstance(key, str):
                gate.most = attempts
        #: A delivery service must ask when it connects.
        self.at_connect = bool(
            self._hosts or self._sources or any(known.rule.messages_per_connection for known in self._to)
        )

    def for_service(self, name: str) -> Gate:
        """The gate of all that goes by a delivery service."""
        gate = self._gates.get(name)
        if gate is None:
            gate = self._gates[name] = Gate(name, self._attempts)
        return gate

    def for_destination(self, destination: Destination) -> tuple[Gate, ...]:
        """The gates that are known before a host is chosen."""
        rule = _first(self._to, destination.next_hop) if self._to else None
        return () if rule is None else (self._gate(rule, destination.next_hop),)

    def for_host(self, host: str, source: str) -> tuple[Gate, ...]:
        """The gates of a connection to this host, from one of our addresses ("": the system's choice)."""
        found = ((_first(self._hosts, host), host), (_first(self._sources, source), source))
        return tuple([self._gate(rule, key) for rule, key in found if rule is not None])

    def messages(self, hop: str, host: str, source: str) -> int:
        """Messages on one connection, at most."""
        rules = (_first(self._to, hop), _first(self._hosts, host), _first(self._sources, source))
        return min([r.messages_per_connection for r in rules if r and r.messages_per_connection], default=NO_LIMIT)

    def gates(self) -> list[Gate]:
        """All that there are."""
        return list(self._gates.values())

    def tick(self, now: float) -> None:
        """Gates of which nothing need be known are dropped."""
        for key, gate in list(self._gates.items()):
            gate.tick(now)
            if not isinstance(key, str) and gate.forgotten(now):
                del self._gates[key]

    def _gate(self, rule: PaceRule, one: str) -> Gate:
        key = (rule, "" if rule.shared else one)
        gate = self._gates.get(key)
        if gate is None:
            gate = self._gates[key] = Gate(
                rule.name,
                rule.connections or NO_LIMIT,
                rule.messages_per_minute or inf,
                rule.recipients_per_minute or inf,
                # What one host says must not slow the rest of the world.
                adapts=bool(rule.hosts or rule.to) and not (rule.shared and "*" in (*rule.hosts, *rule.to)),
            )
        return gate


def _first(rules: list[_Rule], what: str) -> PaceRule | None:
    for rule, match in rules:
        if match(what):
            return rule
    return None
