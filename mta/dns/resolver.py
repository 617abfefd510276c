"""``IResolver``: questions to DNS with a cache, and equal questions in flight joined.

Contract: nothing raises for what DNS says; an ``Answer`` tells failure from absence.  Who asks what another asks
already waits for the same answer; cancelling one leaves the others waiting, cancelling the last ends the work.
Every answer comes within ``timeout`` seconds of the reactor's (monotonic) clock.
How it fails: ``Found.FAILED`` with the reason, kept for a few seconds so that a dead server is not asked by each
of a thousand messages.
Limits: ``cache_size`` answers; ``MAX_SOCKETS`` questions on the wire, others wait for their turn and their time
runs.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Protocol

import dns.exception
import dns.reversename
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.address import normal_ip
from mta.dns.backend import Cancelled
from mta.dns.cache import Cache, Key, bounded_ttl
from mta.dns.local import known_answer
from mta.dns.records import READERS, join_addresses
from mta.dns.servers import RESOLV_CONF, Servers
from mta.dns.stub import Raw, Stub
from mta.interfaces import IResolver
from mta.routing.values import Answer, Found

log = Logger()

MAX_SOCKETS: Final = 500


class IStub(Protocol):
    """Who asks one question (``mta.dns.stub.Stub``)."""

    def ask(self, name: str, kind: str) -> Coroutine[Any, Any, Raw]: ...


@implementer(IResolver)
class Resolver:
    """See the module's text.  ``servers``: "127.0.0.1:53", "[::1]:53"; none: those of ``resolv_conf``; ``trust_ad``:
    they are believed in what they say of DNSSEC wherever they are.

    Raises ``ValueError`` for a text that is no server.
    """

    def __init__(
        self,
        reactor: Any,
        servers: Sequence[str] = (),
        *,
        timeout: float = 10.0,
        cache_size: int = 20_000,
        resolv_conf: str = RESOLV_CONF,
        trust_ad: bool = False,
        stub: IStub | None = None,
    ) -> None:
        self._reactor = reactor
        self._timeout = timeout
        self._cache = Cache(cache_size, reactor.seconds)
        self._flights: dict[Key, _Flight] = {}
        self._room = DeferredSemaphore(MAX_SOCKETS)
        self._stub: IStub = stub or Stub(reactor, Servers(servers, reactor.seconds, resolv_conf, trust_ad), timeout)
        self._closed = False

    def mx(self, domain: str) -> Deferred[Answer]:
        """See ``IResolver``; by preference."""
        return self._ask("MX", domain)

    def addresses(self, host: str) -> Deferred[Answer]:
        """See ``IResolver``."""
        return self._ask("addresses", host)

    def txt(self, name: str) -> Deferred[Answer]:
        """See ``IResolver``."""
        return self._ask("TXT", name)

    def tlsa(self, name: str) -> Deferred[Answer]:
        """See ``IResolver``."""
        return self._ask("TLSA", name)

    def srv(self, name: str) -> Deferred[Answer]:
        """See ``IResolver``; by priority."""
        return self._ask("SRV", name)

    def ptr(self, address: str) -> Deferred[Answer]:
        """See ``IResolver``."""
        try:
            name = dns.reversename.from_address(normal_ip(address))
        except (dns.exception.DNSException, ValueError):
            return succeed(Answer(found=Found.NO_DOMAIN, error="not an IP address"))
        return self._ask("PTR", name.to_text())

    def close(self) -> None:
        """End what is in flight: who waits gets FAILED, and so does who asks later."""
        self._closed = True
        for flight in list(self._flights.values()):
            flight.end("the resolver was closed")

    # --- cache and joining ---------------------------------------------------------------------------------

    def _ask(self, kind: str, name: str) -> Deferred[Answer]:
        name = name.lower().removesuffix(".")
        key = (kind, name)
        answer = self._cache.get(key) or known_answer(kind, name)
        if answer is not None:
            return succeed(answer)
        if self._closed:
            return succeed(self._answer(Raw(Found.FAILED, error="the resolver was closed")))
        flight = self._flights.get(key)
        if flight is not None:
            return flight.join()
        flight = self._flights[key] = _Flight(key, self._landed)
        waiter = flight.join()
        work = self._addresses(name) if kind == "addresses" else self._records(name, kind)
        flight.start(self._reactor, work, self._timeout)
        return waiter

    def _landed(self, flight: _Flight) -> None:
        """Over, by an answer or because nobody waits any more (then there is none)."""
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]
        if flight.raw is not None:
            answer = self._answer(flight.raw)
            if not self._closed:
                self._cache.put(flight.key, answer)
            flight.tell(answer)

    def _answer(self, raw: Raw) -> Answer:
        return Answer(
            found=raw.found,
            records=tuple(raw.rdatas),
            authentic=raw.authentic,
            expires=self._reactor.seconds() + bounded_ttl(raw.found, raw.ttl),
            error=raw.error,
        )

    # --- the work ------------------------------------------------------------------------------------------

    async def _records(self, name: str, kind: str) -> Raw:
        raw = await self._one(name, kind)
        return raw._replace(rdatas=READERS[kind](raw.rdatas))

    async def _addresses(self, name: str) -> Raw:
        six = Deferred.fromCoroutine(self._one(name, "AAAA"))
        four = Deferred.fromCoroutine(self._one(name, "A"))
        try:
            return join_addresses(await six, await four)
        finally:
            for deferred in (six, four):  # without effect on those that are over
                deferred.addErrback(lambda failure: None)
                deferred.cancel()

    async def _one(self, name: str, kind: str) -> Raw:
        await self._room.acquire()
        try:
            return await self._stub.ask(name, kind)
        finally:
            self._room.release()


class _Flight:
    """One question in flight, and all who wait for its answer."""

    def __init__(self, key: Key, landed: Callable[[_Flight], None]) -> None:
        self.key = key
        self.raw: Raw | None = None
        self._landed = landed
        self._waiters: list[Deferred[Answer]] = []
        self._work: Deferred[Raw] | None = None
        self._why = ""

    def join(self) -> Deferred[Answer]:
        waiter: Deferred[Answer] = Deferred(self._leave)
        self._waiters.append(waiter)
        return waiter

    def start(self, reactor: Any, work: Coroutine[Any, Any, Raw], seconds: float) -> None:
        self._work = Deferred.fromCoroutine(work)
        if not self._work.called:
            limit = reactor.callLater(seconds, self.end, f"no DNS server answered within {seconds:g} s")
            self._work.addBoth(_stop_timer, limit)
        self._work.addErrback(self._failed)
        self._work.addCallback(self._over)

    def end(self, why: str) -> None:
        """Stop the work; those who still wait are told why."""
        self._why = why
        if self._work is not None:
            self._work.cancel()

    def tell(self, answer: Answer) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(answer)

    def _leave(self, waiter: Deferred[Answer]) -> None:
        self._waiters.remove(waiter)
        if not self._waiters:
            self._landed(self)  # who asks from now on begins anew
            self.end("nobody waits")

    def _failed(self, failure: Failure) -> Raw:
        if not isinstance(failure.value, CancelledError | Cancelled):
            log.failure("a DNS question failed in an unforeseen way", failure=failure)
            return Raw(Found.FAILED, error=f"{type(failure.value).__name__}: {failure.value}")
        return Raw(Found.FAILED, error=self._why or "cancelled")

    def _over(self, raw: Raw) -> None:
        if self._waiters:
            self.raw = raw
            self._landed(self)


def _stop_timer(result: Any, timer: Any) -> Any:
    if timer.active():
        timer.cancel()
    return result
