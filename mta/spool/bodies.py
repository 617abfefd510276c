"""Large bodies as files: written, synced, read and removed, in a thread of the spool's own.

Contract: a file is named by its queue id and is complete and durable, its name too, when ``seal`` is over;
only then may a row speak of it.  It is removed only after no row does.  Files are opened relative to the
folder's descriptor and never through a link.  All seals that wait share one sync of the folder.
Failure: a write that failed is remembered and raised by the next ``write`` or ``seal``: 452 4.3.1 for a full
disk, else 451 4.3.0.
Limits: at most ``QUEUED`` octets of one message wait to be written before its writer has to wait.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from enum import Enum, auto
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mta.interfaces import Maybe
from mta.reply import LOCAL_ERROR, Reply, TemporaryFailure
from mta.spool.lanes import Lanes, SpoolReactor
from mta.spool.values import Damaged, id_number, id_text

QUEUED: Final = 1024 * 1024
NO_SPACE: Final = Reply.of(452, "4.3.1", "Insufficient system storage")
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
log = Logger()


class _Do(Enum):
    """What a job of the lane is."""

    WRITE = auto()
    FLUSHED = auto()  # tell when all before it is written
    READ = auto()  # a piece of what all before it have written
    SYNC = auto()  # sync the file, then, with all others of the batch, the folder
    ABORT = auto()
    REMOVE = auto()


def disk_failure(error: OSError) -> TemporaryFailure:
    """What a peer is told of a disk that would not take octets (RFC 5321 4.2.2: 452, 451)."""
    return TemporaryFailure(NO_SPACE if error.errno in _FULL else LOCAL_ERROR, f"body file: {error}")


class BodyFolder:
    """The folder of large bodies: what any thread may do with it, at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def piece(self, number: int, offset: int, size: int) -> bytes:
        """Octets of a body.  Raises ``Damaged``."""
        try:
            descriptor = os.open(id_text(number), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.descriptor)
            try:
                return os.pread(descriptor, size, offset)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise Damaged(id_text(number), f"body file: {error.strerror}") from error

    def size(self, number: int) -> int:
        """Its size, -1 where there is none."""
        try:
            return os.stat(id_text(number), dir_fd=self.descriptor, follow_symlinks=False).st_size
        except OSError:
            return -1

    def numbers(self) -> list[int]:
        """The queue ids of all files; what has another name is not ours and is left alone."""
        found = []
        for name in os.listdir(self.descriptor):
            try:
                found.append(id_number(name))
            except KeyError:
                continue
        return found

    def remove(self, number: int) -> None:
        try:
            os.unlink(id_text(number), dir_fd=self.descriptor)
        except FileNotFoundError:
            pass
        except OSError as error:
            # It is an orphan now: recover() removes it.
            log.warn("cannot remove body file {id}: {error}", id=id_text(number), error=error.strerror)


class BodyFile:
    """One body while it is written.  ``write`` and ``seal`` from the reactor's thread."""

    __slots__ = ("_done", "_put", "descriptor", "error", "flushed", "number", "written")

    def __init__(self, number: int, put: Callable[[Any], None]) -> None:
        self.number = number
        self._put = put
        self._done = False
        self.written = 0  # octets handed in; changed by the reactor's thread alone
        self.flushed = 0  # octets in the file; changed by the lane alone
        self.descriptor = -1
        self.error: OSError | None = None

    def write(self, octets: bytes) -> Maybe[None]:
        if self.error is not None:
            raise disk_failure(self.error)
        self._put((_Do.WRITE, self, octets))
        self.written += len(octets)
        if self.written - self.flushed <= QUEUED:
            return None
        waiting: Deferred[None] = Deferred()
        self._put((_Do.FLUSHED, self, waiting))
        return waiting

    def piece(self, number: int, offset: int, size: int) -> Deferred[bytes]:
        """A part of what was written so far; before ``seal``.  Fails with ``TemporaryFailure``."""
        piece: Deferred[bytes] = Deferred()
        self._put((_Do.READ, self, (piece, offset, size)))
        return piece

    def seal(self) -> Deferred[None]:
        """Fires when file and name are on disk; fails with ``TemporaryFailure``."""
        sealed: Deferred[None] = Deferred()
        self._put((_Do.SYNC, self, sealed))
        return sealed

    def abort(self) -> None:
        if not self._done:
            self._done = True
            self._put((_Do.ABORT, self, None))


class BodyFiles:
    """The lane that writes and removes."""

    def __init__(self, folder: BodyFolder, lanes: Lanes, reactor: SpoolReactor) -> None:
        self._folder = folder
        self._reactor = reactor
        self._lane = lanes.start("files", self._work)
        self.stop = self._lane.stop

    def create(self, number: int) -> BodyFile:
        return BodyFile(number, self._lane.put)

    def remove(self, numbers: Iterable[int]) -> None:
        """No row speaks of them any more."""
        self._lane.put((_Do.REMOVE, None, list(numbers)))

    def _work(self, jobs: list[Any]) -> None:
        sealed: list[tuple[BodyFile, Deferred[None]]] = []
        tell = self._reactor.callFromThread
        for what, subject, argument in jobs:
            if what is _Do.WRITE:
                _write(self._folder, subject, argument)
            elif what is _Do.READ:
                _read(subject, tell, *argument)
            elif what is _Do.SYNC:
                _sync(subject)
                sealed.append((subject, argument))
            elif what is _Do.ABORT:
                _close(subject)
                self._folder.remove(subject.number)
            elif what is _Do.REMOVE:
                for number in argument:
                    self._folder.remove(number)
            else:
                tell(argument.callback, None)
        if sealed:
            self._tell_sealed(sealed)

    def _tell_sealed(self, sealed: list[tuple[BodyFile, Deferred[None]]]) -> None:
        trouble: OSError | None = None
        try:
            os.fsync(self._folder.descriptor)
        except OSError as error:
            trouble = error
        for body, deferred in sealed:
            failed = body.error or trouble
            if failed is None:
                self._reactor.callFromThread(deferred.callback, None)
            else:
                self._folder.remove(body.number)
                self._reactor.callFromThread(deferred.errback, disk_failure(failed))


def _write(folder: BodyFolder, body: BodyFile, octets: bytes) -> None:
    if body.error is None:
        try:
            if body.descriptor < 0:
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                body.descriptor = os.open(id_text(body.number), flags, 0o600, dir_fd=folder.descriptor)
            view = memoryview(octets)
            while view:
                view = view[os.write(body.descriptor, view) :]
        except OSError as error:
            body.error = error
    body.flushed += len(octets)


def _read(body: BodyFile, tell: Callable[..., None], piece: Deferred[bytes], offset: int, size: int) -> None:
    try:
        if body.error is not None:
            raise body.error
        octets = os.pread(body.descriptor, size, offset)  # of one that was aborted: EBADF
    except OSError as error:
        tell(piece.errback, disk_failure(error))
    else:
        tell(piece.callback, octets)


def _sync(body: BodyFile) -> None:
    try:
        if body.error is None:
            os.fsync(body.descriptor)
    except OSError as error:
        body.error = error
    _close(body)


def _close(body: BodyFile) -> None:
    if body.descriptor >= 0:
        os.close(body.descriptor)
        body.descriptor = -1
