"""An ESMTP session, server side: octets in, replies out; one command at a time (RFC 5321, RFC 2920).

What it is: the state of one connection.  ``Turns`` feeds commands to it, ``commands/`` runs them; they return a
``Reply`` or something to wait for, and only the session writes.
Contract: see turns.py; nothing that a client said before TLS counts after it (RFC 3207 4.2).
How it fails: what a command raises becomes its reply; unknown trouble is 451 and is logged.
Limits: each from ``Context.limits``; the deadline is checked from outside by ``expire`` (see factory.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from twisted.internet.defer import Deferred

from mta import events
from mta.accounts.values import Login
from mta.envelope import Origin, Right
from mta.policy.engine import Stage
from mta.reply import Reply
from mta.sasl.server import Channel
from mta.smtp import replies
from mta.smtp.commands import find
from mta.smtp.context import Context, ListenerTls
from mta.smtp.patience import greeting
from mta.smtp.policing import at_connect
from mta.smtp.standing import Standing, rights
from mta.smtp.telling import tell_command, tell_unfinished
from mta.smtp.transaction import Transaction
from mta.smtp.transport import Transport
from mta.smtp.turns import Turns

#: What a client does after a refused session gets little time: to read our 421.
CLOSING_TIME = 30.0
#: And less when the service stops: meanwhile nobody is served.
STOPPING_TIME = 2.0


class Handshake:
    """A TLS handshake under way: the session waits for it as for a lookup.  Nothing can be said until its end."""

    __slots__ = ("given_up", "greet")

    def __init__(self, greet: bool) -> None:
        self.greet = greet  # it came before the greeting
        self.given_up = ""  # why we ended it

    def cancel(self) -> None:
        """It ends with the connection."""


class Session(Turns):
    """One connection.  ``newest`` gives the listener's present context."""

    __slots__ = (
        "_newest",
        "channel",
        "committing",
        "deadline",
        "errors",
        "helo",
        "idle_commands",
        "login",
        "messages",
        "origin",
        "pause",
        "port",
        "reverse_name",
        "rights",
        "session_deadline",
        "standing",
        "tls",
        "told",
        "transaction",
        "transaction_deadline",
        "transactions",
    )

    def __init__(self, transport: Transport, newest: Callable[[], Context], client: str, port: int) -> None:
        self._newest = newest
        context = newest()
        super().__init__(transport, context, client, find)
        self.port = port
        self.standing = Standing(peer=client)
        self.login: Login | None = None  # by AUTH; None: nobody has logged in so
        self.rights: frozenset[Right] = context.rights_of(client)
        self.reverse_name = ""
        self.helo = ""
        self.tls = ""  # what was negotiated, as text for people; "" in clear
        self.channel: Channel | None = None  # what that has for logins
        self.origin = Origin(listener=context.listener, protocol="SMTP", client=client, port=port)
        self.transaction: Transaction | None = None
        self.errors = 0
        self.idle_commands = 0
        self.messages = 0
        self.transactions = 0
        self.pause: Deferred[None] | None = None  # we let the client wait, for nothing but time (patience.py)
        self.told: Reply | None = None  # this one, when it comes, is in the log (telling.py)
        self.committing = False  # the message had its final dot and is on its way into the spool
        now = context.seconds()
        self.session_deadline = now + context.limits.session_timeout
        self.transaction_deadline = float("inf")
        self.deadline = min(now + context.limits.command_timeout, self.session_deadline)

    # --- what the protocol calls ---------------------------------------------------------------------------

    def start(self) -> None:
        """Greet; on a listener with implicit TLS after the handshake (RFC 8314 3)."""
        tls = self.context.tls
        if tls is not None and tls.implicit:
            self._start_tls(tls, greet=True)
        else:
            self._greet()

    def _greet(self) -> None:
        """At once; or after a time in which the client has to keep silent (patience.py), or when policies let it."""
        policies = self.context.policies
        if policies is not None and Stage.CONNECT in policies.stages:
            self._wait(greeting(self, self._held, at_connect), b"")
            self._flush()
        elif self.context.limits.greet_delay:
            self._wait(greeting(self, self._held), b"")
        else:
            self._write(self.context.banner.wire)

    def expire(self, now: float) -> None:
        """See ``Timed``: a session past its deadline is closed (RFC 5321 4.5.3.2.7); a commit is waited for."""
        if self.committing:
            return
        if self._closing:
            self._transport.abortConnection()
        elif self.handshake is not None:
            self._give_up(self.handshake, "it took too long")
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
        if self.transaction is not None:
            tell_unfinished(self, self.transaction, "the client went away")
        self.reset()

    def shut_down(self) -> None:
        """The service stops: 421, after the command under way has had its reply (RFC 5321 3.8)."""
        self._stopping = True
        if self._closing:
            self.deadline = min(self.deadline, self.context.seconds() + STOPPING_TIME)
        if self._waiting is None or self.handshake is not None:
            self.close(replies.SHUTTING_DOWN)
        elif self.pause is not None:
            self.pause.cancel()

    def close(self, last: Reply | None = None) -> None:
        """Say a last word, then end the connection."""
        if self._closing:
            return
        self._closing = True
        if self.handshake is not None:
            self._give_up(self.handshake, str(last or "the session ended"))
            return
        if last is not None:
            self._out.append(last.wire)
            if self.transaction is not None:
                tell_unfinished(self, self.transaction, str(last))
        self._flush()
        self.reset()
        if self.tls:
            # Twisted's TLS says that it closes only once nobody is registered who might still write.
            self._transport.unregisterProducer()
        self.deadline = self.context.seconds() + (STOPPING_TIME if self._stopping else CLOSING_TIME)
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
        self.intake = None
        self.transaction_deadline = float("inf")
        if self.standing.forwarded:
            self.standing.forwarded = {}
        if transaction is not None:
            self.context.memory.used -= transaction.charged
            self.context.memory.promised -= transaction.room
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
            tls=self.tls,
            login=self.standing.login,
        )

    @property
    def closing(self) -> bool:
        """Nothing that is still answered will be sent."""
        return self._closing

    @property
    def handshake(self) -> Handshake | None:
        """The TLS handshake under way."""
        return self._waiting if isinstance(self._waiting, Handshake) else None

    def _give_up(self, handshake: Handshake, why: str) -> None:
        handshake.given_up = why
        self._closing = True
        self._transport.abortConnection()

    def secured(self, tls: str, channel: Channel | None = None) -> None:
        """The handshake is done; ``tls`` says what was negotiated, ``channel`` has what logins need of it.

        The session begins anew (RFC 3207 4.2): a login in clear counts no longer."""
        handshake = self.handshake
        assert handshake is not None
        self._waiting, self._must_read = None, False
        self.tls, self.channel = tls, channel
        self.helo = ""
        self.reset()
        self.standing.forget_login(self)
        self.renew_context()
        self.origin = replace(self.origin, protocol="SMTP", helo="", tls=tls, login="")
        now = self.context.seconds()
        self.deadline = min(now + self.context.limits.command_timeout, self.session_deadline)
        self.context.emit(events.TLS_STARTED(client=self.client, tls=tls), "")
        if handshake.greet:
            self._greet()

    def _start_tls(self, tls: ListenerTls, greet: bool = False) -> None:
        """From here on the transport speaks TLS.  What was sent before it is never run (CVE-2011-0411)."""
        self._flush()
        self._splitter.take_rest()
        self._held.clear()
        self._waiting, self._must_read = Handshake(greet), True
        self.deadline = min(self.context.seconds() + tls.handshake_timeout, self.session_deadline)
        self._transport.startTLS(tls.creator)
        # Twisted's TLS does not know that we were asked to wait before it: it would never ask us to go on.
        self._blocked = False
        if self._paused:
            self._paused = False
            self._transport.resumeProducing()

    def renew_context(self) -> None:
        """From here on the newest configuration."""
        newest = self._newest()
        if newest is not self.context:
            self.context = newest
            self.rights = rights(self)
            self._splitter.limit = newest.limits.command_line

    # --- what the loop calls -------------------------------------------------------------------------------

    def _data_awaited(self) -> None:
        now = self.context.seconds()
        self.deadline = min(now + self.context.limits.data_timeout, self.transaction_deadline, self.session_deadline)

    def _answer(self, reply: Reply | None, name: bytes, said: bytes = b"") -> None:
        """Queue the reply to one command; count it if it is an error."""
        if self._closing or reply is None:
            return
        self._out.append(reply.wire)
        limits = self.context.limits
        if reply.code >= 400:
            tell_command(self, name, said, reply)
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
        elif reply is replies.START_TLS:
            tls = self.context.tls
            assert tls is not None
            self._start_tls(tls)
            return
        now = self.context.seconds()
        self.deadline = min(now + limits.command_timeout, self.transaction_deadline, self.session_deadline)
