"""Users of this machine as accounts: ``uid:1000`` is the identity of the user with that number.

What it is: an ``IAccounts`` for the listener of local programs.  Nobody logs in: the system says who it is.
Contract: a user's own addresses are its name at the domain and at the host's name; what else it may send as, the table
says, asked by the user's name and then by its number.  Who may send as anybody has ``ANYBODY`` among its delegated.
How it fails: ``TemporaryFailure`` where the table cannot answer.
Limits: the system is asked for a user's name in the reactor (nsswitch.conf), and what it said counts for ``KNOWN``
seconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from inspect import isawaitable
from typing import Any, Final

from zope.interface import implementer

from mta.accounts.values import Account, Login, ScramKeys
from mta.interfaces import IAccounts, ITable, Maybe
from mta.reply import PermanentFailure, Reply
from mta.sendmail.users import User, user_of
from mta.submission.ownership import ANYBODY

#: ``Login.mechanism`` of who is known by the system.
BY_SYSTEM: Final = "PEERCRED"
KNOWN: Final = 60.0
_MOST_KNOWN: Final = 1000
_BETWEEN: Final = re.compile(r"[,\s]+")
_NO_LOGIN: Final = Reply.of(535, "5.7.8", "Nobody logs in here")


class Users:
    """The same, remembered for a moment."""

    def __init__(self, seconds: Callable[[], float], ask: Callable[[int], User] = user_of) -> None:
        self._seconds = seconds
        self._ask = ask
        self._known: dict[int, tuple[float, User]] = {}

    def get(self, uid: int) -> User:
        """The user with the number."""
        now = self._seconds()
        known = self._known.get(uid)
        if known is not None and now - known[0] < KNOWN:
            return known[1]
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        user = self._ask(uid)
        self._known[uid] = now, user
        return user


@implementer(IAccounts)
class LocalAccounts:
    """See the module's text.  ``domains``: where a user's own addresses are, the main one first."""

    def __init__(
        self,
        users: Users,
        domains: tuple[str, ...],
        trusted: frozenset[str] = frozenset(),
        table: ITable | None = None,
    ) -> None:
        self._users = users
        self._domains = domains
        self._trusted = trusted
        self._table = table

    async def login(self, credentials: Any, client: str) -> Login:
        """See ``IAccounts``."""
        raise PermanentFailure(_NO_LOGIN)

    def scram(self, name: str, hash_name: str) -> ScramKeys:
        """See ``IAccounts``; never asked, since nothing is taken."""
        raise PermanentFailure(_NO_LOGIN)

    def takes(self) -> frozenset[Any]:
        """See ``IAccounts``."""
        return frozenset()

    def current(self, login: Login) -> Maybe[Account | None]:
        """See ``IAccounts``."""
        return self.find(login.account.name)

    def find(self, name: str) -> Maybe[Account | None]:
        """See ``IAccounts``."""
        kind, _, number = name.partition(":")
        if kind != "uid" or not (number.isascii() and number.isdigit()):
            return None
        return self.of(self._users.get(int(number)))

    def user(self, uid: int) -> User:
        """The user with the number."""
        return self._users.get(uid)

    def of(self, user: User) -> Maybe[Account]:
        """The account of a user."""
        if user.name in self._trusted or str(user.uid) in self._trusted:
            return self._account(user, ANYBODY)
        if self._table is None:
            return self._account(user, "")
        return self._asked(user, self._table)

    async def _asked(self, user: User, table: ITable) -> Account:
        found: Any = None
        for key in dict.fromkeys((user.name, str(user.uid))):
            found = table.lookup(key)
            if isawaitable(found):
                found = await found
            if found is not None:
                break
        return self._account(user, found or "")

    def _account(self, user: User, may_be: str) -> Account:
        return Account(
            name=user.identity,
            full_name=user.full_name,
            addresses=tuple(f"{user.name}@{domain}" for domain in self._domains),
            delegated=tuple(word for word in _BETWEEN.split(may_be) if word),
        )
