"""A program under way: what it is given, what it says, and how long it may take.

What it is: ``Run`` is one run, whoever started the program: ``launch_own`` (as the service's own user, here) or the
helper (``mta.delivery.helper``).  A launcher calls its methods; ``ended`` tells the rest of us.
Contract: what the program reads comes as fast as it reads, never faster; its standard input is not closed before all
of it was written or the program is dead, so that it never takes a part for the whole.  Its output is read to the end,
and ``MOST_OUTPUT`` octets of it are kept.  A program that does not read is no error.  After ``limit`` seconds its
process group gets SIGTERM, ``GRACE`` later SIGKILL.
How it fails: ``ended`` always comes, at most ``limit`` and twice ``GRACE`` after the start, whatever the program
does.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.delivery import launch

MOST_OUTPUT: Final = 4096
#: Seconds between SIGTERM and SIGKILL, and between that and giving up.
GRACE: Final = 5.0
#: Seconds in which what a program has written is read, after its end, while others keep its output open.
LINGER: Final = 1.0
#: How the script that becomes the program is started.
INTERPRETER: Final = (sys.executable, "-I", "-S", launch.__file__)


class Program(NamedTuple):
    """What to run.  ``user`` and ``group`` are "" for the service's own; ``limits`` as in ``launch``.  ``pam``: it is
    what asks PAM (mta/accounts/pam_check.py) for this service of PAM, which the helper does as root."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    folder: str
    limits: Mapping[str, int]
    user: str = ""
    group: str = ""
    pam: str = ""

    def spec(self) -> dict[str, Any]:
        """For ``launch``."""
        return {"argv": self.argv, "folder": self.folder, "limits": self.limits}


class Ended(NamedTuple):
    """How it ended: an exit status, or below zero a signal; ``why`` where that was our doing, or it never began."""

    status: int
    output: bytes
    why: str = ""
    began: bool = True


class Channel(Protocol):
    """The program, as its launcher has it."""

    def write(self, octets: bytes) -> None:
        """To its standard input."""

    def close_input(self) -> None:
        """After what was written."""

    def register(self, producer: Any) -> None:
        """Who is told to pause."""

    def kill(self, number: int) -> None:
        """Its process group."""

    def abandon(self) -> None:
        """Let go of its input and output.  Idempotent."""


