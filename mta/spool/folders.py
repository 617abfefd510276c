"""Where a spool lies, who may read it, and who has it: folders, modes, links and the lock on the state.

Contract: ``prepare`` makes what is missing (folders 0700, files 0600, whatever the umask) and refuses what is
unsafe: a folder or file that others may read, a symbolic link in place of one.  ``StateLock`` is held by the
service, or by a command that writes while the service is stopped.
Failure: ``SpoolUnusable`` or ``SpoolLocked`` with the path and what to do; ``OSError`` becomes the former.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import Final

from mta.spool.values import SpoolLocked, SpoolUnusable

BODY: Final = "body"
DATABASE: Final = "spool.db"
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class Folders:
    """The paths of one worker's spool under a state folder."""

    def __init__(self, state: str | os.PathLike[str], worker: int = 0) -> None:
        self.state = Path(os.path.abspath(state))
        self.spool = self.state / "spool"
        self.root = self.spool / str(worker)
        self.body = self.root / BODY
        self.database = self.root / DATABASE
        self.lock = self.state / "lock"

    def prepare(self) -> None:
        """Make what is missing and check what is there."""
        self.make()
        try:
            if not self.database.exists():
                os.close(os.open(self.database, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
                sync_folder(self.root)
        except OSError as error:
            raise SpoolUnusable(f"cannot make the spool at {error.filename}: {error.strerror}") from error
        self.check()

    def make(self) -> None:
        """Make the folders that are missing."""
        try:
            if not self.state.exists():
                self.state.mkdir(0o700, parents=True)
            for folder in (self.spool, self.root, self.body):
                _make_folder(folder)
        except OSError as error:
            raise SpoolUnusable(f"cannot make the spool at {error.filename}: {error.strerror}") from error

    def expect(self) -> None:
        """Before another process opens it: make folders that are missing, and check what is there."""
        self.make()
        if os.path.lexists(self.database):
            self.check()
        else:
            self._check_folders()

    def check(self) -> None:
        """Refuse what is unsafe.  Raises ``SpoolUnusable``, also when there is no spool."""
        self._check_folders()
        _check(self.database, stat.S_ISREG, "a plain file")
        for suffix in ("-wal", "-shm", "-journal"):
            beside = self.database.with_name(DATABASE + suffix)
            if beside.is_symlink() or beside.exists():
                _check(beside, stat.S_ISREG, "a plain file")

    def _check_folders(self) -> None:
        _check_state(self.state)
        for folder in (self.spool, self.root, self.body):
            _check(folder, stat.S_ISDIR, "a folder")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(0o700)
    except FileExistsError:
        return
    sync_folder(folder.parent)


def _check_state(state: Path) -> None:
    """Who may write into the state folder may put another spool in the place of ours; to look into it harms nobody."""
    try:
        mode = state.stat().st_mode
    except OSError as error:
        raise SpoolUnusable(f"cannot use the state folder: {state}: {error.strerror}") from error
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SpoolUnusable(
            f"others may write into {state} (mode {stat.S_IMODE(mode):04o}): "
            "take the right away (chmod go-w) after finding out who had it"
        )


def _check(path: Path, right: object, what: str) -> None:
    try:
        found = path.lstat()
    except OSError as error:
        raise SpoolUnusable(f"cannot use the spool: {path}: {error.strerror}") from error
    if not (callable(right) and right(found.st_mode)):
        link = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "something else"
        raise SpoolUnusable(f"{path} is {link}, not {what}: put the real one in its place")
    if found.st_mode & _OTHERS:
        raise SpoolUnusable(
            f"{path} may be used by others (mode {stat.S_IMODE(found.st_mode):04o}): "
            "it holds people's mail; take the rights away (chmod go=) after finding out who had them"
        )


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class StateLock:
    """The lock on ``<state>/lock``: one process has the state at a time.  It ends with the process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def acquire(self) -> None:
        """Take it or raise ``SpoolLocked``."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(self._path, flags, 0o600)
        except OSError as error:
            raise SpoolUnusable(f"cannot lock the state: {self._path}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise SpoolUnusable(f"cannot lock the state: {self._path}: {error.strerror}") from error
            raise SpoolLocked(
                f"{self._path} is held by process {holder}: a running service; use its control socket, or stop it"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        self._descriptor = descriptor

    @property
    def descriptor(self) -> int:
        """The lock ends when this and all copies of it are closed.  -1: it is not held."""
        return self._descriptor

    def release(self) -> None:
        """Let it go.  Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
