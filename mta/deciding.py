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

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import deferLater

from mta.accounts.book import Book
from mta.accounts.logins import Logins
from mta.accounts.made import book
from mta.bounce.catalog import catalogs
from mta.config.auth_options import offer_of
from mta.config.dkim_options import keys_folder
from mta.config.forward_options import forwarding_of, with_srs
from mta.config.load import Configuration
from mta.config.local_options import LISTENER
from mta.config.option import bound
from mta.config.rewrite_options import canonical_of
from mta.config.rules import routing_rules, sources
from mta.config.schema import Listen
from mta.config.srs_keys import srs_keys
from mta.config.verify_options import disclosed
from mta.delivery.adapt import completed
from mta.delivery.call_ahead import CallAhead, Memory
from mta.delivery.discard import Discarded
from mta.delivery.expansion import Expanded
from mta.delivery.places import Commands, Files
from mta.delivery.usage import Usage
from mta.dkim.ring import KeyRing
from mta.dkim.signer import Signer
from mta.dkim.store import KeyFiles
from mta.events import Event
from mta.interfaces import IDeliveryService, IQueue, IResolver, ISpool
from mta.lists.leaves import Leaves
from mta.lists.spread import Spread, World
from mta.local.accounts import LocalAccounts
from mta.local.made import local_accounts, local_domain
from mta.notes.service import Notes, Told
from mta.plugin import Services
from mta.policy.engine import Policies
from mta.policy.made import MadePolicies
from mta.reply import Reply
from mta.routing.ask import Answerer
from mta.routing.calling import UNASKED, CallQuestion
from mta.routing.directory import Directory
from mta.routing.forwarding import Forwarding
from mta.routing.home import HomeFiles
from mta.routing.includes import Includes
from mta.routing.recipients import Forward, lead
from mta.routing.router import Router
from mta.routing.tables.made import Tables
from mta.routing.values import (
    DayQuestion,
    HomeFileQuestion,
    IncludeQuestion,
    LeavesQuestion,
    MembersQuestion,
    NameQuestion,
    UsageQuestion,
)
from mta.smtp.allowance import Allowance
from mta.smtp.context import Context, ListenerTls, MemoryBudget, SessionLimits
from mta.state.sqlite import SqliteState
from mta.submission.brakes import Brakes
from mta.submission.identity import Mode
from mta.submission.made import Listening, Submission


@dataclass(frozen=True, slots=True, kw_only=True)
class Deciding:
    """See the module's text."""

    configuration: Configuration
    tables: Tables
    answerer: Answerer
    router: Router
    services: Mapping[str, IDeliveryService]
    forwarding: Forwarding | None
    signer: Signer
    keys: list[bytes]
    policies: MadePolicies
    submission: Submission
    accounts: Book | None = None
    dispatch: Policies | None = None  # asked before each attempt to deliver
    login_dispatch: Policies | None = None  # ... mail of those who have logged in
    users: LocalAccounts | None = None  # of this machine; None: their programs send nothing here

    def open(self) -> None:
        """Privileges are dropped and the state folder is there: make and read what lies in it.

        Raises ``OSError``, ``ValueError``."""
        srs = self.configuration.srs
        if srs.domain and not srs.keys:
            self.keys[:] = srs_keys(self.configuration.state, make=True)


