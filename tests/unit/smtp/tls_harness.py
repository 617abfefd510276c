"""A session over TLS in memory: Twisted's TLS on the server's side, the standard library's on the client's."""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness import Client, ClientTransport, Server
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from mta.smtp.context import ListenerTls
from mta.tls.certificates import Source, read
from mta.tls.contexts import Contexts, Policy
from tests.certificates import Authority, put

AUTHORITY = Authority()


def _contexts(clock: Clock) -> Contexts:
    issued = AUTHORITY.issue("mail.ours.example")
    with tempfile.TemporaryDirectory() as folder:
        path = str(put(Path(folder) / "a.pem", issued.both))
        certificate = read(Source(path, path))
    contexts = Contexts(clock.seconds)
    contexts.use([certificate], certificate, Policy())
    return contexts


class _Below:
    """What Twisted's TLS writes to: the connection without TLS."""

    def __init__(self, transport: TlsTransport) -> None:
        self._transport = transport

    def write(self, data: bytes) -> None:
        ClientTransport.write(self._transport, data)

    def loseConnection(self) -> None:
        ClientTransport.loseConnection(self._transport)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        ClientTransport.registerProducer(self._transport, producer, streaming)

    def unregisterProducer(self) -> None:
        ClientTransport.unregisterProducer(self._transport)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class TlsTransport(ClientTransport):
    """As Twisted's TCP connections do it: after ``startTLS`` all goes through the layer."""

    layer: Any = None

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def startTLS(self, creator: Any) -> None:
        producer, streaming = self.producer, self.streaming
        self.unregisterProducer()
        factory = TLSMemoryBIOFactory(creator, False, None, self._clock)  # type: ignore[arg-type]
        self.layer = factory.protocol(factory, self.protocol, False)
        self.protocol = self.layer
        self.getHandle = self.layer.getHandle
        self.layer.makeConnection(_Below(self))
        self.registerProducer(producer, streaming)

    def write(self, data: bytes) -> None:
        (self.layer.write if self.layer else super().write)(data)

    def loseConnection(self) -> None:
        (self.layer.loseConnection if self.layer else super().loseConnection)()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        (self.layer.registerProducer if self.layer else super().registerProducer)(producer, streaming)

    def unregisterProducer(self) -> None:
        (self.layer.unregisterProducer if self.layer else super().unregisterProducer)()


class TlsServer(Server):
    """A listener that speaks TLS, or with ``implicit`` nothing else."""

    def __init__(self, *, implicit: bool = False, handshake_timeout: float = 60.0, **more: Any) -> None:
        super().__init__(**more)
        tls = ListenerTls(_contexts(self.clock), implicit, handshake_timeout)
        self.context = replace(self.context, tls=tls)
        self.factory.context = self.context


class TlsClient(Client):
    """A client that can go over to TLS."""

    transport: TlsTransport

    def __init__(self, server: Server, client: str = "203.0.113.9") -> None:
        self.server = server
        self.transport = TlsTransport(server.clock)
        self.transport.protocol = server.factory.buildProtocol(IPv4Address("TCP", client, 40000))
        self.tls: ssl.SSLObject | None = None
        self._into, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.protocol.makeConnection(self.transport)

    @property
    def protocol(self) -> Any:
        """The server's own, above TLS."""
        layer = self.transport.layer
        return self.transport.protocol if layer is None else layer.wrappedProtocol

    def secure(self, name: str | None = "mail.ours.example") -> TlsClient:
        """The client's half of the handshake; raises ``ssl.SSLError`` where it does not come about."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=AUTHORITY.pem.decode())
        tls = context.wrap_bio(self._into, self._out, server_hostname=name)
        for _ in range(10):
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._pump()
        else:
            raise AssertionError("the handshake has no end")
        self.tls = tls
        self._pump()
        return self

    def _pump(self) -> None:
        self._deliver(self._out.read())
        self.server.clock.advance(0)  # Twisted joins small writes until the next round of the reactor
        self._into.write(self.transport.value())
        self.transport.clear()

    def _deliver(self, octets: bytes) -> None:
        if octets:
            self.transport.protocol.dataReceived(octets)

    def send_clear(self, octets: bytes) -> None:
        """Octets as they are, on whatever is spoken there."""
        self._deliver(octets)

    def seen_clear(self) -> bytes:
        """Octets as they are."""
        self.server.clock.advance(0)
        return super().seen()

    def send(self, octets: bytes) -> None:
        if self.tls is None:
            self._deliver(octets)
        else:
            self.tls.write(octets)
            self._pump()

    def seen(self) -> bytes:
        if self.tls is None:
            return super().seen()
        self._pump()
        found = b""
        while True:
            try:
                piece = self.tls.read()
            except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                return found
            if not piece:
                return found
            found += piece

    @property
    def said_goodbye(self) -> bool:
        """The server has closed TLS in good order (RFC 8446 6.1)."""
        assert self.tls is not None
        self._pump()
        try:
            return self.tls.read() == b""
        except ssl.SSLZeroReturnError:
            return True
        except ssl.SSLWantReadError:
            return False

    def leave(self) -> None:
        self.transport.protocol.connectionLost(Failure(ConnectionDone()))
