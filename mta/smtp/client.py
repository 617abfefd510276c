"""The client side of SMTP: one connection to a server, and the mail transactions on it (RFC 5321 3.3, 4.5.3.2).

What it is: a Twisted protocol that greets, learns what the server offers and sends one transaction after another.
Contract: with PIPELINING, MAIL, RCPT and DATA go out in one write and the body with its final dot in another;
without, step by step.  Every recipient of a transaction gets a reply and the stage at which it came.  Replies that
nobody asked for end the connection: what follows them could be taken for the reply to something else.
How it fails: ``ready`` fails with ``ClientFailure``.  A transaction never fails: recipients that have no reply of
their own get that of the trouble, with scope host, and ``lost_after_dot`` says whether the message may have been
taken all the same.
Limits: bodies are sent in the chunks of the spool, held back while the transport's buffer is full; each step has
its time-out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.protocol import connectionDone as CONNECTION_DONE
from twisted.logger import Logger
from twisted.python.failure import Failure

from mta.envelope import Scope
from mta.interfaces import IChunks
from mta.reply import Reply
from mta.smtp.extensions import Capabilities
from mta.smtp.ticker import Ticker
from mta.smtp.wire import BadReply, DotStuffer, ReplyParser
from mta.waiting import background, step

log = Logger()

LOST: Final = Reply.of(421, "4.4.2", "The connection was lost")
SILENT: Final = Reply.of(421, "4.4.2", "The server did not answer in time")
CONFUSED: Final = Reply.of(421, "4.5.0", "The server sent what is no reply or not its turn")
CANCELLED: Final = Reply.of(421, "4.3.2", "The delivery was stopped")
#: Seconds to wait for the reply to QUIT.
QUIT_TIME: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds for each step (RFC 5321 4.5.3.2)."""

    greeting: float = 300.0
    mail: float = 300.0
    rcpt: float = 300.0
    data: float = 120.0
    block: float = 180.0
    dot: float = 600.0


class ClientFailure(Exception):
    """The server cannot be used: ``reply`` is its word or ours, ``stage`` where it happened."""

    def __init__(self, reply: Reply, stage: str) -> None:
        super().__init__(f"{stage}: {reply}")
        self.reply = reply
        self.stage = stage


class Outgoing(NamedTuple):
    """One transaction to send: MAIL and RCPT as on the wire, without CRLF; and how the octets are opened."""

    mail: bytes
    rcpts: tuple[bytes, ...]
    open: Callable[[], IChunks]


class Answer(NamedTuple):
    """What the server said about one recipient, and when."""

    reply: Reply
    stage: str
    scope: Scope


@dataclass(slots=True)
class Sent:
    """How a transaction ended: an answer for each of its recipients, in order."""

    answers: list[Answer]
    lost_after_dot: bool = False


