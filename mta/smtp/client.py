"""The client side of SMTP: one connection to a server, and the mail transactions on it (RFC 5321 3.3, 4.5.3.2).

What it is: a Twisted protocol: the wire, the time-outs and the end of a connection.  ``client_opening`` brings it to
where it takes transactions (``client_transaction``), one after another.
Contract: a reply counts only for a command that had been written when it came.  Octets beyond the replies that
are due answer nothing: they end the connection before anything more is sent, since every later reply could be
taken for that to something else, and a 250 too many for a message that the server does not have.
How it fails: ``ready`` fails with ``ClientFailure``, or ``CancelledError`` when it was cancelled.
Limits: each step has its time-out; QUIT is not waited for long.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Protocol
from twisted.internet.protocol import connectionDone as CONNECTION_DONE
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.envelope import Scope
from mta.reply import Reply
from mta.smtp.client_chunks import ChunkedTransaction
from mta.smtp.client_opening import PLAIN_TERMS, Opening, Terms
from mta.smtp.client_probe import Probe
from mta.smtp.client_transaction import Transaction
from mta.smtp.client_values import (
    CANCELLED,
    CONFUSED,
    LOST,
    QUIT_TIME,
    SILENT,
    Answer,
    ClientFailure,
    Outgoing,
    Sent,
    Timeouts,
)
from mta.smtp.extensions import Capabilities
from mta.smtp.ticker import Ticker
from mta.smtp.transport import direct_write
from mta.smtp.wire import BadReply, ReplyParser
from mta.tls.client import Handshake, Negotiated, TlsLevel
from mta.tls.client import reason as tls_reason

log = Logger()


@implementer(IHandshakeListener)
class SmtpClient(Protocol):
    """One connection.  ``ready`` fires with it once it is what ``terms`` demand."""

    def __init__(
        self,
        hello: str,
        timeouts: Timeouts,
        seconds: Callable[[], float],
        ticker: Ticker,
        terms: Terms = PLAIN_TERMS,
    ) -> None:
        self._opening = Opening(self, hello, terms)
        self._seconds = seconds
        self._ticker = ticker
        self._parser = ReplyParser()
        self._expected: deque[Callable[[Reply], None]] = deque()
        self._stage = "connect"
        self._transaction: Transaction | None = None
        self.timeouts = timeouts
        self.ready: Deferred[SmtpClient] = Deferred(self._cancelled)
        self.capabilities = Capabilities()
        self.name = ""  # as the server says it in its reply to EHLO
        self.lmtp = terms.verb == b"LHLO"  # RFC 2033: a message has a reply for each recipient
        self.tls: Negotiated | None = None  # None: in clear
        self.deadline = seconds() + timeouts.greeting
        self.usable = False  # a transaction may be begun
        self.confused = False  # the server is out of step: nothing more is sent
        self.gone = False
        self.messages = 0  # transactions begun
        self.on_idle_end: Callable[[SmtpClient], None] | None = None
        self.on_gone: Callable[[SmtpClient], None] | None = None
        self.on_cancel: Callable[[], None] | None = None  # how to stop a connection that is coming about

    # --- opening -------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        transport: Any = self.transport
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        self._write = direct_write(transport)
        transport.registerProducer(self, True)
        self._ticker.add(self)
        self._opening.connected()

    def start_tls(self, handshake: Handshake) -> None:
        """The transport speaks TLS from here on; ``handshakeCompleted`` follows, or the end."""
        transport: Any = self.transport
        transport.startTLS(handshake)

    def handshakeCompleted(self) -> None:
        """See ``IHandshakeListener``."""
        if not self.gone:
            self._opening.handshaken()

    @property
    def level(self) -> TlsLevel:
        """What protects it: ``NONE``, ``ENCRYPT`` or ``VERIFY``."""
        return TlsLevel.NONE if self.tls is None else self.tls.level

    def be_ready(self) -> None:
        if not self.confused:
            self.usable = True
            self.deadline = float("inf")
            self.ready.callback(self)

    def refuse(self, reply: Reply, stage: str = "") -> None:
        """No transaction will be possible here; ``stage`` left out is the one it is in."""
        stage = stage or self._stage
        self.quit()
        if not self.ready.called:
            self.ready.errback(ClientFailure(reply, stage))

    # --- a transaction -------------------------------------------------------------------------------------

    def send(self, outgoing: Outgoing) -> Deferred[Sent]:
        """Send one transaction; the Deferred never fails.  Cancelling it ends the connection.

        A connection that has ended since it was taken says so, as one does that ends before its first reply.
        """
        if not self.usable:
            return succeed(Sent([Answer(LOST, "MAIL", Scope.HOST)] * len(outgoing.rcpts)))
        self.usable = False
        self.messages += 1
        kind = ChunkedTransaction if outgoing.chunking else Probe if outgoing.probe else Transaction
        self._transaction = transaction = kind(self, outgoing)
        transaction.start()
        return transaction.done

    def ended(self, keep: bool) -> None:
        """The transaction is over; the connection may be used again if ``keep``."""
        self._transaction = None
        if self.gone or self.confused:
            return
        if keep:
            self.usable = True
            self.deadline = float("inf")
        else:
            self.quit()

    # --- the wire ------------------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        if self.gone:
            return  # TLS had more for us when we ended it
        due = len(self._expected)
        replies: list[Reply] = []
        try:
            for reply in self._parser.feed(data):
                replies.append(reply)
            self.confused = len(replies) > due or (len(replies) == due and self._parser.pending)
        except BadReply:
            self.confused = True
        try:
            for reply in replies[:due]:
                self._expected.popleft()(reply)
        except BadReply:
            self.confused = True
        except Exception:
            log.failure("a reply could not be worked on")
            self.confused = True
        if self.confused:
            self.drop(CONFUSED)

    def write(self, data: bytes) -> None:
        if not self.confused:
            self._write(data)

    def expect(self, stage: str, seconds: float, handler: Callable[[Reply], None]) -> None:
        """A further reply is due, after those due before."""
        if not self._expected:
            self.step_to(stage, seconds)
        self._expected.append(handler)

    def expect_more(self, handler: Callable[[Reply], None], replies: int = 1) -> None:
        """So many further replies are due, behind one whose handler knows their stage and time."""
        self._expected.extend((handler,) * replies)

    def step_to(self, stage: str, seconds: float) -> None:
        """The next reply belongs to this stage and has so many seconds."""
        self._stage = stage
        self.deadline = self._seconds() + seconds

    def _say(self, line: bytes, stage: str, seconds: float, handler: Callable[[Reply], None]) -> None:
        self.write(line + b"\r\n")
        self.expect(stage, seconds, handler)

    # --- the end -------------------------------------------------------------------------------------------

    def quit(self) -> None:
        """Leave politely, without waiting long (RFC 5321 4.1.1.10)."""
        if self.gone:
            return
        self.usable = False
        self._expected.clear()
        self._say(b"QUIT", "QUIT", QUIT_TIME, lambda reply: self._lose())

    def keep_until(self, deadline: float) -> None:
        """Nobody uses it now: it ends itself then."""
        self.deadline = deadline

    def expire(self, now: float) -> None:
        """See ``Timed``."""
        if self.usable:
            if self.on_idle_end is not None:
                self.on_idle_end(self)
            self.quit()
        else:
            self.drop(SILENT)

    def abort(self) -> None:
        """At once."""
        self.drop(CANCELLED)

    def connectionLost(self, reason: Failure = CONNECTION_DONE) -> None:
        self._ended(self._tls_trouble(reason) if self._stage == "TLS" else LOST)

    def _tls_trouble(self, lost: Failure) -> Reply:
        why = tls_reason(lost.value) if lost.check(SSL.Error) else "the host ended the connection"
        return Reply.of(451, "4.7.5", f"TLS: no handshake: {why}")

    def drop(self, reply: Reply) -> None:
        """End the connection as it is; ``reply`` is for those who have no other."""
        transport: Any = self.transport
        self._ended(reply)
        transport.abortConnection()

    def _lose(self) -> None:
        transport: Any = self.transport
        transport.unregisterProducer()
        transport.loseConnection()

    def _ended(self, reply: Reply) -> None:
        if self.gone:
            return
        self.gone = True
        was_idle, self.usable = self.usable, False
        self._ticker.remove(self)
        if was_idle and self.on_idle_end is not None:
            self.on_idle_end(self)
        if not self.ready.called:
            self.ready.errback(ClientFailure(reply, self._stage))
        if self._transaction is not None:
            self._transaction.fail(reply, self._stage)
        if self.on_gone is not None:
            self.on_gone(self)

    def _cancelled(self, ready: Deferred[SmtpClient]) -> None:
        # First, so that the end of the connection is not taken for the host's doing.
        ready.errback(CancelledError())
        if self.transport is not None:
            self.abort()
        elif self.on_cancel is not None:
            self.on_cancel()

    # The transport tells how full its buffer is.

    def pauseProducing(self) -> None:
        if self._transaction is not None:
            self._transaction.pause()

    def resumeProducing(self) -> None:
        if self._transaction is not None:
            self._transaction.resume()

    def stopProducing(self) -> None:
        """The transport closes; ``connectionLost`` follows."""
