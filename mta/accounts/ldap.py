"""Accounts in an LDAP directory (``type = "ldap"``): the entry is looked for, then the password is proved by a bind.

Contract: a name stands in the filter escaped as RFC 4515 3 has it.  A password is sent in a simple bind as the entry,
never an empty one (RFC 4513 5.1.2: a server would take that for nobody's and say that it succeeded), and over TLS
unless ``tls = "none"``; the directory's own brakes count it.  What is known of an account is remembered for ``cache``.
How it fails: only "invalid credentials" and "no such authentication" are a no; all else is ``TemporaryFailure``, also
two entries for one name.
Limits: ``threads`` connections; ``waiting`` questions; ``MOST_KNOWN`` accounts remembered.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final, NamedTuple

from twisted.cred.credentials import IUsernamePassword
from twisted.internet.defer import Deferred
from zope.interface import implementer

from mta.accounts.credentials import Password
from mta.accounts.names import MOST_PASSWORD, name_of
from mta.accounts.records import checked_address, checked_delegation
from mta.accounts.replies import BUSY, CANNOT_KNOW
from mta.accounts.source import Identity, refused
from mta.accounts.values import Account, Login, State
from mta.config.account_options import LdapAccountsOptions
from mta.interfaces import IAccountSource, Maybe
from mta.plugin import Services, provider
from mta.reply import TemporaryFailure
from mta.routing.tables.ldap import PLACE, Server
from mta.routing.tables.optional import package
from mta.routing.tables.query import parameters
from mta.routing.tables.threads import Crew

MOST_KNOWN: Final = 10_000


class Question(NamedTuple):
    """What a thread is asked: who it is, or with a password whether that is right."""

    name: str
    password: bytes | None = None


class Found(NamedTuple):
    """An entry: who it is, and whether the password was right (None: it was not asked)."""

    account: Account
    right: bool | None


@provider("accounts", "ldap", LdapAccountsOptions)
@implementer(IAccountSource)
class LdapAccounts:
    """See the module's text."""

    credentialInterfaces: ClassVar[Any] = (IUsernamePassword,)
    offers_scram = False

    def __init__(self, options: LdapAccountsOptions, services: Services) -> None:
        ldap, escape = package("ldap"), package("ldap.filter").escape_filter_chars
        self._options = options
        self._seconds = services.reactor.seconds
        self._crew: Crew[Question, Found | None] = Crew(
            services.reactor, lambda: _Worker(options, ldap, escape), options.threads, f"accounts-{services.name}"
        )
        self._known: OrderedDict[str, tuple[Account | None, float]] = OrderedDict()

    def find(self, name: str) -> Maybe[Account | None]:
        """See ``IAccountSource``."""
        known = self._known.get(name)
        if known is not None and self._seconds() < known[1]:
            return known[0]
        return self._ask(Question(name))

    async def _ask(self, question: Question) -> Account | None:
        found = await self._answer(question)
        return found.account if found is not None else None

    async def _answer(self, question: Question) -> Found | None:
        if self._crew.under_way >= self._options.waiting:
            raise TemporaryFailure(BUSY, f"{self._crew.under_way} questions are under way")
        try:
            found = await self._crew.ask(question)
        except Exception as error:
            if isinstance(error, TemporaryFailure):
                raise
            raise TemporaryFailure(CANNOT_KNOW, str(error) or type(error).__name__) from None
        if self._options.cache:
            self._known.pop(question.name, None)
            self._known[question.name] = found.account if found else None, self._seconds() + self._options.cache
            if len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
        return found

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """See ``IAccountSource``."""
        return Deferred.fromCoroutine(self._recognise(credentials))

    async def _recognise(self, credentials: Password) -> Identity:
        name, given = name_of(credentials.username), credentials.password
        if not name or not given or b"\0" in given or len(given) > MOST_PASSWORD:
            raise refused("nobody has such a name or password")
        found = await self._answer(Question(name, given))
        if found is None or not found.right:
            raise refused("no such entry, or the directory refuses the password")
        return Identity(name)

    def scram(self, name: str, hash_name: str) -> None:
        """A directory gives out no keys."""

    def still(self, login: Login) -> bool:
        """Nobody can ask whether the password is another by now; whether there is the account, ``find`` says."""
        return True

    def close(self) -> None:
        """See ``IAccountSource``."""
        self._crew.close()


