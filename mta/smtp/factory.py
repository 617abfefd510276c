"""ESMTP factories: accept connections within the limits, give each a session, and watch the sessions' time.

What it is: the Twisted side of the server; everything SMTP is in session.py and commands/.
Order: a connection; from a peer in ``proxy`` the header that says who the client is (proxied.py); the limits; TLS
where it is implicit; the greeting.
Contract: a connection over a limit is told 421 and closed (RFC 5321 4.3.1, 3.8); counts come back to zero
whatever happens to a connection.
Limits: ``limits.connections`` over all listeners together and ``limits.connections_per_client`` by the client's
address; a proxy's own is not counted.
Deadlines are those of the sessions; one ticker looks at them (ticker.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IHandshakeListener, ITransport
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.protocol import connectionDone as CONNECTION_DONE
from twisted.python.failure import Failure
from zope.interface import implementer

from mta import events
from mta.address import client_key, normal_ip
from mta.reply import Reply
from mta.smtp import replies
from mta.smtp.context import Context, listed
from mta.smtp.patience import spoke_early
from mta.smtp.proxied import Proxied
from mta.smtp.proxy import Header
from mta.smtp.session import Session
from mta.smtp.ticker import Ticker
from mta.tls.channel import TlsChannel
from mta.tls.negotiated import negotiated, why_failed


class Connections:
    """How many connections there are, over all listeners of the process."""

    def __init__(self) -> None:
        self.total = 0
        self.by_client: Counter[str] = Counter()
        self.tls = 0  # handshakes that came to their end since the start
        self.tls_failed = 0  # and those that did not
        self.refused: Reply | None = None  # what every new connection is told: an operator wants no mail now

    def refusal(self, client: str, total_limit: int, client_limit: int) -> Reply | None:
        """The reply for a connection over a limit, else None."""
        if self.refused is not None:
            return self.refused
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


@implementer(IHalfCloseableProtocol, IHandshakeListener)
class ServerProtocol(Protocol):
    """One connection: hands octets to its session, and the session's end to the factory."""

    session: Session | None = None
    client = ""

    def __init__(self, factory: SmtpFactory, client: str, port: int, proxy: str = "") -> None:
        self.factory: SmtpFactory = factory
        self.client = client
        self.proxy = proxy  # that told who the client is; "" where it came by itself
        self._port = port

    def connectionMade(self) -> None:
        transport: Any = self.transport
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        self.session = session = self.make_session(transport)
        session.standing.recount = self._recount
        # No call in between: this is the hottest call of the server.
        self.dataReceived = session.feed  # type: ignore[method-assign, assignment]  # an instance's own
        transport.registerProducer(self, True)
        self.factory.opened(self)
        session.start()

    def make_session(self, transport: Any) -> Session:
        """The session of this connection."""
        return Session(transport, self.factory.newest, self.client, self._port)

    def connectionLost(self, reason: Failure = CONNECTION_DONE) -> None:
        session, self.session = self.session, None
        if session is not None:
            session.lost()
            self.factory.closed(self, session, reason)

    def _recount(self, client: str) -> Reply | None:
        """XCLIENT told another client: the connection counts for that one, if it may have one more."""
        refusal = self.factory.recount(self.client, client)
        if refusal is None:
            self.client = client
        return refusal

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

    def handshakeCompleted(self) -> None:
        """TLS speaks to the client from here on."""
        if self.session is not None and self.session.handshake is not None:
            transport: Any = self.transport
            connection = transport.getHandle()
            self.session.secured(negotiated(connection), TlsChannel(connection))
            self.factory.secured()

    def spoke_early(self) -> None:
        """Octets came before the greeting."""
        if self.session is not None:
            spoke_early(self.session)

    def readConnectionLost(self) -> None:
        """The client has shut down its side; it may wait for its replies."""
        if self.session is not None:
            self.session.input_ended()

    def writeConnectionLost(self) -> None:
        """We never shut down ours alone."""

    def stopProducing(self) -> None:
        """The transport closes; ``connectionLost`` follows."""


