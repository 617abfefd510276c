"""Changes of the file of accounts: one after the other, each whole or not at all.

Contract: ``change`` holds a lock on the file from before it is read until what is new has taken its place, so that the
command line and the service can change it at once; who reads needs no lock.  The new file is on disk before it takes
the old one's name, with its owner and rights; a link is followed to what it names.
How it fails: ``BadRecords`` for what stands in it, ``Unsafe`` for rights that let strangers in, ``FileBusy`` when
others hold the lock for ``LOCK_TIME``, ``OSError``; nothing is changed then.
Limits: ``records.MOST_OCTETS``.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from mta.accounts.records import MOST_OCTETS, BadRecords, Record, parse, written

LOCK_TIME: Final = 10.0
_LOOK_EVERY: Final = 0.05
_MODE: Final = 0o600


class Unsafe(ValueError):
    """Others may read or write the file; ``str()`` says what to do."""


class FileBusy(OSError):
    """Somebody else has been changing the file for long."""


def unsafe_rights(path: str, mode: int) -> str:
    """What is wrong with a file's rights, and what to run; "" where nothing is."""
    if not stat.S_ISREG(mode):
        return f"{path} is no regular file"
    if mode & stat.S_IRWXO:
        return f"anybody may read or write {path}, and so try passwords at leisure; run: chmod o= {path}"
    if mode & stat.S_IWGRP:
        return f"its group may write {path}; run: chmod g-w {path}"
    return ""


def read_text(path: str, descriptor: int) -> str:
    """What an open file holds.  Raises ``Unsafe``, ``BadRecords``, ``OSError``."""
    status = os.fstat(descriptor)
    if why := unsafe_rights(path, status.st_mode):
        raise Unsafe(why)
    with open(descriptor, "rb", closefd=False) as file:
        octets = file.read(MOST_OCTETS + 1)
    if len(octets) > MOST_OCTETS:
        raise BadRecords(f"{path}: over {MOST_OCTETS} octets; keep so many accounts in a table")
    try:
        return octets.decode()
    except UnicodeDecodeError as error:
        raise BadRecords(f"{path}:{octets.count(10, 0, error.start) + 1}: is not UTF-8") from None


def read(path: str) -> dict[str, Record]:
    """What the file says now.  Raises as ``change``."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return parse(read_text(path, descriptor), path)
    finally:
        os.close(descriptor)


def change(
    path: str,
    make: Callable[[dict[str, Record]], dict[str, Record]],
    *,
    owner: tuple[int, int] | None = None,
    create: bool = False,
    wait: float = LOCK_TIME,
) -> None:
    """Put what ``make`` makes of the accounts into their place.

    ``create``: where there is no file (and no folder), one begins, ``owner``'s if that is given.  What ``make`` raises
    changes nothing.
    """
    path = os.path.realpath(path)
    if create:
        with suppress(FileExistsError):
            os.mkdir(os.path.dirname(path), 0o700)
        with suppress(FileExistsError):
            begun = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
            try:
                if owner is not None:
                    os.fchown(begun, *owner)
            finally:
                os.close(begun)
    with _locked(path, wait) as descriptor:
        before = parse(read_text(path, descriptor), path)
        after = make(dict(before))
        if after != before:
            _replace(path, written(after.values()).encode(), os.fstat(descriptor))


@contextmanager
def _locked(path: str, wait: float) -> Iterator[int]:
    """The file, open and ours alone."""
    until = time.monotonic() + wait
    while True:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Somebody may have put another in its place between the two.
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                yield descriptor
                return
        except BlockingIOError:
            if time.monotonic() >= until:
                raise FileBusy(f"{path} has been locked by somebody else for {wait:.0f} s") from None
            time.sleep(_LOOK_EVERY)
        finally:
            os.close(descriptor)


def _replace(path: str, octets: bytes, like: os.stat_result) -> None:
    folder = os.path.dirname(path)
    new = os.path.join(folder, f".{os.path.basename(path)}.{secrets.token_hex(8)}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
    try:
        with open(descriptor, "wb") as file:
            own = os.fstat(descriptor)
            if (own.st_uid, own.st_gid) != (like.st_uid, like.st_gid):
                os.fchown(descriptor, like.st_uid, like.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(like.st_mode))
            file.write(octets)
            file.flush()
            os.fsync(descriptor)
        os.replace(new, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(new)
        raise
    _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
