"""A message of the pickup folder through a session like any other: commands in, replies out, no socket between.

What it is: ``Feeder`` has a session of a user (listener.py) and speaks SMTP with it, so that what was left for us is
decided on as what comes by the socket.
Contract: one command at a time.  The session is never fed from within its own writing.
How it fails: ``SessionEnded`` with its last reply when the session ends itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred

from mta.reply import LOCAL_ERROR, Reply
from mta.smtp.session import Session
from mta.smtp.transport import Transport
from mta.smtp.wire import ReplyParser

PIECE: Final = 64 * 1024


class SessionEnded(Exception):
    """The session is over; ``reply`` was its last."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


class Feeder:
    """See the module's text; it is the session's transport.  ``soon`` calls in the reactor's next turn."""

    def __init__(self, make: Callable[[Transport], Session], soon: Callable[[Callable[[], None]], Any]) -> None:
        self._soon = soon
        self._parser = ReplyParser()
        self._replies: deque[Reply] = deque()
        self._waiting: Deferred[None] | None = None
        self._last = LOCAL_ERROR
        self._paused = False
        self._ended = False
        self.session = make(self)

    # --- what the session calls ----------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """See ``Transport``."""
        self._replies += self._parser.feed(data)
        self._wake()

    def loseConnection(self) -> None:
        """See ``Transport``."""
        self._ended = True
        self._wake()

    abortConnection = loseConnection

    def pauseProducing(self) -> None:
        """See ``Transport``."""
        self._paused = True

    def resumeProducing(self) -> None:
        """See ``Transport``."""
        self._paused = False
        self._wake()

    def unregisterProducer(self) -> None:
        """See ``Transport``."""

    def startTLS(self, contextFactory: Any) -> None:
        """See ``Transport``; none is offered."""
        raise NotImplementedError

    # --- what the pickup calls -----------------------------------------------------------------------------

    async def reply(self) -> Reply:
        """The next reply."""
        while not self._replies:
            if self._ended:
                raise SessionEnded(self._last)
            await self._change()
        self._last = self._replies.popleft()
        return self._last

    async def ask(self, command: str) -> Reply:
        """Say a command; its reply."""
        await self.feed(command.encode("utf-8", "surrogateescape") + b"\r\n")
        return await self.reply()

    async def feed(self, octets: bytes) -> None:
        """Octets for the session, when it wants some."""
        while self._paused and not self._ended:
            await self._change()
        if not self._ended:
            self.session.feed(octets)

    def close(self) -> None:
        """No more of it."""
        self._ended = True
        self.session.lost()

    async def _change(self) -> None:
        self._waiting = Deferred()
        await self._waiting

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            # Not now: the session is in the middle of something.
            self._soon(lambda: waiting.callback(None))
