"""The delivery service ``smtp``: to the MX hosts of a domain, or to a smart host.

What it is: finds the hosts (``mta.routing.mx``), keeps connections by next hop, sends batches over them.
Contract: hosts are tried in their order until one takes the connection (RFC 5321 5.1); what a host says about
a recipient is that recipient's outcome.  A kept connection that turns out dead before it took anything is
replaced without a word.  Recipients beyond what a host takes at once (452) follow in another transaction.
How it fails: no host reached: deferred, scope destination; only where every host refused for good do the recipients
fail.  A connection lost after the final dot: deferred, and it may come twice.
Limits: ``connections`` at once for each next hop, ``messages`` on each, kept ``idle`` seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, UserError
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.address import AddressError, normal_domain, show_path
from mta.config.option import Duration, Network, Options, at_least, option
from mta.delivery.values import Batch, Limits
from mta.envelope import Outcome, Recipient, Scope, Status
from mta.interfaces import IDeliveryService, IMessage
from mta.plugin import Services, provider
from mta.reply import Reply
from mta.routing.ask import Answerer, resolve
from mta.routing.hosts import MxPolicy, Own, Plan, Target
from mta.routing.mx import plan
from mta.routing.values import Route
from mta.smtp.client import Answer, ClientFailure, Outgoing, Sent, SmtpClient, Timeouts
from mta.smtp.extensions import Capabilities
from mta.smtp.ticker import Ticker

#: Addresses that are tried for one batch; RFC 5321 5.1 asks for two at least.
MOST_TARGETS: Final = 10
#: Transactions in a row for one batch, when the host takes only some recipients at once.
MOST_ROUNDS: Final = 20

UNREACHABLE: Final = Reply.of(451, "4.4.1", "No host could be reached")
TOO_BIG: Final = Reply.of(552, "5.3.4", "The message is larger than the next host takes")
NEEDS_EIGHT_BIT: Final = Reply.of(554, "5.6.3", "The message has 8-bit octets and the next host takes none")
NEEDS_UTF8: Final = Reply.of(553, "5.6.7", "An address has characters outside ASCII and the next host takes none")
LOOP: Final = Reply.of(554, "5.4.6", "The mail host of the domain is this host, which is not its end")


def _host_name(value: str) -> str | None:
    if not value:
        return None
    try:
        normal_domain(value)
    except AddressError as error:
        return f"is no host name ({error}); write one such as smtp.example.org"
    return None


def _host(value: str) -> str | None:
    try:
        ip_address(value)
    except ValueError:
        return _host_name(value)
    return None


def _addresses(values: tuple[str, ...]) -> str | None:
    for value in values:
        try:
            ip_address(value)
        except ValueError:
            return f"{value!r} is no IP address; write addresses of this machine such as 192.0.2.25"
    return None


def _port(value: int) -> str | None:
    return None if 0 < value < 65536 else "is no port; write a number from 1 to 65535"


class SmtpOptions(Options):
    """Sends by SMTP: to the MX hosts of each recipient's domain, or with ``host`` to that host."""

    host: str = option("", doc="A smart host: everything goes there, without an MX lookup.", check=_host)
    port: int = option(25, doc="The port to connect to.", unit="port", check=_port)
    hello: str = option("", doc="The name in EHLO; left out: the hostname.", check=_host_name)
    source: tuple[str, ...] = option(
        (), doc="Addresses of this machine to connect from; one of the right kind is used.", check=_addresses
    )
    private_networks: tuple[Network, ...] = option(
        (), doc="Loopback and private networks in which MX hosts may be; all others of that kind are refused."
    )
    idle: Duration = option(
        Duration(5.0), doc="How long a connection is kept for the next message.", check=at_least(0)
    )
    messages: int = option(100, doc="Messages on one connection.", unit="messages", check=at_least(1))
    connections: int = option(
        20, doc="Connections at once to one next hop.", unit="connections", check=at_least(1)
    )
    recipients: int = option(100, doc="Recipients in one transaction.", unit="recipients", check=at_least(1))
    connect_timeout: Duration = option(
        Duration(30.0), doc="Time for a connection to come about.", check=at_least(1, "1s")
    )
    greeting_timeout: Duration = option(
        Duration(300.0),
        doc="Time for the greeting and the reply to EHLO (RFC 5321 4.5.3.2.1).",
        check=at_least(1, "1s"),
    )
    mail_timeout: Duration = option(
        Duration(300.0), doc="Time for the reply to MAIL (RFC 5321 4.5.3.2.2).", check=at_least(1, "1s")
    )
    rcpt_timeout: Duration = option(
        Duration(300.0), doc="Time for the reply to RCPT (RFC 5321 4.5.3.2.3).", check=at_least(1, "1s")
    )
    data_timeout: Duration = option(
        Duration(120.0), doc="Time for the reply to DATA (RFC 5321 4.5.3.2.4).", check=at_least(1, "1s")
    )
    block_timeout: Duration = option(
        Duration(180.0),
        doc="Time for a piece of the message to be taken (RFC 5321 4.5.3.2.5).",
        check=at_least(1, "1s"),
    )
    dot_timeout: Duration = option(
        Duration(600.0), doc="Time for the reply to the end of data (RFC 5321 4.5.3.2.6).", check=at_least(1, "1s")
    )


