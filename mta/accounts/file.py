"""The built-in store: accounts in a file that ``mta account`` writes (``type = "file"``).

Contract: whether the file has changed is looked for at each question, so what the command line did counts from the next
MAIL on, of open connections too.  Passwords are hashed in threads of its own; an unknown name costs what a known one
does.  A password that is right and was kept in an older way is hashed anew, with keys for SCRAM.
How it fails: a file that cannot be read, or is not there yet, is ``TemporaryFailure``: nobody is unknown because a disk
is away.  One that is wrong, or that others may read, stops the start; later what it held before stays in force, and
``ACCOUNTS_REFUSED`` says so.
Limits: ``records.MOST_OCTETS``; ``threads`` logins at a time, ``waiting`` in all.  A file over ``INLINE_OCTETS`` is
read in a thread; who asks meanwhile waits for it.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, ClassVar, Final, TypeVar

from twisted.cred.credentials import IUsernamePassword
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from mta import events
from mta.accounts import editing, hashes
from mta.accounts.credentials import ClientCertificate, Disproved, IClientCertificate, IProved, Password, Proved
from mta.accounts.hashes import Cost, UnknownHash
from mta.accounts.names import name_of, password
from mta.accounts.records import AppPassword, Record, parse
from mta.accounts.replies import CANNOT_KNOW
from mta.accounts.source import Identity, Pool, refused
from mta.accounts.values import Account, Login, OtherKeys, ScramKeys
from mta.config.account_options import FileAccountsOptions
from mta.interfaces import IAccountSource, Maybe
from mta.plugin import Services, provider
from mta.reply import TemporaryFailure
from mta.routing.tables.watched import Signature
from mta.waiting import background

log = Logger()
T = TypeVar("T")

_CERTIFICATE: Final = "certificate "  # a label of an app password has no space
_BY_NAME: Final = "by its name"
INLINE_OCTETS: Final = 64 << 10  # some milliseconds


class Held:
    """What one version of the file says."""

    __slots__ = ("certificates", "offers_scram", "records")

    def __init__(self, records: Mapping[str, Record]) -> None:
        self.records = records
        self.certificates = {one: record.name for record in records.values() for one in record.certificates}
        self.offers_scram = all(map(_has_keys, records.values()))


def _has_keys(record: Record) -> bool:
    """Whether each of its passwords has keys, all with one salt: a client that may use SCRAM uses nothing else."""
    some = [*([record] if record.password else ()), *record.app_passwords]
    for hash_name in hashes.DIGESTS:
        salts = {one.scram(hash_name).rpartition(",")[0].rpartition(",")[0] for one in some}
        if "" in salts or len(salts) > 1:
            return False
    return True


def read(path: str) -> tuple[Signature, Held]:
    """The file, and which version of it that is.  Raises ``ValueError``, ``OSError``."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        signature = Signature.of(os.fstat(descriptor))
        return signature, Held(parse(editing.read_text(path, descriptor), path))
    finally:
        os.close(descriptor)


def today(now: int) -> str:
    """The day in UTC."""
    return datetime.fromtimestamp(now / 1000, UTC).date().isoformat()


def app_hash(given: bytes) -> str:
    """An app password as it is kept: it is long and was drawn by lot, so one round of a fast hash is enough."""
    return sha256(b"txmta app password " + given).hexdigest()


def app_password(record: Record, given: bytes) -> AppPassword | None:
    """The one that was given, if it is one."""
    hashed, found = app_hash(given), None
    for one in record.app_passwords:
        if hmac.compare_digest(one.hash, hashed):
            found = one
    return found