@implementer(IPushProducer)
class Run:
    """See the module's text.  ``clock`` gives ``callLater``."""

    def __init__(self, clock: Any, limit: float) -> None:
        self.ended: Deferred[Ended] = Deferred()
        self._clock = clock
        self._channel: Channel | None = None
        self._output = bytearray()
        self._output_open = True
        self._reading = True  # the program reads, as far as we know
        self._status: int | None = None
        self._why = ""
        self._over = False
        self.reached = True  # the program itself was, as far as we know, and not a script of ours alone
        self._room: Deferred[None] | None = None
        self._timer = clock.callLater(limit, self.stop, f"it took longer than {limit:.0f} seconds")

    # --- for the delivery ----------------------------------------------------------------------------------

    async def write(self, octets: bytes) -> bool:
        """Give it more to read; comes back when it may have more still.  False: it reads no more."""
        while self._room is not None:
            await self._room
        if self._reading and self._channel is not None and octets:
            self._channel.write(octets)
        return self._reading

    async def finish(self) -> None:
        """That was all."""
        while self._room is not None:
            await self._room
        if self._reading and self._channel is not None:
            self._channel.close_input()

    def stop(self, why: str) -> None:
        """Ask it to end, and see to it that it does."""
        if self._over or self._why:
            return
        self._why = why
        self._signal(signal.SIGTERM)
        self._set_timer(GRACE, self._kill)

    def kill(self, why: str) -> None:
        """End it at once."""
        if not self._over:
            self._why = self._why or why
            self._kill()

    def _kill(self) -> None:
        self._signal(signal.SIGKILL)
        self._set_timer(GRACE, self._end, -signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._channel is not None and self._status is None:
            self._channel.kill(number)

    # --- for the launcher ----------------------------------------------------------------------------------

    def began(self, channel: Channel) -> None:
        """It runs, or will in a moment."""
        self._channel = channel
        channel.register(self)

    def refused(self, why: str) -> None:
        """It was not started."""
        if not self._over:
            self._end(launch.CANNOT_START, why, began=False)

    def lost(self, why: str) -> None:
        """Who started it is gone, and has killed it."""
        if not self._over:
            self._end(-signal.SIGKILL, why)

    def output(self, octets: bytes) -> None:
        """It wrote something."""
        self._output += octets[: MOST_OUTPUT - len(self._output)]

    def input_lost(self) -> None:
        """It reads no more."""
        self._reading = False
        self._let_go()

    def output_ended(self) -> None:
        """It writes no more."""
        self._output_open = False
        if self._status is not None:
            self._end(self._status)

    def exited(self, status: int) -> None:
        """It is dead, and was waited for.  ``status`` as in ``Ended``."""
        self._status = status
        self.input_lost()
        if self._over:
            return
        if self._output_open:
            self._set_timer(LINGER, self._end, status)
        else:
            self._end(status)

    def _end(self, status: int, why: str = "", *, began: bool = True) -> None:
        if self._over:
            return
        self._over = True
        if self._timer.active():
            self._timer.cancel()
        self.input_lost()
        if self._channel is not None:
            self._channel.abandon()
        reached = self.reached or bool(self._why)
        self.ended.callback(Ended(status, bytes(self._output), why or self._why, began and reached))

    def _set_timer(self, seconds: float, call: Any, *args: Any) -> None:
        if self._timer.active():
            self._timer.cancel()
        self._timer = self._clock.callLater(seconds, call, *args)

    # --- IPushProducer -------------------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """It reads more slowly than we write."""
        if self._room is None and self._reading:
            self._room = Deferred()

    def resumeProducing(self) -> None:
        """There is room again."""
        self._let_go()

    def stopProducing(self) -> None:
        """Its input is gone."""
        self.input_lost()

    def _let_go(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.called:
            room.callback(None)


# --- as the service's own user -----------------------------------------------------------------------------------


class _Own(ProcessProtocol):
    """Between Twisted's process and a ``Run``."""

    transport: Any

    def __init__(self, run: Run) -> None:
        self._run = run

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        if childFD == launch.STARTS:
            self._run.reached = True
        else:
            self._run.output(data)

    def inConnectionLost(self) -> None:
        self._run.input_lost()

    def processExited(self, reason: Failure) -> None:
        # What is left in its group goes with it.  Its number was free for no longer than this call took to come.
        self.kill(signal.SIGKILL, group_alone=True)
        error: Any = reason.value
        self._run.exited(-error.signal if error.signal else error.exitCode)

    def processEnded(self, reason: Failure) -> None:
        self._run.output_ended()

    # --- Channel ---

    def write(self, octets: bytes) -> None:
        self.transport.write(octets)

    def close_input(self) -> None:
        self.transport.closeStdin()

    def register(self, producer: Any) -> None:
        self.transport.registerProducer(producer, True)

    def kill(self, number: int, *, group_alone: bool = False) -> None:
        # The process alone, as long as it has not made its group.
        for kill in (os.killpg,) if group_alone else (os.killpg, os.kill):
            try:
                kill(self._pid, number)
                return
            except (ProcessLookupError, PermissionError):
                pass

    def abandon(self) -> None:
        # Also what was written and not read yet: the program is dead, and what it left may keep its input open.
        if (writer := self.transport.pipes.get(0)) is not None:
            writer.connectionLost(Failure(ConnectionDone()))
        self.transport.closeChildFD(launch.STARTS)
        self.transport.loseConnection()

    def connectionMade(self) -> None:
        self._pid = self.transport.pid


def launch_own(reactor: Any, program: Program, run: Run) -> None:
    """Start it as the service's own user."""
    spec = {**program.spec(), "parent": os.getpid()}
    argv = [*INTERPRETER, "exec", json.dumps(spec)]
    environment = {key.encode(): launch.octets(value) for key, value in program.environment.items()}
    protocol = _Own(run)
    run.reached = False
    ends = {0: "w", 1: "r", 2: "r", launch.STARTS: "r"}
    try:
        reactor.spawnProcess(protocol, argv[0], argv, env=environment, path="/", childFDs=ends)
    except OSError as error:
        run.refused(f"it cannot be started: {error.strerror or error}")
    else:
        run.began(protocol)
