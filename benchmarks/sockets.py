"""A loop of our own for source and sink: many connections, few instructions each, with or without TLS.

They share the machine with what is measured, so what they cost counts: see docs/decisions/benchmark-load.rst.

A ``Line`` is one connection: ``received`` is called with what came, ``write`` sends at once what the socket takes and
keeps the rest, ``encrypt`` begins TLS.  What fails ends that connection: ``lost``.
"""

from __future__ import annotations

import select
import socket
import ssl
from typing import Final

_AT_ONCE: Final = 1 << 18
_READ: Final = select.EPOLLIN
_BOTH: Final = select.EPOLLIN | select.EPOLLOUT


class Line:
    """One connection; it registers itself with its loop."""

    def __init__(self, loop: Loop, sock: socket.socket) -> None:
        self.loop = loop
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.number = sock.fileno()
        self._out = bytearray()
        self._shaking = False
        self._tls = False
        loop.add(self)

    @property
    def open(self) -> bool:
        """Whether it is not closed yet; its number may be another's by then."""
        return self.loop.lines.get(self.number) is self

    def received(self, data: bytes) -> None:
        raise NotImplementedError

    def lost(self) -> None:
        """The peer has gone; the socket is closed."""

    def encrypted(self) -> None:
        """The handshake is done."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._out:
            try:
                sent = self.sock.send(data if len(data) <= _AT_ONCE else memoryview(data)[:_AT_ONCE])
            except (BlockingIOError, ssl.SSLWantWriteError):
                sent = 0
            except OSError:
                self.close(lost=True)
                return
            if sent == len(data):
                return
            self.loop.watch(self, _BOTH)
            data = memoryview(data)[sent:]
        self._out += data

    def encrypt(self, context: ssl.SSLContext, server: bool) -> None:
        """Both sides speak TLS from here on; ``encrypted`` is called by the loop, never within this."""
        # The object takes the descriptor over: the number that the loop knows stays.
        self.sock = context.wrap_socket(self.sock, server_side=server, do_handshake_on_connect=False)
        self._shaking = self._tls = True
        self.loop.watch(self, _BOTH)

    def _shake(self) -> None:
        assert isinstance(self.sock, ssl.SSLSocket)
        try:
            self.sock.do_handshake()
        except ssl.SSLWantReadError:
            self.loop.watch(self, _READ)
        except ssl.SSLWantWriteError:
            self.loop.watch(self, _BOTH)
        except OSError:
            self.close(lost=True)
        else:
            self._shaking = False
            self.loop.watch(self, _READ)
            self.encrypted()

    def event(self, mask: int) -> None:
        if self._shaking:
            self._shake()
            return
        if mask & select.EPOLLOUT:
            self._flush()
        if mask & ~select.EPOLLOUT:
            self._read()

    def _flush(self) -> None:
        try:
            # Of TLS, the same octets again after a refusal: they are still at the front.
            while self._out:
                del self._out[: self.sock.send(self._out[:_AT_ONCE])]
        except (BlockingIOError, ssl.SSLWantWriteError):
            return
        except OSError:
            self.close(lost=True)
            return
        self.loop.watch(self, _READ)

    def _read(self) -> None:
        while self.open:
            try:
                data = self.sock.recv(_AT_ONCE)
            except (BlockingIOError, ssl.SSLWantReadError):
                return
            except OSError:
                data = b""
            if not data:
                self.close(lost=True)
                return
            self.received(data)
            if not self._tls or self._shaking:
                return  # epoll says so when there is more; what TLS has decrypted it does not know of

    def close(self, lost: bool = False) -> None:
        if self.open:
            del self.loop.lines[self.number]
            self.loop.poll.unregister(self.number)
            self.sock.close()
            if lost:
                self.lost()


class Loop:
    """Runs until ``stop`` is called."""

    def __init__(self) -> None:
        self.poll = select.epoll()
        self.lines: dict[int, Line] = {}
        self._running = True
        self._listener: socket.socket | None = None

    def add(self, line: Line) -> None:
        self.lines[line.number] = line
        self.poll.register(line.number, _READ)

    def watch(self, line: Line, mask: int) -> None:
        self.poll.modify(line.number, mask)

    def stop(self) -> None:
        self._running = False

    def listen(self, port: int, accepted: type[Line]) -> None:
        """Makes a line of each connection to the port."""
        listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        listener.setblocking(False)
        self._listener, self._accepted = listener, accepted
        self.poll.register(listener.fileno(), _READ)

    def run(self) -> None:
        listener = self._listener
        door = listener.fileno() if listener else -1
        while self._running:
            for number, mask in self.poll.poll():
                if number == door and listener is not None:
                    self._accept(listener)
                elif (line := self.lines.get(number)) is not None:
                    line.event(mask)

    def _accept(self, listener: socket.socket) -> None:
        try:
            for _ in range(100):
                self._accepted(self, listener.accept()[0])
        except (BlockingIOError, ConnectionError):
            return
