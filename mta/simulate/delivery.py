"""A delivery service that sends nothing: it waits as long as a delivery takes, and reports what far ends say.

Contract: ``IDeliveryService``.  A connection is kept for ``IDLE`` seconds and used again, and asks the pace of the
configuration, as the real ones do.
Limits: the times are assumptions too: ``CONNECT`` is that of a quick host, ``DEAD`` that of one that does not answer.
The hosts of a domain are not looked up: the host of the last try counts, else the next hop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from mta.delivery.values import Batch, Entrance, Limits
from mta.envelope import Destination, Recipient
from mta.interfaces import IDeliveryService
from mta.routing.values import Route
from mta.simulate.assume import Assumptions
from mta.simulate.far_end import FarEnd
from mta.simulate.tally import Tally

#: Seconds for a connection with its greeting, for one that does not come about, for an idle one.
CONNECT: Final = 0.2
DEAD: Final = 30.0
IDLE: Final = 5.0


class Connection:
    """One that is open, and ``close``d once."""

    __slots__ = ("_closed", "_tally", "closing", "entrance", "messages")

    def __init__(self, tally: Tally, entrance: Entrance | None) -> None:
        self._tally = tally
        self._closed = False
        self.entrance = entrance
        self.closing: IDelayedCall | None = None
        self.messages = 0

    def close(self) -> None:
        """Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._tally.closed()
        if self.closing is not None and self.closing.active():
            self.closing.cancel()
        if self.entrance is not None:
            self.entrance.gone()


class Place:
    """A destination with its idle connections, the one that was used last at the end."""

    __slots__ = ("far", "idle")

    def __init__(self, far: FarEnd) -> None:
        self.far = far
        self.idle: dict[Connection, None] = {}


@implementer(IDeliveryService)
class SimulatedDelivery:
    """One delivery service of the configuration; see the module's text.  ``elapsed``: seconds since the start."""

    def __init__(
        self,
        name: str,
        limits: Limits,
        assumptions: Assumptions,
        *,
        reactor: IReactorTime,
        elapsed: Callable[[], float],
        now: Callable[[], int],
        tally: Tally,
    ) -> None:
        self.name = name
        self._limits = limits
        self._assumptions = assumptions
        self._reactor = reactor
        self._elapsed = elapsed
        self._now = now
        self._tally = tally
        self._places: dict[Destination, Place] = {}

    def limits(self, route: Route) -> Limits:
        """See ``IDeliveryService``."""
        return self._limits

    def loaded(self, recipient: Recipient) -> None:
        """It waits for us at the start."""
        self._place(recipient.destination).far.loaded(recipient)

    async def deliver(self, batch: Batch) -> None:
        """See ``IDeliveryService``."""
        place = self._place(batch.route.destination)
        far = place.far
        unreachable = far.answers(self._elapsed())
        if unreachable is not None:
            connection = self._open(batch)
            try:
                await self._pass(DEAD)
            finally:
                connection.close()
            for recipient in batch.recipients:
                batch.report(unreachable.outcome(recipient))
            return
        wait = 0.0 if place.idle else CONNECT
        connection = self._reuse(place) if place.idle else self._open(batch)
        try:
            if batch.passage is not None and connection.entrance is not None:
                batch.passage.charge(connection.entrance, len(batch.recipients))
            await self._pass(wait + far.transfer)
        except BaseException:
            connection.close()
            raise
        self._speak(far, batch)
        self._keep(place, connection)

    async def stop(self, deadline: float) -> None:
        """See ``IDeliveryService``."""
        for place in self._places.values():
            for connection in list(place.idle):
                self._drop(place, connection)

    def _place(self, destination: Destination) -> Place:
        place = self._places.get(destination)
        if place is None:
            place = self._places[destination] = Place(FarEnd(destination, self._assumptions.of(destination)))
        return place

    def _speak(self, far: FarEnd, batch: Batch) -> None:
        seconds, now, message = self._elapsed(), self._now(), batch.message
        refused = far.refuses(seconds)
        for recipient in batch.recipients:
            said = refused or far.say(message.id, message.envelope, recipient, seconds, now)
            batch.report(said.outcome(recipient))

    def _open(self, batch: Batch) -> Connection:
        """May raise ``Paced``."""
        destination = batch.route.destination
        entrance: Entrance | None = None
        if batch.passage is not None:
            host = str(batch.recipients[0].progress.get("host", "")) or destination.next_hop
            entrance = batch.passage.enter(host, ())
        self._tally.connection(destination, self._elapsed())
        return Connection(self._tally, entrance)

    def _reuse(self, place: Place) -> Connection:
        connection, _ = place.idle.popitem()
        if connection.closing is not None:
            connection.closing.cancel()
            connection.closing = None
        if connection.entrance is not None:
            connection.entrance.busy()
        return connection

    def _keep(self, place: Place, connection: Connection) -> None:
        connection.messages += 1
        entrance = connection.entrance
        most = self._limits.messages if entrance is None else min(self._limits.messages, entrance.most)
        if connection.messages >= most:
            connection.close()
            return
        place.idle[connection] = None
        connection.closing = self._reactor.callLater(IDLE, self._drop, place, connection)
        if entrance is not None:
            entrance.idle(lambda: self._drop(place, connection))

    def _drop(self, place: Place, connection: Connection) -> None:
        place.idle.pop(connection, None)
        connection.close()

    def _pass(self, seconds: float) -> Deferred[None]:
        passed: Deferred[None] = Deferred(lambda _: call.cancel())
        call = self._reactor.callLater(seconds, passed.callback, None)
        return passed
