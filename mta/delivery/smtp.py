"""The delivery service ``smtp``: to the MX hosts of a domain, or to a smart host.

What it is: keeps connections by next hop and sends batches over them; ``connecting`` makes those that are new.
Contract: hosts are tried in their order until one takes the connection (RFC 5321 5.1) and can be given the message
(``smtp_attempt``); what a host says about a recipient is that recipient's outcome.
How it fails: no host reached: deferred, scope destination; only where every host refused for good do the
recipients fail.  A connection lost after the final dot: deferred, and it may come twice.  Cancelled: those whose
transaction was under way are reported as deferred, the others not at all.
Limits: ``connections`` at once for each next hop, ``messages`` on each, kept ``idle`` seconds.
"""

from __future__ import annotations

from functools import partial

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.address import Address, ReversePath
from mta.delivery.connecting import Connector
from mta.delivery.pool import Pool
from mta.delivery.probing import Probed, Prober
from mta.delivery.smtp_attempt import Attempt, Means
from mta.delivery.smtp_options import SmtpOptions
from mta.delivery.values import Batch, Foresight, Limits
from mta.envelope import Envelope
from mta.interfaces import IForeseeing, IProbing, IResolver
from mta.plugin import Services, provider
from mta.routing.values import Route
from mta.waiting import Later, Run, drive


@implementer(IForeseeing, IProbing)
@provider("delivery", "smtp", SmtpOptions)
class SmtpDelivery:
    """See the module's text."""

    #: Mail goes on from the hosts that take it; see ``LmtpDelivery``.
    final = False
    connector_type: type[Connector] = Connector

    def __init__(self, options: SmtpOptions, services: Services) -> None:
        self.name = services.name
        self._reactor = services.reactor
        self._connector = connector = self.connector_type(options, services, self._tell_stopped)
        self._limits = Limits(recipients=options.recipients, messages=options.messages, concurrency=options.connections)
        self._pool = Pool(self._reactor.seconds, options.idle, options.messages)
        self._means = Means(
            self._pool,
            connector.key,
            connector.connecting,
            services.now,
            self._reactor.seconds,
            self.final,
            services.signer,
        )
        # No Deferred refers to its run, which refers to it: each message would wait for the cycle collector.
        self._running: dict[Deferred[None], Run[None]] = {}
        self._prober = Prober(connector, self._reactor.seconds)
        self._stopped: list[Deferred[None]] = []  # calls of stop that wait for the running ones

    def limits(self, route: Route) -> Limits:
        """See ``IDeliveryService``."""
        return self._limits

    async def foresee(
        self, address: Address, route: Route, envelope: Envelope, resolver: IResolver | None
    ) -> Foresight:
        """See ``IForeseeing``."""
        return await self._connector.foresee(route.destination.next_hop, envelope, resolver)

    def probe(self, address: Address, next_hop: str, sender: ReversePath) -> Deferred[Probed]:
        """See ``IProbing``."""
        return self._prober.ask(address, next_hop, sender)

    def deliver(self, batch: Batch) -> Deferred[None]:
        """See ``IDeliveryService``.  Cancelling ends the connection that is in use or coming about."""
        need = self._connector.need(batch.route.destination.next_hop, batch.message.envelope)
        work: Deferred[None] = Later(self._cancel)
        run = drive(Attempt(batch, self._means, need).run(), partial(self._over, work))
        if run is not None:
            self._running[work] = run
        return work

    def _cancel(self, work: Deferred[None]) -> None:
        self._running[work].cancel()

    def _over(self, work: Deferred[None], result: Failure | None) -> None:
        self._running.pop(work, None)
        if self._stopped:
            self._tell_stopped()
        work.callback(result)  # a Failure goes on as one

    def _tell_stopped(self) -> None:
        if self._stopped and not self._running and not self._connector.clients:
            stopped, self._stopped = self._stopped, []
            for done in stopped:
                done.callback(None)

    async def stop(self, deadline: float) -> None:
        """See ``IDeliveryService``."""
        self._prober.close()
        self._pool.close()
        if self._running or self._connector.clients:
            done: Deferred[None] = Deferred()
            self._stopped.append(done)
            timer = self._reactor.callLater(deadline, self._end_all)
            await done
            if timer.active():
                timer.cancel()
        self._connector.ticker.stop()

    def _end_all(self) -> None:
        for work in list(self._running):
            work.cancel()
        for client in list(self._connector.clients):
            client.abort()