@implementer(IDeliveryService)
@provider("delivery", "smtp", SmtpOptions)
class SmtpDelivery:
    """See the module's text."""

    def __init__(self, options: SmtpOptions, services: Services) -> None:
        self.name = services.name
        self._options = options
        self._services = services
        self._reactor = services.reactor
        self._answerer = Answerer({}, services.resolver)
        self._own = Own(names=frozenset({services.hostname}))
        self._policy = MxPolicy(host=options.host, port=options.port, allow=options.private_networks)
        self._hello = options.hello or services.hostname
        self._limits = Limits(
            recipients=options.recipients, messages=options.messages, concurrency=options.connections
        )
        self._timeouts = Timeouts(
            greeting=options.greeting_timeout,
            mail=options.mail_timeout,
            rcpt=options.rcpt_timeout,
            data=options.data_timeout,
            block=options.block_timeout,
            dot=options.dot_timeout,
        )
        self._ticker = Ticker(self._reactor.seconds, self._reactor.callLater)
        self._idle: dict[str, list[_Connection]] = {}
        self._busy: set[_Connection] = set()
        self._stopping = False
        self._stopped: list[Deferred[None]] = []

    def limits(self, route: Route) -> Limits:
        """See ``IDeliveryService``."""
        return self._limits

    async def deliver(self, batch: Batch) -> None:
        """See ``IDeliveryService``."""
        started = self._reactor.seconds()
        hop = batch.route.destination.next_hop
        for _ in range(MOST_ROUNDS):
            recipients = batch.pending
            kept = self._take_idle(hop)
            connection = kept or await self._connect(hop, batch, started)
            if connection is None:
                return
            sent = await self._send(connection, batch, recipients, started)
            if sent is None:
                return
            if kept is not None and _took_nothing(sent):
                continue  # it had died while it was idle: as if it had not been there
            if not self._report(batch, recipients, sent, connection, started):
                return

    async def stop(self, deadline: float) -> None:
        """See ``IDeliveryService``."""
        self._stopping = True
        for connections in list(self._idle.values()):
            for connection in list(connections):
                connection.client.quit()
        self._idle.clear()
        if self._busy:
            done: Deferred[None] = Deferred()
            self._stopped.append(done)
            timer = self._reactor.callLater(deadline, self._abort)
            await done
            if timer.active():
                timer.cancel()

    def _abort(self) -> None:
        for connection in list(self._busy):
            connection.client.abort()

    # --- connections ---------------------------------------------------------------------------------------

    def _take_idle(self, hop: str) -> _Connection | None:
        connections = self._idle.get(hop)
        if not connections:
            return None
        connection = connections.pop()
        if not connections:
            del self._idle[hop]
        return connection

    def _give_back(self, connection: _Connection) -> None:
        """Keep it for the next message, or end it."""
        self._busy.discard(connection)
        client = connection.client
        if not client.usable:
            pass
        elif self._stopping or client.messages >= self._options.messages or not self._options.idle:
            client.quit()
        else:
            client.keep_until(self._reactor.seconds() + self._options.idle)
            self._idle.setdefault(connection.hop, []).append(connection)
        if not self._busy:
            for done in self._stopped:
                done.callback(None)
            self._stopped.clear()

    def _forget_idle(self, connection: _Connection) -> None:
        connections = self._idle.get(connection.hop, [])
        if connection in connections:
            connections.remove(connection)
            if not connections:
                del self._idle[connection.hop]

    async def _connect(self, hop: str, batch: Batch, started: float) -> _Connection | None:
        """A connection that is greeted; None when there is none and the outcomes are reported."""
        decision = resolve(
            lambda facts: plan(hop, self._own, self._policy, facts, self._services.random.shuffle),
            {},
            self._answerer,
        )
        found = decision if isinstance(decision, Plan) else await decision
        if found.failure is not None:
            self._fail(batch, Answer(found.failure, "DNS", Scope.DESTINATION), hop, started)
            return None
        failure = Answer(UNREACHABLE, "connect", Scope.DESTINATION)
        where, permanent = hop, True
        for target in list(found.targets)[:MOST_TARGETS]:
            where = _where(target)
            try:
                client = await self._open(target)
            except ClientFailure as trouble:
                failure = Answer(trouble.reply, trouble.stage, Scope.DESTINATION)
                permanent = permanent and trouble.reply.permanent
                continue
            if self._is_ourselves(client, target):
                client.quit()
                failure = Answer(LOOP, "connect", Scope.DESTINATION)
                continue
            return _Connection(client, hop, where, self._forget_idle)
        if failure.reply.permanent and not permanent:
            failure = failure._replace(reply=UNREACHABLE)
        self._fail(batch, failure, where, started)
        return None

    def _open(self, target: Target) -> Deferred[SmtpClient]:
        client = SmtpClient(self._hello, self._timeouts, self._reactor.seconds, self._ticker)
        factory = _Factory(client)
        connector = self._reactor.connectTCP(
            target.address,
            target.port,
            factory,
            timeout=self._options.connect_timeout,
            bindAddress=self._source(target.address),
        )
        factory.connector = connector
        return client.ready

    def _source(self, address: str) -> tuple[str, int] | None:
        """Where to connect from: one of the configured addresses, of the same kind."""
        fitting = [source for source in self._options.source if (":" in source) == (":" in address)]
        return (self._services.random.choice(fitting), 0) if fitting else None

    def _is_ourselves(self, client: SmtpClient, target: Target) -> bool:
        """An MX that leads to this machine, though it does not bear our name (RFC 5321 5.1)."""
        if self._policy.host:
            return False
        transport: Any = client.transport
        here = getattr(transport.getHost(), "host", "")
        return here == target.address and not any(
            ip_address(here) in network for network in self._options.private_networks
        )

    # --- a transaction -------------------------------------------------------------------------------------

    async def _send(
        self, connection: _Connection, batch: Batch, recipients: tuple[Recipient, ...], started: float
    ) -> Sent | None:
        message, capabilities = batch.message, connection.client.capabilities
        refusal = _cannot_send(message, recipients, capabilities)
        if refusal is not None:
            self._give_back(connection)
            self._fail(batch, Answer(refusal, "EHLO", Scope.MESSAGE), connection.where, started)
            return None
        outgoing = Outgoing(
            _mail(message, capabilities),
            tuple(f"RCPT TO:<{recipient.address}>".encode("ascii") for recipient in recipients),
            message.open,
        )
        self._busy.add(connection)
        try:
            return await connection.client.send(outgoing)
        finally:
            self._give_back(connection)

    def _report(
        self, batch: Batch, recipients: tuple[Recipient, ...], sent: Sent, connection: _Connection, started: float
    ) -> bool:
        """Report what is known; true if recipients are left that the host takes in another transaction."""
        some = any(answer.reply.positive for answer in sent.answers)
        for recipient, answer in zip(recipients, sent.answers, strict=True):
            if some and answer.stage == "RCPT" and answer.reply.code in (452, 552):
                continue  # RFC 5321 4.5.3.1.10: too many at once, by an old or a new server's code
            lost = sent.lost_after_dot and answer.scope is Scope.HOST
            batch.report(self._outcome(recipient, answer, connection.where, started, lost))
        return bool(batch.pending)

    def _fail(self, batch: Batch, answer: Answer, where: str, started: float) -> None:
        for recipient in batch.pending:
            batch.report(self._outcome(recipient, answer, where, started))

    def _outcome(
        self, recipient: Recipient, answer: Answer, where: str, started: float, lost: bool = False
    ) -> Outcome:
        reply = answer.reply
        if 200 <= reply.code < 300:
            status = Status.RELAYED
        elif reply.permanent and answer.scope is not Scope.HOST:
            status = Status.FAILED
        else:
            status = Status.DEFERRED
        seconds = round(self._reactor.seconds() - started, 3)
        return Outcome(
            recipient=recipient.id,
            status=status,
            reply=reply,
            scope=answer.scope,
            may_duplicate=lost,
            attempt={"host": where, "stage": answer.stage, "tls": "", "seconds": seconds},
        )


