"""Any ``ICredentialsChecker`` as a source of accounts: a plugin needs to be no more than that.

Contract: what the checker recognises is an account: its name is what ``requestAvatarId`` gives, prepared, its address
that name, if it is one.  A checker can be asked for no account, so every name counts as known: in the configuration it
stands last.
How it fails: as the checker does.
"""

from __future__ import annotations

from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.internet.defer import Deferred, maybeDeferred
from zope.interface import implementer

from mta.accounts.names import account_name
from mta.accounts.source import Identity, refused
from mta.accounts.values import Account, Login
from mta.interfaces import IAccountSource


def as_source(made: Any, name: str) -> IAccountSource:
    """What a provider made, as a source.  Raises ``ValueError`` where it is neither."""
    if IAccountSource.providedBy(made):
        source: IAccountSource = made
        return source
    if ICredentialsChecker.providedBy(made):
        return Checker(made)
    raise ValueError(f"accounts {name}: {type(made).__name__} is no ICredentialsChecker")


@implementer(IAccountSource)
class Checker:
    """See the module's text."""

    offers_scram = False

    def __init__(self, checker: Any) -> None:
        self._checker = checker
        self.credentialInterfaces = tuple(checker.credentialInterfaces)

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """See ``IAccountSource``."""
        return maybeDeferred(self._checker.requestAvatarId, credentials).addCallback(_identity)

    def find(self, name: str) -> Account | None:
        """See the module's text."""
        return Account(name=name, addresses=(name,) if "@" in name else ())

    def scram(self, name: str, hash_name: str) -> None:
        """It has none."""

    def still(self, login: Login) -> bool:
        """It cannot be asked."""
        return True

    def close(self) -> None:
        """See ``IAccountSource``."""
        close = getattr(self._checker, "close", None)
        if close is not None:
            close()


def _identity(avatar: Any) -> bytes:
    if isinstance(avatar, Identity):
        return avatar
    if not avatar:  # ANONYMOUS of twisted.cred: nobody in particular
        raise refused("the checker let in nobody in particular")
    try:
        return Identity(account_name(avatar))
    except ValueError as error:
        raise refused(f"the checker gave a name that none has: {error}") from None
