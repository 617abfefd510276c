"""A client's end of a connection in memory, and the mail transaction that it goes through.

Contract: the octets are those that a client would send and read; the factory and its session are the real ones.
How it fails: a server that closes the connection ends the dialogue there; what was said before is returned.
``ValueError`` for text that would be two commands.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from mta.envelope import Right
from mta.reply import Reply
from mta.smtp.factory import ServerProtocol, SmtpFactory
from mta.smtp.standing import Named, become
from mta.smtp.wire import DotStuffer, ReplyParser
from mta.trial.values import Mail, Said

_PORT = 40_000


class Wire:
    """The transport of the server's side, and what the client reads of it."""

    def __init__(self) -> None:
        self.closed = False
        self._parser = ReplyParser()
        self._replies: deque[Reply] = deque()
        self._waiting: Deferred[Reply | None] | None = None

    async def reply(self) -> Reply | None:
        """The next reply; None: there is none, and the connection has ended."""
        if self._replies:
            return self._replies.popleft()
        if self.closed:
            return None
        waiting: Deferred[Reply | None] = Deferred()
        self._waiting = waiting
        return await waiting

    def _tell(self, reply: Reply | None) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(reply)
        elif reply is not None:
            self._replies.append(reply)

    # --- as the session's transport ------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """See ``mta.smtp.transport.Transport``."""
        for reply in self._parser.feed(data):
            self._tell(reply)

    def loseConnection(self) -> None:
        self.closed = True
        self._tell(None)

    abortConnection = loseConnection

    def pauseProducing(self) -> None:
        """Nothing comes but what is asked for."""

    resumeProducing = pauseProducing

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """All that is written is taken at once."""

    unregisterProducer = pauseProducing


class Heard(NamedTuple):
    """The replies; as in ``Result``."""

    opening: list[Said]
    mail: Reply | None
    rcpt: list[Reply | None]
    data: list[Reply]
    rights: frozenset[Right]


async def converse(factory: SmtpFactory, mail: Mail) -> Heard:
    """Send the mail to the factory's listener."""
    wire = Wire()
    kind = IPv6Address if ":" in mail.client else IPv4Address
    protocol: Any = factory.buildProtocol(kind("TCP", mail.client, _PORT))
    protocol.makeConnection(wire)
    try:
        return await _Dialogue(wire, protocol, mail, factory.context.lmtp).run()
    finally:
        protocol.connectionLost(Failure(ConnectionDone()))


class _Dialogue:
    def __init__(self, wire: Wire, protocol: Any, mail: Mail, lmtp: bool) -> None:
        self.wire = wire
        self.protocol = protocol
        self.plan = mail
        self.lmtp = lmtp
        self.heard = Heard([], None, [None] * len(mail.recipients), [], frozenset())

    async def run(self) -> Heard:
        plan = self.plan
        if not await self._open():
            return self.heard
        utf8 = not all(address.isascii() for address in (plan.sender, *plan.recipients))
        size = f" SIZE={plan.size}" if plan.size else ""
        mail = await self._say(f"MAIL FROM:<{plan.sender}>{size}{' SMTPUTF8' if utf8 else ''}")
        heard = self.heard = self.heard._replace(mail=mail)
        if mail is None or not mail.positive:
            return heard
        for number, recipient in enumerate(plan.recipients):
            heard.rcpt[number] = await self._say(f"RCPT TO:<{recipient}>")
        taken = sum(1 for reply in heard.rcpt if reply is not None and reply.positive)
        if taken:
            await self._message(taken if self.lmtp else 1)
        return heard

    async def _open(self) -> bool:
        """The greeting and EHLO; is anything to follow?"""
        greeting = await self.wire.reply()
        if greeting is None:
            return False
        self.heard.opening.append(Said("", greeting))
        session = self.protocol.session if isinstance(self.protocol, ServerProtocol) else None
        if session is None or not greeting.positive:
            return False
        if self.plan.login:
            become(session, Named(login=self.plan.login))
        self.heard = self.heard._replace(rights=session.rights)
        command = f"{'LHLO' if self.lmtp else 'EHLO'} {self.plan.helo}"
        reply = await self._say(command)
        if reply is not None:
            self.heard.opening.append(Said(command, reply))
        return reply is not None and reply.positive

    async def _message(self, replies: int) -> None:
        reply = await self._say("DATA")
        if reply is None or reply.code != 354:
            if reply is not None:
                self.heard.data.append(reply)
            return
        stuffer = DotStuffer()
        self.protocol.dataReceived(stuffer.feed(self.plan.message) + stuffer.end())
        for _ in range(replies):
            reply = await self.wire.reply()
            if reply is not None:
                self.heard.data.append(reply)

    async def _say(self, command: str) -> Reply | None:
        if any(letter in command for letter in "\r\n\0"):
            raise ValueError(f"no client can send {command!r}")
        if not self.wire.closed:
            self.protocol.dataReceived(command.encode("utf-8", "surrogateescape") + b"\r\n")
        return await self.wire.reply()