def deciding(
    configuration: Configuration,
    outside: Services,
    spool: ISpool | None = None,
    called: Memory | None = None,
    logins: Logins | None = None,
    brakes: Brakes | None = None,
) -> Deciding:
    """``outside``: the world as each part gets it; name and tables are put in here.  ``spool``: of the service, where
    lists are expanded.  ``called``: what next hosts have said of addresses; None: they are not asked.
    ``logins``: what is known of them; None: nobody logs in here.  ``brakes`` are those on accounts that send much."""

    def services(name: str) -> Services:
        made = replace(outside, name=name, hostname=configuration.hostname, table=tables.get, signer=signer)
        return replace(made, is_own=lambda address: address in translated or outside.is_own(address))

    def breathe() -> Deferred[None]:
        return deferLater(outside.reactor, 0)

    translated = frozenset(str(address) for address in configuration.relay.own_addresses)

    # Only a service can wait for a thread.
    signer = _signer(configuration, outside, outside.in_thread if spool is not None else maybeDeferred)
    tables = Tables(configuration.tables, services)
    srs = configuration.srs
    # A service has its own from ``open`` on.
    keys = [*srs_keys(configuration.state, make=False)] if spool is None and srs.domain and not srs.keys else []
    rules = with_srs(routing_rules(configuration), srs, keys)
    rewrite = configuration.rewrite
    named = (rewrite.canonical, rewrite.sender_canonical, rewrite.recipient_canonical)
    for source in (*(f"table:{name}" for name in configuration.tables), *sources(rules), *filter(None, named)):
        tables.get(source)
    includes = Includes(services("include"))
    directory = Directory(tables.get, rules, outside.in_thread)
    others: dict[type, Callable[[Any], Any]] = {
        IncludeQuestion: includes.answer,
        HomeFileQuestion: HomeFiles(services("dot_forward")).answer,
        DayQuestion: lambda question: day_of(outside.now()),
        NameQuestion: directory.people,
        MembersQuestion: directory.members,
        LeavesQuestion: Leaves(rules, tables.get, breathe if spool is not None else None).answer,
    }
    made = {
        name: completed(section.provider(bound(section.options, tables.get), services(name)), name)
        for name, section in configuration.delivery.items()
    }
    others[UsageQuestion] = Usage(made, outside.reactor.seconds).answer
    others[CallQuestion] = lambda question: UNASKED
    if called is not None:
        others[CallQuestion] = CallAhead(
            configuration.call_ahead,
            made,
            called,
            reactor=outside.reactor,
            random=outside.random,
            emit=outside.emit,
        ).answer
    commands, places = configuration.commands, services("commands")
    for service in (Expanded(), Discarded(), Commands(commands, places), Files(commands, places)):
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
                breathe=breathe,
                ours=frozenset(name for name, rule in rules.domains.items() if not rule.relay),
                rule=rules.list_at,
                table=tables.get,
                signer=signer,
            )
        )
        made[spread.name] = spread
    users = local_accounts(configuration, tables.get, outside.reactor.seconds)
    accounts = book(configuration.accounts, configuration.login, services, logins) if logins is not None else None
    submission = Submission(
        rules=rules,
        answerer=answerer,
        hostname=configuration.hostname,
        listeners={
            one.name: Listening(
                mode=Mode(one.identity or configuration.service.submission.identity),
                local=one.service == LISTENER,
                accounts=users if one.service == LISTENER else accounts,
                strangers=one.service == "mx",
            )
            for one in configuration.listeners
            if one.service in (LISTENER, "submission") or (one.service == "mx" and one.auth)
        },
        accounts=accounts,
        brakes=brakes,
    )
    if spool is not None:
        notes = Notes(_told(configuration, outside, spool, router, answerer, submission, signer))
        made[notes.name] = notes
    policies = MadePolicies(configuration.policy, services)
    for options in configuration.listeners:
        policies.for_sessions(policies_of(configuration, options))
    return Deciding(
        configuration=configuration,
        policies=policies,
        submission=submission,
        dispatch=policies.for_queue(configuration.queue.policy),
        login_dispatch=policies.for_queue(configuration.queue.policy, submission.of_queue()),
        tables=tables,
        answerer=answerer,
        router=router,
        services=made,
        forwarding=forwarding_of(configuration, rules),
        signer=signer,
        keys=keys,
        users=users,
        accounts=accounts,
    )


def _told(
    configuration: Configuration,
    outside: Services,
    spool: ISpool,
    router: Router,
    answerer: Answerer,
    submission: Submission,
    signer: Signer,
) -> Told:
    """What notes to senders are made with."""
    state = SqliteState(configuration.state, outside.now, outside.in_thread)
    return Told(
        spool=spool,
        lead=lambda address: lead(router, answerer, (Forward(address, notify="NEVER"),), {}, outside.now()),
        ground=submission.ground,
        state=state,
        close=state.close,
        again=configuration.moved.note_again,
        hostname=configuration.hostname,
        languages=catalogs(configuration.reports.language, configuration.reports.texts),
        now=outside.now,
        signer=signer,
    )


def policies_of(configuration: Configuration, listener: Listen) -> tuple[str, ...]:
    """The names of those that a listener asks, in order: its own, else those of its kind."""
    if listener.policy is not None:
        return listener.policy
    service = configuration.service
    if listener.service == "lmtp":
        return service.lmtp.policy
    return service.mx.policy if listener.service == "mx" else service.submission.policy


def _signer(configuration: Configuration, outside: Services, in_thread: Callable[..., Deferred[Any]]) -> Signer:
    options = configuration.dkim
    ring = KeyRing(KeyFiles(keys_folder(configuration.state, options)), outside.reactor.seconds)
    return Signer(ring, outside.now, in_thread, options.parents)


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
    options = next(known for known in configuration.listeners if known.name == listener)
    lmtp, local = options.service == "lmtp", options.service == LISTENER
    submission = local or options.service == "submission"
    return Context(
        listener=listener,
        hostname=configuration.hostname,
        limits=around.limits,
        # Whoever hands us mail by LMTP does so for mailboxes: docs/lmtp.rst; RFC 6409 4.3: who submits has logged in.
        networks=() if lmtp or submission else configuration.relay.networks,
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
        submission=submission,
        policies=decides.policies.for_sessions(
            policies_of(configuration, options), decides.submission.of_listener(listener)
        ),
        accounts=None if lmtp else decides.users if local else decides.accounts,
        qualify=local_domain(configuration) if local else "",
        auth=offer_of(configuration, options),
        tls=around.tls,
        proxy=options.proxy,
        xclient=options.xclient,
        xforward=options.xforward,
        canonical=canonical_of(configuration.rewrite, decides.router.rules.domains),
        disclosure=disclosed(configuration.verify, decides.router.rules.domains),
        questions=around.questions,
    )
