"""A DNS for tests: it knows what it is told, counts questions and fails on demand.

What it is: ``FakeResolver`` is built from text, one record a line (``name TYPE data``), or from a mapping of
names to lists of ``TYPE data``.  In place of a record may stand ``servfail`` or ``timeout``: every question for
the name fails; ``servfail TYPE`` fails for that type alone.  ``CNAME`` is followed.  A name that is not there
does not exist; one without the type has no data.
Contract: answers come as fired Deferreds, unless ``hold`` was called: then they wait for ``release``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from dns.reversename import from_address
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from mta.dns.local import known_answer
from mta.interfaces import IResolver
from mta.routing.values import Answer, Found, MxRecord, SrvRecord

_FAILURES: Final = {"servfail": "127.0.0.1: SERVFAIL", "timeout": "no DNS server answered within 10 s"}


def _mx(data: str) -> MxRecord:
    preference, host = data.split()
    return MxRecord(int(preference), _name(host) or ".")


def _tlsa(data: str) -> tuple[int, int, int, bytes]:
    usage, selector, matching, octets = data.split()
    return int(usage), int(selector), int(matching), bytes.fromhex(octets)


def _srv(data: str) -> SrvRecord:
    priority, weight, port, host = data.split()
    return SrvRecord(int(priority), int(weight), int(port), _name(host) or ".")


def _name(text: str) -> str:
    return text.lower().removesuffix(".")


_READ: Final[Mapping[str, Callable[[str], Any]]] = {
    "MX": _mx,
    "A": str,
    "AAAA": str,
    "CNAME": _name,
    "TXT": lambda data: data.strip('"').encode("utf-8"),
    "TLSA": _tlsa,
    "SRV": _srv,
    "PTR": _name,
}


@implementer(IResolver)
class FakeResolver:
    """See the module's text.  ``questions`` counts by ("mx" or another method, name); ``expires`` is that of
    every answer."""

    def __init__(self, zone: str | Mapping[str, Sequence[str]] = "", expires: float = 3600.0) -> None:
        self.questions: Counter[tuple[str, str]] = Counter()
        self.expires = expires
        self.authentic: set[str] = set()  # names whose answers DNSSEC vouches for
        self._records: dict[str, dict[str, list[Any]]] = {}
        self._failing: dict[str, dict[str, str]] = {}
        self._holding = False
        self._held: list[tuple[Deferred[Answer], str, str, tuple[str, ...]]] = []
        if isinstance(zone, str):
            for line in zone.split("\n"):
                if line.strip() and not line.strip().startswith((";", "#")):
                    self.add(*line.split(None, 1))
        else:
            for name, lines in zone.items():
                for line in lines:
                    self.add(name, line)

    def add(self, name: str, record: str) -> None:
        """One more record, or failure, of a name; a PTR's name may be the IP address."""
        kind, _, data = record.strip().partition(" ")
        if kind.upper() == "PTR" and not name.rstrip(".").endswith(".arpa"):
            name = from_address(name).to_text()
        name = _name(name)
        if kind.lower() in _FAILURES:
            self._failing.setdefault(name, {})[data.strip().upper()] = _FAILURES[kind.lower()]
            return
        self._records.setdefault(name, {}).setdefault(kind.upper(), []).append(_READ[kind.upper()](data.strip()))

    def remove(self, name: str) -> None:
        """Forget all of a name, its failures too."""
        self._records.pop(_name(name), None)
        self._failing.pop(_name(name), None)

    def hold(self) -> None:
        """From now on answers wait."""
        self._holding = True

    def release(self) -> None:
        """Give the answers that wait, as of now, and let later ones come at once."""
        self._holding = False
        held, self._held = self._held, []
        for deferred, method, name, kinds in held:
            if not deferred.called:
                deferred.callback(self._answer(method, name, kinds))

    def mx(self, domain: str) -> Deferred[Answer]:
        """See ``IResolver``."""
        return self._ask("mx", domain, ("MX",))

    def addresses(self, host: str) -> Deferred[Answer]:
        """See ``IResolver``."""
        return self._ask("addresses", host, ("AAAA", "A"))

    def txt(self, name: str) -> Deferred[Answer]:
        """See ``IResolver``."""
        return self._ask("txt", name, ("TXT",))

    def tlsa(self, name: str) -> Deferred[Answer]:
        """See ``IResolver``."""
        return self._ask("tlsa", name, ("TLSA",))

    def srv(self, name: str) -> Deferred[Answer]:
        """See ``IResolver``."""
        return self._ask("srv", name, ("SRV",))

    def ptr(self, address: str) -> Deferred[Answer]:
        """See ``IResolver``."""
        return self._ask("ptr", from_address(address).to_text(), ("PTR",))

    def close(self) -> None:
        """As that of the real one."""
        self.release()

    def _ask(self, method: str, name: str, kinds: tuple[str, ...]) -> Deferred[Answer]:
        name = _name(name)
        self.questions[method, name] += 1
        if not self._holding:
            return succeed(self._answer(method, name, kinds))
        deferred: Deferred[Answer] = Deferred()
        self._held.append((deferred, method, name, kinds))
        return deferred

    def _answer(self, method: str, name: str, kinds: tuple[str, ...]) -> Answer:
        known = known_answer(method, name)
        if known is not None:
            return known
        authentic = name in self.authentic
        records: list[Any] = []
        trouble = ""
        for kind in kinds:
            found, error = self._find(name, kind)
            records += found
            trouble = trouble or error
        if records:
            return Answer(found=Found.OK, records=tuple(records), authentic=authentic, expires=self.expires)
        if trouble:
            return Answer(found=Found.FAILED, expires=self.expires, error=trouble)
        found_nothing = Found.NO_DATA if self._exists(name) else Found.NO_DOMAIN
        return Answer(found=found_nothing, authentic=authentic, expires=self.expires)

    def _find(self, name: str, kind: str) -> tuple[list[Any], str]:
        name = self._canonical(name)
        failing = self._failing.get(name, {})
        error = failing.get("") or failing.get(kind) or ""
        return ([], error) if error else (self._records.get(name, {}).get(kind, []), "")

    def _canonical(self, name: str) -> str:
        for _ in range(8):
            names = self._records.get(name, {}).get("CNAME")
            if not names:
                return name
            name = names[0]
        return name

    def _exists(self, name: str) -> bool:
        name = self._canonical(name)
        below = f".{name}"
        return any(known == name or known.endswith(below) for known in (*self._records, *self._failing))
