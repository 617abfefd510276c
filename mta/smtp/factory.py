"""ESMTP factories: accept connections within the limits, give each a session, and watch the sessions' time.

What it is: the Twisted side of the server; everything SMTP is in session.py and commands/.
Contract: a connection over a limit is told 421 and closed (RFC 5321 4.3.1, 3.8); counts come back to zero
whatever happens to a connection.
Limits: ``limits.connections`` over all listeners together and ``limits.connections_per_client`` by address.
Deadlines are those of the sessions; one ticker looks at them (ticker.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, ITransport
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.protocol import connectionDone as CONNECTION_DONE
from twisted.python.failure import Failure
from zope.interface import implementer

from mta import events
from mta.address import client_key, normal_ip
from mta.reply import Reply
from mta.smtp import replies
from mta.smtp.context import Context
from mta.smtp.session import Session
from mta.smtp.ticker import Ticker


class Connections:
    """How many connections there are, over all listeners of the process."""

    def __init__(self) -> None:
        self.total = 0
        self.by_client: Counter[str] = Counter()

    def refusal(self, client: str, total_limit: int, client_limit: int) -> Reply | None:
        """The reply for a connection over a limit, else None."""
        if self.total >= total_limit:
            return replies.TOO_MANY_CONNECTIONS
        if client and self.by_client[client_key(client)] >= client_limit:
            return replies.TOO_MANY_FROM_CLIENT
        return None

    def add(self, client: str) -> None:
        self.total += 1
        self.by_client[client_key(client)] += 1

    def remove(self, client: str) -> None:
        key = client_key(client)
        self.total -= 1
        self.by_client[key] -= 1
        if not self.by_client[key]:
            del self.by_client[key]


@implementer(IHalfCloseableProtocol)
class ServerProtocol(Protocol):
    """One connection: hands octets to its session, and the session's end to the factory."""

    session: Session | None = None
    client = ""

    def __init__(self, factory: SmtpFactory, client: str, port: int) -> None:
        self.factory: SmtpFactory = factory
        self.client = client
        self._port = port

    def connectionMade(self) -> None:
        transport: Any = self.transport
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        self.session = session = Session(transport, self.factory.newest, self.client, self._port)
        # No call in between: this is the hottest call of the server.
        self.dataReceived = session.feed  # type: ignore[method-assign, assignment]  # an instance's own
        transport.registerProducer(self, True)
        self.factory.opened(self)
        session.start()

    def connectionLost(self, reason: Failure = CONNECTION_DONE) -> None:
        session, self.session = self.session, None
        if session is not None:
            session.lost()
            self.factory.closed(self, session, reason)

    # The transport tells how its buffer of replies stands: a client that does not read gets no more.

    def pauseProducing(self) -> None:
        if self.session is not None:
            self.session.blocked(True)

    def resumeProducing(self) -> None:
        if self.session is not None:
            self.session.blocked(False)
        transport: Any = self.transport
        if getattr(transport, "disconnecting", False):
            # Twisted closes no connection whose streaming producer it has just asked to go on: have it look again.
            transport.unregisterProducer()

    def readConnectionLost(self) -> None:
        """The client has shut down its side; it may wait for its replies."""
        if self.session is not None:
            self.session.input_ended()

    def writeConnectionLost(self) -> None:
        """We never shut down ours alone."""

    def stopProducing(self) -> None:
        """The transport closes; ``connectionLost`` follows."""


class Refused(Protocol):
    """A connection over a limit: one reply, then the end."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def connectionMade(self) -> None:
        transport: ITransport | None = self.transport
        assert transport is not None
        transport.write(self._reply.wire)
        transport.loseConnection()


class SmtpFactory(ServerFactory):
    """The factory of one listener.  ``context`` may be replaced at any time (reload)."""

    noisy = False

    def __init__(self, context: Context, connections: Connections, call_later: Callable[..., Any]) -> None:
        self.context = context
        self._connections = connections
        self._ticker = Ticker(context.seconds, call_later)
        self.protocols: set[ServerProtocol] = set()
        self._empty: list[Deferred[None]] = []

    def newest(self) -> Context:
        """The context for the next transaction."""
        return self.context

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        client, port = "", 0
        if isinstance(addr, IPv4Address | IPv6Address):
            client, port = normal_ip(addr.host), addr.port
        limits: Any = self.context.limits
        refusal = self._connections.refusal(client, limits.connections, limits.connections_per_client)
        if refusal is not None:
            self.context.emit(events.CONNECTION_REFUSED(client=client, reply=str(refusal)), "")
            return Refused(refusal)
        return ServerProtocol(self, client, port)

    def opened(self, protocol: ServerProtocol) -> None:
        """A session began."""
        self._connections.add(protocol.client)
        self.context.emit(events.CONNECTED(client=protocol.client, listener=self.context.listener), "")
        self.protocols.add(protocol)
        if protocol.session is not None:
            self._ticker.add(protocol.session)

    def closed(self, protocol: ServerProtocol, session: Session, reason: Failure) -> None:
        """A session ended."""
        self._connections.remove(protocol.client)
        self.context.emit(
            events.DISCONNECTED(client=protocol.client, reason=reason.getErrorMessage(), messages=session.messages),
            "",
        )
        self.protocols.discard(protocol)
        self._ticker.remove(session)
        if not self.protocols:
            for waiting in self._empty:
                waiting.callback(None)
            self._empty.clear()

    def shut_down(self) -> Deferred[None]:
        """Tell every client 421 as soon as its command is done; fires when all have gone."""
        for protocol in tuple(self.protocols):
            if protocol.session is not None:
                protocol.session.shut_down()
        done: Deferred[None] = Deferred()
        if self.protocols:
            self._empty.append(done)
        else:
            done.callback(None)
        return done

    def abort(self) -> None:
        """The time given to ``shut_down`` is over."""
        for protocol in tuple(self.protocols):
            transport: Any = protocol.transport
            transport.abortConnection()
        self._ticker.stop()
