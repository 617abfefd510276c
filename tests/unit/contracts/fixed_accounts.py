"""``FixedAccounts``: an ``IAccounts`` over a dictionary, for tests of whoever asks it.

``FixedAccounts({"bob@example.org": "secret"})``; an account that is to be more than active with its own name as its
address is given as an ``Account`` to ``put``.  ``tokens`` are bearer tokens and whose they are.  ``failure`` is raised
by everything while it is set; ``asked`` is what ``login`` was called with.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from twisted.cred.credentials import IUsernameHashedPassword, IUsernamePassword
from zope.interface import implementer

from mta.accounts.credentials import (
    BearerToken,
    ClientCertificate,
    CramMd5,
    IBearerToken,
    IClientCertificate,
    IProved,
    Password,
    Proved,
    mechanism_of,
)
from mta.accounts.replies import REFUSED
from mta.accounts.values import Account, Login, ScramKeys, State
from mta.interfaces import IAccounts
from mta.reply import MailFailure, PermanentFailure

ITERATIONS = 4096
NOTHING: Mapping[str, str] = {}


@implementer(IAccounts)
class FixedAccounts:
    """See the module's text."""

    def __init__(self, passwords: Mapping[str, str] = NOTHING, *, tokens: Mapping[str, str] = NOTHING) -> None:
        self.passwords: dict[str, str] = {}
        self.accounts: dict[str, Account] = {}
        self.tokens = dict(tokens)
        self.failure: MailFailure | None = None
        self.asked: list[tuple[Any, str]] = []
        self.revoked: set[str] = set()  # names whose open logins no longer count
        for name, password in passwords.items():
            self.put(Account(name=name, addresses=(name,) if "@" in name else ()), password)

    def put(self, account: Account, password: str | None = None) -> None:
        """Add an account or change it; without a password it keeps the one that it has."""
        self.accounts[account.name] = account
        if password is not None:
            self.passwords[account.name] = password

    async def login(self, credentials: Any, client: str) -> Login:
        self.asked.append((credentials, client))
        self._fail()
        name = self._proved(credentials)
        account = self.accounts.get(name or "")
        if account is None or account.state not in (State.ACTIVE, State.HELD):
            raise PermanentFailure(REFUSED)
        return Login(account=account, mechanism=mechanism_of(credentials), source="fixed")

    def _proved(self, credentials: Any) -> str | None:
        if isinstance(credentials, BearerToken):
            return self.tokens.get(credentials.token.decode())
        if isinstance(credentials, ClientCertificate):
            return next((name for name in credentials.names if name in self.accounts), None)
        name: str = credentials.username.decode()
        if isinstance(credentials, Proved):
            return name
        if not isinstance(credentials, Password | CramMd5) or name not in self.passwords:
            return None
        return name if credentials.checkPassword(self.passwords[name].encode()) else None

    def scram(self, name: str, hash_name: str) -> ScramKeys:
        self._fail()
        digest = hash_name.replace("-", "")
        password = self.passwords.get(name, "nobody's")
        salt = hashlib.sha256(name.encode()).digest()[:16]
        salted = hashlib.pbkdf2_hmac(digest, password.encode(), salt, ITERATIONS)
        client_key = hmac.digest(salted, b"Client Key", digest)
        return ScramKeys(
            salt=salt,
            iterations=ITERATIONS,
            stored_key=hashlib.new(digest, client_key).digest(),
            server_key=hmac.digest(salted, b"Server Key", digest),
        )

    def find(self, name: str) -> Account | None:
        self._fail()
        return self.accounts.get(name)

    def current(self, login: Login) -> Account | None:
        return None if login.account.name in self.revoked else self.find(login.account.name)

    def takes(self) -> frozenset[Any]:
        return frozenset((IUsernamePassword, IUsernameHashedPassword, IProved, IBearerToken, IClientCertificate))

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure
