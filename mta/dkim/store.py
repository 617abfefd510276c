"""Where keys lie: a folder for each domain, with ``keys.toml`` (``mta.dkim.ledger``) and ``SELECTOR.pem`` for each key.

Contract: a file is written whole or not at all, and keys have mode 0600; a private key that others may read, or that
more than its owner may write, is refused.  What root makes belongs to the owner of the folder above, as the service
has to read it.  A key is on disk before the ledger names it, and goes after the ledger has ceased to.
How it fails: ``Unusable`` with the file and what is wrong with it.
Limits: ``MOST_KEYS`` keys of a domain.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

from mta.address import AddressError, normal_domain
from mta.config.files import contents
from mta.config.problems import Wrong
from mta.dkim.keys import PrivateKey, WrongKey, read
from mta.dkim.ledger import Entry, Ledger, State, WrongLedger, dumps, loads
from mta.dkim.sign import Signatory

LEDGER: Final = "keys.toml"
MOST_KEYS: Final = 64
_MOST_OCTETS: Final = 256 << 10


class Unusable(ValueError):
    """A file of keys cannot be used; ``str()`` names it and says why."""


class Signing(NamedTuple):
    """A key that signs now."""

    who: Signatory
    key: PrivateKey


class KeyFiles:
    """See the module's text.  ``folder`` need not be there."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def domains(self) -> list[str]:
        """Those that have keys, sorted."""
        try:
            names = os.listdir(self.folder)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise Unusable(f"{self.folder} cannot be read: {error.strerror or error}") from error
        return sorted(name for name in names if _is_domain(name) and os.path.isfile(self._ledger(name)))

    def stamp(self, domain: str) -> tuple[int, int, int] | None:
        """Changes when the keys of the domain change; None where it has none."""
        try:
            status = os.stat(self._ledger(domain))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Unusable(f"{self._ledger(domain)} cannot be read: {error.strerror or error}") from error
        return status.st_mtime_ns, status.st_ino, status.st_size

    def ledger(self, domain: str) -> Ledger:
        """The keys of a domain; none where there is no file.  Raises ``Unusable``."""
        path = self._ledger(domain)
        if self.stamp(domain) is None:
            return Ledger()
        try:
            ledger = loads(contents(path, _MOST_OCTETS).decode("utf-8"))
        except Wrong as wrong:
            raise Unusable(f"{path}: {wrong.what}") from wrong.__cause__
        except (WrongLedger, UnicodeDecodeError) as error:
            raise Unusable(f"{path}: {error}") from None
        if len(ledger.entries) > MOST_KEYS:
            raise Unusable(f"{path}: more than {MOST_KEYS} keys")
        return ledger

    def signing(self, domain: str) -> tuple[Signing, ...]:
        """The keys of a domain that are in use.  Raises ``Unusable``."""
        return tuple(
            Signing(Signatory(domain, entry.selector, entry.algorithm), self.private(domain, entry))
            for entry in self.ledger(domain).of(State.ACTIVE)
        )

    def private(self, domain: str, entry: Entry) -> PrivateKey:
        """The private key of an entry.  Raises ``Unusable``."""
        path = self._pem(domain, entry.selector)
        try:
            mode = stat.S_IMODE(os.stat(path).st_mode)
            if mode & 0o027:
                raise Unusable(f"{path} has mode {mode:04o}, open to more than its owner; run: chmod 600 {path}")
            key = read(contents(path, _MOST_OCTETS))
        except OSError as error:
            raise Unusable(f"{path} cannot be read: {error.strerror or error}") from error
        except Wrong as wrong:
            raise Unusable(f"{path}: {wrong.what}") from wrong.__cause__
        except WrongKey as error:
            raise Unusable(f"{path}: {error}") from None
        if (key.algorithm, key.public) != (entry.algorithm, entry.public):
            raise Unusable(f"{path} is not the key that {LEDGER} beside it names")
        return key

    @contextmanager
    def changing(self, domain: str) -> Iterator[Ledger]:
        """The ledger while nobody else changes it.  Raises ``Unusable``."""
        folder = os.path.join(self.folder, domain)
        try:
            _make_folders(folder)
            lock = os.open(os.path.join(folder, ".lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unusable(f"{folder} cannot be written: {error.strerror or error}") from None
        try:
            os.lockf(lock, os.F_LOCK, 0)
            yield self.ledger(domain)
        finally:
            os.close(lock)

    def put(self, domain: str, ledger: Ledger, new: dict[str, PrivateKey] | None = None) -> None:
        """Write the ledger, and the keys of selectors that are new; files of keys that it does not name go.

        Only within ``changing``.  Raises ``Unusable``."""
        folder = os.path.join(self.folder, domain)
        try:
            for selector, key in (new or {}).items():
                _write(self._pem(domain, selector), key.pem(), 0o600)
            _write(self._ledger(domain), dumps(ledger).encode(), 0o644)
            named = {f"{entry.selector}.pem" for entry in ledger.entries}
            for name in os.listdir(folder):
                if name.endswith(".pem") and name not in named:
                    os.unlink(os.path.join(folder, name))
        except OSError as error:
            raise Unusable(f"{folder} cannot be written: {error.strerror or error}") from None

    def _ledger(self, domain: str) -> str:
        return os.path.join(self.folder, domain, LEDGER)

    def _pem(self, domain: str, selector: str) -> str:
        return os.path.join(self.folder, domain, f"{selector}.pem")


def _is_domain(name: str) -> bool:
    try:
        return normal_domain(name) == name and not name.startswith("[")
    except AddressError:
        return False


def _make_folders(folder: str) -> None:
    if os.path.isdir(folder):
        return
    _make_folders(os.path.dirname(folder))
    with suppress(FileExistsError):
        os.mkdir(folder, 0o700)
        _give(folder)


def _write(path: str, octets: bytes, mode: int) -> None:
    """Whole or not at all, and on disk."""
    temporary = f"{path}.{os.getpid()}"
    with suppress(FileNotFoundError):
        os.unlink(temporary)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(temporary, flags, mode), "wb") as file:
        file.write(octets)
        file.flush()
        os.fsync(file.fileno())
    _give(temporary)
    os.rename(temporary, path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _give(path: str) -> None:
    """To the owner of the folder above, where root makes it."""
    if os.geteuid() == 0:
        above = os.stat(os.path.dirname(path))
        os.chown(path, above.st_uid, above.st_gid, follow_symlinks=False)