class SmtpClient(Protocol):
    """One connection.  ``ready`` fires with it once the server has taken our greeting."""

    def __init__(self, hello: str, timeouts: Timeouts, seconds: Callable[[], float], ticker: Ticker) -> None:
        self._hello = hello
        self._timeouts = timeouts
        self._seconds = seconds
        self._ticker = ticker
        self._parser = ReplyParser()
        self._expected: deque[Callable[[Reply], None]] = deque()
        self._stage = "connect"
        self._sending: _Sending | None = None
        self.ready: Deferred[SmtpClient] = Deferred(self._cancelled)
        self.capabilities = Capabilities()
        self.deadline = seconds() + timeouts.greeting
        self.usable = False  # a transaction may be begun
        self.gone = False
        self.messages = 0  # transactions begun
        self.on_idle_end: Callable[[SmtpClient], None] | None = None
        self.on_cancel: Callable[[], None] | None = None  # how to stop a connection that is coming about

    # --- greeting ------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        transport: Any = self.transport
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        transport.registerProducer(self, True)
        self._ticker.add(self)
        self._await("greeting", self._timeouts.greeting, self._greeted)

    def _greeted(self, reply: Reply) -> None:
        if reply.code != 220:
            self._refused(reply)
            return
        self._say(b"EHLO " + self._hello.encode("ascii"), "EHLO", self._timeouts.greeting, self._ehlo)

    def _ehlo(self, reply: Reply) -> None:
        if reply.code == 250:
            self.capabilities = Capabilities.read(reply.lines[1:])
            self._be_ready()
        elif reply.permanent:
            # RFC 5321 3.2: a server that does not know EHLO gets HELO.
            self._say(b"HELO " + self._hello.encode("ascii"), "HELO", self._timeouts.greeting, self._helo)
        else:
            self._refused(reply)

    def _helo(self, reply: Reply) -> None:
        if reply.code == 250:
            self._be_ready()
        else:
            self._refused(reply)

    def _be_ready(self) -> None:
        self.usable = True
        self.deadline = float("inf")
        self.ready.callback(self)

    def _refused(self, reply: Reply) -> None:
        """No transaction will be possible here."""
        stage = self._stage
        self.quit()
        if not self.ready.called:
            self.ready.errback(ClientFailure(reply, stage))

    # --- a transaction -------------------------------------------------------------------------------------

    def send(self, outgoing: Outgoing) -> Deferred[Sent]:
        """Send one transaction; the Deferred never fails.  Cancelling it ends the connection."""
        self.usable = False
        self.messages += 1
        self._sending = sending = _Sending(self, outgoing)
        sending.start()
        return sending.done

    def expect(self, stage: str, seconds: float, handler: Callable[[Reply], None]) -> None:
        """A further reply is due, after those due before."""
        if not self._expected:
            self._stage = stage
            self.deadline = self._seconds() + seconds
        self._expected.append(handler)

    def sent(self, sending: _Sending, keep: bool) -> None:
        """A transaction is over; the connection may be used again if ``keep``."""
        self._sending = None
        if keep and not self.gone:
            self.usable = True
            self.deadline = float("inf")
        elif not self.gone:
            self.quit()

    # --- the wire ------------------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        try:
            for reply in self._parser.feed(data):
                if not self._expected:
                    raise BadReply("a reply that nobody asked for")
                self._expected.popleft()(reply)
        except BadReply:
            self._broken(CONFUSED)
        except Exception:
            log.failure("a reply could not be worked on")
            self._broken(CONFUSED)

    def write(self, data: bytes) -> None:
        transport: Any = self.transport
        transport.write(data)

    def step_to(self, stage: str, seconds: float) -> None:
        """The next reply belongs to this stage and has so many seconds."""
        self._stage = stage
        self.deadline = self._seconds() + seconds

    def _await(self, stage: str, seconds: float, handler: Callable[[Reply], None]) -> None:
        self.step_to(stage, seconds)
        self._expected.append(handler)

    def _say(self, line: bytes, stage: str, seconds: float, handler: Callable[[Reply], None]) -> None:
        self.write(line + b"\r\n")
        self._await(stage, seconds, handler)

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
            self._broken(SILENT)

    def abort(self) -> None:
        """At once."""
        self._broken(CANCELLED)

    def connectionLost(self, reason: Failure = CONNECTION_DONE) -> None:
        self._ended(LOST)

    def _broken(self, reply: Reply) -> None:
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
        if self._sending is not None:
            self._sending.fail(reply, self._stage)

    def _cancelled(self, ready: Deferred[SmtpClient]) -> None:
        if self.transport is not None:
            self.abort()
        elif self.on_cancel is not None:
            self.on_cancel()

    # The transport tells how full its buffer is.

    def pauseProducing(self) -> None:
        if self._sending is not None:
            self._sending.pause()

    def resumeProducing(self) -> None:
        if self._sending is not None:
            self._sending.resume()

    def stopProducing(self) -> None:
        """The transport closes; ``connectionLost`` follows."""


