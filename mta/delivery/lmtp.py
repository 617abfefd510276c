"""The delivery service ``lmtp``: final delivery into the mailboxes of another program, such as Dovecot (RFC 2033).

What it is: the delivery service ``smtp`` with LHLO and a reply for each recipient after the message, to one server at
a UNIX socket or a TCP port.
Contract: DELIVERED means that the server has answered 2yz for that recipient.  What it says about one recipient, a
quota or an unknown user, concerns that one alone: the others of the message are delivered.  Return-Path is not added:
the server makes the final delivery, and adds it from MAIL (RFC 5321 4.4).  What a sender asked to be true on the way
(DELIVERBY, REQUIRETLS) is fulfilled by handing it over: the server is not asked to go on with it.
How it fails: a server that cannot be reached, or does not let us speak to it, defers, scope destination; it never fails
mail, since it was ourselves who were told to go there.  For the rest see ``smtp``.
Limits: as those of ``smtp``; all domains that go to one server share its connections.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from typing import Any

from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from mta import events
from mta.config.problems import Wrong
from mta.delivery.connecting import UNREACHABLE, Connecting, Connector
from mta.delivery.lmtp_options import LmtpOptions
from mta.delivery.pool import ANYTHING, Connection, Need
from mta.delivery.smtp import SmtpDelivery
from mta.delivery.smtp_attempt import Way
from mta.delivery.values import Foresight, Passage
from mta.envelope import Envelope, Scope
from mta.interfaces import IForeseeing, IProbing, IResolver
from mta.plugin import Services, provider
from mta.reply import Reply
from mta.smtp.client import SmtpClient
from mta.smtp.client_opening import Terms
from mta.smtp.client_values import Answer, ClientFailure

LHLO = b"LHLO"


class LmtpConnector(Connector):
    """The way to the server."""

    verb = LHLO

    def __init__(self, options: LmtpOptions, services: Services, gone: Callable[[], object]) -> None:
        super().__init__(options, services, gone)
        self.path = options.path or ""

    def need(self, hop: str, envelope: Envelope) -> Need:
        """See ``Connector``.  Nobody listens in at a UNIX socket, so there nothing is needed (RFC 8689 2)."""
        return ANYTHING if self.path else super().need(hop, envelope)

    async def foresee(self, hop: str, envelope: Envelope, resolver: IResolver | None) -> Foresight:
        """See ``IForeseeing``."""
        return Foresight(place=self.path) if self.path else await super().foresee(hop, envelope, resolver)

    def key(self, hop: str) -> str:
        """See ``Connector``."""
        return self.path or self.host

    def connecting(self, hop: str, need: Need) -> Way:
        """See ``Connector``."""
        return SocketWay(self) if self.path else LmtpConnecting(self, hop, need)


class LmtpConnecting(Connecting):
    """To a TCP port."""

    @property
    def failure(self) -> Answer:
        """See ``Connecting``."""
        return not_our_end(super().failure)


class SocketWay:
    """See ``Way``: to a UNIX socket, once."""

    def __init__(self, connector: LmtpConnector) -> None:
        self._connector = connector
        self._tried = False
        self.where = connector.path
        self.failure = Answer(UNREACHABLE, "connect", Scope.DESTINATION)
        self.missed = False
        self.passage: Passage | None = None  # not asked: there is no host

    async def next(self, skip: Collection[str] = ()) -> Connection | None:
        """See ``Way``."""
        if self._tried or self.where in skip:
            return None
        self._tried = True
        connector = self._connector
        try:
            login = await connector.login()
        except Wrong as wrong:
            self._failed(ClientFailure(Reply.of(454, "4.7.0", f"The file with our token {wrong.what}"), "AUTH"))
            return None
        client = connector.client(
            Terms(host=connector.path, port=0, verb=LHLO, login=login, login_in_clear=True)  # nobody listens there
        )
        attempt = _SocketAttempt(client)
        attempt.connector = connector.services.reactor.connectUNIX(
            connector.path, attempt, timeout=connector.options.connect_timeout
        )
        try:
            await client.ready
        except ClientFailure as trouble:
            self._failed(trouble)
            return None
        finally:
            if client.transport is None:
                connector.clients.discard(client)  # it was never connected, and will not say that it is gone
        return Connection(client, connector.key(""), self.where, trusted=True)

    def _failed(self, trouble: ClientFailure) -> None:
        self.failure = not_our_end(Answer(trouble.reply, trouble.stage, Scope.DESTINATION))
        self.missed = True
        if trouble.stage == "AUTH":
            user, service = self._connector.options.user, self._connector.services
            event = events.LOGIN_REFUSED(service=service.name, user=user, host=self.where, reply=str(trouble.reply))
            service.emit(event, "")


class _SocketAttempt(ClientFactory):
    """One connection that comes about or does not."""

    noisy = False
    connector: Any = None

    def __init__(self, client: SmtpClient) -> None:
        self._client = client
        client.on_cancel = self._cancel

    def _cancel(self) -> None:
        if self.connector is not None:
            self.connector.stopConnecting()

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return self._client

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        if self._client.ready.called:
            return
        error = reason.value
        number = getattr(error, "osError", None)
        if isinstance(number, int):
            why = os.strerror(number)
        else:
            why = (error.__doc__ or "").strip().rstrip(".") if isinstance(error, ConnectError) else type(error).__name__
        self._client.ready.errback(ClientFailure(Reply.of(421, "4.4.1", f"No connection: {why}"), "connect"))


def not_our_end(answer: Answer) -> Answer:
    """A no to our connection is a matter of configuration on one side or the other: mail waits."""
    if not answer.reply.permanent or answer.scope is Scope.MESSAGE:
        return answer
    return answer._replace(reply=Reply.of(451, "4.3.5", f"The LMTP server refused us: {answer.reply}"))


@implementer(IForeseeing, IProbing)
@provider("delivery", "lmtp", LmtpOptions)
class LmtpDelivery(SmtpDelivery):
    """See the module's text."""

    #: Mail ends here: docs/decisions/held-not-bounced.rst.
    final = True
    connector_type = LmtpConnector
