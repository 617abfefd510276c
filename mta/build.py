"""Builds the working parts from a configuration, and anew from another at a reload.

What it is: the list of what txmta consists of: DNS, spool, tables, router, delivery services, reports, queue, and
what sessions work with.  Only mta/service.py uses it; it hands in the outside world.
Contract: ``change`` builds everything that is new before anything is put to use.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from mta.address import Address
from mta.admin.log import emit
from mta.bounce.reporter import Reports
from mta.config.load import Configuration
from mta.config.option import Path
from mta.config.retry_rules import retry_rules
from mta.config.rules import routing_rules, sources
from mta.delivery.adapt import completed
from mta.delivery.expansion import Expanded
from mta.dns.resolver import Resolver
from mta.interfaces import ITable
from mta.plugin import Services
from mta.queue.manager import Manager, Setup
from mta.reply import Reply
from mta.routing.ask import Answerer
from mta.routing.recipients import Forward, Leads, lead
from mta.routing.router import Router
from mta.routing.tables import FileTable, FileTableOptions
from mta.smtp.context import Context, ListenerTls, MemoryBudget
from mta.spool.sqlite import SqliteSpool
from mta.tls.keeper import Keeper, offered
from mta.waiting import background

log = Logger()

#: The name under which the queue manager holds its leases.
OWNER: Final = "queue"
#: Seconds for the deliveries that end with an old configuration.
ATTEMPT_TIME: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The outside world, as mta/service.py hands it in."""

    reactor: Any
    now: Callable[[], int]
    random: Random
    in_thread: Callable[..., Deferred[Any]]
    memory: MemoryBudget


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
        )
        self._build(configuration)
        self.tls = Keeper(configuration, reactor=world.reactor, now=world.now, emit=emit)
        self.reports = Reports(self.spool, self._lead, configuration.hostname, *_told(configuration))
        self.reports.speak(configuration.reports.language)
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

    def _build(self, configuration: Configuration) -> None:
        """Tables, router and delivery services from a configuration; nothing of the old ones is touched."""
        tables: dict[str, ITable] = {}
        self.tables = tables
        for name, section in configuration.tables.items():
            tables[f"table:{name}"] = section.provider(section.options, self._services(name, configuration))
        rules = routing_rules(configuration)
        for source in sources(rules):
            if source.startswith("file:"):
                options = FileTableOptions(path=Path(source.removeprefix("file:")))
                tables[source] = FileTable(options, self._services(source, configuration))
        self.answerer = Answerer(tables, self.resolver)
        self.router = Router(rules)
        self.services = {
            name: completed(section.provider(section.options, self._services(name, configuration)), name)
            for name, section in configuration.delivery.items()
        }
        expanded = Expanded()
        self.services[expanded.name] = expanded

    def _services(self, name: str, configuration: Configuration) -> Services:
        return Services(
            name=name,
            hostname=configuration.hostname,
            reactor=self._world.reactor,
            now=self._world.now,
            random=self._world.random,
            resolver=self.resolver,
            in_thread=self._world.in_thread,
            table=lambda table: self.tables[table],
            emit=emit,
        )

    def _setup(self) -> Setup:
        queue = self.configuration.queue
        return Setup(
            router=self.router,
            answerer=self.answerer,
            services=self.services,
            retry=retry_rules(self.configuration),
            poison_tries=queue.poison_tries,
            max_size=queue.max_size,
            max_per_sender=queue.max_per_sender,
            active=queue.active,
            pace=tuple(pace.rule for pace in self.configuration.pace),
            attempts=queue.attempts,
        )

    def change(self, new: Configuration) -> None:
        """Put a new configuration to use.  Raises before anything has changed."""
        old_configuration, old_services = self.configuration, self.services
        old = (self.tables, self.answerer, self.router, self.services)
        try:
            self._build(new)
            certificates = self.tls.prepare(new.tls)
        except Exception:
            self.tables, self.answerer, self.router, self.services = old
            raise
        self.configuration = new
        self.tls.adopt(certificates)
        self.reports.change(*_told(new))
        self.reports.speak(new.reports.language)
        self.manager.configure(self._setup())
        if old_configuration.dns != new.dns:
            log.info("dns: new servers are used after a restart")
        for service in old_services.values():
            background(maybeDeferred(service.stop, ATTEMPT_TIME), "stop of an old delivery service")

    def context(self, listener: str) -> Context:
        """What the sessions of a listener work with."""
        configuration = self.configuration
        lmtp = any(known.name == listener and known.service == "lmtp" for known in configuration.listen)
        options = next(known for known in configuration.listen if known.name == listener)
        return Context(
            listener=listener,
            hostname=configuration.hostname,
            limits=configuration.limits,
            # Whoever hands us mail by LMTP does so for mailboxes: docs/lmtp.rst.
            networks=() if lmtp else configuration.relay.networks,
            router=self.router,
            answerer=self.answerer,
            resolver=self.resolver,
            spool=self.spool,
            queue=self.manager,
            memory=self._world.memory,
            configuration=configuration.fingerprint,
            seconds=time.monotonic,
            sleep=self._sleep,
            now=self._world.now,
            emit=emit,
            banner=Reply.of(220, "", f"{configuration.hostname} {'LMTP' if lmtp else 'ESMTP'} txmta"),
            queue_limited=bool(configuration.queue.max_size or configuration.queue.max_per_sender),
            tell_strangers=configuration.queue.tell_strangers,
            lmtp=lmtp,
            tls=self._listener_tls(listener),
            proxy=options.proxy,
            xclient=options.xclient,
            xforward=options.xforward,
        )

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


def _told(configuration: Configuration) -> tuple[Address, bool]:
    """Whom reports go to: the postmaster, and whether strangers are told of success and delay."""
    return configuration.postmaster, configuration.queue.tell_strangers
