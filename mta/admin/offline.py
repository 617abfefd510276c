"""Changes while the service is stopped: the same operations, on the spool itself, under the lock of the state.

Contract: nothing is done unless the lock is ours; when it returns, all is on disk and the lock is free.  Run by root,
it becomes the owner of the state first: files of root's would keep the service from starting.
How it fails: ``SpoolLocked`` when a service has the state after all; else as ``Operations``.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from mta.admin.control import ControlError
from mta.admin.log import emit
from mta.admin.operations import Operations
from mta.admin.pausing import Pausing
from mta.queue.paused import Pauses
from mta.spool.folders import Folders, StateLock
from mta.spool.lanes import Inline
from mta.spool.sqlite import SqliteSpool
from mta.workers.joining import JOINS
from mta.workers.spools import numbers


class _NoReactor:
    """Everything is done at once; what is to be called later never is."""

    def __init__(self) -> None:
        self.callLater: Callable[..., Any] = Clock().callLater

    def callFromThread(self, call: Callable[..., Any], *args: Any) -> None:
        call(*args)


def who() -> str:
    """The user who runs this."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def become_owner(state: str) -> None:
    """See the module's text."""
    if os.geteuid():
        return
    found = os.stat(state)
    if found.st_uid:
        os.setgroups([])
        os.setgid(found.st_gid)
        os.setuid(found.st_uid)


def do_offline(state: str, command: str, arguments: Mapping[str, Any], now: Callable[[], int]) -> Any:
    """One of the commands of ``Operations``, in the spools of all workers, which nobody else has."""
    if not os.path.isdir(os.path.join(state, "spool")):
        raise ControlError(f"there is no spool in {state}: the service has not run yet")
    by = who()
    become_owner(state)
    pauses = Pauses(state)
    lock = StateLock(Folders(state).lock)
    lock.acquire()
    try:
        pauses.read()
        once = Pausing(pauses, now=now, emit=emit).handlers()
        if command in once:
            return now_there(once[command](arguments, by))
        answers = [_in_spool(state, number, command, arguments, by, pauses, now) for number in numbers(state) or [0]]
        return JOINS[command](answers)
    finally:
        lock.release()


def _in_spool(
    state: str,
    number: int,
    command: str,
    arguments: Mapping[str, Any],
    by: str,
    pauses: Pauses,
    now: Callable[[], int],
) -> Any:
    spool = SqliteSpool(
        state,
        reactor=_NoReactor(),
        now=now,
        worker=number,
        lock=False,
        reserve_bytes=0,
        reserve_inodes=0,
        lanes=Inline(),
    )
    spool.open()
    try:
        handlers = Operations(spool, pauses, state=state, now=now, emit=emit).handlers()
        if command not in handlers:
            raise ControlError("the service is not running")
        return now_there(handlers[command](arguments, by))
    finally:
        now_there(spool.close())


def now_there(awaitable: Awaitable[Any]) -> Any:
    """The result of what does not have to wait."""
    results: list[Any] = []

    async def wait() -> Any:
        return await awaitable

    Deferred.fromCoroutine(wait()).addBoth(results.append)
    if not results:
        raise ControlError("the spool did not answer")
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]