@provider("accounts", "file", FileAccountsOptions)
@implementer(IAccountSource)
class FileAccounts:
    """See the module's text.  Making one reads the file, if there is one: ``ValueError``, ``OSError``."""

    credentialInterfaces: ClassVar[Any] = (IUsernamePassword, IProved, IClientCertificate)

    def __init__(self, options: FileAccountsOptions, services: Services) -> None:
        self._options = options
        self._services = services
        self._cost = cost_of(options)
        self.scram_iterations = options.scram_iterations
        self._pool = Pool(services.reactor, options.threads, options.waiting, f"accounts-{services.name}")
        self._seen: Signature | None = None  # of the version last read, or last found wrong
        self._held = Held({})
        with suppress(FileNotFoundError):
            self._seen, self._held = read(options.path)
        self._reading: Deferred[None] | None = None
        self._upgrading: set[str] = set()
        self._told = ""

    @staticmethod
    def examine(options: FileAccountsOptions) -> None:
        """For ``mta check``.  Raises ``ValueError``, ``OSError``."""
        read(options.path)

    @property
    def offers_scram(self) -> bool:
        return self._options.scram and self._held.offers_scram

    # --- the file ------------------------------------------------------------------------------------------

    def _current(self) -> Maybe[Held]:
        try:
            signature = Signature.of(os.stat(self._options.path))
        except OSError as error:
            raise self._unreadable(error) from None
        if signature == self._seen:
            return self._held
        if signature.size > INLINE_OCTETS:
            return self._read_in_thread()
        try:
            self._take(*read(self._options.path))
        except (ValueError, OSError) as error:
            self._wrong(error, signature)
        return self._held

    async def _read_in_thread(self) -> Held:
        if self._reading is None:
            self._reading = Deferred()
            try:
                self._take(*await self._services.in_thread(read, self._options.path))
            except (ValueError, OSError) as error:
                self._wrong(error, Signature.of(os.stat(self._options.path)))
            finally:
                waited, self._reading = self._reading, None
                waited.callback(None)
        else:
            await _also(self._reading)
        return self._held

    def _take(self, signature: Signature, held: Held) -> None:
        self._seen = signature
        self._held = held
        self._services.emit(events.ACCOUNTS_LOADED(source=self._services.name, accounts=len(held.records)), "")

    def _wrong(self, error: Exception, signature: Signature) -> None:
        if isinstance(error, OSError):
            raise self._unreadable(error)
        self._seen = signature
        self._services.emit(events.ACCOUNTS_REFUSED(source=self._services.name, error=str(error)), "")

    def _unreadable(self, error: OSError) -> TemporaryFailure:
        more = "; mta account add makes it" if isinstance(error, FileNotFoundError) else ""
        return TemporaryFailure(CANNOT_KNOW, f"{self._options.path}: {error.strerror or error}{more}")

    def _record(self, name: str) -> Maybe[Record | None]:
        held = self._current()
        return held.records.get(name) if isinstance(held, Held) else self._record_later(held, name)

    async def _record_later(self, held: Any, name: str) -> Record | None:
        found: Held = await held
        return found.records.get(name)

    # --- questions -----------------------------------------------------------------------------------------

    def find(self, name: str) -> Maybe[Account | None]:
        """See ``IAccountSource``."""
        return _with(self._record(name), self._account)

    def _account(self, record: Record | None) -> Account | None:
        return None if record is None else record.account(today(self._services.now()))

    def scram(self, name: str, hash_name: str) -> Maybe[ScramKeys | None]:
        """See ``IAccountSource``."""

        def keys(record: Record | None) -> ScramKeys | None:
            return keys_of(record, hash_name) if record is not None and self._options.scram else None

        return _with(self._record(name), keys)

    def still(self, login: Login) -> Maybe[bool]:
        """See ``IAccountSource``."""
        return _with(
            self._record(login.account.name), lambda record: record is not None and self._proves(record, login)
        )

    def _proves(self, record: Record, login: Login) -> bool:
        if not login.credential:
            return bool(record.password) and login.proof == str(record.changed)
        if login.credential.startswith(_CERTIFICATE):
            return login.proof in record.certificates or (login.proof == _BY_NAME and self._options.certificate_names)
        return any(one.label == login.credential and str(one.created) == login.proof for one in record.app_passwords)

    # --- logins --------------------------------------------------------------------------------------------

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """See ``IAccountSource``."""
        return Deferred.fromCoroutine(self._recognise(credentials))

    async def _recognise(self, credentials: Any) -> Identity:
        if isinstance(credentials, ClientCertificate):
            return await self._by_certificate(credentials)
        if isinstance(credentials, Proved | Disproved):
            return await self._by_proof(credentials)
        return await self._by_password(credentials)

    async def _by_password(self, credentials: Password) -> Identity:
        record, given = await self._named(credentials.username), b""
        try:
            given = password(credentials.password)
        except ValueError:
            record = None
        if record is not None and (app := app_password(record, given)) is not None:
            return Identity(record.name, app.label, str(app.created))
        stored = record.password if record is not None else ""
        good = await self._pool.run(check, stored, given, self._cost)
        if record is None or not stored:
            raise refused("no such account, or none that has a password")
        if not good:
            raise refused("the password is wrong")
        if self._old(record) and record.name not in self._upgrading:
            background(self._upgrade(record, given), "hashing a password anew")
        return Identity(record.name, proof=str(record.changed))

    async def _by_proof(self, credentials: Proved | Disproved) -> Identity:
        record = await self._named(credentials.username)
        if isinstance(credentials, Proved) and record is not None:
            for one in record.app_passwords:
                if one.label == credentials.credential:
                    return Identity(record.name, one.label, str(one.created))
            if record.password and not credentials.credential:
                return Identity(record.name, proof=str(record.changed))
        raise refused("the proof is wrong, or of a password that is no more")

    async def _by_certificate(self, credentials: ClientCertificate) -> Identity:
        held = self._current()
        there = held if isinstance(held, Held) else await held
        name, proof = there.certificates.get(credentials.fingerprint), credentials.fingerprint
        if name is None and self._options.certificate_names:
            name = next((one for one in map(name_of, credentials.names) if one in there.records), None)
            proof = _BY_NAME
        if name is None or (credentials.username and name_of(credentials.username) != name):
            raise refused("the certificate is nobody's, or another's")
        return Identity(name, f"{_CERTIFICATE}{credentials.fingerprint[:16]}", proof)

    async def _named(self, said: bytes) -> Record | None:
        found = self._record(name_of(said))
        return found if found is None or isinstance(found, Record) else await found

    # --- what was kept in an older way ---------------------------------------------------------------------

    def _old(self, record: Record) -> bool:
        lacks = self._options.scram and not (record.scram_sha_1 and record.scram_sha_256)
        return lacks or hashes.outdated(record.password, self._cost)

    async def _upgrade(self, record: Record, given: bytes) -> None:
        self._upgrading.add(record.name)
        try:
            await self._pool.run(_hash_anew, self._options.path, record, given, self._cost, self._options.scram)
        except (OSError, ValueError, TemporaryFailure) as error:
            if self._told != str(error):  # it may not write there, as often as somebody logs in
                self._told = str(error)
                log.info(
                    "accounts {source}: a password stays hashed as it was: {error}",
                    source=self._services.name,
                    error=error,
                )
        finally:
            self._upgrading.discard(record.name)

    def close(self) -> None:
        """See ``IAccountSource``."""
        self._pool.close()


