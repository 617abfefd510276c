"""What sources of accounts have in common.

What it is: ``Identity`` is whom a source has recognised and by what; ``Pool`` is the threads in which it does what
blocks: hashing, a directory, a library.
Contract: work in the pool begins in the order in which it came; threads begin with the first.
How it fails: with more than ``waiting`` at once ``run`` raises ``TemporaryFailure``: a flood of logins costs others
time, never memory.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias, TypeVar

from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred

from mta.accounts.replies import BUSY
from mta.reply import TemporaryFailure
from mta.routing.tables.threads import Crew

T = TypeVar("T")


class Identity(bytes):
    """The name of an account in UTF-8, as ``twisted.cred`` hands it on, with what ``Login`` says of it."""

    credential: str
    proof: str

    def __new__(cls, name: str, credential: str = "", proof: str = "") -> Identity:
        made = super().__new__(cls, name.encode())
        made.credential = credential
        made.proof = proof
        return made


Work: TypeAlias = Callable[[], Any]


class Pool:
    """See the module's text."""

    def __init__(self, reactor: Any, threads: int, waiting: int, name: str) -> None:
        self._crew: Crew[Work, Any] = Crew(reactor, _Caller, threads, name)
        self._waiting = waiting

    def run(self, work: Callable[..., T], *args: Any) -> Deferred[T]:
        """The result of ``work(*args)``, from a thread.  Raises ``TemporaryFailure``."""
        if self._crew.under_way >= self._waiting:
            raise TemporaryFailure(BUSY, f"{self._crew.under_way} logins are under way")
        return self._crew.ask(partial(work, *args))

    def close(self) -> None:
        """Let the threads end after what they were given.  Idempotent."""
        self._crew.close()


class _Caller:
    """What a thread of the pool works with: nothing."""

    def answer(self, work: Work) -> Any:
        return work()

    def close(self) -> None:
        """There is nothing to let go of."""


def refused(why: str) -> UnauthorizedLogin:
    """The failure of a login; ``why`` is for the log alone."""
    return UnauthorizedLogin(why)
