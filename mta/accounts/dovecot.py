"""Accounts of a Dovecot (``type = "dovecot"``), by its authentication sockets.

What it is: ``Link`` is one connection to a socket, made when it is first needed and again after it was lost; requests
go down it as they come, answers come in any order.  Passwords go to ``socket`` (auth-client); whether there is an
account is asked at ``users`` (auth-userdb), where that is named.
Contract: Dovecot decides about passwords, also by what it has of master users and its own delays.  What else is known
of an account stands in ``attributes``.
How it fails: no connection, one that is lost, an answer that is none, silence for ``timeout``, and what Dovecot calls
temporary: ``TemporaryFailure``.
Limits: ``waiting`` requests; ``dovecot_wire.MOST_LINE``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, ClassVar, Final

from twisted.cred.credentials import IUsernamePassword
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver
from zope.interface import implementer

from mta.accounts import dovecot_wire as wire
from mta.accounts.attributes import Attributes
from mta.accounts.credentials import Password
from mta.accounts.dovecot_wire import Answer, BadAnswer, Verdict
from mta.accounts.names import MOST_PASSWORD, name_of
from mta.accounts.replies import BUSY, CANNOT_KNOW
from mta.accounts.source import Identity, refused
from mta.accounts.values import Account, Login
from mta.config.account_options import DovecotAccountsOptions
from mta.interfaces import IAccountSource, Maybe
from mta.plugin import Services, provider
from mta.reply import TemporaryFailure

#: Seconds for which a connection is used.
KEEP: Final = 60.0
_SERVICE: Final = "smtp"  # as Dovecot's own configuration speaks of submission


class _Protocol(LineOnlyReceiver):
    """One connection."""

    delimiter = b"\n"
    MAX_LENGTH = wire.MOST_LINE
    transport: Any

    def __init__(self, link: Link, handshake: wire.Handshake) -> None:
        self._link = link
        self.handshake = handshake

    def connectionMade(self) -> None:
        self.transport.write(self._link.greeting())

    def lineReceived(self, line: bytes) -> None:
        try:
            if not self.handshake.done:
                self.handshake.line(line)
                if self.handshake.done:
                    self._link.ready(self)
            elif (found := self._link.read(line)) is not None:
                self._link.answered(found)
        except BadAnswer as error:
            self._link.lost(self, str(error))
            self.transport.abortConnection()

    def lineLengthExceeded(self, line: bytes) -> None:
        self._link.lost(self, "a line is too long")
        self.transport.abortConnection()

    def connectionLost(self, reason: Any = None) -> None:
        self._link.lost(self, "the connection was closed")


class Link:
    """See the module's text.  ``greeting`` is what we say first, ``read`` how answers are read, ``end`` the last word
    of the server's handshake."""

    def __init__(
        self,
        path: str,
        options: DovecotAccountsOptions,
        reactor: Any,
        *,
        greeting: Callable[[], bytes],
        read: Callable[[bytes], Answer | None],
        end: bytes,
    ) -> None:
        self._path = path
        self._options = options
        self._reactor = reactor
        self.greeting = greeting
        self.read = read
        self._end = end
        self._protocol: _Protocol | None = None
        self._connecting: Deferred[Any] | None = None
        self._asked: dict[int, Deferred[Answer]] = {}
        self._waiting: list[bytes] = []  # for the handshake
        self._count = 0
        self._since = 0.0

    async def ask(self, make: Callable[[int], bytes]) -> Answer:
        """The answer to the request that ``make`` makes of a number.  Raises ``TemporaryFailure``."""
        if len(self._asked) >= self._options.waiting:
            raise TemporaryFailure(BUSY, f"{len(self._asked)} requests to Dovecot are under way")
        self._count = self._count % 0x7FFFFFFF + 1
        number, answer = self._count, Deferred[Answer]()
        self._renew()
        self._asked[number] = answer
        late = self._reactor.callLater(self._options.timeout, answer.cancel)
        if self._protocol is not None:
            self._protocol.transport.write(make(number))
        else:
            self._waiting.append(make(number))
            self._connect()
        try:
            found = await answer
        except CancelledError:
            raise TemporaryFailure(CANNOT_KNOW, f"Dovecot did not answer within {self._options.timeout:g} s") from None
        finally:
            self._asked.pop(number, None)
            if late.active():
                late.cancel()
        if found.verdict is Verdict.UNKNOWN:
            raise TemporaryFailure(CANNOT_KNOW, f"Dovecot: {found.why}")
        return found

    def _renew(self) -> None:
        """A Dovecot that was started again leaves its old process to those who are connected: not for ever."""
        old = self._protocol
        if old is not None and not self._asked and self._reactor.seconds() - self._since > KEEP:
            self._protocol = None
            old.transport.loseConnection()

    def _connect(self) -> None:
        if self._connecting is None:
            handshake = wire.Handshake(1, self._end)
            factory = Factory.forProtocol(lambda: _Protocol(self, handshake))
            factory.noisy = False
            endpoint = UNIXClientEndpoint(self._reactor, self._path, timeout=self._options.timeout)
            self._connecting = endpoint.connect(factory).addErrback(
                lambda failure: self.lost(None, f"{self._path}: {failure.value}")
            )

    def ready(self, protocol: _Protocol) -> None:
        """The handshake is over."""
        self._connecting, self._protocol, self._since = None, protocol, self._reactor.seconds()
        waiting, self._waiting = self._waiting, []
        protocol.transport.write(b"".join(waiting))

    def answered(self, found: Answer) -> None:
        """To one of ours, unless nobody waits any more."""
        asked = self._asked.pop(found.number, None)
        if asked is not None and not asked.called:
            asked.callback(found)

    def lost(self, protocol: _Protocol | None, why: str) -> None:
        """There is no connection any more, or none came about."""
        if protocol is not None and protocol is not self._protocol and self._connecting is None:
            return  # one that was given up
        self._protocol = self._connecting = None
        self._waiting = []
        asked, self._asked = self._asked, {}
        for one in asked.values():
            if not one.called:
                one.errback(TemporaryFailure(CANNOT_KNOW, f"Dovecot: {why}"))

    def close(self) -> None:
        """Give it up once nobody waits."""
        if self._protocol is not None:
            self._protocol.transport.loseConnection()
        elif self._connecting is not None:
            self._connecting.cancel()