class _Worker:
    """Two connections of one thread: one looks for entries, the other proves passwords."""

    def __init__(self, options: LdapAccountsOptions, ldap: Any, escape: Any) -> None:
        self._options = options
        self._ldap = ldap
        self._look = _Look(options, ldap, escape)
        self._prove = _Prove(options, ldap, escape)

    def answer(self, question: Question) -> Found | None:
        entry = self._look.entry(question.name)
        if entry is None:
            if question.password is not None:
                self._prove.right(f"cn=nobody,{self._options.base}", question.password)  # as long as for the others
            return None
        dn, attributes = entry
        right = self._prove.right(dn, question.password) if question.password is not None else None
        return Found(self._account(question.name, dn, attributes), right)

    def _account(self, name: str, dn: str, attributes: Mapping[str, list[bytes]]) -> Account:
        options = self._options
        attributes = {key.lower(): values for key, values in attributes.items()}
        addresses = _each(attributes.get(options.addresses.lower(), ()), checked_address)
        disabled = bool(options.disabled) and self._look.matches(dn, options.disabled)
        return Account(
            name=name,
            state=State.DISABLED if disabled else State.ACTIVE,
            why="by the directory" if disabled else "",
            full_name=next(
                (one.decode("utf-8", "replace") for one in attributes.get(options.full_name.lower(), ())), ""
            ),
            addresses=addresses or ((name,) if "@" in name else ()),
            delegated=_each(attributes.get(options.delegated.lower(), ()), checked_delegation),
        )

    def close(self) -> None:
        self._look.close()
        self._prove.close()


class _Again(Server):
    """A connection that the server may have closed while nobody asked: then there is another try."""

    def again(self, ask: Any) -> Any:
        fresh = self._connection is None
        if fresh:
            self.connect()
        try:
            return ask(self._connection)
        except self._ldap.SERVER_DOWN as error:
            self.close()
            if fresh:
                raise OSError(self.said(error)) from error
        except self._ldap.LDAPError as error:
            self.close()
            raise OSError(self.said(error)) from error
        return self.again(ask)


class _Look(_Again):
    """Looks for entries, as whom the options say."""

    def entry(self, name: str) -> tuple[str, dict[str, list[bytes]]] | None:
        """The one entry.  Raises ``OSError``."""
        options, values = self._options, parameters(name)
        # RFC 4515 3
        written = PLACE.sub(lambda place: self._escape(values[place[1]]), options.filter)
        wanted = [one for one in (options.addresses, options.full_name, options.delegated) if one]
        found = self.again(
            lambda connection: connection.search_ext_s(
                options.base, self._scope, written, wanted or ["1.1"], timeout=options.timeout, sizelimit=2
            )
        )
        entries = [(dn, attributes) for dn, attributes in found if dn is not None]  # else it is a referral
        if len(entries) > 1:
            raise OSError(f"several entries are for {name}")
        return entries[0] if entries else None

    def matches(self, dn: str, written: str) -> bool:
        """Whether an entry is one of a filter."""
        scope, timeout = self._ldap.SCOPE_BASE, self._options.timeout
        return bool(
            self.again(lambda connection: connection.search_ext_s(dn, scope, written, ["1.1"], timeout=timeout))
        )


class _Prove(_Again):
    """Binds as others."""

    def right(self, dn: str, password: bytes) -> bool:
        """Whether it is the password of an entry.  Raises ``OSError``."""
        ldap = self._ldap

        def bind(connection: Any) -> bool:
            try:
                connection.simple_bind_s(dn, password)
            except (ldap.INVALID_CREDENTIALS, ldap.INAPPROPRIATE_AUTH, ldap.NO_SUCH_OBJECT):
                return False
            return True

        return bool(self.again(bind))


def _each(values: Iterable[bytes], check: Any) -> tuple[str, ...]:
    """Those that are addresses: a directory may have anything."""
    found = []
    for value in values:
        try:
            found.append(check(value.decode()))
        except ValueError:
            continue
    return tuple(dict.fromkeys(found))
