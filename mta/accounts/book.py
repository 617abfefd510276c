"""All accounts there are: the sources of the configuration, behind the portal of ``twisted.cred``, with the brakes.

What it is: the ``IAccounts`` of the service.  ``Portal`` asks ``Chain``, which finds the source that knows the account;
``Realm`` gives what the account may do: an account that is disabled or expired is nobody.
Contract: of several sources the first that knows a name has it alone; a wrong password there is not tried elsewhere.  A
source that cannot be asked is not passed over: who is disabled there must not be let in by another.  Every refusal has
the same reply, at a time that says nothing (``refuse_after``).  A login that cannot be checked is put off, not refused.
How it fails: as ``IAccounts`` says.  What a source raises otherwise is logged and temporary.
Limits: ``at_once`` logins; ``timeout`` for each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from typing import Any, Final

from twisted.cred.credentials import IUsernameHashedPassword, IUsernamePassword
from twisted.cred.error import Unauthorized, UnauthorizedLogin, UnhandledCredentials
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import Interface, implementer, providedBy

from mta import events
from mta.accounts import hashes
from mta.accounts.brakes import ACCOUNT
from mta.accounts.credentials import IProved, mechanism_of
from mta.accounts.logins import Logins
from mta.accounts.names import is_address, name_of
from mta.accounts.replies import BRAKED, BRAKED_ADDRESS, BUSY, CANNOT_KNOW, REFUSED
from mta.accounts.source import refused
from mta.accounts.used import Which
from mta.accounts.values import Account, Login, ScramKeys, State
from mta.config.account_options import LoginOptions
from mta.events import Event
from mta.interfaces import IAccounts, IAccountSource, Maybe
from mta.reply import MailFailure, PermanentFailure, TemporaryFailure

log = Logger()

#: Credentials in which the client names its account.
NAMED: Final = (IUsernamePassword, IUsernameHashedPassword, IProved)
#: Of unknown names, where no source says how many rounds it has.
SCRAM_ITERATIONS: Final = 4096
_MAY_LOG_IN: Final = (State.ACTIVE, State.HELD)


class ILogin(Interface):
    """What the portal is asked for: a ``Login``."""


class Chain:
    """The one checker of the portal: see the module's text."""

    def __init__(self, sources: Mapping[str, IAccountSource]) -> None:
        self._sources = sources
        self.credentialInterfaces = tuple({one for source in sources.values() for one in source.credentialInterfaces})

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """The name of the source and whom it has recognised."""
        return Deferred.fromCoroutine(self._recognise(credentials))

    async def _recognise(self, credentials: Any) -> tuple[str, Any]:
        able = [
            (name, source)
            for name, source in self._sources.items()
            if any(one in providedBy(credentials) for one in source.credentialInterfaces)
        ]
        # Whose a token or a certificate is stands in it: the name beside it is a wish.
        if any(one in providedBy(credentials) for one in NAMED):
            found = await self._knows(name_of(credentials.username))
            # Where nobody knows it, or the one who does cannot check this, somebody does what he does for anybody.
            if found is not None and found not in dict(able):
                raise refused(f"accounts {found} does not know of {mechanism_of(credentials)}")
            able = [one for one in able if found in (None, one[0])][:1]
        why = "no source checks this"
        for name, source in able:
            try:
                return name, await source.requestAvatarId(credentials)
            except Unauthorized as error:
                why = str(error)
        raise refused(why)

    async def _knows(self, name: str) -> str | None:
        """The first source that has such an account."""
        for source_name, source in self._sources.items():
            if name and await there(source.find(name)) is not None:
                return source_name
        return None


@implementer(IRealm)
class Realm:
    """See the module's text."""

    def __init__(self, find: Callable[[str], Maybe[Account | None]]) -> None:
        self._find = find

    def requestAvatar(self, avatarId: Any, mind: Any, *interfaces: Any) -> Deferred[Any]:
        """The account that has logged in, as a ``Login``; ``mind`` is the mechanism."""
        return Deferred.fromCoroutine(self._login(avatarId, mind))

    async def _login(self, found: tuple[str, bytes], mechanism: str) -> tuple[Any, Login, Callable[[], None]]:
        source, identity = found
        account = await there(self._find(name_of(identity)))
        if account is None or account.state not in _MAY_LOG_IN:
            raise refused(f"the account is {account.state} {account.why}".strip() if account else "there is none")
        login = Login(
            account=account,
            mechanism=mechanism,
            credential=getattr(identity, "credential", ""),
            source=source,
            proof=getattr(identity, "proof", ""),
        )
        return ILogin, login, _nothing