@provider("accounts", "dovecot", DovecotAccountsOptions)
@implementer(IAccountSource)
class DovecotAccounts:
    """See the module's text."""

    credentialInterfaces: ClassVar[Any] = (IUsernamePassword,)
    offers_scram = False

    def __init__(self, options: DovecotAccountsOptions, services: Services) -> None:
        reactor = services.reactor
        self._passwords = Link(
            options.socket,
            options,
            reactor,
            greeting=lambda: wire.client_greeting(os.getpid()),
            read=wire.answer,
            end=b"DONE",
        )
        self._users: Link | None = None
        if options.users is not None:
            self._users = Link(
                options.users, options, reactor, greeting=wire.master_greeting, read=wire.user_answer, end=b"SPID"
            )
        self._attributes = Attributes(
            options.attributes, services, self._is_user if self._users is not None else None, options.cache
        )

    async def _is_user(self, name: str) -> bool:
        assert self._users is not None
        found = await self._users.ask(lambda number: wire.user_request(number, name, _SERVICE))
        return found.verdict is Verdict.YES

    def find(self, name: str) -> Maybe[Account | None]:
        """See ``IAccountSource``."""
        return self._attributes.find(name)

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """See ``IAccountSource``."""
        return Deferred.fromCoroutine(self._recognise(credentials))

    async def _recognise(self, credentials: Password) -> Identity:
        name, given = name_of(credentials.username), credentials.password
        if not name or not given or b"\0" in given or len(given) > MOST_PASSWORD:
            raise refused("nobody has such a name or password")
        found = await self._passwords.ask(lambda number: wire.auth_request(number, name, given, _SERVICE))
        user = name_of(found.user or name)
        if found.verdict is not Verdict.YES or not user:
            raise refused(f"Dovecot: {found.why}")
        return Identity(user)

    def scram(self, name: str, hash_name: str) -> None:
        """Dovecot gives out no keys."""

    def still(self, login: Login) -> bool:
        """Nobody can ask whether the password is another by now; whether there is the account, ``find`` says."""
        return True

    def close(self) -> None:
        """See ``IAccountSource``."""
        for link in (self._passwords, self._users):
            if link is not None:
                link.close()
