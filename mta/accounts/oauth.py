"""Accounts that log in with tokens of OAuth 2.0 (``type = "oauth"``): JWTs, or whatever an issuer can be asked about.

What it is: an ``IAccountSource`` of bearer tokens.  What a token says is judged in ``mta.sasl.tokens``; this brings the
keys: from a file, which is read again when it changes, or from a URL; or it asks the issuer (RFC 7662).
Contract: a token lets in the account that it names, as other sources know it; a name that the client asks for has to be
that one.  While a connection is open a token counts until its end; where the issuer can be asked, it is, at each
message, with what it said believed for ``recheck``.
How it fails: an issuer that cannot be asked is ``TemporaryFailure``; fetched keys stay in use while new ones cannot be
had.  A wrong file of keys stops the start; later what it held stays in force, and ``ACCOUNTS_REFUSED`` says so.
Limits: ``MOST_ANSWER`` octets an answer, ``MOST_OPEN`` answers remembered.
"""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple
from urllib.parse import quote_plus, urlencode

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mta import events
from mta.accounts.credentials import BearerToken, IBearerToken
from mta.accounts.names import account_name, name_of
from mta.accounts.replies import CANNOT_KNOW
from mta.accounts.source import Identity, refused
from mta.accounts.values import Account, Login
from mta.config.files import contents
from mta.config.oauth_options import OAuthOptions
from mta.interfaces import IAccountSource, Maybe
from mta.plugin import Services, provider
from mta.reply import TemporaryFailure
from mta.routing.tables.optional import package
from mta.routing.tables.watched import Signature
from mta.sasl.tokens import MOST_JWKS, BadToken, KeySet, TokenRules, UnknownKey, Whose, claims_of, whose

MOST_ANSWER: Final = MOST_JWKS
MOST_OPEN: Final = 10_000
#: Seconds between two fetches of keys because of a token whose key is not among them.
FETCH_AGAIN: Final = 60.0
_CONNECTIONS: Final = 4


class _Said(NamedTuple):
    """What introspection said of a token, and when; monotonic seconds."""

    token: bytes
    whose: Whose | None
    at: float


