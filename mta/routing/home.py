"""``~/.forward``: where users of this machine have their own mail go; one or more targets a line.

Contract: a file is believed that belongs to the user of that name (or root) and that nobody else may write; symbolic
links are not followed, and what may be no regular file is not waited for.  It may name addresses alone: commands and
files come only from what the administrator owns.
How it fails: a file that is not there, cannot be read by the user of the service, must not be believed or is not well
formed counts as none, so that mail goes into the mailbox; ``FORWARD_REFUSED`` tells why, once.  Trouble of the disk is
``CannotKnow``: mail waits.
Limits: ``MAX_OCTETS`` a file; of ``MAX_TOLD`` files is remembered what was told.
"""

from __future__ import annotations

import errno
import os
import pwd
import stat
from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mta import events
from mta.plugin import Services
from mta.routing.aliases import ADDRESSES
from mta.routing.includes import targets_in
from mta.routing.tables.entries import TableError
from mta.routing.values import CannotKnow, HomeFileQuestion

MAX_OCTETS: Final = 64 << 10
MAX_TOLD: Final = 1000
_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR})
_NOT_OURS: Final = frozenset({errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO})


class Unfit(Exception):
    """The file is not followed; ``str()`` says why."""


class HomeFiles:
    """Answers ``HomeFileQuestion``, outside of the reactor's thread: homes may be on another machine."""

    def __init__(self, services: Services, user_id: Callable[[str], int | None] | None = None) -> None:
        self._services = services
        self._user_id = user_id or _user_id
        self._told: dict[str, str] = {}

    def answer(self, question: HomeFileQuestion) -> Deferred[str | CannotKnow]:
        """The targets of the file in one line, "" for none."""
        reading: Deferred[str] = self._services.in_thread(read_forward, question, self._user_id)
        return reading.addCallbacks(
            self._read, self._failed, callbackArgs=(question.path,), errbackArgs=(question.path,)
        )

    def _read(self, text: str, path: str) -> str:
        self._told.pop(path, None)
        return text

    def _failed(self, failure: Failure, path: str) -> str | CannotKnow:
        if not failure.check(Unfit, TableError):
            return CannotKnow(f"{path}: {failure.getErrorMessage()}")
        why = str(failure.value)
        if self._told.get(path) != why:
            if len(self._told) >= MAX_TOLD:
                self._told.clear()
            self._told[path] = why
            self._services.emit(events.FORWARD_REFUSED(file=path, why=why), "")
        return ""


def read_forward(question: HomeFileQuestion, user_id: Callable[[str], int | None]) -> str:
    """What the file says.  Raises ``Unfit``, ``TableError``, ``OSError``."""
    path, owner = question.path, user_id(question.user)
    if owner is None:
        return ""  # no user of this machine
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _NOT_THERE:
            return ""
        if error.errno in _NOT_OURS:
            raise Unfit(f"it cannot be read: {error.strerror}") from error
        raise
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Unfit("it is no regular file")
        if status.st_uid not in (0, owner):
            raise Unfit(f"it belongs to user {status.st_uid}, who is neither {question.user} nor root")
        if status.st_mode & _OTHERS:
            raise Unfit(f"its group or anybody may write to it; run: chmod go-w {path}")
        octets = file.read(MAX_OCTETS + 1)
    if len(octets) > MAX_OCTETS:
        raise Unfit(f"it is over the limit of {MAX_OCTETS} octets")
    return targets_in(octets, path, ADDRESSES)


def _user_id(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None
