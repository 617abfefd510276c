"""Maildir on disk: blocking work, to be run in a thread.

What it is: many small messages in one call (``deliver_all``), or a large one piece by piece (``LargeFile``).
Contract: a message that is reported written is on disk: its file synced, then renamed from ``tmp`` to ``new``,
then ``new`` synced, once for all messages of a call that went there.  A file appears in ``new`` only whole.
A Maildir that is missing is made, ``tmp`` last: where ``tmp`` is, all above it was synced before.
Failure: ``OSError``, each message its own; what was begun in ``tmp`` is removed.  After a crash a file may stay
in ``tmp`` (readers clear those after 36 hours) or a message may come twice; none is lost.
Files are made 0600, folders 0700, and no link is followed at their last part.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from threading import Lock
from typing import Final, NamedTuple

from mta.message.edits import Edit, EditedStream
from mta.message.lines import LfStream

_FILE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_TMP: Final = "tmp"
#: The size in a name, as Dovecot and we write it.
_SIZE: Final = re.compile(r",S=([0-9]{1,15})(?=[,:]|\Z)")


class Job(NamedTuple):
    """One small message for one Maildir.  ``name`` is its name in ``tmp``; ``final`` its name in ``new``."""

    folder: str
    name: str
    final: str
    octets: bytes


class OpenFile:
    """A file in ``tmp`` that is being written: ``open``, ``write``, ``sync``, ``rename``; or ``abandon``."""

    __slots__ = ("_begun", "_descriptor", "folder", "path")

    def __init__(self, folder: str, name: str) -> None:
        self.folder = folder
        self.path = f"{folder}/{_TMP}/{name}"
        self._descriptor = -1
        self._begun = False

    def open(self) -> None:
        """Make it, and its Maildir where there is none."""
        try:
            self._descriptor = os.open(self.path, _FILE_FLAGS, 0o600)
        except FileNotFoundError:
            make_maildir(self.folder)
            self._descriptor = os.open(self.path, _FILE_FLAGS, 0o600)
        self._begun = True

    def write(self, octets: bytes) -> None:
        """All of them."""
        written = os.write(self._descriptor, octets)
        while written < len(octets):
            written += os.write(self._descriptor, memoryview(octets)[written:])

    def sync(self) -> None:
        """Its content is on disk, and the file closed."""
        os.fsync(self._descriptor)
        self._close()

    def rename(self, name: str) -> None:
        """Into ``new``; durable once that is synced."""
        target = f"{self.folder}/new/{name}"
        try:
            os.rename(self.path, target)
        except FileNotFoundError:
            # Somebody removed ``new`` alone.
            make_maildir(self.folder)
            os.rename(self.path, target)
        self._begun = False

    def abandon(self) -> None:
        """Close and remove it, if it was begun and is still in ``tmp``."""
        try:
            self._close()
            if self._begun:
                os.unlink(self.path)
        except OSError:
            pass  # what stays in tmp is no mail: a reader clears it

    def _close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


def _write(job: Job, file: OpenFile) -> None:
    file.open()
    file.write(job.octets)


def _sync(job: Job, file: OpenFile) -> None:
    file.sync()


def _rename(job: Job, file: OpenFile) -> None:
    file.rename(job.final)


def deliver_all(jobs: Sequence[Job]) -> list[OSError | None]:
    """Write them; for each the error, or None once it is on disk."""
    files = [OpenFile(job.folder, job.name) for job in jobs]
    errors: list[OSError | None] = [None] * len(jobs)
    # All are written before the first sync: a file system with a journal then writes much of it at once.
    for step in (_write, _sync, _rename):
        for number, job in enumerate(jobs):
            if errors[number] is None:
                try:
                    step(job, files[number])
                except OSError as error:
                    errors[number] = error
                    files[number].abandon()
    synced: dict[str, OSError | None] = {}
    for number, job in enumerate(jobs):
        if errors[number] is None:
            if job.folder not in synced:
                synced[job.folder] = _try_sync(f"{job.folder}/new")
            errors[number] = synced[job.folder]
    return errors


class LargeFile:
    """A message that is written piece by piece: ``append`` its octets, then ``finish``; or ``abandon``.

    ``edits`` count in the octets that are appended; with ``lf`` each CRLF is written as LF.  It may be abandoned
    while another thread is in a call: calls exclude each other, and none after that does anything.
    """

    def __init__(self, folder: str, name: str, edits: Sequence[Edit], lf: bool) -> None:
        self._file = OpenFile(folder, name)
        self._name = name
        self._edited = EditedStream(edits)
        self._lines = LfStream() if lf else None
        self._size = 0
        self._newlines = 0
        self._lock = Lock()
        self._over = False

    def begin(self, prefix: bytes) -> None:
        """Make the file; ``prefix`` comes before the message and is not edited."""
        with self._lock:
            self._check()
            self._file.open()
            self._write(prefix)

    def append(self, octets: bytes) -> None:
        """The next octets."""
        with self._lock:
            self._check()
            self._write(self._edited.feed(octets))

    def finish(self) -> None:
        """All of it is there: make it durable and visible."""
        with self._lock:
            self._check()
            self._write(self._edited.finish())
            if self._lines is not None:
                self._put(self._lines.finish())
            self._file.sync()
            self._file.rename(final_name(self._name, self._size, self._newlines, self._lines is not None))
            self._over = True
            sync_folder(f"{self._file.folder}/new")

    def abandon(self) -> None:
        """Forget it.  Idempotent; without effect once finished."""
        with self._lock:
            if not self._over:
                self._over = True
                self._file.abandon()

    def _check(self) -> None:
        if self._over:
            raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))

    def _write(self, octets: bytes) -> None:
        self._put(octets if self._lines is None else self._lines.feed(octets))

    def _put(self, octets: bytes) -> None:
        if octets:
            self._file.write(octets)
            self._size += len(octets)
            self._newlines += octets.count(b"\n")


def final_name(name: str, size: int, newlines: int, lf: bool) -> str:
    """The name in ``new``: with its size, and the size that it has with CRLF, so that no reader has to count."""
    return f"{name},S={size},W={size + newlines if lf else size}"


def make_maildir(folder: str) -> None:
    """Make what is missing of a Maildir and of the folders above it, durably."""
    for name in ("cur", "new"):
        _make_folder(f"{folder}/{name}")
    _sync_upwards(folder)
    _make_folder(f"{folder}/{_TMP}")


def _make_folder(folder: str) -> None:
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        pass
    except FileNotFoundError:
        _make_folder(os.path.dirname(folder))
        _make_folder(folder)


def _sync_upwards(folder: str) -> None:
    # An earlier call may have made some of them and died before it synced: so all, up to the root.
    while True:
        try:
            sync_folder(folder)
        except PermissionError:
            return  # one that we may not read, we cannot have changed
        above = os.path.dirname(folder)
        if above == folder:
            return
        folder = above


def _try_sync(folder: str) -> OSError | None:
    try:
        sync_folder(folder)
    except OSError as error:
        return error
    return None


def sync_folder(folder: str) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, _FOLDER_FLAGS)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def folder_size(folder: str) -> int:
    """The octets of a Maildir and its folders (Maildir++), by the sizes in the names where they have one; 0 where there
    is none.  Raises ``OSError``."""
    total = 0
    for place in (folder, *_folders_within(folder)):
        for part in ("new", "cur"):
            try:
                with os.scandir(f"{place}/{part}") as entries:
                    total += sum(map(_entry_size, entries))
            except FileNotFoundError:
                continue
    return total


def _folders_within(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [one.path for one in entries if one.name.startswith(".") and one.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _entry_size(entry: os.DirEntry[str]) -> int:
    told = _SIZE.search(entry.name)
    if told is not None:
        return int(told[1])
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:  # it was moved meanwhile
        return 0
