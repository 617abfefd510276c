"""Brakes against guessing: failed logins are counted by account, by address and by network, and fade with time.  Pure.

Contract: whatever the mechanism, each failure counts once for each of the three.  A count halves every ``half_life``
seconds.  At its limit the brake closes, and it opens when the count has fallen to half of the limit: so who guesses on
has about one guess a half-life for each two of the limit, for ever.  A login counts when it begins (``begin``) and is
forgiven when it does not fail (``forgive``): many at once are no way around.  Who tries the same wrong password
again learns nothing by it and counts ``AGAIN`` only: it is a program that was not told of a new password.
An account's brake is for strangers: from a network from which it has logged in within ``KNOWN_FOR`` failures are
counted apart, so that nobody can lock out another by guessing at his account.
An address is an IPv4 address or a /64 of IPv6, a network a /24 or a /56.
Limits: ``MOST`` counts of each kind; beyond, the one that changed longest ago is forgotten.  What is counted is in
memory: a restart forgets it.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from hashlib import blake2b
from ipaddress import IPv4Address, ip_address, ip_network
from math import log2
from typing import Final, NamedTuple

from mta.address import client_key

MOST: Final = 50_000
AGAIN: Final = 0.1
#: Seconds for which a network is remembered from which an account has logged in.
KNOWN_FOR: Final = 30 * 86400.0
ACCOUNT: Final = "account"
ADDRESS: Final = "address"
NETWORK: Final = "network"
KINDS: Final = (ACCOUNT, ADDRESS, NETWORK)
_SHOWN_FROM: Final = 0.5
_NEAR: Final = 0.5
_FORGOTTEN: Final = 0.01


class BrakeRules(NamedTuple):
    """Failures at which a brake closes; 0: there is none of the kind.  ``half_life`` in seconds."""

    account: float = 10
    address: float = 20
    network: float = 60
    half_life: float = 900.0

    def limit(self, kind: str) -> float:
        """Of one kind."""
        return {ACCOUNT: self.account, ADDRESS: self.address, NETWORK: self.network}[kind]


class Key(NamedTuple):
    """What is counted.  ``known``: of an account, the network that it is known from, "" for all others together."""

    kind: str
    name: str
    known: str = ""


class Counted(NamedTuple):
    """A count, for people: so many failures now; ``seconds`` until its brake opens, 0 where it is open."""

    key: Key
    failures: float
    seconds: float


class Begun(NamedTuple):
    """A login that has begun: what it was counted under, and how much."""

    keys: tuple[Key, ...]
    weight: float
    at: float


class _Meter:
    __slots__ = ("at", "closed", "score")

    def __init__(self, at: float) -> None:
        self.score = 0.0
        self.at = at
        self.closed = False


class Brakes:
    """See the module's text.  All times are monotonic seconds."""

    def __init__(self, rules: BrakeRules) -> None:
        self.rules = rules
        self._meters: dict[str, OrderedDict[Key, _Meter]] = {kind: OrderedDict() for kind in KINDS}
        self._known: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._wrong: OrderedDict[bytes, float] = OrderedDict()
        self._secret = os.urandom(16)  # what is remembered of wrong passwords is of no use to anybody

    # --- a login -------------------------------------------------------------------------------------------

    def closed(self, name: str, client: str, now: float) -> Key | None:
        """The brake that stops a login, if any does.  ``name`` is "" where the client has said none yet."""
        for key in self._keys(name, client, now):
            meter = self._meters[key.kind].get(key)
            if meter is not None:
                self._fade(meter, key.kind, now)
                # So many that have begun and not ended count as if they had failed.
                if meter.closed or self._full(meter, key.kind):
                    return key
        return None

    def begin(self, name: str, client: str, secret: bytes, now: float, weight: float = 1.0) -> Begun:
        """Count a login that begins; ``secret`` is what the client gave, b"" where that says nothing."""
        if secret and now - self._wrong.get(self._digest(name, secret), -KNOWN_FOR) < self.rules.half_life:
            weight = AGAIN
        begun = Begun(self._keys(name, client, now), weight, now)
        for key in begun.keys:
            limit, meters = self.rules.limit(key.kind), self._meters[key.kind]
            if not limit:
                continue
            meter = meters.pop(key, None) or _Meter(now)
            self._fade(meter, key.kind, now)
            meter.score += begun.weight
            meters[key] = meter
            if len(meters) > MOST:
                meters.popitem(last=False)
        return begun

    def failed(self, begun: Begun, name: str, secret: bytes) -> list[Key]:
        """It was refused: remember what was wrong.  The brakes that have closed by it."""
        if secret:
            digest = self._digest(name, secret)
            self._wrong.pop(digest, None)
            self._wrong[digest] = begun.at
            if len(self._wrong) > MOST:
                self._wrong.popitem(last=False)
        closed = []
        for key in begun.keys:
            meter = self._meters[key.kind].get(key)
            if meter is not None and not meter.closed and self._full(meter, key.kind):
                meter.closed = True
                closed.append(key)
        return closed

    def forgive(self, begun: Begun) -> None:
        """It succeeded, or nobody can know: it never was."""
        for key in begun.keys:
            meter = self._meters[key.kind].get(key)
            if meter is not None:
                meter.score = max(0.0, meter.score - begun.weight)
                if meter.score < _FORGOTTEN and not meter.closed:
                    del self._meters[key.kind][key]

    def succeeded(self, name: str, client: str, now: float) -> None:
        """The account is known from there, from now on."""
        place = (name, network_of(client))
        self._known.pop(place, None)
        self._known[place] = now
        if len(self._known) > MOST:
            self._known.popitem(last=False)

    def has_logged_in(self, name: str) -> bool:
        """Has it, from some network that is remembered?"""
        return any(known == name for known, _ in self._known)

    # --- people --------------------------------------------------------------------------------------------

    def counted(self, now: float) -> Iterator[Counted]:
        """All that is counted, the worst of each kind first."""
        for kind in KINDS:
            found = []
            for key, meter in self._meters[kind].items():
                self._fade(meter, kind, now)
                if meter.score >= _SHOWN_FROM:
                    found.append(Counted(key, meter.score, self._opens(meter, kind)))
            yield from sorted(found, key=lambda one: (one.seconds <= 0, -one.failures))

    def lift(self, which: str) -> int:
        """Forget what is counted of an account, or of an address and its network; of all, where it is "".  How many
        counts."""
        count, meant = 0, {which, client_key(which), network_of(which)}
        for meters in self._meters.values():
            for key in [key for key in meters if not which or key.name in meant]:
                del meters[key]
                count += 1
        return count

    # --- within --------------------------------------------------------------------------------------------

    def _keys(self, name: str, client: str, now: float) -> tuple[Key, ...]:
        keys: list[Key] = []
        network = network_of(client)
        if name:
            since = self._known.get((name, network))
            keys.append(Key(ACCOUNT, name, network if since is not None and now - since < KNOWN_FOR else ""))
        if client:
            keys += [Key(ADDRESS, client_key(client)), Key(NETWORK, network)]
        return tuple(keys)

    def _fade(self, meter: _Meter, kind: str, now: float) -> None:
        meter.score *= 0.5 ** ((now - meter.at) / self.rules.half_life)
        meter.at = now
        if meter.closed and meter.score <= self.rules.limit(kind) / 2:
            meter.closed = False

    def _full(self, meter: _Meter, kind: str) -> bool:
        # To the nearest: a tenth failure some seconds after the ninth is the tenth.
        return meter.score >= self.rules.limit(kind) - _NEAR

    def _opens(self, meter: _Meter, kind: str) -> float:
        if not meter.closed:
            return 0.0
        return self.rules.half_life * log2(2 * meter.score / self.rules.limit(kind))

    def _digest(self, name: str, secret: bytes) -> bytes:
        return blake2b(name.encode() + b"\0" + secret, digest_size=16, key=self._secret).digest()


def network_of(client: str) -> str:
    """The /24 or /56 of an IP address; what is none (a local program) is for itself."""
    try:
        address = ip_address(client)
    except ValueError:
        return client
    length = 24 if isinstance(address, IPv4Address) else 56
    return str(ip_network((address, length), strict=False))