def cost_of(options: FileAccountsOptions) -> Cost:
    """What a password costs by the configuration."""
    return Cost(options.memory >> 10, options.passes, options.lanes, options.scram_iterations)


def keys_of(record: Record, hash_name: str) -> ScramKeys | None:
    """The keys of an account's passwords; None where none has any."""
    texts = [(one.label, one.scram(hash_name)) for one in record.app_passwords]
    if record.password:
        texts.insert(0, ("", record.scram(hash_name)))
    found = [(label, hashes.scram_from(text)) for label, text in texts if text]
    if not found:
        return None
    _, first = found[0]
    others = tuple(
        OtherKeys(label, keys.stored_key, keys.server_key)
        for label, keys in found
        if (keys.salt, keys.iterations) == (first.salt, first.iterations)
    )
    return replace(first, others=others)


def with_password(record: Record, given: bytes, cost: Cost, *, scram: bool) -> Record:
    """The record with a password, as ``names.password`` gives it.  Blocks."""
    # The old password's salt goes with it, unless app passwords have it too.
    one, other = scram_texts(replace(record, password=""), given, cost) if scram else ("", "")
    return replace(record, password=hashes.made(given, cost), scram_sha_1=one, scram_sha_256=other)


def scram_texts(record: Record, given: bytes, cost: Cost) -> tuple[str, str]:
    """Keys for SCRAM of a password that the account is to have, with the salt of those that it has.  Blocks."""
    texts = []
    for hash_name in hashes.DIGESTS:
        known = keys_of(record, hash_name)
        salt, rounds = (known.salt, known.iterations) if known is not None else (b"", cost.iterations)
        texts.append(hashes.scram_text(hashes.scram_keys(given, hash_name, rounds, salt)))
    one, other = texts
    return one, other


def _hash_anew(path: str, record: Record, given: bytes, cost: Cost, scram: bool) -> None:
    fresh = with_password(record, given, cost, scram=scram)

    def put(records: dict[str, Record]) -> dict[str, Record]:
        now = records.get(record.name)
        if now is not None and now.password == record.password:  # else there is a new one already
            records[record.name] = replace(
                now, password=fresh.password, scram_sha_1=fresh.scram_sha_1, scram_sha_256=fresh.scram_sha_256
            )
        return records

    editing.change(path, put, wait=0)


def check(stored: str, given: bytes, cost: Cost) -> bool:
    """Whether it is the password; where none is stored, no, after as long.  Raises ``TemporaryFailure``.  Blocks."""
    if not stored:
        hashes.right(hashes.nobodys(cost), given)
        return False
    try:
        return hashes.right(stored, given)
    except UnknownHash as error:
        raise TemporaryFailure(CANNOT_KNOW, str(error)) from None


def _with(found: Maybe[Record | None], then: Callable[[Record | None], T]) -> Maybe[T]:
    """``then`` of a record that is there, or of one that comes."""
    return then(found) if found is None or isinstance(found, Record) else _later(found, then)


async def _later(found: Awaitable[Record | None], then: Callable[[Record | None], T]) -> T:
    return then(await found)


async def _also(running: Deferred[None]) -> None:
    """Wait for it beside others."""
    mine: Deferred[None] = Deferred()

    def pass_on(result: Any) -> Any:
        mine.callback(None)
        return result

    running.addBoth(pass_on)
    await mine


__all__ = ["FileAccounts", "app_hash", "cost_of", "keys_of", "scram_texts", "with_password"]
