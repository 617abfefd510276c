"""Named steps at which the daemon kills itself with SIGKILL.

The steps exist here alone: functions of the program are wrapped, by ``nursery.py``, in a process that has not started
yet.  A name is ``before`` or ``after`` and what is done; ``after`` something that takes its time is when it is over.
``hit`` is the number of the time at which it happens, from 1.
"""

from __future__ import annotations

import importlib
import inspect
import os
import signal
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, NamedTuple

from twisted.internet.defer import Deferred

Wanted = Callable[[tuple[Any, ...]], bool]


class Step(NamedTuple):
    """A function, by module and path in it, and which of its calls are meant, by their arguments."""

    module: str
    path: str
    wanted: Wanted = lambda arguments: True


def _writes(kind: str) -> Wanted:
    """A transaction with a job of this kind."""
    return lambda arguments: any(type(job).__name__ == kind for job in arguments[2])


def _is_promise(arguments: tuple[Any, ...]) -> bool:
    return arguments[1] is not None and b"queued as" in arguments[1].wire


_TRANSACTION: Final = ("mta.spool.writer", "Writer._transaction")
STEPS: Final[dict[str, Step]] = {
    # A message comes in.
    "the expansion": Step("mta.smtp.commands.data", "_expand"),
    "the octets in a file": Step("mta.spool.bodies", "_write"),
    "the sync of a file": Step("mta.spool.bodies", "_sync"),
    "the sync of the folder": Step("mta.spool.bodies", "BodyFiles._tell_sealed"),
    "the commit": Step(*_TRANSACTION, _writes("CommitJob")),
    "telling what is committed": Step("mta.spool.writer", "Writer._tell"),
    "the reply": Step("mta.smtp.session", "Session._answer", _is_promise),
    # It is delivered.
    "the transaction with a far end": Step("mta.smtp.client_transaction", "Transaction.start"),
    "the octets and the dot": Step("mta.smtp.client_transaction", "Transaction._stream"),
    "the reply to the dot": Step("mta.smtp.client_transaction", "Transaction._final"),
    "the mailbox's file": Step("mta.delivery.maildir_store", "_write"),
    "the sync of the mailbox's file": Step("mta.delivery.maildir_store", "_sync"),
    "the name in the mailbox": Step("mta.delivery.maildir_store", "_rename"),
    "the conclusion": Step("mta.spool.sqlite", "SqliteSpool.finish"),
    "the outcome": Step(*_TRANSACTION, _writes("FinishJob")),
    "the removal of a file": Step("mta.spool.bodies", "BodyFolder.remove"),
    # A list: its members are staged in slices before the commit, and made visible in slices after it.
    "a slice of recipients": Step(*_TRANSACTION, _writes("StageJob")),
    "making a slice visible": Step(*_TRANSACTION, _writes("ActivateJob")),
    "forgetting a slice": Step(*_TRANSACTION, _writes("UnstageJob")),
    "sending on to members": Step("mta.lists.spread", "Spread._copy"),
    # What waits.
    "the claim": Step(*_TRANSACTION, _writes("ClaimJob")),
    "the recovery": Step(*_TRANSACTION, _writes("RecoverJob")),
    # Upkeep.
    "the opening of the database": Step("mta.spool.schema", "_prepare"),
    "the migration": Step("mta.spool.schema", "_migrate"),
    "the purge": Step(*_TRANSACTION, _writes("PurgeJob")),
    "bringing the log into the database": Step("mta.spool.writer", "_checkpoint"),
    # A report.
    "the report": Step("mta.bounce.reporter", "Reports.compose"),
}


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _wrapped(function: Callable[..., Any], before: bool, wanted: Wanted, hit: int) -> Callable[..., Any]:
    left = [hit]

    def met(arguments: tuple[Any, ...]) -> bool:
        if wanted(arguments):
            left[0] -= 1
        return left[0] == 0

    def after(arguments: tuple[Any, ...], result: Any) -> Any:
        if met(arguments):
            _die()
        return result

    if inspect.iscoroutinefunction(function) and not before:

        @wraps(function)
        async def later(*arguments: Any, **more: Any) -> Any:
            return after(arguments, await function(*arguments, **more))

        return later

    @wraps(function)
    def call(*arguments: Any, **more: Any) -> Any:
        if before and met(arguments):
            _die()
        result = function(*arguments, **more)
        if before:
            return result
        if isinstance(result, Deferred):
            return result.addCallback(lambda value: after(arguments, value))
        return after(arguments, result)

    return call


def arm(name: str, hit: int) -> None:
    """Let the process die at the step."""
    when, _, what = name.partition(" ")
    step = STEPS[what]
    owner: Any = importlib.import_module(step.module)
    *path, last = step.path.split(".")
    for part in path:
        owner = getattr(owner, part)
    setattr(owner, last, _wrapped(getattr(owner, last), when == "before", step.wanted, hit))
