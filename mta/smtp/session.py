"""An ESMTP session, server side: octets in, replies out; one command at a time (RFC 5321, RFC 2920).

What it is: the state of one connection and the loop that feeds commands to ``commands/`` and writes what they
return.  Commands return a ``Reply`` or something to wait for; only the session writes.
Contract: exactly one reply to each command, in order, however the input was cut: while one command waits, no
other is looked at, and a client that goes on sending is paused.  All replies to one segment go out in one
write (RFC 2920 3.2).  No exception leaves the session.
How it fails: what a command raises becomes its reply; unknown trouble is 451 and is logged.
Limits: each from ``Context.limits``; the deadline is checked from outside by ``expire`` (see factory.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure

from mta import events
from mta.envelope import Origin, Right
from mta.reply import LOCAL_ERROR, MailFailure, Reply
from mta.routing.values import Answer
from mta.smtp import replies
from mta.smtp.commands import find
from mta.smtp.commands.data import cannot_store, end_of_data, take
from mta.smtp.context import Context
from mta.smtp.transaction import Transaction
from mta.smtp.transport import direct_write
from mta.smtp.wire import BadLine, CommandSplitter, LineTooLong
from mta.waiting import Run, as_deferred, background, drive

log = Logger()

#: What a client does after a refused session gets little time: to read our 421.
CLOSING_TIME = 30.0


class Transport(Protocol):
    """What a session needs of its transport."""

    def write(self, data: bytes) -> object: ...
    def loseConnection(self) -> object: ...
    def abortConnection(self) -> object: ...
    def pauseProducing(self) -> object: ...
    def resumeProducing(self) -> object: ...


class Session:
    """One connection.  ``newest`` gives the listener's present context."""

    __slots__ = (
        "_blocked",
        "_closing",
        "_deciding",
        "_doing",
        "_ended",
        "_held",
        "_named",
        "_newest",
        "_out",
        "_paused",
        "_splitter",
        "_stopping",
        "_transport",
        "_waiting",
        "_write",
        "client",
        "committing",
        "context",
        "deadline",
        "errors",
        "helo",
        "idle_commands",
        "messages",
        "origin",
        "port",
        "reverse_name",
        "rights",
        "session_deadline",
        "transaction",
        "transaction_deadline",
        "transactions",
    )

    def __init__(self, transport: Transport, newest: Callable[[], Context], client: str, port: int) -> None:
        self._transport = transport
        self._write = direct_write(transport)
        self._newest = newest
        self.context = context = newest()
        self.client = client
        self.port = port
        self.rights: frozenset[Right] = context.rights_of(client)
        self.reverse_name = ""
        self._named = False
        self.helo = ""
        self.origin = Origin(listener=context.listener, protocol="SMTP", client=client, port=port)
        self.transaction: Transaction | None = None
        self.errors = 0
        self.idle_commands = 0
        self.messages = 0
        self.transactions = 0
        self.committing = False  # the message had its final dot and is on its way into the spool
        self._splitter = CommandSplitter(context.limits.command_line)
        self._out: list[bytes] = []
        self._held: list[bytes] = []
        self._waiting: Run[Any] | None = None
        self._doing = b""
        self._deciding = False
        self._paused = False  # reading is paused, because of either of the next two
        self._blocked = False  # the client does not read its replies
        self._ended = False  # the client has shut down its side: nothing more will come
        self._closing = False
        self._stopping = False  # it ends after the command under way
        now = context.seconds()
        self.session_deadline = now + context.limits.session_timeout
        self.transaction_deadline = float("inf")
        self.deadline = min(now + context.limits.command_timeout, self.session_deadline)

    # --- what the protocol calls ---------------------------------------------------------------------------

    def start(self) -> None:
        """Greet."""
        self._write(self.context.banner.wire)

    def feed(self, octets: bytes) -> None:
        """Octets from the client."""
        if self._closing:
            return
        if self._waiting is not None or self._blocked:
            # It sends while its turn is over: keep this piece, and read no more until then.
            self._held.append(octets)
            self._pause()
            return
        try:
            self._run(octets)
        except Exception:
            log.failure("session with {client} failed", client=self.client)
            self.close(LOCAL_ERROR)

    def blocked(self, blocked: bool) -> None:
        """The transport's buffer of replies is full, or has emptied."""
        self._blocked = blocked
        if blocked:
            self._pause()
        elif self._waiting is None:
            self._go_on_safely()

    def input_ended(self) -> None:
        """The client will send no more, but may well wait for its replies; then the connection ends."""
        self._ended = True
        if self._waiting is None and not self._blocked:
            self._go_on_safely()

    def expire(self, now: float) -> None:
        """See ``Timed``: a session past its deadline is closed (RFC 5321 4.5.3.2.7); a commit is waited for."""
        if self.committing:
            return
        if self._closing:
            self._transport.abortConnection()
        elif self._waiting is None:
            self.close(replies.TIMED_OUT)
        else:
            waiting = self._waiting
            self.close(replies.LOOKUP_TIMED_OUT)
            waiting.cancel()

    def lost(self) -> None:
        """The connection is gone: nothing of an open transaction stays (RFC 5321 4.1.1.4)."""
        self._closing = True
        self._held.clear()
        if self.committing:
            # The final dot has come: the commit goes on, and nobody is told.
            return
        if self._waiting is not None:
            self._waiting.cancel()
        self.reset()

    def shut_down(self) -> None:
        """The service stops: 421, after the command under way has had its reply (RFC 5321 3.8)."""
        self._stopping = True
        if self._waiting is None:
            self.close(replies.SHUTTING_DOWN)

    def close(self, last: Reply | None = None) -> None:
        """Say a last word, then end the connection."""
        if self._closing:
            return
        self._closing = True
        if last is not None:
            self._out.append(last.wire)
        self._flush()
        self.reset()
        self.deadline = self.context.seconds() + CLOSING_TIME
        self._transport.loseConnection()

    # --- what commands use ---------------------------------------------------------------------------------

    def begin(self, transaction: Transaction) -> None:
        """A mail transaction is open."""
        self.transaction = transaction
        self.transactions += 1
        self.transaction_deadline = self.context.seconds() + self.context.limits.transaction_timeout

    def reset(self) -> None:
        """Forget the transaction and what it held (RFC 5321 4.1.1.5)."""
        transaction, self.transaction = self.transaction, None
        self.transaction_deadline = float("inf")
        if transaction is not None:
            self.context.memory.used -= transaction.charged
            if transaction.incoming is not None:
                transaction.incoming.abort()

    def greeted(self, name: str, protocol: str) -> None:
        """HELO or EHLO said who it is; ``protocol`` as in Received (RFC 3848)."""
        self.helo = name
        self.origin = Origin(
            listener=self.context.listener,
            protocol=protocol,
            client=self.client,
            port=self.port,
            helo=name,
            reverse_name=self.reverse_name,
        )

    def look_up_name(self) -> None:
        """Ask for the client's reverse name, once; it stands in Received if it comes in time, nobody waits."""
        if self._named or not self.client:
            return
        self._named = True

        def found(answer: Answer) -> None:
            if answer.records:
                self.reverse_name = str(answer.records[0])
                self.origin = replace(self.origin, reverse_name=self.reverse_name)

        background(as_deferred(self.context.resolver.ptr(self.client)).addCallback(found), "reverse lookup")

    def renew_context(self) -> None:
        """From here on the newest configuration."""
        newest = self._newest()
        if newest is not self.context:
            self.context = newest
            self.rights = newest.rights_of(self.client)
            self._splitter.limit = newest.limits.command_line

    # --- the loop ------------------------------------------------------------------------------------------

    def _run(self, octets: bytes) -> None:
        transaction = self.transaction
        if transaction is not None and transaction.decoder is not None:
            self._data(transaction, octets)
        else:
            self._splitter.feed(octets)
        while self._waiting is None and not self._closing:
            transaction = self.transaction
            if transaction is not None and transaction.decoder is not None:
                if not self._splitter.waiting:
                    break
                self._data(transaction, self._splitter.take_rest())
                continue
            try:
                line = self._splitter.next_line()
            except BadLine as error:
                too_long = isinstance(error, LineTooLong)
                self._answer(replies.LINE_TOO_LONG if too_long else replies.BAD_LINE, b"")
                continue
            if line is None:
                break
            self._command(line)
        self._flush()

    def _command(self, line: bytes) -> None:
        verb, _, argument = line.rstrip(b" \t").partition(b" ")
        name = verb.upper()
        if b"\r" in line or b"\0" in line:
            self._answer(replies.BAD_LINE, b"")
            return
        try:
            answer = find(name)(self, argument.strip(b" \t"))
            if isinstance(answer, Reply):
                self._answer(answer, name)
            else:
                self._wait(answer, name)
        except Exception as error:
            self._answer(self._trouble(error), name)

    def _wait(self, coroutine: Any, name: bytes) -> None:
        """Drive a command that may have to wait; go on when it is done."""
        self._doing = name
        self._deciding = True  # its reply, if it comes at once, is answered in the loop that is running
        self._waiting = drive(coroutine, self._finished)
        self._deciding = False

    def _finished(self, reply: Reply | Failure | None) -> None:
        if self._closing and isinstance(reply, Failure) and isinstance(reply.value, CancelledError):
            self._waiting = None  # cancelled by ourselves; by anybody else it is trouble like any other
            return
        if isinstance(reply, Failure):
            reply = self._trouble(reply.value)
        if self._deciding:
            self._answer(reply, self._doing)
            return
        self._waiting = None
        if self._closing:
            return
        try:
            self._answer(reply, self._doing)
            if self._stopping:
                self.close(replies.SHUTTING_DOWN)
            self._flush()
            self._go_on()
        except Exception:
            log.failure("session with {client} failed", client=self.client)
            self.close(LOCAL_ERROR)

    def _data(self, transaction: Transaction, octets: bytes) -> None:
        now = self.context.seconds()
        self.deadline = min(now + self.context.limits.data_timeout, self.transaction_deadline, self.session_deadline)
        wait = take(self, transaction, octets)
        decoder = transaction.decoder
        assert decoder is not None
        if decoder.done:
            self._splitter.feed(decoder.rest)
            decoder.rest = b""
        if wait is not None:
            self._wait(self._after(wait, transaction), b"DATA")
        elif decoder.done:
            self._wait(end_of_data(self, transaction), b"DATA")

    async def _after(self, wait: Any, transaction: Transaction) -> Reply | None:
        """The spool wants time; then the end of data, if it has come meanwhile."""
        try:
            await wait
        except CancelledError:
            raise
        except Exception as error:
            cannot_store(self, transaction, error)
        decoder = transaction.decoder
        if decoder is not None and decoder.done:
            return await end_of_data(self, transaction)
        return None

    def _go_on_safely(self) -> None:
        try:
            self._go_on()
        except Exception:
            log.failure("session with {client} failed", client=self.client)
            self.close(LOCAL_ERROR)

    def _go_on(self) -> None:
        """Take up what was kept while a command waited, then let the client send again."""
        while self._held and self._waiting is None and not self._blocked and not self._closing:
            held = b"".join(self._held)
            self._held.clear()
            self._run(held)
        if self._waiting is None and not self._blocked and not self._closing:
            self._run(b"")
            if self._waiting is None and not self._blocked and not self._closing:
                if self._ended:
                    self.close()
                elif self._paused:
                    self._paused = False
                    self._transport.resumeProducing()

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._transport.pauseProducing()

    def _answer(self, reply: Reply | None, name: bytes) -> None:
        """Queue the reply to one command; count it if it is an error."""
        if self._closing or reply is None:
            return
        self._out.append(reply.wire)
        limits = self.context.limits
        if reply.code >= 400:
            self.context.emit(
                events.COMMAND_REFUSED(client=self.client, command=name.decode("ascii", "replace"), reply=str(reply)),
                "",
            )
            if reply.code == 421:
                self.close()
                return
            if reply.code >= 500:
                self.errors += 1
                if self.errors >= limits.errors:
                    self.close(replies.TOO_MANY_ERRORS)
                    return
        elif reply.code == 221:
            self.close()
            return
        now = self.context.seconds()
        self.deadline = min(now + limits.command_timeout, self.transaction_deadline, self.session_deadline)

    def _trouble(self, error: BaseException | None) -> Reply:
        if isinstance(error, MailFailure):
            return error.reply
        log.failure("a command of {client} failed", failure=Failure(error), client=self.client)
        return LOCAL_ERROR

    def _flush(self) -> None:
        if self._out:
            out = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out.clear()
            self._write(out)
