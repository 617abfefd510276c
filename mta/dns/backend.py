"""Twisted's sockets for dnspython's asynchronous resolver.

What it is: a dnspython backend (``dns.asyncbackend.Backend``).  Each question has a socket, and so a port, of its
own (RFC 5452 9.2), and a datagram socket is connected: the kernel drops what others than the server send (RFC 5452
4.2), and tells at once when nobody listens there.  That id and question match (RFC 5452 4) is dnspython's to see to.
Contract: cancelling travels through dnspython as ``Cancelled``, no ``Exception``, since it takes any of those for
a server's failure and asks on.  A socket that closes wakes who reads from it.
How it fails: as dnspython expects: ``OSError`` and ``EOFError`` take a server out, ``Timeout`` asks the next.
Limits: ``MAX_DATAGRAMS`` unread datagrams and ``MAX_STREAM`` unread octets a socket.
"""

# ruff: noqa: ASYNC109  # dnspython calls these methods and names their parameters.
from __future__ import annotations

import socket
from collections import deque
from typing import Any, Final, TypeVar

import dns.exception
import dns.inet
from dns.asyncbackend import (  # type: ignore[attr-defined]  # documented there, but not listed as exported
    Backend,
    DatagramSocket,
    Socket,
    StreamSocket,
)
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import BindError, ConnectError, ConnectingCancelledError
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone
from twisted.python.failure import Failure

T = TypeVar("T")

MAX_DATAGRAMS: Final = 100
MAX_STREAM: Final = 1 << 17


class Cancelled(BaseException):
    """Who asked does not want to know any more."""


class TwistedBackend(Backend):
    """Sockets and sleep of a reactor; see the module's text."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def name(self) -> str:
        return "twisted"

    def datagram_connection_required(self) -> bool:
        return True

    async def make_socket(
        self,
        af: int,
        socktype: int,
        proto: int = 0,
        source: Any = None,
        destination: Any = None,
        timeout: float | None = None,
        ssl_context: Any = None,
        server_hostname: str | None = None,
    ) -> Socket:
        if socktype == socket.SOCK_DGRAM:
            return _DatagramSocket(self._reactor, af, destination)
        host, port = destination
        endpoint = TCP6ClientEndpoint if af == socket.AF_INET6 else TCP4ClientEndpoint
        connecting = endpoint(self._reactor, host, port).connect(Factory.forProtocol(_Stream))
        try:
            stream = await wait(self._reactor, connecting, timeout)
        except ConnectError as error:
            raise OSError(str(error)) from error
        return _StreamSocket(self._reactor, af, stream)

    async def sleep(self, interval: float) -> None:
        over: Deferred[None] = Deferred()
        call = self._reactor.callLater(interval, over.callback, None)
        try:
            await over
        except CancelledError as error:
            call.cancel()
            raise Cancelled from error


async def wait(reactor: Any, deferred: Deferred[T], seconds: float | None) -> T:
    """Wait at most so long: ``dns.exception.Timeout``.  ``Cancelled`` when we are cancelled ourselves."""
    if deferred.called or seconds is None:
        call = None
    else:
        call = reactor.callLater(seconds, deferred.cancel)
    try:
        return await deferred
    except (CancelledError, ConnectingCancelledError) as error:
        if call is not None and not call.active():
            raise dns.exception.Timeout(timeout=seconds) from error  # type: ignore[no-untyped-call]
        raise Cancelled from error
    finally:
        if call is not None and call.active():
            call.cancel()


class _Reader:
    """What both kinds of protocols share: one reader at a time, woken when there is something."""

    def __init__(self) -> None:
        self._waiting: Deferred[None] | None = None

    def wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)

    def something(self) -> Deferred[None]:
        self._waiting = Deferred()
        return self._waiting


class _Datagrams(DatagramProtocol):
    noisy = False

    def __init__(self) -> None:
        self.reader = _Reader()
        self.received: deque[bytes | BaseException] = deque(maxlen=MAX_DATAGRAMS)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.put(datagram)

    def connectionRefused(self) -> None:
        self.put(ConnectionRefusedError("no DNS server listens there"))

    def stopProtocol(self) -> None:
        self.put(EOFError("the socket was closed"))

    def put(self, item: bytes | BaseException) -> None:
        self.received.append(item)
        self.reader.wake()


class _DatagramSocket(DatagramSocket):
    def __init__(self, reactor: Any, af: int, destination: tuple[str, int]) -> None:
        super().__init__(af, socket.SOCK_DGRAM)
        self._reactor = reactor
        self._protocol = _Datagrams()
        # dnspython compares whole socket addresses, and Twisted shortens those of IPv6 to two members.
        self._peer = dns.inet.low_level_address_tuple(destination, af)
        try:
            self._port = reactor.listenUDP(0, self._protocol, interface="::" if af == socket.AF_INET6 else "")
        except BindError as error:
            raise OSError(str(error)) from error
        try:
            self._port.connect(*destination)
        except OSError:
            self._port.stopListening()
            raise

    async def sendto(self, what: bytes, destination: Any, timeout: float | None) -> int:
        self._port.write(what)
        return len(what)

    async def recvfrom(self, size: int, timeout: float | None) -> tuple[bytes, Any]:
        received = self._protocol.received
        while not received:
            await wait(self._reactor, self._protocol.reader.something(), timeout)
        item = received.popleft()
        if isinstance(item, BaseException):
            raise item
        return item, self._peer

    async def close(self) -> None:
        self._port.stopListening()


class _Stream(Protocol):
    def __init__(self) -> None:
        self.reader = _Reader()
        self.buffer = b""
        self.ended = False

    def dataReceived(self, data: bytes) -> None:
        self.buffer += data
        if len(self.buffer) > MAX_STREAM:
            self.transport.abortConnection()  # type: ignore[union-attr]  # it is connected
        self.reader.wake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended = True
        self.reader.wake()


class _StreamSocket(StreamSocket):
    def __init__(self, reactor: Any, af: int, stream: _Stream) -> None:
        super().__init__(af, socket.SOCK_STREAM)
        self._reactor = reactor
        self._stream = stream

    async def sendall(self, what: bytes, timeout: float | None) -> None:
        self._stream.transport.write(what)  # type: ignore[union-attr]  # it is connected

    async def recv(self, size: int, timeout: float | None) -> bytes:
        stream = self._stream
        while not stream.buffer and not stream.ended:
            await wait(self._reactor, stream.reader.something(), timeout)
        octets, stream.buffer = stream.buffer[:size], stream.buffer[size:]
        return octets

    async def close(self) -> None:
        self._stream.transport.loseConnection()  # type: ignore[union-attr]  # it is connected
