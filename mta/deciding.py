"""What decides on mail, made from a configuration: tables, router and delivery services, and what sessions work with.

What it is: the one way in which they are made, for the service (mta/build.py), for ``mta route`` and for the tests of a
configuration (mta/trial/), so that all of them decide alike.
Contract: nothing is bound, sent or written by making them; the outside world is handed in.
How it fails: as the tables and services do that are made: ``ValueError`` and its kind, ``OSError``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from mta.config.forward_options import forwarding_of, with_srs
from mta.config.load import Configuration
from mta.config.rules import routing_rules, sources
from mta.config.srs_keys import srs_keys
from mta.config.verify_options import disclosed
from mta.delivery.adapt import completed
from mta.delivery.expansion import Expanded
from mta.delivery.places import Commands, Files
from mta.delivery.usage import Usage
from mta.events import Event
from mta.interfaces import IDeliveryService, IQueue, IResolver, ISpool
from mta.lists.spread import Spread, World
from mta.plugin import Services
from mta.reply import Reply
from mta.routing.ask import Answerer
from mta.routing.directory import Directory
from mta.routing.forwarding import Forwarding
from mta.routing.home import HomeFiles
from mta.routing.includes import Includes
from mta.routing.router import Router
from mta.routing.tables.made import Tables
from mta.routing.values import (
    DayQuestion,
    HomeFileQuestion,
    IncludeQuestion,
    MembersQuestion,
    NameQuestion,
    UsageQuestion,
)
from mta.smtp.allowance import Allowance
from mta.smtp.context import Context, ListenerTls, MemoryBudget, SessionLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Deciding:
    """See the module's text."""

    configuration: Configuration
    tables: Tables
    answerer: Answerer
    router: Router
    services: Mapping[str, IDeliveryService]
    forwarding: Forwarding | None
    keys: list[bytes]

    def open(self) -> None:
        """Privileges are dropped and the state folder is there: make and read what lies in it.

        Raises ``OSError``, ``ValueError``."""
        srs = self.configuration.srs
        if srs.domain and not srs.keys:
            self.keys[:] = srs_keys(self.configuration.state, make=True)


def deciding(configuration: Configuration, outside: Services, spool: ISpool | None = None) -> Deciding:
    """``outside``: the world as each part gets it; name and tables are put in here.  ``spool``: of the service, where
    lists are expanded."""

    def services(name: str) -> Services:
        return replace(outside, name=name, hostname=configuration.hostname, table=tables.get)

    tables = Tables(configuration.tables, services)
    srs = configuration.srs
    # A service has its own from ``open`` on.
    keys = [*srs_keys(configuration.state, make=False)] if spool is None and srs.domain and not srs.keys else []
    rules = with_srs(routing_rules(configuration), srs, keys)
    for source in (*(f"table:{name}" for name in configuration.tables), *sources(rules)):
        tables.get(source)
    includes = Includes(services("include"))
    directory = Directory(tables.get, rules, outside.in_thread)
    others: dict[type, Callable[[Any], Any]] = {
        IncludeQuestion: includes.answer,
        HomeFileQuestion: HomeFiles(services("dot_forward")).answer,
        DayQuestion: lambda question: day_of(outside.now()),
        NameQuestion: directory.people,
        MembersQuestion: directory.members,
    }
    made = {
        name: completed(section.provider(section.options, services(name)), name)
        for name, section in configuration.delivery.items()
    }
    others[UsageQuestion] = Usage(made, outside.reactor.seconds).answer
    commands, places = configuration.commands, services("commands")
    for service in (Expanded(), Commands(commands, places), Files(commands, places)):
        made[service.name] = service
    answerer, router = Answerer(tables.made, outside.resolver, others), Router(rules)
    if spool is not None:
        spread = Spread(
            World(
                spool=spool,
                router=router,
                answerer=answerer,
                hostname=configuration.hostname,
                now=outside.now,
                breathe=lambda: deferLater(outside.reactor, 0),
                ours=frozenset(name for name, rule in rules.domains.items() if not rule.relay),
                rule=rules.list_at,
                table=tables.get,
            )
        )
        made[spread.name] = spread
    return Deciding(
        configuration=configuration,
        tables=tables,
        answerer=answerer,
        router=router,
        services=made,
        forwarding=forwarding_of(configuration, rules),
        keys=keys,
    )


def day_of(now: int) -> str:
    """The day in UTC, of milliseconds."""
    return datetime.fromtimestamp(now / 1000, UTC).date().isoformat()


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What sessions work with beside what decides; as ``Context`` has it."""

    limits: SessionLimits
    resolver: IResolver
    spool: ISpool
    queue: IQueue
    memory: MemoryBudget
    seconds: Callable[[], float]
    sleep: Callable[[float], Deferred[None]]
    now: Callable[[], int]
    emit: Callable[[Event, str], None]
    tls: ListenerTls | None = None
    questions: Allowance = field(default_factory=Allowance)


def session_context(listener: str, decides: Deciding, around: Surroundings) -> Context:
    """What the sessions of a listener of the configuration work with."""
    configuration = decides.configuration
    options = next(known for known in configuration.listen if known.name == listener)
    lmtp = options.service == "lmtp"
    return Context(
        listener=listener,
        hostname=configuration.hostname,
        limits=around.limits,
        # Whoever hands us mail by LMTP does so for mailboxes: docs/lmtp.rst.
        networks=() if lmtp else configuration.relay.networks,
        router=decides.router,
        answerer=decides.answerer,
        resolver=around.resolver,
        spool=around.spool,
        queue=around.queue,
        memory=around.memory,
        configuration=configuration.fingerprint,
        seconds=around.seconds,
        sleep=around.sleep,
        now=around.now,
        emit=around.emit,
        banner=Reply.of(220, "", f"{configuration.hostname} {'LMTP' if lmtp else 'ESMTP'} txmta"),
        queue_limited=bool(configuration.queue.max_size or configuration.queue.max_per_sender),
        tell_strangers=configuration.queue.tell_strangers,
        lmtp=lmtp,
        tls=around.tls,
        proxy=options.proxy,
        xclient=options.xclient,
        xforward=options.xforward,
        disclosure=disclosed(configuration.verify, decides.router.rules.domains),
        questions=around.questions,
    )