@provider("accounts", "oauth", OAuthOptions)
@implementer(IAccountSource)
class OAuthAccounts:
    """See the module's text.  ``OSError``, ``ValueError``: the files of ``keys`` and ``ca``."""

    credentialInterfaces = (IBearerToken,)
    offers_scram = False

    def __init__(self, options: OAuthOptions, services: Services) -> None:
        self._options = options
        self._services = services
        self._rules = TokenRules(
            issuer=options.issuer,
            audience=options.audience,
            scope=frozenset(options.scope.split()),
            name=options.name,
            algorithms=options.algorithms,
            leeway=options.leeway,
        )
        self._keys: KeySet | None = None
        self._signature: Signature | None = None
        self._fetched = -float("inf")  # monotonic seconds
        self._waiting: list[Deferred[None]] | None = None  # for keys that are being fetched
        self._said: OrderedDict[str, _Said] = OrderedDict()
        self._web: Any = None
        if options.keys is None:
            # Imported here: every command line would pay for Twisted's HTTP.
            self._web = package("mta.routing.tables.fetching").Fetcher(
                services.reactor,
                timeout=options.timeout,
                connections=_CONNECTIONS,
                most=MOST_ANSWER,
                token=None,
                ca=options.ca,
            )
        else:
            self._signature = Signature.of(os.stat(options.keys))
            self._keys = self._read(options.keys)

    # --- IAccountSource ------------------------------------------------------------------------------------

    def requestAvatarId(self, credentials: BearerToken) -> Deferred[Any]:
        """See ``IAccountSource``."""
        return Deferred.fromCoroutine(self._recognise(credentials))

    def find(self, name: str) -> Account | None:
        """See ``OAuthOptions.accounts``."""
        if not self._options.accounts:
            return None
        return Account(name=name, addresses=(name,) if "@" in name else ())

    def scram(self, name: str, hash_name: str) -> None:
        """It has none."""

    def still(self, login: Login) -> Maybe[bool]:
        """See ``IAccountSource``."""
        until, _, digest = login.proof.partition(" ")
        if self._now() >= float(until) + self._rules.leeway:
            return False
        if not self._options.introspection:
            return True
        said = self._said.get(digest)
        if said is None:
            return False
        if self._services.reactor.seconds() - said.at < self._options.recheck:
            return said.whose is not None
        return self._still_later(said.token)

    def close(self) -> None:
        """Let go of the connections that are idle."""
        if self._web is not None:
            self._web.close()

    async def _still_later(self, token: bytes) -> bool:
        try:
            await self._ask(token)
        except BadToken:
            return False
        return True

    async def _recognise(self, credentials: BearerToken) -> Identity:
        token = credentials.token
        try:
            asked = bool(self._options.introspection)
            found = await self._ask(token) if asked else await self._judge(token)
            name = account_name(found.name)
        except BadToken as error:
            raise refused(f"the token: {error}") from None
        except ValueError as error:
            raise refused(f"the token has a name that none has: {error}") from None
        if credentials.username and name_of(credentials.username) != name:
            # RFC 7628 3.1: who to act as; nobody here acts as another.
            raise refused(f"the token is of {name}, and the client asks to be another")
        return Identity(name, "token", f"{found.until} {_digest(token)}")

    # --- JWT -----------------------------------------------------------------------------------------------

    async def _judge(self, token: bytes) -> Whose:
        keys = await self._current()
        try:
            claims = claims_of(token, keys, self._rules.algorithms)
        except UnknownKey:
            if not self._options.keys_url or self._age() < FETCH_AGAIN:
                raise
            await self._fetch()
            claims = claims_of(token, self._keys or keys, self._rules.algorithms)
        return whose(claims, self._rules, self._now())

    async def _current(self) -> KeySet:
        if self._options.keys is not None:
            self._look(self._options.keys)
        elif self._keys is None or self._age() >= self._options.cache:
            await self._fetch()
        if self._keys is None:
            raise TemporaryFailure(CANNOT_KNOW, "the issuer's keys are not there")
        return self._keys

    def _look(self, path: str) -> None:
        """Read the file again if it has changed."""
        try:
            signature = Signature.of(os.stat(path))
            if signature == self._signature:
                return
            self._signature = signature
            self._keys = self._read(path)
        except (OSError, ValueError) as error:
            self._refuse(str(error))

    def _read(self, path: str) -> KeySet:
        try:
            return KeySet(contents(path, MOST_JWKS))
        except ValueError as error:
            raise ValueError(f"{path} {error}") from None

    def _refuse(self, why: str) -> None:
        self._services.emit(events.ACCOUNTS_REFUSED(source=self._services.name, error=why), "")

    async def _fetch(self) -> None:
        """Have the keys from their URL; those who want them at the same time wait for one answer."""
        if self._waiting is not None:
            mine: Deferred[None] = Deferred()
            self._waiting.append(mine)
            await mine
            return
        self._waiting = []
        try:
            await self._fetch_alone()
        finally:
            waiting, self._waiting = self._waiting, None
            for one in waiting:
                if not one.called:
                    one.callback(None)

    async def _fetch_alone(self) -> None:
        try:
            code, body = await self._web.ask("GET", self._options.keys_url)
            if code != 200:
                raise ValueError(f"HTTP {code}")
            self._keys = KeySet(body)
            self._fetched = self._services.reactor.seconds()
        except Exception as error:
            why = f"{self._options.keys_url}: {error or type(error).__name__}"
            if self._keys is None:
                raise TemporaryFailure(CANNOT_KNOW, why) from error
            self._refuse(why)

    def _age(self) -> float:
        age: float = self._services.reactor.seconds() - self._fetched
        return age

    # --- introspection -------------------------------------------------------------------------------------

    async def _ask(self, token: bytes) -> Whose:
        """RFC 7662 2.  Raises ``BadToken``, ``TemporaryFailure``."""
        # RFC 6749 2.3.1
        who = f"{quote_plus(self._options.client)}:{quote_plus(self._options.secret or '')}"
        form = urlencode({"token": token.decode("ascii"), "token_type_hint": "access_token"}).encode("ascii")
        headers = {
            "Authorization": f"Basic {b64encode(who.encode('ascii')).decode('ascii')}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        try:
            code, body = await self._web.ask("POST", self._options.introspection, data=form, headers=headers)
            if code != 200:
                raise ValueError(f"HTTP {code}")
            said = json.loads(body)
            if not isinstance(said, dict) or not isinstance(said.get("active"), bool):
                raise ValueError("the answer is none of RFC 7662")
        except Exception as error:
            why = f"{self._options.introspection}: {error or type(error).__name__}"
            raise TemporaryFailure(CANNOT_KNOW, why) from error
        return self._note(token, said)

    def _note(self, token: bytes, said: Mapping[str, Any]) -> Whose:
        digest, found = _digest(token), None
        try:
            if not said["active"]:
                raise BadToken("its issuer says that it does not count")
            found = whose(said, self._rules, self._now(), complete=False)
            return found
        finally:
            if found is not None or digest in self._said:
                self._said[digest] = _Said(token, found, self._services.reactor.seconds())
                self._said.move_to_end(digest)
                if len(self._said) > MOST_OPEN:
                    self._said.popitem(last=False)

    def _now(self) -> float:
        return self._services.now() / 1000


def _digest(token: bytes) -> str:
    return sha256(token).hexdigest()
