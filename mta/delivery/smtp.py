"""The delivery service ``smtp``: to the MX hosts of a domain, or to a smart host.

What it is: finds the hosts (``mta.routing.mx``), keeps connections by next hop, sends batches over them.
Contract: hosts are tried in their order until one takes the connection (RFC 5321 5.1); what a host says about
a recipient is that recipient's outcome.  A kept connection that turns out dead before it took anything is
replaced without a word.  Recipients beyond what a host takes at once (452) follow in another transaction.
How it fails: no host reached: deferred, scope destination; only where every host refused for good do the
recipients fail.  A connection lost after the final dot: deferred, and it may come twice.  Cancelled: those whose
transaction was under way are reported as deferred, the others not at all.
Limits: ``connections`` at once for each next hop, ``messages`` on each, kept ``idle`` seconds.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectError, UserError
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.address import Address, normal_domain, show_path
from mta.delivery.pool import Connection, Pool
from mta.delivery.smtp_options import SmtpOptions
from mta.delivery.values import Batch, Limits
from mta.envelope import Outcome, Recipient, Scope, Status
from mta.interfaces import IDeliveryService, IMessage
from mta.plugin import Services, provider
from mta.reply import Reply
from mta.routing.ask import Answerer, resolve
from mta.routing.hosts import MxPolicy, Own, Plan, Target
from mta.routing.mx import plan
from mta.routing.values import Route
from mta.smtp.client import SmtpClient
from mta.smtp.client_values import Answer, ClientFailure, Outgoing, Sent, Timeouts
from mta.smtp.extensions import Capabilities
from mta.smtp.ticker import Ticker
from mta.waiting import step

#: Addresses that are tried for one batch; RFC 5321 5.1 asks for two at least.
MOST_TARGETS: Final = 10
#: Transactions in a row for one batch, when the host takes only some recipients at once.
MOST_ROUNDS: Final = 20

UNREACHABLE: Final = Reply.of(451, "4.4.1", "No host could be reached")
TOO_BIG: Final = Reply.of(552, "5.3.4", "The message is larger than the next host takes")
NEEDS_EIGHT_BIT: Final = Reply.of(554, "5.6.3", "The message has 8-bit octets and the next host takes none")
NEEDS_UTF8: Final = Reply.of(553, "5.6.7", "An address has characters outside ASCII and the next host takes none")
LOOP: Final = Reply.of(554, "5.4.6", "The mail host of the domain is this host, which is not its end")


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
        self._policy = MxPolicy(host=_plain_host(options.host), port=options.port, allow=options.private_networks)
        self._hello = normal_domain(options.hello) if options.hello else services.hostname
        self._limits = Limits(recipients=options.recipients, messages=options.messages, concurrency=options.connections)
        self._timeouts = Timeouts(
            greeting=options.greeting_timeout,
            mail=options.mail_timeout,
            rcpt=options.rcpt_timeout,
            data=options.data_timeout,
            block=options.block_timeout,
            dot=options.dot_timeout,
        )
        self._ticker = Ticker(self._reactor.seconds, self._reactor.callLater)
        self._pool = Pool(self._reactor.seconds, options.idle, options.messages)
        self._running: set[Deferred[None]] = set()
        self._clients: set[SmtpClient] = set()
        self._stopped: list[Deferred[None]] = []  # calls of stop that wait for the running ones

    def limits(self, route: Route) -> Limits:
        """See ``IDeliveryService``."""
        return self._limits

    def deliver(self, batch: Batch) -> Deferred[None]:
        """See ``IDeliveryService``.  Cancelling ends the connection that is in use or coming about."""
        done, work = step(self._deliver(batch))
        if done or not isinstance(work, Deferred):
            return succeed(None)
        self._running.add(work)
        work.addBoth(self._over, work)
        return work

    def _over(self, result: Failure | None, work: Deferred[None]) -> Failure | None:
        self._running.discard(work)
        self._tell_stopped()
        return result

    def _gone(self, client: SmtpClient) -> None:
        self._clients.discard(client)
        self._tell_stopped()

    def _tell_stopped(self) -> None:
        if self._stopped and not self._running and not self._clients:
            stopped, self._stopped = self._stopped, []
            for done in stopped:
                done.callback(None)

    async def stop(self, deadline: float) -> None:
        """See ``IDeliveryService``."""
        self._pool.close()
        if self._running or self._clients:
            done: Deferred[None] = Deferred()
            self._stopped.append(done)
            timer = self._reactor.callLater(deadline, self._end_all)
            await done
            if timer.active():
                timer.cancel()
        self._ticker.stop()

    def _end_all(self) -> None:
        for work in list(self._running):
            work.cancel()
        for client in list(self._clients):
            client.abort()

    async def _deliver(self, batch: Batch) -> None:
        started = self._reactor.seconds()
        hop = batch.route.destination.next_hop
        self._refuse_paths(batch, hop, started)
        for _ in range(MOST_ROUNDS):
            recipients = batch.pending
            if not recipients:
                return
            kept = self._pool.take(hop)
            connection = kept or await self._connect(hop, batch, started)
            if connection is None:
                return
            sent = await self._send(connection, batch, recipients, started)
            if sent is None:
                return
            if kept is not None and _took_nothing(sent) and not sent.stopped:
                continue  # it had died while it was idle: as if it had not been there
            self._report(batch, recipients, sent, connection, started)
            if sent.stopped:
                return

    def _refuse_paths(self, batch: Batch, hop: str, started: float) -> None:
        """Paths that cannot stand in a command line that we are able to send."""
        reverse_path = batch.message.envelope.reverse_path
        sender_fits = reverse_path is None or _fits(reverse_path)
        for recipient in batch.recipients:
            if not (sender_fits and _fits(recipient.address)):
                answer = Answer(NEEDS_UTF8, "RCPT" if sender_fits else "MAIL", Scope.RECIPIENT)
                batch.report(self._outcome(recipient, answer, hop, started))

    # --- connections ---------------------------------------------------------------------------------------

    async def _connect(self, hop: str, batch: Batch, started: float) -> Connection | None:
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
            return Connection(client, hop, where)
        if failure.reply.permanent and not permanent:
            failure = failure._replace(reply=UNREACHABLE)
        self._fail(batch, failure, where, started)
        return None

    def _open(self, target: Target) -> Deferred[SmtpClient]:
        client = SmtpClient(self._hello, self._timeouts, self._reactor.seconds, self._ticker)
        client.on_gone = self._gone
        factory = _Factory(client, self._clients)
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
        self, connection: Connection, batch: Batch, recipients: tuple[Recipient, ...], started: float
    ) -> Sent | None:
        message, capabilities = batch.message, connection.client.capabilities
        refusal = _cannot_send(message, capabilities)
        if refusal is not None:
            self._pool.give_back(connection)
            self._fail(batch, Answer(refusal, "EHLO", Scope.MESSAGE), connection.where, started)
            return None
        outgoing = Outgoing(
            _mail(message, capabilities),
            tuple(f"RCPT TO:<{recipient.address}>".encode("ascii") for recipient in recipients),
            message.open,
        )
        try:
            return await connection.client.send(outgoing)
        finally:
            self._pool.give_back(connection)

    def _report(
        self, batch: Batch, recipients: tuple[Recipient, ...], sent: Sent, connection: Connection, started: float
    ) -> None:
        """Report what is known; those whom the host takes in another transaction stay pending."""
        some = any(answer.reply.positive for answer in sent.answers)
        for recipient, answer in zip(recipients, sent.answers, strict=True):
            if some and answer.stage == "RCPT" and _too_many(answer.reply):
                continue
            lost = sent.lost_after_dot and answer.scope is Scope.HOST
            batch.report(self._outcome(recipient, answer, connection.where, started, lost))

    def _fail(self, batch: Batch, answer: Answer, where: str, started: float) -> None:
        for recipient in batch.pending:
            batch.report(self._outcome(recipient, answer, where, started))

    def _outcome(self, recipient: Recipient, answer: Answer, where: str, started: float, lost: bool = False) -> Outcome:
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


class _Factory(ClientFactory):
    """Makes the one protocol of one connection."""

    noisy = False
    connector: Any = None

    def __init__(self, client: SmtpClient, opened: set[SmtpClient]) -> None:
        self._client = client
        self._opened = opened
        self._ready = client.ready
        client.on_cancel = self._cancel

    def _cancel(self) -> None:
        if self.connector is not None:
            self.connector.stopConnecting()

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        self._opened.add(self._client)
        return self._client

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        if self._ready.called:
            return
        error = reason.value
        why = "the connection was stopped"
        if isinstance(error, ConnectError) and not isinstance(error, UserError):
            why = (error.__doc__ or "").strip().rstrip(".").lower() or type(error).__name__
        self._ready.errback(ClientFailure(Reply.of(421, "4.4.1", f"No connection: {why}"), "connect"))


def _plain_host(host: str) -> str:
    """The smart host as DNS knows it; IP addresses as they are."""
    return host if not host or ":" in host else normal_domain(host)


def _where(target: Target) -> str:
    port = "" if target.port == 25 else f":{target.port}"
    return f"{target.host}[{target.address}]{port}"


def _took_nothing(sent: Sent) -> bool:
    """The connection ended before the server said anything of this transaction."""
    return all(answer.stage == "MAIL" and answer.scope is Scope.HOST for answer in sent.answers)


def _too_many(reply: Reply) -> bool:
    """More recipients than the host takes at once: by RFC 5321 4.5.3.1.10, or by an old server's code for it.

    A mailbox that is full (X.2.2) is none of these.
    """
    return reply.code in (452, 552) and (not reply.enhanced or reply.enhanced.endswith(".5.3"))


def _fits(address: Address) -> bool:
    """RFC 6531 3.2: only to a host with SMTPUTF8, which we do not speak yet.  Control characters, which no address
    that was read by our grammar has, would end the command line."""
    return address.local.isascii() and address.local.isprintable()


def _cannot_send(message: IMessage, capabilities: Capabilities) -> Reply | None:
    """Why the server cannot be given this message at all."""
    if capabilities.size and message.size > capabilities.size:
        # RFC 1870 5
        return TOO_BIG
    if message.envelope.eight_bit and not capabilities.eight_bit_mime:
        # RFC 6152 3
        return NEEDS_EIGHT_BIT
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