@implementer(IAccounts)
class Book:
    """See the module's text.  ``logins`` outlives it."""

    def __init__(
        self,
        sources: Mapping[str, IAccountSource],
        options: LoginOptions,
        *,
        reactor: Any,
        now: Callable[[], int],
        logins: Logins,
        emit: Callable[[Event, str], None],
    ) -> None:
        self._sources = sources
        self._options = options
        self._reactor = reactor
        self._now = now
        self._logins = logins
        self._emit = emit
        self._under_way = 0
        chain: Any = Chain(sources)
        self._portal = Portal(Realm(self.find), [chain])
        costs = [getattr(source, "scram_iterations", 0) for source in sources.values()]
        self._iterations = max(costs, default=0) or SCRAM_ITERATIONS

    # --- logins --------------------------------------------------------------------------------------------

    async def login(self, credentials: Any, client: str) -> Login:
        """See ``IAccounts``."""
        began = self._reactor.seconds()
        name = name_of(getattr(credentials, "username", b""))
        brakes = self._logins.brakes
        key = brakes.closed(name, client, began)
        if key is not None:
            reply = BRAKED if key.kind == ACCOUNT else BRAKED_ADDRESS
            raise TemporaryFailure(reply, f"too many failed logins: {key.kind} {key.name}")
        if self._under_way >= self._options.at_once:
            raise TemporaryFailure(BUSY, f"{self._under_way} logins are under way")
        secret = _secret_of(credentials)
        begun = brakes.begin(name, client, secret, began)
        self._under_way += 1
        try:
            login = await self._asked(credentials)
        except UnauthorizedLogin as error:
            mechanism = mechanism_of(credentials)
            shown = await self._shown(name)
            self._emit(events.LOGIN_FAILED(client=client, account=shown, mechanism=mechanism, why=str(error)), "")
            self._logins.refused(begun, name, client, secret, shown)
            await self._until_it_says_nothing(began)
            raise PermanentFailure(REFUSED, str(error)) from None
        except MailFailure as failure:
            brakes.forgive(begun)
            why = failure.reason or str(failure)
            self._emit(events.LOGIN_UNKNOWN(client=client, account=await self._shown(name), why=why), "")
            raise
        finally:
            self._under_way -= 1
        brakes.forgive(begun)
        brakes.succeeded(login.account.name, client, self._reactor.seconds())
        self._logins.used.note(Which(login.source, login.account.name, login.credential), self._now())
        return login

    async def _asked(self, credentials: Any) -> Login:
        """What the portal says.  Raises ``UnauthorizedLogin``, ``TemporaryFailure``."""
        running = self._portal.login(credentials, mechanism_of(credentials), ILogin)
        late = self._reactor.callLater(self._options.timeout, running.cancel)
        try:
            _, login, _ = await running
        except (Unauthorized, UnhandledCredentials) as error:
            raise refused(str(error)) from None
        except TemporaryFailure as failure:
            reply = failure.reply if failure.reply.code == CANNOT_KNOW.code else CANNOT_KNOW
            raise TemporaryFailure(reply, failure.reason or failure.reply.text) from None
        except CancelledError:
            raise TemporaryFailure(CANNOT_KNOW, f"no answer within {self._options.timeout:g} s") from None
        except Exception as error:  # of a plugin
            log.failure("a login failed")
            raise TemporaryFailure(CANNOT_KNOW, f"{type(error).__name__}: {error}") from error
        finally:
            if late.active():
                late.cancel()
        assert isinstance(login, Login)
        return login

    async def _until_it_says_nothing(self, began: float) -> None:
        whole = self._options.refuse_after
        if whole:
            passed = self._reactor.seconds() - began
            await deferLater(self._reactor, ceil(max(passed, 1e-6) / whole) * whole - passed)

    async def _shown(self, name: str) -> str:
        """As the log may have it: what no account has may be a password, unless it is an address."""
        try:
            known = bool(name) and await there(self.find(name)) is not None
        except Exception:  # whatever a source raises: it has been told, or will be
            known = False
        return name if known or is_address(name) else "anybody known"

    # --- questions -----------------------------------------------------------------------------------------

    async def scram(self, name: str, hash_name: str) -> ScramKeys:
        """See ``IAccounts``."""
        name = name_of(name)
        for source in self._sources.values():
            if name and await there(source.find(name)) is not None:
                keys: ScramKeys | None = await there(source.scram(name, hash_name))
                if keys is not None:
                    return keys
                break
        # RFC 5802 9: whether there is such an account must not be seen by the salt.
        return hashes.nobodys_keys(self._logins.secret, name, hash_name, self._iterations)

    def find(self, name: str) -> Maybe[Account | None]:
        """See ``IAccounts``."""
        prepared = name_of(name)
        sources = iter(self._sources.values())
        for source in sources:
            found = source.find(prepared) if prepared else None
            if isinstance(found, Account):
                return found
            if found is not None:
                return self._find_later(found, [*sources], prepared)
        return None

    async def _find_later(self, first: Any, others: list[IAccountSource], name: str) -> Account | None:
        found: Account | None = await first
        for source in others:
            found = found or await there(source.find(name))
        return found

    def current(self, login: Login) -> Maybe[Account | None]:
        """See ``IAccounts``."""
        source = self._sources.get(login.source)
        if source is None:
            return None  # a reload has taken it away
        still = source.still(login)
        if still is True:
            return self.find(login.account.name)
        return None if still is False else self._current_later(still, login)

    async def _current_later(self, still: Any, login: Login) -> Account | None:
        return await there(self.find(login.account.name)) if await still else None

    def takes(self) -> frozenset[Any]:
        """See ``IAccounts``."""
        found = {one for source in self._sources.values() for one in source.credentialInterfaces}
        with_passwords = [one for one in self._sources.values() if IUsernamePassword in one.credentialInterfaces]
        if not all(source.offers_scram for source in with_passwords):
            # A client takes the strongest: it would never try another for an account without keys.
            found.discard(IProved)
        if not all(IUsernameHashedPassword in source.credentialInterfaces for source in with_passwords):
            found.discard(IUsernameHashedPassword)
        return frozenset(found)

    def close(self) -> None:
        """Let go of threads and connections."""
        for source in self._sources.values():
            source.close()


async def there(found: Maybe[Any]) -> Any:
    """What is there or comes."""
    return await found if hasattr(found, "__await__") else found


def _secret_of(credentials: Any) -> bytes:
    found = getattr(credentials, "password", b"")
    return found if isinstance(found, bytes) else b""


def _nothing() -> None:
    """Nobody keeps a session here."""
