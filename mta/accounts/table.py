"""Accounts in a table of the configuration (``type = "table"``): a database, a directory, a text file.

Contract: a value is read by ``mta.accounts.records.from_value``; the table is asked at each question, and says for
itself for how long an answer is remembered.
How it fails: a table that cannot answer, and a value that cannot be read, is ``TemporaryFailure``.
Limits: ``threads`` logins at a time, ``waiting`` in all; the memory of a hash is its maker's choice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any, TypeVar

from twisted.cred.credentials import IUsernameHashedPassword, IUsernamePassword
from twisted.internet.defer import Deferred
from zope.interface import implementer

from mta.accounts import hashes
from mta.accounts.credentials import CramMd5, Disproved, IProved, Password, Proved
from mta.accounts.file import app_password, check, keys_of, today
from mta.accounts.hashes import Cost, UnknownHash
from mta.accounts.names import name_of, password
from mta.accounts.records import Record, from_value
from mta.accounts.replies import CANNOT_KNOW
from mta.accounts.source import Identity, Pool, refused
from mta.accounts.values import Account, Login, ScramKeys
from mta.config.account_options import TableAccountsOptions
from mta.interfaces import IAccountSource, ITable, Maybe
from mta.plugin import Services, provider
from mta.reply import MailFailure, TemporaryFailure

T = TypeVar("T")


class Rows:
    """What a table knows of accounts."""

    def __init__(self, table: ITable, name: str) -> None:
        self._table = table
        self._name = name

    def ask(self, name: str, then: Callable[[Record | None], T]) -> Maybe[T]:
        """``then`` of the record under a name.  Raises ``TemporaryFailure``."""
        try:
            found = self._table.lookup(name) if name else None
        except MailFailure as failure:
            raise TemporaryFailure(CANNOT_KNOW, failure.reason or str(failure)) from None
        if found is None or isinstance(found, str):
            return then(self._record(name, found))
        return self._later(name, found, then)

    async def _later(self, name: str, found: Awaitable[str | None], then: Callable[[Record | None], T]) -> T:
        try:
            value = await found
        except MailFailure as failure:
            raise TemporaryFailure(CANNOT_KNOW, failure.reason or str(failure)) from None
        return then(self._record(name, value))

    def _record(self, name: str, value: str | None) -> Record | None:
        if value is None:
            return None
        try:
            return from_value(name, value)
        except ValueError as error:
            raise TemporaryFailure(CANNOT_KNOW, f"what {self._name} has under {name}: {error}") from None


@provider("accounts", "table", TableAccountsOptions)
@implementer(IAccountSource)
class TableAccounts:
    """See the module's text."""

    def __init__(self, options: TableAccountsOptions, services: Services) -> None:
        self._options = options
        self._now = services.now
        self._rows = Rows(services.table(options.table), options.table)
        self._pool = Pool(services.reactor, options.threads, options.waiting, f"accounts-{services.name}")
        self.offers_scram = options.scram
        found: list[Any] = [IUsernamePassword, *([IProved] * options.scram)]
        self.credentialInterfaces: Any = (*found, *([IUsernameHashedPassword] * options.cram_md5))

    def find(self, name: str) -> Maybe[Account | None]:
        """See ``IAccountSource``."""
        return self._rows.ask(name, lambda record: record.account(today(self._now())) if record else None)

    def scram(self, name: str, hash_name: str) -> Maybe[ScramKeys | None]:
        """See ``IAccountSource``."""
        if not self._options.scram:
            return None
        return self._rows.ask(name, lambda record: scram_of(record, hash_name) if record else None)

    def still(self, login: Login) -> Maybe[bool]:
        """See ``IAccountSource``."""
        return self._rows.ask(
            login.account.name, lambda record: record is not None and proof_of(record, login.credential) == login.proof
        )

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """See ``IAccountSource``."""
        return Deferred.fromCoroutine(self._recognise(credentials))

    async def _recognise(self, credentials: Any) -> Identity:
        found = self._rows.ask(name_of(credentials.username), _itself)
        record = found if found is None or isinstance(found, Record) else await found
        if isinstance(credentials, Password):
            label = await self._by_password(record, credentials.password)
        elif isinstance(credentials, CramMd5):
            label = _by_digest(record, credentials)
        elif isinstance(credentials, Proved) and record is not None:
            label = credentials.credential
        else:
            label = None
        if label is None or record is None or isinstance(credentials, Disproved):
            raise refused("no such account, or its password is wrong")
        return Identity(record.name, label, proof_of(record, label))

    async def _by_password(self, record: Record | None, said: bytes) -> str | None:
        """The label of the password that it is; None: of none."""
        try:
            given = password(said)
        except ValueError:
            given, record = b"", None
        if record is not None and (app := app_password(record, given)) is not None:
            return app.label
        good = await self._pool.run(check, record.password if record is not None else "", given, Cost())
        return "" if good else None

    def close(self) -> None:
        """See ``IAccountSource``."""
        self._pool.close()


def scram_of(record: Record, hash_name: str) -> ScramKeys | None:
    """The keys of a record: those beside its hash, or its hash itself."""
    try:
        return keys_of(record, hash_name) or hashes.stored_keys(record.password, hash_name)
    except UnknownHash as error:
        raise TemporaryFailure(CANNOT_KNOW, str(error)) from None


def proof_of(record: Record, label: str) -> str:
    """Tells one stored password from another; what is stored cannot be had from it."""
    stored = next((one.hash for one in record.app_passwords if one.label == label), "") if label else record.password
    return sha256(stored.encode()).hexdigest()[:32] if stored else "none"


def _by_digest(record: Record | None, credentials: CramMd5) -> str | None:
    plain = hashes.plain(record.password) if record is not None else None
    # RFC 2195 2: for an unknown name as for a wrong digest.
    good = credentials.checkPassword(plain if plain is not None else b"nobody's")
    return "" if good and plain is not None else None


def _itself(record: Record | None) -> Record | None:
    return record
