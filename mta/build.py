"""Builds the working parts from a configuration, and anew from another at a reload.

What it is: the list of what txmta consists of: DNS, spool, tables, router, delivery services, reports, queue, and
what sessions work with.  Only mta/service.py uses it; it hands in the outside world.
Contract: ``change`` builds everything that is new before anything is put to use.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from mta import events
from mta.address import Address
from mta.admin.log import emit
from mta.bounce.reporter import Reports
from mta.config.load import Configuration, ConfigurationError
from mta.config.retry_rules import retry_rules
from mta.deciding import Deciding, Surroundings, deciding, session_context
from mta.delivery.running import Program, Run
from mta.dns.resolver import Resolver
from mta.interfaces import IDeliveryService, IRouter, ITable
from mta.plugin import Services
from mta.queue.manager import Manager, Setup
from mta.routing.ask import Answerer
from mta.routing.recipients import Forward, Leads, lead
from mta.smtp.allowance import Allowance
from mta.smtp.context import Context, ListenerTls, MemoryBudget
from mta.spool.sqlite import SqliteSpool
from mta.tls.keeper import Keeper, offered
from mta.trial.prove import prove
from mta.waiting import background
from mta.workers.place import Place
from mta.workers.shares import shared, shared_pace

log = Logger()

#: The name under which the queue manager holds its leases.
OWNER: Final = "queue"
#: Seconds for the deliveries that end with an old configuration.
ATTEMPT_TIME: Final = 3600.0


#: One process is the whole service.
ALONE: Final = Place()


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The outside world, as mta/service.py hands it in."""

    reactor: Any
    now: Callable[[], int]
    random: Random
    in_thread: Callable[..., Deferred[Any]]
    memory: MemoryBudget
    place: Place = ALONE
    launch: Callable[[Program, Run], None]


