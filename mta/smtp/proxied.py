"""A proxy's connection, from its beginning to the end of its header (PROXY protocol; proxy.py reads it).

What it is: the first protocol on a connection of a peer that the listener's ``proxy`` names.  Nothing is said on it:
greeting and TLS come after the header, and belong to the client (factory.py).
Contract: when the header is whole, ``Introduces.introduced`` gets it and puts the client's protocol into this one's
place; what came behind the header goes on to that.
How it fails: a header that is wrong, or not whole by ``deadline``, ends the connection without a word; the log says
why.  A proxy that closes without a header has only looked whether we live.
"""

from __future__ import annotations

from typing import Any
from typing import Protocol as TypingProtocol

from twisted.internet.protocol import Protocol
from twisted.internet.protocol import connectionDone as CONNECTION_DONE
from twisted.python.failure import Failure

from mta.smtp.proxy import Header, HeaderReader, WrongHeader


class Introduces(TypingProtocol):
    """What this protocol needs of its factory."""

    def awaited(self, proxied: Proxied) -> None:
        """A header is awaited."""

    def introduced(self, proxied: Proxied, header: Header, rest: bytes) -> None:
        """It is there; ``rest`` came behind it."""

    def not_introduced(self, proxied: Proxied, why: str) -> None:
        """It will not come; ``why`` is "" where the proxy has closed the connection."""


class Proxied(Protocol):
    """See the module's text.  ``peer`` and ``port`` are the proxy's; ``deadline`` is monotonic seconds."""

    def __init__(self, factory: Introduces, peer: str, port: int, deadline: float) -> None:
        self.factory: Introduces = factory
        self.peer = peer
        self.port = port
        self.deadline = deadline
        self._reader: HeaderReader | None = HeaderReader()

    def connectionMade(self) -> None:
        self.factory.awaited(self)

    def dataReceived(self, data: bytes) -> None:
        reader = self._reader
        if reader is None:
            return
        try:
            header = reader.feed(data)
        except WrongHeader as error:
            self.drop(str(error))
            return
        if header is not None:
            self._reader = None
            self.factory.introduced(self, header, reader.rest)

    def expire(self, now: float) -> None:
        """See ``Timed``."""
        self.drop("its header did not come in time")

    def drop(self, why: str) -> None:
        """Close the connection without a word."""
        if self._reader is not None:
            self._reader = None
            self.factory.not_introduced(self, why)
        transport: Any = self.transport
        transport.abortConnection()

    def connectionLost(self, reason: Failure = CONNECTION_DONE) -> None:
        if self._reader is not None:
            self._reader = None
            self.factory.not_introduced(self, "")
