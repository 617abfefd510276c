"""Builds the working parts from a configuration, and anew from another at a reload.

What it is: the list of what txmta consists of: DNS, spool, tables, router, delivery services, reports, queue, and
what sessions work with.  Only mta/service.py uses it; it hands in the outside world.
Contract: ``change`` builds everything that is new before anything is put to use.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from mta import events
from mta.accounts.logins import Logins
from mta.accounts.used import Used
from mta.address import Address
from mta.admin.log import emit
from mta.bounce.reporter import Reports
from mta.config.load import Configuration, ConfigurationError
from mta.config.local_options import LISTENER
from mta.config.retry_rules import retry_rules
from mta.config.submission_options import limits_of
from mta.deciding import Deciding, Surroundings, deciding, session_context
from mta.delivery.call_ahead import Memory
from mta.delivery.running import Program, Run
from mta.dns.resolver import Resolver
from mta.interfaces import IDeliveryService, IRouter, ITable
from mta.local.listener import LocalFactory
from mta.local.serving import listen_local
from mta.plugin import Services
from mta.queue.manager import Manager, Setup
from mta.routing.ask import Answerer
from mta.routing.own import is_own
from mta.routing.recipients import Forward, Leads, lead
from mta.smtp.allowance import Allowance
from mta.smtp.context import Context, ListenerTls, MemoryBudget
from mta.smtp.factory import Connections, SmtpFactory
from mta.spool.sqlite import SqliteSpool
from mta.spool.values import Change, ChangeKind
from mta.state.sqlite import SqliteState
from mta.submission.brakes import Brakes, Outside, Told
from mta.submission.holding import selection
from mta.submission.notice import notice
from mta.submission.ownership import main_address
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
    is_own: Callable[[str], bool] = is_own


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
        used = Used(world.place.number, world.reactor.callLater, world.in_thread)
        self.logins = Logins(used, seconds=world.reactor.seconds, emit=emit)
        self.logins.configure(configuration.login)
        self._called = Memory(world.place.share)
        self.brakes = Brakes(
            SqliteState(configuration.state, world.now, world.in_thread),
            Outside(world.now, world.reactor.seconds, emit, self._tell_held, self._release),
            limits_of(configuration.brake),
            worker=world.place.number,
        )
        self._started = False
        self._build(configuration)
        self.tls = Keeper(configuration, reactor=world.reactor, now=world.now, emit=emit)
        self.reports = Reports(self.spool, self._lead, configuration.hostname, *_told(configuration))
        self.reports.sign_by(self._decides.signer)
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
        self._open(self.configuration)
        self._started = True
        self.brakes.configure(limits_of(self.configuration.brake), self._decides.submission.find)
        self.brakes.start(self._world.reactor)

    def close(self) -> None:
        """At the end of the service: what is to be kept is written."""
        self.logins.used.close()
        self.brakes.stop()

    def _build(self, configuration: Configuration) -> None:
        """Tables, router and delivery services from a configuration; nothing of the old ones is touched."""
        outside = self._outside(configuration)
        self._decides = deciding(configuration, outside, self.spool, self._called, self.logins, self.brakes)
        if self._started:
            self._open(configuration)

    def _open(self, configuration: Configuration) -> None:
        self._decides.open()
        if configuration.accounts:
            self.logins.open(configuration.state)

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
            is_own=self._world.is_own,
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
            policies=self._decides.dispatch,
            login_policies=self._decides.login_dispatch,
            bounced=self._bounced,
            signer=self._decides.signer,
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
        self.reports.sign_by(self._decides.signer)
        self.manager.configure(self._setup())
        self.logins.configure(new.login)
        self.brakes.configure(limits_of(new.brake), self._decides.submission.find)
        if old_configuration.dns != new.dns:
            log.info("dns: new servers are used after a restart")
        for service in old_services.values():
            background(maybeDeferred(service.stop, ATTEMPT_TIME), "stop of an old delivery service")
        old.policies.close()
        old.tables.close()
        if old.accounts is not None:
            old.accounts.close()

    def _let_go(self, old: Deciding) -> None:
        """What was made was only looked at, or was refused: the old stays."""
        made, self._decides = self._decides, old
        if made is not old:
            for service in made.services.values():
                background(maybeDeferred(service.stop, 0.0), "stop of a delivery service that was only looked at")
            made.policies.close()
            made.tables.close()
            if made.accounts is not None:
                made.accounts.close()

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

    def factory(self, listener: str, connections: Connections) -> SmtpFactory:
        """What serves a listener."""
        context, call_later = self.context(listener), self._world.reactor.callLater
        if listener != LISTENER:
            return SmtpFactory(context, connections, call_later)
        folder, users = self.configuration.local.folder, self._decides.users
        assert folder is not None
        assert users is not None
        return LocalFactory(context, connections, call_later, folder=folder, user_of=users.user, reporter=self.reports)

    def listen_local(self, factories: dict[str, SmtpFactory], connections: Connections) -> list[Any]:
        """The port for programs of this machine, where one process serves them.  Raises ``CannotStart``."""
        if self.configuration.local.folder is None or not self._world.place.alone:
            return []
        factories[LISTENER] = factory = self.factory(LISTENER, connections)
        return [listen_local(self._world.reactor, self.configuration, factory)]

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
        known = next(one for one in self.configuration.listeners if one.name == listener)
        if known.tls == "none" or not offered(options):
            return None
        contexts = self.tls.asking(known.client_authority)
        return ListenerTls(contexts, known.tls == "implicit", options.handshake_timeout)

    async def _lead(self, address: Address) -> Leads:
        """Where a report to this address leads."""
        return await lead(self.router, self.answerer, (Forward(address),), {}, self._world.now())

    async def _tell_held(self, told: Told) -> None:
        """Owner and postmaster are told that an account's mail is held."""
        now, postmaster, hostname = self._world.now(), self.configuration.postmaster, self.configuration.hostname
        for to in dict.fromkeys((main_address((told.owner,)) or postmaster, postmaster)):
            octets = partial(notice, told, to, postmaster, hostname, now=now)
            await self.reports.tell(to, octets, "notice", told.account, now)

    async def _release(self, account: str) -> int:
        """What is held because of the account may go."""
        count = await self.spool.change(selection(account), Change(ChangeKind.RELEASE), "its account")
        self.manager.poke()
        self.manager.look_at_all()
        return count

    def _bounced(self, login: str, recipients: int) -> None:
        background(self.brakes.failed(login, recipients), "counting failures")

    def _waiting(self) -> None:
        self.manager.look_soon()


def _no_table(name: str) -> ITable:
    raise KeyError(name)


def _told(configuration: Configuration) -> tuple[Address, bool, int]:
    """Whom reports go to: the postmaster, and whether strangers are told of success and delay; how much they return."""
    return configuration.postmaster, configuration.queue.tell_strangers, configuration.reports.return_size