class _Connection:
    """A connection and where it leads."""

    __slots__ = ("client", "hop", "where")

    def __init__(self, client: SmtpClient, hop: str, where: str, forget: Callable[[_Connection], None]) -> None:
        self.client = client
        self.hop = hop
        self.where = where
        client.on_idle_end = lambda _: forget(self)


class _Factory(ClientFactory):
    """Makes the one protocol of one connection."""

    noisy = False
    connector: Any = None

    def __init__(self, client: SmtpClient) -> None:
        self._client = client
        self._ready = client.ready
        client.on_cancel = self._cancel

    def _cancel(self) -> None:
        if self.connector is not None:
            self.connector.stopConnecting()

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return self._client

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        if self._ready.called:
            return
        error = reason.value
        why = "the connection was stopped"
        if isinstance(error, ConnectError) and not isinstance(error, UserError):
            why = (error.__doc__ or "").strip().rstrip(".").lower() or type(error).__name__
        self._ready.errback(ClientFailure(Reply.of(421, "4.4.1", f"No connection: {why}"), "connect"))


def _where(target: Target) -> str:
    port = "" if target.port == 25 else f":{target.port}"
    return f"{target.host}[{target.address}]{port}"


def _took_nothing(sent: Sent) -> bool:
    """The connection ended before the server said anything of this transaction."""
    return all(answer.stage == "MAIL" and answer.scope is Scope.HOST for answer in sent.answers)


def _cannot_send(message: IMessage, recipients: tuple[Recipient, ...], capabilities: Capabilities) -> Reply | None:
    """Why the server cannot be given this message at all."""
    if capabilities.size and message.size > capabilities.size:
        # RFC 1870 5
        return TOO_BIG
    if message.envelope.eight_bit and not capabilities.eight_bit_mime:
        # RFC 6152 3
        return NEEDS_EIGHT_BIT
    path = message.envelope.reverse_path
    if not all(str(recipient.address).isascii() for recipient in recipients) or not show_path(path).isascii():
        # RFC 6531 3.2
        return NEEDS_UTF8
    return None


def _mail(message: IMessage, capabilities: Capabilities) -> bytes:
    """MAIL with the parameters that the server knows."""
    envelope = message.envelope
    line = f"MAIL FROM:{show_path(envelope.reverse_path)}"
    if capabilities.size_offered:
        line += f" SIZE={message.size}"
    if envelope.eight_bit or (envelope.body == "8BITMIME" and capabilities.eight_bit_mime):
        line += " BODY=8BITMIME"
    return line.encode("ascii")
