"""From a next hop to a connection that takes a message: greeted, encrypted, logged in.

What it is: a ``Connector`` for each delivery service; it gives a ``Connecting`` for each batch, whose ``next`` is the
next host of the plan that can be used.
Contract: hosts and their addresses are tried in the order of the plan (RFC 5321 5.1), IPv6 with a head start where a
host has both (``race``).  Trouble at any step before a transaction leads to the next address.  A handshake that
fails leads to a new connection in clear only where TLS was not demanded; where it was, nothing is sent in clear, and
the message waits (RFC 8461 5, RFC 7672 2.2).  ``next`` may be called again when a host turns out to lack what the
message needs.
How it fails: ``next`` gives None and ``failure`` says why.  It is permanent only where every host refused for good, or
where the message itself demands what no host has (RFC 8689 4.2.1); never for a smart host, which is configuration.
Limits: ``MOST_TARGETS`` addresses for each batch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from ipaddress import ip_address
from typing import Any, Final

from mta import events
from mta.address import normal_domain
from mta.config.files import contents
from mta.config.problems import Wrong
from mta.delivery.pool import Connection, Need
from mta.delivery.race import Network, Race
from mta.delivery.smtp_attempt import Way
from mta.delivery.smtp_options import SmtpOptions
from mta.delivery.tls_rules import TlsRules
from mta.delivery.values import Entrance, Foresight, Paced, Passage
from mta.envelope import Envelope, Scope
from mta.interfaces import IResolver
from mta.plugin import Services
from mta.reply import Reply
from mta.routing.ask import Answerer, resolve
from mta.routing.hosts import MxPolicy, Own, Plan, Target
from mta.routing.mx import plan
from mta.sasl.client import Login
from mta.smtp.client import SmtpClient
from mta.smtp.client_opening import Terms
from mta.smtp.client_values import Answer, ClientFailure, Timeouts
from mta.smtp.ticker import Ticker
from mta.tls.client import LEVELS, TlsLevel, TlsSetupError

#: Addresses that are tried for one batch; RFC 5321 5.1 asks for two at least.
MOST_TARGETS: Final = 10
#: Octets of a file with an access token.
_MOST_TOKEN: Final = 1 << 16

UNREACHABLE: Final = Reply.of(451, "4.4.1", "No host could be reached")
LOOP: Final = Reply.of(554, "5.4.6", "The mail host of the domain is this host, which is not its end")
UNTRUSTED: Final = Reply.of(
    550, "5.7.10", "The sender requires TLS, and nothing proves which hosts are the domain's (no DNSSEC)"
)
#: Stages at which a host turns out not to have the TLS that is demanded.
_TLS_STAGES: Final = ("STARTTLS", "TLS")


class Connector:
    """What all connections of a delivery service have in common.  ``gone`` is called when one has ended.

    ``clients`` are those that are open.
    """

    verb = b"EHLO"

    def __init__(self, options: SmtpOptions, services: Services, gone: Callable[[], object]) -> None:
        self.options = options
        self.services = services
        self.host = _plain_host(options.host)
        self.tls = options.make_tls()
        self.clients: set[SmtpClient] = set()
        self.network = Network(services.reactor, options.connect_timeout, options.happy_eyeballs, self._source)
        self.ticker = Ticker(services.reactor.seconds, services.reactor.callLater)
        self._answerer = Answerer({}, services.resolver)
        self._policy = MxPolicy(host=self.host, port=options.port, allow=options.private_networks)
        self._hello = normal_domain(options.hello) if options.hello else services.hostname
        self._own = Own(names=frozenset({services.hostname, self._hello}), is_own=self._is_own)
        self._rules = TlsRules(LEVELS[options.tls], {key: LEVELS[name] for key, name in options.tls_rules.items()})
        self._needs = {level: Need(level) for level in TlsLevel}
        self._gone = gone
        self._timeouts = Timeouts(
            greeting=options.greeting_timeout,
            mail=options.mail_timeout,
            rcpt=options.rcpt_timeout,
            data=options.data_timeout,
            block=options.block_timeout,
            dot=options.dot_timeout,
        )

    def need(self, hop: str, envelope: Envelope) -> Need:
        """What a message to this next hop needs of its connection."""
        # RFC 8689 5: a report, which has a null reverse-path, had rather go unprotected than be lost.
        if envelope.requiretls and envelope.reverse_path is not None:
            return Need(TlsLevel.VERIFY, by_message=True)
        level = self._rules.level(hop)
        if envelope.tls_optional:
            # RFC 8689 4.2.2: "TLS-Required: No" goes before our own rules.
            level = min(level, TlsLevel.OPPORTUNISTIC)
        return self._needs[level]

    def key(self, hop: str) -> str:
        """The next hop as the pool knows it: all that goes to a smart host shares its connections."""
        return self.host or hop

    def connecting(self, hop: str, need: Need) -> Way:
        """The way along the hosts of this next hop."""
        return Connecting(self, hop, need)

    async def foresee(self, hop: str, envelope: Envelope, resolver: IResolver | None) -> Foresight:
        """See ``IForeseeing``."""
        tls = self.need(hop, envelope).level.name.lower()
        if resolver is None:
            return Foresight(tls=tls)
        found = await self.plan(hop, Answerer({}, resolver))
        return Foresight(hosts=found.hosts, failure=found.failure, tls=tls, reasons=found.reasons)

    async def plan(self, hop: str, answerer: Answerer | None = None) -> Plan:
        """The hosts of this next hop; ``answerer``: who is asked in place of our own."""
        decision = resolve(
            lambda facts: plan(hop, self._own, self._policy, facts, self.services.random.shuffle),
            {},
            answerer or self._answerer,
        )
        return decision if isinstance(decision, Plan) else await decision

    async def login(self) -> Login | None:
        """Who we are at the smart host.  Raises ``Wrong`` where the token cannot be read."""
        options, token = self.options, ""
        if not options.user:
            return None
        if options.token_file is not None:
            octets: bytes = await self.services.in_thread(contents, options.token_file, _MOST_TOKEN)
            token = octets.decode("ascii", "replace").strip()
        return Login(user=options.user, password=options.password or "", token=token, mechanisms=options.mechanisms)

    def client(self, terms: Terms) -> SmtpClient:
        """The protocol of a connection that is about to be there."""
        client = SmtpClient(self._hello, self._timeouts, self.services.reactor.seconds, self.ticker, terms)
        client.on_gone = self._client_gone
        self.clients.add(client)
        return client

    def is_ourselves(self, client: SmtpClient, target: Target) -> bool:
        """An MX that leads to this machine, though neither its name nor its address said so (RFC 5321 5.1): it greets
        us by our own name, or is reached from the address that it has."""
        if self.host:
            return False
        transport: Any = client.transport
        here = getattr(transport.getHost(), "host", "")
        return client.name in self._own.names or (here == target.address and not self._allowed(here))

    def _is_own(self, address: str) -> bool:
        return self.services.is_own(address) and not self._allowed(address)

    def _allowed(self, address: str) -> bool:
        """The operator has hosts there: another server of this machine, say."""
        return any(ip_address(address) in network for network in self.options.private_networks)

    def client_gone(self, entrance: Entrance, client: SmtpClient) -> None:
        """One that is counted has ended."""
        entrance.gone()
        self._client_gone(client)

    def _client_gone(self, client: SmtpClient) -> None:
        self.clients.discard(client)
        self._gone()

    def _source(self, address: str) -> tuple[str, int] | None:
        """Where to connect from: one of the configured addresses, of the same kind."""
        fitting = self.sources(address)
        return (fitting[0], 0) if fitting else None

    def sources(self, address: str) -> list[str]:
        """All of them, in any order."""
        fitting = [source for source in self.options.source if (":" in source) == (":" in address)]
        if len(fitting) > 1:
            self.services.random.shuffle(fitting)
        return fitting


class Connecting:
    """See the module's text.  ``where`` is the host that was tried last, for people."""

    def __init__(self, connector: Connector, hop: str, need: Need) -> None:
        self._connector = connector
        self._hop = hop
        self._need = need
        self._hosts: list[list[Target]] | None = None  # None: not looked up yet
        self._trusted = False
        self._login: Login | None = None
        self._in_clear: set[Target] = set()  # whose TLS is broken, and not demanded
        self._tried = 0
        self._trouble: Answer | None = None
        self._permanent = True
        self._unfit = False  # a host lacks what the message itself demands
        self.where = hop
        self.passage: Passage | None = None

    async def next(self, skip: Collection[str] = ()) -> Connection | None:
        """The next host that can be used, and is none of ``skip`` (``Connection.where``); None: there is none left."""
        if self._hosts is None:
            self._hosts = await self._look_up()
        while self._hosts and self._tried < MOST_TARGETS:
            if skip:
                self._hosts[0] = [target for target in self._hosts[0] if where(target) not in skip]
            if not self._hosts[0]:
                self._hosts.pop(0)
                continue
            connection = await self._try(self._hosts[0])
            if connection is not None:
                return connection
        return None

    @property
    def missed(self) -> bool:
        """Some host could not be used now, and perhaps can be another time."""
        return not self._permanent

    @property
    def failure(self) -> Answer:
        """Why there is no host, or no further one."""
        trouble = self._trouble or Answer(UNREACHABLE, "connect", Scope.DESTINATION)
        if trouble.reply.permanent and not self._permanent:
            trouble = trouble._replace(reply=UNREACHABLE)
        if trouble.reply.permanent and self._connector.host and not self._unfit:
            # A smart host is configuration, which never fails mail.
            trouble = trouble._replace(reply=Reply.of(451, "4.3.5", f"The smart host refused us: {trouble.reply}"))
        return trouble._replace(scope=Scope.MESSAGE) if self._unfit else trouble

    async def _look_up(self) -> list[list[Target]]:
        """The addresses of each host, in the order of trying; all that must be known before one is tried."""
        connector = self._connector
        found = await connector.plan(self._hop)
        if found.failure is not None:
            return self._give_up(found.failure, "DNS")
        self._trusted = bool(connector.host) or self._hop.startswith("[") or found.authentic
        if self._need.by_message and not self._trusted:
            # RFC 8689 4.2.1
            self._unfit = True
            return self._give_up(UNTRUSTED, "DNS")
        try:
            self._login = await connector.login()
            if self._need.level or self._login is not None or connector.options.tls_implicit:
                connector.tls.prepare()
        except Wrong as wrong:
            return self._give_up(Reply.of(454, "4.7.0", f"The file with our access token {wrong.what}"), "AUTH")
        except TlsSetupError as error:
            return self._give_up(Reply.of(451, "4.3.5", f"TLS cannot be used: {error}"), "TLS")
        return [[Target(host.name, address, host.port) for address in host.addresses] for host in found.hosts]

    def _give_up(self, reply: Reply, stage: str) -> list[list[Target]]:
        self._trouble = Answer(reply, stage, Scope.DESTINATION)
        self._permanent = reply.permanent
        return []

    async def _try(self, addresses: list[Target]) -> Connection | None:
        """One step: what is tried goes from the list, what was left aside for it goes back."""
        contenders = _contenders(addresses)
        entered: dict[Target, Entrance] = {}
        network = self._connector.network
        if self.passage is not None:
            entered = self._enter(self.passage, contenders, addresses)
            network = network._replace(source=partial(_source, entered))
        self._tried += len(contenders)
        race = Race(network, contenders, self._client)
        try:
            target, client = await race.start()
        except BaseException as trouble:
            _leave(entered.values())
            if not isinstance(trouble, ClientFailure):
                raise
            self._note(contenders[-1], trouble)
            return None
        entrance = entered.pop(target, None)
        _leave(entered.values())
        if entrance is not None:
            client.on_gone = partial(self._connector.client_gone, entrance)
        self._tried -= len(race.unstarted)
        addresses[:0] = race.unstarted
        addresses += race.stopped
        try:
            await client.ready
        except ClientFailure as trouble:
            if self._goes_in_clear(target, trouble):
                self._in_clear.add(target)
                addresses.insert(0, target)
                self._emit(events.TLS_BROKEN, target, trouble.reply)
            else:
                self._note(target, trouble)
            return None
        if self._connector.is_ourselves(client, target):
            client.quit()
            self._note(target, ClientFailure(LOOP, "connect"))
            self._hosts = []  # all that are left are no nearer than ourselves
            return None
        self.where = where(target)
        return Connection(client, self._connector.key(self._hop), self.where, self._trusted, entrance)

    def _enter(self, passage: Passage, contenders: list[Target], addresses: list[Target]) -> dict[Target, Entrance]:
        """Ask for a connection to each; a second one that may not be opened now is tried by itself later."""
        entered: dict[Target, Entrance] = {}
        for target in list(contenders):
            try:
                entered[target] = passage.enter(target.host, self._connector.sources(target.address))
            except Paced:
                if not entered:
                    raise
                contenders.remove(target)
                addresses.insert(0, target)
        return entered

    def _client(self, target: Target) -> SmtpClient:
        options, login = self._connector.options, self._login
        login_in_clear = options.auth_in_clear and ip_address(target.address).is_loopback
        level = self._level(target)
        tls = options.tls_implicit or level > TlsLevel.NONE
        return self._connector.client(
            Terms(
                host=_tls_name(target),
                port=target.port,
                level=level,
                handshake=self._connector.tls.handshake(_tls_name(target)) if tls else None,
                implicit=options.tls_implicit,
                login=login,
                login_in_clear=login_in_clear,
                verb=self._connector.verb,
            )
        )

    def _level(self, target: Target) -> TlsLevel:
        """What is demanded of a connection to this address."""
        if target in self._in_clear:
            return TlsLevel.NONE
        if self._login is not None and not (
            self._connector.options.auth_in_clear and ip_address(target.address).is_loopback
        ):
            return TlsLevel.VERIFY  # our login is for the host alone that we mean
        return self._need.level

    def _goes_in_clear(self, target: Target, trouble: ClientFailure) -> bool:
        """RFC 7435 4.3: what is opportunistic must not do worse than without.  On a new connection: the state of this
        one is known to nobody."""
        return (
            trouble.stage == "TLS"
            and self._level(target) is TlsLevel.OPPORTUNISTIC
            and not self._connector.options.tls_implicit
        )

    def _note(self, target: Target, trouble: ClientFailure) -> None:
        """That address will not do."""
        self.where = where(target)
        reply, scope = trouble.reply, Scope.DESTINATION
        if trouble.stage in _TLS_STAGES and self._need.by_message:
            # RFC 8689 4.2.1: the sender hears of it at once, unless another host can.
            reply = Reply.of(550, "5.7.10", f"The sender requires TLS: {reply.text}")
            self._unfit = True
        elif trouble.stage == "AUTH":
            self._emit(events.LOGIN_REFUSED, target, reply, user=self._connector.options.user)
        self._trouble = Answer(reply, trouble.stage, scope)
        self._permanent = self._permanent and reply.permanent

    def _emit(self, kind: events.Kind, target: Target, reply: Reply, **more: str) -> None:
        services = self._connector.services
        services.emit(kind(service=services.name, host=where(target), reply=str(reply), **more), "")