class Parts:
    """What is built from a configuration, and how it is built anew from another."""

    def __init__(self, world: World, configuration: Configuration) -> None:
        self._world = world
        self.configuration = configuration
        self.resolver = Resolver(
            world.reactor,
            [f"[{server.host}]:{server.port}" for server in configuration.dns.servers],
            timeout=configuration.dns.timeout,
            trust_ad=configuration.dns.trust_ad,
        )
        self.spool = SqliteSpool(
            configuration.state,
            reactor=self._world.reactor,
            now=world.now,
            reserve_bytes=configuration.queue.reserve,
            notify=self._waiting,
            emit=emit,
            worker=world.place.number,
            lock=world.place.alone,
        )
        self._questions = Allowance(world.place.share)
        self._started = False
        self._build(configuration)
        self.tls = Keeper(configuration, reactor=world.reactor, now=world.now, emit=emit)
        self.reports = Reports(self.spool, self._lead, configuration.hostname, *_told(configuration))
        self.reports.speak(configuration.reports.language, configuration.reports.texts)
        self.manager = Manager(
            owner=OWNER,
            spool=self.spool,
            setup=self._setup(),
            reporter=self.reports,
            reactor=self._world.reactor,
            now=self._world.now,
            random=world.random,
            emit=emit,
        )

    def start(self) -> None:
        """Privileges are dropped and the state folder is there.  Raises ``OSError``, ``ValueError``."""
        self._decides.open()
        self._started = True

    def _build(self, configuration: Configuration) -> None:
        """Tables, router and delivery services from a configuration; nothing of the old ones is touched."""
        self._decides = deciding(configuration, self._outside(configuration), self.spool)
        if self._started:
            self._decides.open()

    @property
    def router(self) -> IRouter:
        return self._decides.router

    @property
    def answerer(self) -> Answerer:
        return self._decides.answerer

    @property
    def services(self) -> Mapping[str, IDeliveryService]:
        return self._decides.services

    def _outside(self, configuration: Configuration) -> Services:
        """The outside world, for what is made from a configuration."""
        return Services(
            name="",
            hostname=configuration.hostname,
            reactor=self._world.reactor,
            now=self._world.now,
            random=self._world.random,
            resolver=self.resolver,
            in_thread=self._world.in_thread,
            table=_no_table,
            emit=emit,
            launch=self._world.launch,
        )

    def _setup(self) -> Setup:
        share = self._world.place.share
        queue = shared(self.configuration, share).queue
        return Setup(
            router=self.router,
            answerer=self.answerer,
            services=self.services,
            retry=retry_rules(self.configuration),
            poison_tries=queue.poison_tries,
            max_size=queue.max_size,
            max_per_sender=queue.max_per_sender,
            active=queue.active,
            pace=tuple(shared_pace(pace.rule, share) for pace in self.configuration.pace),
            attempts=queue.attempts,
            share=share,
            forwarding=self._decides.forwarding,
        )

    def check(self, new: Configuration) -> None:
        """Build a new configuration and let go of it.  Raises as ``change``."""
        old = self._decides
        try:
            self._build(new)
            self._prove()
            self.tls.prepare(new.tls)
        finally:
            self._let_go(old)

    def change(self, new: Configuration) -> None:
        """Put a new configuration to use.  Raises before anything has changed."""
        old_configuration, old_services = self.configuration, self.services
        old = self._decides
        try:
            self._build(new)
            self._prove()
            certificates = self.tls.prepare(new.tls)
            self.reports.speak(new.reports.language, new.reports.texts)
        except Exception:
            self._let_go(old)
            raise
        self.configuration = new
        self.tls.adopt(certificates)
        self.reports.change(*_told(new))
        self.manager.configure(self._setup())
        if old_configuration.dns != new.dns:
            log.info("dns: new servers are used after a restart")
        for service in old_services.values():
            background(maybeDeferred(service.stop, ATTEMPT_TIME), "stop of an old delivery service")
        old.tables.close()

    def _let_go(self, old: Deciding) -> None:
        """What was made was only looked at, or was refused: the old stays."""
        made, self._decides = self._decides, old
        if made is not old:
            for service in made.services.values():
                background(maybeDeferred(service.stop, 0.0), "stop of a delivery service that was only looked at")
            made.tables.close()

    def _prove(self) -> None:
        """Raise ``ConfigurationError`` where a test of the configuration fails (docs/route.rst)."""
        problems = prove(self._decides, self._world.now, self._world.reactor.seconds).problems
        if problems:
            raise ConfigurationError(problems)

    def tell_failing_tests(self) -> None:
        """At a start, which goes on: docs/decisions/tests-of-a-configuration.rst.  Of several processes one tells."""
        if self._world.place.number or self._world.place.empties:
            return
        for problem in prove(self._decides, self._world.now, self._world.reactor.seconds).problems:
            emit(events.TEST_FAILED(error=str(problem)), "")

    def context(self, listener: str) -> Context:
        """What the sessions of a listener work with."""
        around = Surroundings(
            limits=shared(self.configuration, self._world.place.share).limits,
            resolver=self.resolver,
            spool=self.spool,
            queue=self.manager,
            memory=self._world.memory,
            seconds=time.monotonic,
            sleep=self._sleep,
            now=self._world.now,
            emit=emit,
            tls=self._listener_tls(listener),
            questions=self._questions,
        )
        # A reload keeps the listeners that there are.
        return session_context(listener, self._decides, around)

    def _sleep(self, seconds: float) -> Deferred[None]:
        return deferLater(self._world.reactor, seconds)

    def _listener_tls(self, listener: str) -> ListenerTls | None:
        """How a listener speaks TLS; None: it does not."""
        options = self.configuration.tls
        mode = next(one.tls for one in self.configuration.listen if one.name == listener)
        if mode == "none" or not offered(options):
            return None
        return ListenerTls(self.tls.contexts, mode == "implicit", options.handshake_timeout)

    async def _lead(self, address: Address) -> Leads:
        """Where a report to this address leads."""
        return await lead(self.router, self.answerer, (Forward(address),), {}, self._world.now())

    def _waiting(self) -> None:
        self.manager.look_soon()


def _no_table(name: str) -> ITable:
    raise KeyError(name)


def _told(configuration: Configuration) -> tuple[Address, bool, int]:
    """Whom reports go to: the postmaster, and whether strangers are told of success and delay; how much they return."""
    return configuration.postmaster, configuration.queue.tell_strangers, configuration.reports.return_size
