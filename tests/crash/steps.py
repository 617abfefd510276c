"""A process that is killed before a numbered step, and says through a pipe what it had promised until then.

A step is whatever reaches the disk: each SQL statement of the spool's writer, each call by which the spool makes,
writes, syncs, names, links or removes a file.  The program counts nothing: the connection is handed in, and the
module ``os`` as the spool's modules see it is replaced, in this process alone.
``run(work, at)`` forks; the child runs ``work``, and dies by SIGKILL before step ``at``.
Limits: what a killed process wrote stays with the kernel, so a missing sync is not found this way.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from mta.spool import backup, bodies, folders, schema

_CALLS: Final = frozenset({"open", "write", "fsync", "unlink", "link", "rename", "mkdir", "ftruncate", "pwrite"})
Say = Callable[..., None]


class Steps:
    """Counts, and kills."""

    def __init__(self, at: int) -> None:
        self._at = at
        self.names: list[str] = []

    def __call__(self, name: str) -> None:
        if len(self.names) == self._at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.names.append(name)

    def connect(self, path: str) -> sqlite3.Connection:
        """For the spool: a connection each of whose statements is a step."""
        step = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
                step(" ".join(sql.split()[:3]))
                return super().execute(sql, *args)

            def executescript(self, sql: str) -> sqlite3.Cursor:
                step(" ".join(sql.split()[:3]))
                return super().executescript(sql)

        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Connection)


class CountedOs:
    """The module ``os``, with steps."""

    def __init__(self, step: Steps) -> None:
        self._step = step

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in _CALLS:
            return real

        def call(*args: Any, **more: Any) -> Any:
            self._step(f"os.{name}")
            return real(*args, **more)

        return call


@dataclass(frozen=True)
class Run:
    """What became of it: was it killed, the names of all steps where not, what it had said."""

    killed: bool
    names: list[str]
    said: list[list[Any]]


def run(work: Callable[[Steps, Say], None], at: int = -1) -> Run:
    """See the module's text; with ``at`` -1 it runs to its end, and the last thing it says is ["steps", names]."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reading)
            _child(work, at, writing)
        finally:
            os._exit(1)
    os.close(writing)
    with open(reading, "rb") as pipe:
        lines = pipe.read().splitlines()
    _, status = os.waitpid(child, 0)
    said = [json.loads(line) for line in lines]
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    if not killed and status:
        raise AssertionError(f"the child failed: {said[-1:]}")
    names = said.pop()[1] if not killed else []
    return Run(killed, names, said)


def _child(work: Callable[[Steps, Say], None], at: int, writing: int) -> None:
    def say(*what: Any) -> None:
        os.write(writing, json.dumps(what).encode() + b"\n")

    step = Steps(at)
    for module in (backup, bodies, folders):
        module.os = CountedOs(step)  # type: ignore[attr-defined]
    backup.connect = step.connect
    schema.connect = step.connect
    try:
        work(step, say)
    except BaseException as error:
        say("failed", f"{type(error).__name__}: {error}")
        raise
    say("steps", step.names)
    os._exit(0)
