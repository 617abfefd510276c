"""A connection to the first of two addresses that answers, one of them with a head start (RFC 8305, 5).

What it is: a host that has IPv6 and IPv4 is tried by both; the second begins when the head start is over or the first
has failed.  A dead path costs the head start and not the time-out.
Contract: ``done`` fires once, with the first connection; the other is stopped, and one that comes about all the same
is closed at once.  Cancelling ``done`` stops both.
``unstarted`` and ``stopped`` are then those of which nothing is known.
How it fails: ``done`` fails with ``ClientFailure`` once no address is left.
Limits: ``timeout`` seconds for each connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.python.failure import Failure

from mta.reply import Reply
from mta.routing.hosts import Target
from mta.smtp.client import SmtpClient
from mta.smtp.client_values import ClientFailure


class Network(NamedTuple):
    """What a race needs of the world: the reactor, times in seconds, and where to connect from."""

    reactor: Any
    timeout: float
    head_start: float
    source: Callable[[str], tuple[str, int] | None]


class Reached(NamedTuple):
    """The address that answered; ``client`` is about to be connected."""

    target: Target
    client: SmtpClient


class Race:
    """See the module's text.  ``make`` makes the protocol for the address that answers."""

    def __init__(self, network: Network, targets: list[Target], make: Callable[[Target], SmtpClient]) -> None:
        self._network = network
        self._make = make
        self.unstarted = list(targets)
        self.stopped: list[Target] = []
        self._running: list[_Attempt] = []
        self._timer: Any = None
        self._over = False
        self.done: Deferred[Reached] = Deferred(lambda _: self._stop())

    def start(self) -> Deferred[Reached]:
        """Begin; returns ``done``."""
        self._next()
        return self.done

    def _next(self) -> None:
        self._stop_timer()
        attempt = _Attempt(self, self.unstarted.pop(0))
        self._running.append(attempt)
        if self.unstarted:
            self._timer = self._network.reactor.callLater(self._network.head_start, self._head_start_over)
        attempt.connect(self._network)

    def _head_start_over(self) -> None:
        self._timer = None
        self._next()

    def answered(self, attempt: _Attempt) -> SmtpClient | None:
        """A connection is there; None: nobody wants it any more."""
        if self._over:
            return None
        self._running.remove(attempt)
        self._stop()
        client = self._make(attempt.target)
        self.done.callback(Reached(attempt.target, client))
        return client

    def lost(self, attempt: _Attempt, why: str) -> None:
        """A connection did not come about."""
        if self._over:
            return
        self._running.remove(attempt)
        if self.unstarted:
            self._next()
        elif not self._running:
            self._over = True
            self.done.errback(ClientFailure(Reply.of(421, "4.4.1", f"No connection: {why}"), "connect"))

    def _stop(self) -> None:
        self._over = True
        self._stop_timer()
        running, self._running = self._running, []
        for attempt in running:
            self.stopped.append(attempt.target)
            attempt.stop()

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None


class _Attempt(ClientFactory):
    """One connection that comes about or does not."""

    noisy = False

    def __init__(self, race: Race, target: Target) -> None:
        self._race = race
        self._connector: Any = None
        self.target = target

    def connect(self, network: Network) -> None:
        self._connector = network.reactor.connectTCP(
            self.target.address,
            self.target.port,
            self,
            timeout=network.timeout,
            bindAddress=network.source(self.target.address),
        )

    def stop(self) -> None:
        if self._connector is not None:
            self._connector.stopConnecting()

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        return self._race.answered(self)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        error = reason.value
        why = type(error).__name__
        if isinstance(error, ConnectError):
            why = (error.__doc__ or "").strip().rstrip(".").lower() or why
        self._race.lost(self, why)