def _source(entered: Mapping[Target, Entrance], address: str) -> tuple[str, int] | None:
    """From where one that was asked for is opened."""
    source = next(entrance.source for target, entrance in entered.items() if target.address == address)
    return (source, 0) if source else None


def _leave(entered: Iterable[Entrance]) -> None:
    """They were not opened."""
    for entrance in entered:
        entrance.gone()


def where(target: Target) -> str:
    """A host with its address, for people."""
    port = "" if target.port == 25 else f":{target.port}"
    return f"{target.host}[{target.address}]{port}"


def _contenders(addresses: list[Target]) -> list[Target]:
    """Takes the next address from the list; with one of each kind, IPv6 and IPv4 (RFC 8305 4)."""
    first = {(":" in target.address): target for target in reversed(addresses)}
    chosen = [first[True], first[False]] if len(first) == 2 else [addresses[0]]
    for target in chosen:
        addresses.remove(target)
    return chosen


def _plain_host(host: str) -> str:
    """The smart host as DNS knows it; IP addresses as they are."""
    return host if not host or ":" in host else normal_domain(host)


def _tls_name(target: Target) -> str:
    """What its certificate must be for: the name, or the address of a host that has none."""
    if target.host.startswith("[") or ":" in target.host or target.host == target.address:
        return target.address
    return target.host