class Refused(Protocol):
    """A connection over a limit: one reply, if any, then the end."""

    def __init__(self, reply: Reply | None) -> None:
        self._reply = reply

    def connectionMade(self) -> None:
        transport: ITransport | None = self.transport
        assert transport is not None
        if self._reply is not None:
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
        self._proxied: set[Proxied] = set()  # those whose header is awaited
        self._empty: list[Deferred[None]] = []

    def newest(self) -> Context:
        """The context for the next transaction."""
        return self.context

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        peer, port = "", 0
        if isinstance(addr, IPv4Address | IPv6Address):
            peer, port = normal_ip(addr.host), addr.port
        context = self.context
        if not listed(peer, context.proxy):
            return self._for_client(peer, port)
        refusal = self._refusal("")
        if refusal is not None:
            return self._refused(peer, refusal)
        return Proxied(self, peer, port, context.seconds() + context.limits.proxy_timeout)

    def _for_client(self, client: str, port: int, proxy: str = "") -> ServerProtocol | Refused:
        refusal = self._refusal(client)
        return ServerProtocol(self, client, port, proxy) if refusal is None else self._refused(client, refusal)

    def _refusal(self, client: str) -> Reply | None:
        """The reply for one connection more of the client, else None."""
        limits: Any = self.context.limits
        return self._connections.refusal(client, limits.connections, limits.connections_per_client)

    def _refused(self, client: str, refusal: Reply) -> Refused:
        self.context.emit(events.CONNECTION_REFUSED(client=client, reply=str(refusal)), "")
        # Where TLS comes first there is no way to say it in clear.
        return Refused(None if self._implicit_tls else refusal)

    @property
    def _implicit_tls(self) -> bool:
        tls = self.context.tls
        return tls is not None and tls.implicit

    # --- connections of proxies: see proxied.py ------------------------------------------------------------

    def awaited(self, proxied: Proxied) -> None:
        """See ``Introduces``.  It is one of all the connections, and of no client's."""
        self._connections.add("")
        self._proxied.add(proxied)
        self._ticker.add(proxied)

    def introduced(self, proxied: Proxied, header: Header, rest: bytes) -> None:
        """See ``Introduces``."""
        self._forget(proxied)
        if header.local:
            protocol = self._for_client(proxied.peer, proxied.port)
        else:
            protocol = self._for_client(header.client, header.port, proxied.peer)
        transport: Any = proxied.transport
        transport.protocol = protocol
        transport.protocol.makeConnection(transport)
        if rest:
            # Without a delay the greeting is out by now; a client that waited for it cannot have sent this.
            if isinstance(protocol, ServerProtocol) and not (self._implicit_tls or self.context.limits.greet_delay):
                protocol.spoke_early()
            transport.protocol.dataReceived(rest)  # ours, or the TLS that was put around it

    def not_introduced(self, proxied: Proxied, why: str) -> None:
        """See ``Introduces``."""
        self._forget(proxied)
        if why:
            listener = self.context.listener
            self.context.emit(events.PROXY_REFUSED(peer=proxied.peer, listener=listener, why=why), "")

    def _forget(self, proxied: Proxied) -> None:
        self._connections.remove("")
        self._proxied.discard(proxied)
        self._ticker.remove(proxied)

    # --- sessions ------------------------------------------------------------------------------------------

    def recount(self, old: str, new: str) -> Reply | None:
        """A connection of ``old`` is one of ``new``; or the reply that this would have one too many."""
        if client_key(old) == client_key(new):
            return None
        self._connections.remove(old)
        refusal = self._refusal(new)
        self._connections.add(old if refusal is not None else new)
        return refusal

    def opened(self, protocol: ServerProtocol) -> None:
        """A session began."""
        self._connections.add(protocol.client)
        by = f"by way of {protocol.proxy}" if protocol.proxy else ""
        self.context.emit(events.CONNECTED(client=protocol.client, listener=self.context.listener, by=by), "")
        self.protocols.add(protocol)
        if protocol.session is not None:
            self._ticker.add(protocol.session)

    def secured(self) -> None:
        """A session is encrypted now."""
        self._connections.tls += 1

    def closed(self, protocol: ServerProtocol, session: Session, reason: Failure) -> None:
        """A session ended."""
        self._connections.remove(protocol.client)
        if session.handshake is not None:
            self._connections.tls_failed += 1
            why = session.handshake.given_up or why_failed(reason)
            self.context.emit(events.TLS_FAILED(client=protocol.client, listener=self.context.listener, reason=why), "")
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
        for proxied in tuple(self._proxied):
            proxied.drop("")
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