class _Sending:
    """One transaction under way."""

    __slots__ = (
        "_accepted",
        "_answers",
        "_client",
        "_data_sent",
        "_heard",
        "_outgoing",
        "_paused",
        "_resumed",
        "_streaming",
        "_timeouts",
        "done",
    )

    def __init__(self, client: SmtpClient, outgoing: Outgoing) -> None:
        self._client = client
        self._timeouts = client._timeouts
        self._outgoing = outgoing
        self._answers: list[Answer | None] = [None] * len(outgoing.rcpts)
        self._accepted: list[int] = []
        self._heard = 0  # replies to RCPT; they come in order
        self._data_sent = False
        self._streaming: Deferred[Any] | None = None
        self._paused = False
        self._resumed: Deferred[None] | None = None
        self.done: Deferred[Sent] = Deferred(lambda _: client.abort())

    def start(self) -> None:
        client, outgoing, times = self._client, self._outgoing, self._timeouts
        if not client.capabilities.pipelining:
            client.write(outgoing.mail + b"\r\n")
            client.expect("MAIL", times.mail, self._mail_alone)
            return
        # RFC 2920 3.1: DATA may end a group of commands.
        client.write(b"\r\n".join((outgoing.mail, *outgoing.rcpts, b"DATA\r\n")))
        client.expect("MAIL", times.mail, self._mail)
        for _ in outgoing.rcpts:
            client.expect("RCPT", times.rcpt, self._rcpt)
        client.expect("DATA", times.data, self._data)

    # --- replies -------------------------------------------------------------------------------------------

    def _mail(self, reply: Reply) -> None:
        if not 200 <= reply.code < 300:
            self._answer_all(reply, "MAIL", Scope.MESSAGE)
        self._client.step_to("RCPT", self._timeouts.rcpt)

    def _rcpt(self, reply: Reply) -> None:
        index = self._heard
        self._heard += 1
        if self._answers[index] is None:  # else MAIL's refusal is its answer
            if 200 <= reply.code < 300:
                self._accepted.append(index)
            else:
                scope = Scope.HOST if reply.code == 421 else Scope.RECIPIENT
                self._answers[index] = Answer(reply, "RCPT", scope)
        if self._heard < len(self._answers):
            self._client.step_to("RCPT", self._timeouts.rcpt)
        else:
            self._client.step_to("DATA", self._timeouts.data)

    def _data(self, reply: Reply) -> None:
        if reply.code == 354:
            if self._accepted:
                self._send_body()
            else:
                # RFC 2920 3.1: it began to take data for nobody; an empty message ends that.
                self._client.write(b".\r\n")
                self._data_sent = True
                self._client.expect("end of data", self._timeouts.dot, lambda _: self._finish())
            return
        for index in self._accepted:
            self._answers[index] = Answer(reply, "DATA", _scope(reply))
        self._accepted.clear()
        self._finish(reset=True)

    def _final(self, reply: Reply) -> None:
        early = self._streaming is not None
        for index in self._accepted:
            self._answers[index] = Answer(reply, "end of data", _scope(reply))
        self._accepted.clear()
        if early:
            # It did not wait for the end: its word counts, unless it says yes to half a message.
            if reply.positive:
                self._answer_all(CONFUSED, "data", Scope.HOST)
            self._finish(keep=False)
        else:
            self._finish()

    # --- step by step, for a server without PIPELINING -------------------------------------------------------

    def _mail_alone(self, reply: Reply) -> None:
        self._mail(reply)
        if 200 <= reply.code < 300:
            self._next_rcpt()
        else:
            self._finish(reset=True)

    def _next_rcpt(self) -> None:
        if self._heard < len(self._answers):
            self._client.write(self._outgoing.rcpts[self._heard] + b"\r\n")
            self._client.expect("RCPT", self._timeouts.rcpt, self._rcpt_alone)
        elif self._accepted:
            self._client.write(b"DATA\r\n")
            self._client.expect("DATA", self._timeouts.data, self._data)
        else:
            self._finish(reset=True)

    def _rcpt_alone(self, reply: Reply) -> None:
        self._rcpt(reply)
        if reply.code == 421:
            self._finish(keep=False)
        else:
            self._next_rcpt()

    # --- the body ------------------------------------------------------------------------------------------

    def _send_body(self) -> None:
        # Expected from the beginning: a server may say no in the middle.
        self._client.expect("data", self._timeouts.block, self._final)
        try:
            done, work = step(self._stream())
        except Exception:
            log.failure("the octets of a message could not be read")
            self._client._broken(CANCELLED)
            return
        if not done and isinstance(work, Deferred):
            self._streaming = background(work, "sending a message", lambda _: self._client._broken(CANCELLED))

    async def _stream(self) -> None:
        client = self._client
        stuffer = DotStuffer()
        chunks = self._outgoing.open()
        first: list[bytes] | None = []  # small messages go out in one write
        try:
            while True:
                chunk = chunks.next()
                if not isinstance(chunk, bytes):
                    chunk = await chunk
                if client.gone:
                    return
                if not chunk:
                    break
                stuffed = stuffer.feed(chunk)
                if first is not None and not first:
                    first.append(stuffed)
                    continue
                if first is not None:
                    stuffed, first = first[0] + stuffed, None
                client.write(stuffed)
                client.step_to("data", self._timeouts.block)
                if self._paused:
                    self._resumed = Deferred()
                    await self._resumed
        finally:
            chunks.close()
        client.write(b"".join((*(first or ()), stuffer.end())))
        self._streaming = None
        self._data_sent = True
        client.step_to("end of data", self._timeouts.dot)

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        resumed, self._resumed = self._resumed, None
        if resumed is not None:
            resumed.callback(None)

    # --- the end -------------------------------------------------------------------------------------------

    def _answer_all(self, reply: Reply, stage: str, scope: Scope) -> None:
        scope = Scope.HOST if reply.code == 421 else scope
        self._answers = [answer or Answer(reply, stage, scope) for answer in self._answers]

    def _finish(self, keep: bool = True, reset: bool = False) -> None:
        answers = [answer for answer in self._answers if answer is not None]
        if any(answer.reply.code == 421 for answer in answers):
            keep = False
        if keep and reset:
            # RFC 5321 4.1.4: what MAIL began is still open on the server.
            self._client.write(b"RSET\r\n")
            self._client.expect("RSET", self._timeouts.mail, lambda reply: self._end(answers, reply.code == 250))
        else:
            self._end(answers, keep)

    def _end(self, answers: Sequence[Answer], keep: bool) -> None:
        if self.done.called:
            return
        self._client.sent(self, keep)
        self.done.callback(Sent(list(answers)))

    def fail(self, reply: Reply, stage: str) -> None:
        """The connection is gone: who has no answer yet gets this one."""
        if self.done.called:
            return
        after_dot = self._data_sent and bool(self._accepted)
        self._answer_all(reply, stage, Scope.HOST)
        streaming, self._streaming = self._streaming, None
        self._client._sending = None
        if streaming is not None:
            self.resume()
            streaming.cancel()
        answers = [answer for answer in self._answers if answer is not None]
        self.done.callback(Sent(answers, lost_after_dot=after_dot))


def _scope(reply: Reply) -> Scope:
    return Scope.HOST if reply.code == 421 else Scope.MESSAGE
