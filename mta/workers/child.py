"""The parent's end: one worker process, started, asked, and started again when it died.

What it is: ``Child`` runs the same command again and again.  It is *down* from its start until it says that it is
ready, and from its death to the next start.
Contract: ``ask`` fires with the answer, or fails with ``ControlError``: also when the worker dies meanwhile or is
silent.  One that is ready is asked for a sign of life every ``LOOK`` seconds, and killed when ``SILENT`` such questions
in a row brought none: its loop does not end.  (Questions are counted, not seconds: a parent that was stopped itself
blames nobody.)  A worker that dies is started again after a wait that doubles from ``FIRST`` to ``LONGEST`` seconds,
and begins anew once one has been ready for ``LONGEST`` seconds.  One that ends with ``EMPTY`` has nothing left to do
and stays away.
How it fails: each death is an event; ``trouble`` says it as long as the worker is down.
Limits: a worker that is not ready yet may take as long as its spool needs.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from mta import events
from mta.admin.control import ANSWER_TIME, ControlError
from mta.events import Event
from mta.workers.place import ANSWERS

FIRST: Final = 0.25
LONGEST: Final = 60.0
#: Seconds between two questions for a sign of life, and how many of them may stay without an answer.
LOOK: Final = 10.0
SILENT: Final = 6
#: The exit status of a worker that was to empty a spool, and has.
EMPTY: Final = 75


class WorkerDown(ControlError):
    """The worker does not run, or does not answer: it did not say no."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a child needs of the parent.  ``spawn(number, protocol)`` starts the process; ``ready`` and ``died`` are
    told.  ``noted``: one of them says what the others have to know."""

    reactor: Any
    spawn: Callable[[int, ProcessProtocol], Any]
    ready: Callable[[int], None]
    died: Callable[[int], None]
    emit: Callable[[Event, str], None]
    noted: Callable[[int, Mapping[str, Any]], None] = lambda number, what: None


class Child(ProcessProtocol):
    """See the module's text.  ``wanted``: a worker that dies is started again."""

    def __init__(self, number: int, around: Surroundings) -> None:
        self.number = number
        self.wanted = True
        self.up = False
        self.empty = False
        self.restarts = 0
        self.fingerprint = ""
        self._around = around
        self._process: Any = None
        self._asked: dict[int, Deferred[Any]] = {}
        self._count = 0
        self._parts: list[bytes] = []
        self._wait = FIRST
        self._next: Any = None
        self._since = 0.0
        self._look: Any = None
        self._silent = 0
        self._ended: list[Deferred[None]] = []
        self._how = "it is being started"
        self._said = ""  # by itself, of why it ended

    @property
    def pid(self) -> int:
        """Its process; 0: there is none."""
        return (self._process.pid or 0) if self._process is not None else 0

    @property
    def failed(self) -> str:
        """Why it is not what it should be: it has died, and was not ready since.  "" otherwise."""
        return self._how if self.restarts and not self.up and not self.empty else ""

    @property
    def unborn(self) -> bool:
        """Was it never started?"""
        return self._process is None and not self.restarts and not self.empty and self.wanted

    @property
    def trouble(self) -> str:
        """Why it does nothing at the moment; "" where it works."""
        if self.up or self.empty:
            return ""
        if self._next is None or not self._next.active():
            return self._how
        return f"{self._how}; the next try is in {max(0, self._next.getTime() - self._around.reactor.seconds()):.0f} s"

    def values(self) -> dict[str, Any]:
        """For ``mta status``."""
        state = "empty" if self.empty else "runs" if self.up else "down"
        return {
            "worker": self.number,
            "state": state,
            "pid": self.pid,
            "restarts": self.restarts,
            "trouble": self.trouble,
        }

    # --- life ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the process."""
        self._parts.clear()
        self._said = ""
        try:
            self._process = self._around.spawn(self.number, self)
        except OSError as error:  # no memory, no processes
            self._again(f"cannot be started: {error}")
            self._around.died(self.number)

    def stop(self) -> Deferred[None]:
        """Let it end what it does; fires when it is gone."""
        self.wanted = False
        for timer in (self._next, self._look):
            if timer is not None and timer.active():
                timer.cancel()
        done: Deferred[None] = Deferred()
        if self._process is None:
            done.callback(None)
            return done
        self._ended.append(done)
        self._process.closeStdin()  # see channel.py
        return done

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            try:
                self._process.signalProcess(signal.SIGKILL)
            except ProcessExitedAlready:
                pass

    def processEnded(self, reason: Failure) -> None:
        self._process = None
        self.up = False
        if self._look is not None and self._look.active():
            self._look.cancel()
        asked, self._asked = self._asked, {}
        for waiting in asked.values():
            waiting.errback(WorkerDown(f"worker {self.number} died over it"))
        ended, self._ended = self._ended, []
        if self.wanted:
            status = getattr(reason.value, "exitCode", None)
            if status == EMPTY:
                self.empty, self.wanted = True, False
            else:
                by = getattr(reason.value, "signal", None)
                clean = reason.check(ProcessDone) is not None
                how = (
                    "ended by itself" if clean else f"ended with status {status}" if by is None else f"got signal {by}"
                )
                self._again(f"{how}{self._said}")
        self._around.died(self.number)
        for done in ended:
            done.callback(None)

    def _again(self, how: str) -> None:
        seconds = self._around.reactor.seconds()
        if self._since and seconds - self._since >= LONGEST:
            self._wait = FIRST
        wait, self._wait, self._since = self._wait, min(2 * self._wait, LONGEST), 0.0
        self.restarts += 1
        self._how = how
        self._around.emit(events.WORKER_DIED(worker=self.number, how=how, seconds=wait), "")
        self._next = self._around.reactor.callLater(wait, self.start)

    def _look_alive(self) -> None:
        if self._silent >= SILENT:
            self._said = f": it did not react for {SILENT * LOOK:.0f} s, and was killed"
            self.kill()
            return
        self._silent += 1
        self.ask("alive", "the service", {}, LOOK).addErrback(lambda failure: None)
        self._look = self._around.reactor.callLater(LOOK, self._look_alive)

    # --- speech --------------------------------------------------------------------------------------------

    def ask(self, command: str, by: str, arguments: Mapping[str, Any], wait: float = ANSWER_TIME) -> Deferred[Any]:
        """See the module's text."""
        if not self.up:
            return fail(WorkerDown(f"worker {self.number} is down: {self.trouble}"))
        self._count += 1
        number = self._count
        request = {**arguments, "command": command, "by": by, "n": number}
        answer: Deferred[Any] = Deferred()
        self._asked[number] = answer
        self._process.write(json.dumps(request).encode("ascii") + b"\n")

        def silent(result: Any, timeout: float) -> Any:
            self._asked.pop(number, None)
            raise WorkerDown(f"worker {self.number} did not answer within {timeout:.0f} s")

        return answer.addTimeout(wait, self._around.reactor, silent)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        if childFD != ANSWERS:
            return
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._heard(json.loads(b"".join([*self._parts, line])))
            self._parts.clear()
        if rest:
            self._parts.append(rest)

    def _heard(self, said: dict[str, Any]) -> None:
        self._silent = 0
        if "failed" in said:
            self._said = f": {said['failed']}"
            return
        if "ready" in said:
            self.up, self._since, self._how = True, self._around.reactor.seconds(), "it is being started"
            self.fingerprint = said["ready"]
            self._look = self._around.reactor.callLater(LOOK, self._look_alive)
            self._around.ready(self.number)
            return
        if "noted" in said:
            self._around.noted(self.number, said["noted"])
            return
        answer = self._asked.pop(said["n"], None)
        if answer is None:
            return  # nobody waits any more
        if said["ok"]:
            answer.callback(said["result"])
        else:
            answer.errback(ControlError(said["error"]))
