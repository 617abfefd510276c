"""The listener for local programs: sessions whose client is a user of this machine, known by the socket.

What it is: a factory of ordinary sessions (``mta.smtp``): same commands, limits, policies and replies.  What differs:
who the client is says the system (unix(7), SO_PEERCRED), and never changes; names without a domain get one.
Contract: ``uid:N`` is the client, the login and what brakes count; ``limits.connections_per_client`` holds for it.
Limits: a process that hands its connection to another's has spoken for it; that is what it may do with its mail too.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol

from mta import events
from mta.accounts.values import Account, Login
from mta.envelope import LOCAL
from mta.local.accounts import BY_SYSTEM
from mta.local.pickup import Pickup
from mta.local.taking import Reporter, Taking
from mta.reply import Reply
from mta.sendmail.submit import DOMAIN
from mta.sendmail.users import User
from mta.smtp.commands import Command, find
from mta.smtp.commands.ehlo import ehlo
from mta.smtp.context import Context
from mta.smtp.factory import Connections, ServerProtocol, SmtpFactory
from mta.smtp.session import Session
from mta.smtp.standing import rights
from mta.smtp.transport import Transport

#: A path without a domain, in the argument of MAIL or RCPT.
_BARE: Final = re.compile(rb'((?:FROM|TO):[ ]*<)([^<>@" ,:]+|"(?:[^"\\]|\\.)*")(>.*)\Z', re.IGNORECASE | re.DOTALL)
_CREDENTIALS: Final = "3i"


def peer_of(sock: Any) -> int:
    """The user id at the other end of a UNIX socket."""
    data = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(_CREDENTIALS))
    uid: int = struct.unpack("=iII", data)[1]
    return uid


def qualified(argument: bytes, domain: str) -> bytes:
    """The argument of MAIL or RCPT with a domain behind a name that has none.

    ``postmaster`` alone is an address as it is (RFC 5321 4.1.1.3)."""
    match = _BARE.match(argument)
    if match is None or (match[1][:1] in b"tT" and match[2].lower() == b"postmaster"):
        return argument
    return match[1] + match[2] + b"@" + domain.encode("ascii") + match[3]


def _ehlo(session: Session, argument: bytes) -> Any:
    """With our own keyword (RFC 5321 4.1.1.1: names that begin with X), for ``mta-sendmail``."""
    reply = ehlo(session, argument)
    return _with_domain(session, reply) if isinstance(reply, Reply) else _later(session, reply)


async def _later(session: Session, reply: Awaitable[Reply]) -> Reply:
    return _with_domain(session, await reply)


def _with_domain(session: Session, reply: Reply) -> Reply:
    if not reply.positive:
        return reply
    return Reply(reply.code, "", (*reply.lines, f"{DOMAIN} {session.context.qualify}"))


def _find(name: bytes, lmtp: bool) -> Command:
    """The commands of a session of a local program."""
    command = find(name, lmtp)
    if name == b"EHLO":
        return _ehlo
    if name not in (b"MAIL", b"RCPT"):
        return command
    return lambda session, argument: command(session, qualified(argument, session.context.qualify))


class LocalSession(Session):
    """The session of a user."""

    __slots__ = ("user",)

    def __init__(self, transport: Transport, newest: Callable[[], Context], user: User) -> None:
        super().__init__(transport, newest, user.identity, 0)
        self.user = user
        self.find = _find
        # What it may send as is asked for at MAIL; until then the name is enough.
        self.login = Login(account=Account(name=user.identity), mechanism=BY_SYSTEM)
        self.standing.login = user.identity
        self.standing.named = True  # a user has no reverse name
        self.rights = rights(self)
        self.greeted(user.name, LOCAL)
        self.helo = ""

    def greeted(self, name: str, protocol: str) -> None:
        """See ``Session``.  Whatever it calls itself, we know who it is."""
        super().greeted(self.user.name, LOCAL)
        self.origin = replace(self.origin, client="")


class LocalProtocol(ServerProtocol):
    """One connection of a local program."""

    def connectionMade(self) -> None:
        transport: Any = self.transport
        factory: Any = self.factory
        self.user: User = factory.user_of(peer_of(transport.getHandle()))
        refusal = factory.one_more(self.user.identity)
        if refusal is not None:
            transport.write(refusal.wire)
            transport.loseConnection()
            return
        self.client = self.user.identity
        super().connectionMade()

    def make_session(self, transport: Any) -> Session:
        """See ``ServerProtocol``."""
        return LocalSession(transport, self.factory.newest, self.user)


class LocalFactory(SmtpFactory):
    """See the module's text; it looks after the pickup folder too.  ``user_of`` knows users by their ids."""

    def __init__(
        self,
        context: Context,
        connections: Connections,
        call_later: Callable[..., Any],
        *,
        folder: str,
        user_of: Callable[[int], User],
        reporter: Reporter,
    ) -> None:
        super().__init__(context, connections, call_later)
        self.user_of = user_of
        taking = Taking(
            context=self.newest,
            session=lambda transport, user: LocalSession(transport, self.newest, user),
            reporter=reporter,
            soon=lambda call: call_later(0, call),
            added=self._ticker.add,
            removed=self._ticker.remove,
        )
        self._pickup = Pickup(
            folder,
            context=self.newest,
            user_of=user_of,
            taking=taking,
            call_later=call_later,
            closed=lambda: connections.refused is not None,
        )

    def shut_down(self) -> Deferred[None]:
        """See ``SmtpFactory``; the message of the pickup folder that is under way comes to its end."""
        sessions = super().shut_down()
        return self._pickup.stop().addCallback(lambda _: sessions)

    def abort(self) -> None:
        """See ``SmtpFactory``."""
        super().abort()
        self._pickup.abort()

    def one_more(self, client: str) -> Reply | None:
        """The reply for one connection more of a user, else None."""
        refusal = self._refusal(client)
        if refusal is not None:
            self.context.emit(events.CONNECTION_REFUSED(client=client, reply=str(refusal)), "")
        return refusal

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return LocalProtocol(self, "", 0)
