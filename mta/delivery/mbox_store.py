"""A message at the end of an mbox file: blocking work, to be run in a thread.

What it is: ``MboxFile`` is one message, written piece by piece: ``begin``, ``append``, ``finish``; or ``abandon``.
Contract: after ``finish`` the message is on disk, whole, behind what was there.  The file is locked as other programs
lock theirs: by ``FILE.lock``, where its folder lets us make that, and by fcntl.  It is a regular file that belongs to
us and has one name, never a link; one that is missing is made, 0600.  Lines that look like the start of a message are
quoted (mboxrd).
How it fails: ``OSError``; ``BlockingIOError`` while somebody else has the lock.  What was begun is cut off again.
After a crash a part of a message may be there; the next one begins on a line of its own behind it.
Limits: a lock file that is older than ``STALE`` seconds was left by a program that died, and is removed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress
from threading import Lock
from typing import Final

from mta.delivery.maildir_store import sync_folder
from mta.message.mbox import FromQuoting

STALE: Final = 300.0
# Without O_NONBLOCK a FIFO in its place would hold us up for ever.
_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class MboxFile:
    """See the module's text.  It may be abandoned while another thread is in a call, as ``LargeFile`` may."""

    def __init__(self, path: str, seconds: float, folder: str = "") -> None:
        """``seconds`` is the time of day, for locks that were left.

        ``folder`` is the real path of the file's folder, as it was checked: no link that has taken its place since is
        followed.
        """
        self._path = path
        self._name = os.path.basename(path)
        self._real = folder or os.path.realpath(os.path.dirname(path))
        self._folder = -1
        self._seconds = seconds
        self._descriptor = -1
        self._size = -1  # of what was there; below zero until it is locked
        self._quoting = FromQuoting()
        self._ends_line = True
        self._dotlock = False
        self._guard = Lock()
        self._over = False

    def begin(self, first: bytes) -> None:
        """Lock it, and write what comes before the message, which is not quoted."""
        with self._guard:
            self._check()
            self._folder = os.open(self._real, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            if os.readlink(f"/proc/self/fd/{self._folder}") != self._real:
                raise PermissionError(errno.EPERM, "a link was put in the place of its folder", self._path)
            self._lock()
            self._descriptor = self._open()
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._size = os.fstat(self._descriptor).st_size
            end = os.pread(self._descriptor, 1, self._size - 1) if self._size else b"\n"
            self._write((b"" if end == b"\n" else b"\n\n") + first)

    def append(self, octets: bytes) -> None:
        """The next octets."""
        with self._guard:
            self._check()
            self._write(self._quoting.feed(octets))

    def finish(self) -> None:
        """All of it is there: make it durable."""
        with self._guard:
            self._check()
            self._write(self._quoting.finish())
            # An empty line ends each message.
            self._write(b"\n" if self._ends_line else b"\n\n")
            os.fsync(self._descriptor)
            if not self._size:
                sync_folder(f"/proc/self/fd/{self._folder}")
            self._over = True
            self._release()

    def abandon(self) -> None:
        """Cut it off again.  Idempotent; without effect once finished."""
        with self._guard:
            if self._over:
                return
            self._over = True
            try:
                if self._size >= 0 and os.fstat(self._descriptor).st_size > self._size:
                    os.ftruncate(self._descriptor, self._size)
                    os.fsync(self._descriptor)
            finally:
                self._release()

    def _check(self) -> None:
        if self._over:
            raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))

    def _open(self) -> int:
        try:
            descriptor = os.open(self._name, _FLAGS, dir_fd=self._folder)
        except FileNotFoundError:
            descriptor = os.open(self._name, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=self._folder)
        status = os.fstat(descriptor)
        why = ""
        if not stat.S_ISREG(status.st_mode):
            why = "is no regular file"
        elif status.st_nlink != 1:
            why = "has another name too"
        elif status.st_uid != os.geteuid():
            why = "does not belong to the user that the service has"
        if why:
            os.close(descriptor)
            raise PermissionError(errno.EPERM, why, self._path)
        return descriptor

    def _lock(self) -> None:
        path = f"{self._name}.lock"
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=self._folder))
            self._dotlock = True
        except FileExistsError:
            try:
                if self._seconds - os.stat(path, dir_fd=self._folder, follow_symlinks=False).st_mtime > STALE:
                    os.unlink(path, dir_fd=self._folder)
            except FileNotFoundError:
                pass  # gone meanwhile
            raise BlockingIOError(errno.EAGAIN, f"{self._path}.lock is there: another program writes") from None
        except PermissionError:
            pass  # a folder where only the file itself is ours

    def _write(self, octets: bytes) -> None:
        if not octets:
            return
        rest = memoryview(octets)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        self._ends_line = octets.endswith(b"\n")

    def _release(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)  # and with it the lock
        if self._dotlock:
            self._dotlock = False
            with suppress(OSError):  # what is written is written: it must not come twice for that
                os.unlink(f"{self._name}.lock", dir_fd=self._folder)
        if self._folder >= 0:
            folder, self._folder = self._folder, -1
            os.close(folder)
