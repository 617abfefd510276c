"""Starts programs: as the service's own user, or by the helper as another one (``mta.delivery.launch``).

What it is: ``start`` runs the helper, before the service gives its rights up; ``launch`` starts a program.
Contract: as ``mta.delivery.running``.  ``grants`` are what the helper was started for; they never change, since nothing
that runs later may add to them.
How it fails: without the helper, or for what it was not started for, a run is ``refused`` with what to do.  A helper
that has ended cannot come back without a restart of the service: it takes root.
Limits: descriptors of a run are kept until the helper has answered.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.stdio import StandardIO
from twisted.logger import Logger
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.accounts import pam_check
from mta.config.program_options import user_id
from mta.config.programs import grants, needs_helper, pam_sections, pam_services, wrong_users
from mta.config.schema import Configuration
from mta.delivery.launch import MOST_FRAME, Grant, lacking
from mta.delivery.running import INTERPRETER, Program, Run, launch_own

log = Logger()

#: Seconds for the helper to end in; it needs no millisecond.
ENDING: Final = 2.0
GONE: Final = "the helper that starts programs as other users does not run; restart the service"


class Launcher:
    """See the module's text.  Without ``start`` nothing is started as another user."""

    def __init__(self, reactor: Any, euid: Callable[[], int] = os.geteuid) -> None:
        self._reactor = reactor
        self._euid = euid
        self._process: subprocess.Popen[bytes] | None = None
        self._link: Link | None = None
        self.grants: tuple[Grant, ...] = ()
        self.pam: tuple[str, ...] = ()

    def prepare(self, configuration: Configuration) -> None:
        """Run the helper, where a configuration needs it.  Raises ``OSError``, and ``ValueError`` where it would be of
        no use."""
        euid = self._euid()
        for path, what, instead in wrong_users(configuration, euid):
            raise ValueError(f"{path}: {what}; {instead}")
        needed = [grant for grant in grants(configuration) if needs_helper(grant, euid)]
        services = pam_services(configuration) if euid == 0 and configuration.workers == 1 else ()
        if needed or services:
            self.start(needed, services)

    def lacks(self, configuration: Configuration) -> list[str]:
        """The keys of what the helper was not started for."""
        euid, found = self._euid(), set()
        for grant, path in grants(configuration).items():
            if needs_helper(grant, euid):
                wanted = dict(grant.environment), grant.folder, dict(grant.limits)
                found |= {f"{path}.{key}" for key, _ in lacking(self.grants, grant[:3], *wanted)}
        if self.runs:
            found |= {f"{path}.service" for path, name in pam_sections(configuration) if name not in self.pam}
        return sorted(found)

    def start(self, grants: Iterable[Grant], pam: Iterable[str] = ()) -> None:
        """Run it as the user that we are, who must be root; once.  ``pam``: services of PAM that it may be asked for.
        Raises ``OSError``."""
        self.grants, self.pam = tuple(grants), tuple(pam)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            self._process = subprocess.Popen(  # noqa: S603  # our own script
                [*INTERPRETER, "serve", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                env={},
                cwd="/",
                start_new_session=True,
            )
            # Not on its command line, which everybody can read: the environment may hold what nobody else is to know.
            assert self._process.stdin is not None
            with self._process.stdin as pipe:
                granted = {"grants": self.grants, "pam": self.pam, "checker": pam_check.__file__}
                pipe.write(json.dumps(granted).encode("ascii"))
            self._link = Link(self._ended)
            factory: Any = Factory.forProtocol(lambda: self._link)
            self._reactor.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, factory)

    @property
    def runs(self) -> bool:
        """It was started, and has not ended."""
        return self._link is not None

    def _ended(self) -> None:
        if self._link is not None:
            self._link = None
            log.error("the helper that starts programs as other users has ended; restart the service")
        self._wait()

    def _wait(self) -> None:
        # Its socket is closed: it is over but for the exit.
        with suppress(subprocess.TimeoutExpired):
            if self._process is not None:
                self._process.wait(ENDING)

    def launch(self, program: Program, run: Run) -> None:
        """Start it as ``program.user``, or as ourselves where none is named."""
        euid = self._euid()
        if program.pam and self.pam:
            self._ask_pam(program, run)
        elif program.pam and euid:
            launch_own(self._reactor, program, run)
        elif not program.user and euid == 0:
            run.refused("the service runs as root, and no user is named for the program; write user")
        elif not program.user or (not program.group and user_id(program.user) == euid):
            launch_own(self._reactor, program, run)
        elif (program.user, program.group, program.argv[0]) not in {grant[:3] for grant in self.grants}:
            run.refused(
                f"the helper was not started for {program.argv[0]} as {program.user}: the service has to be started "
                "by root, and again after this was added to the configuration"
            )
        elif self._link is None:
            run.refused(GONE)
        else:
            self._link.launch(self._reactor, program, run)

    def _ask_pam(self, program: Program, run: Run) -> None:
        if program.pam not in self.pam:
            run.refused(f"the helper was not started for the service {program.pam} of PAM; restart the service")
        elif self._link is None:
            run.refused(GONE)
        else:
            self._link.launch(self._reactor, program, run)

    def stop(self) -> None:
        """End it; what still runs is killed."""
        link, self._link = self._link, None
        if link is not None:
            link.transport.loseConnection()


class Link(Int32StringReceiver):
    """The connection to the helper."""

    MAX_LENGTH = MOST_FRAME
    transport: Any

    def __init__(self, ended: Any) -> None:
        self._ended = ended
        self._runs: dict[int, _Started] = {}
        self._count = 0

    def launch(self, reactor: Any, program: Program, run: Run) -> None:
        """See ``Launcher``."""
        self._count += 1
        request = {
            **program.spec(),
            "run": self._count,
            "user": program.user,
            "group": program.group,
            "environment": dict(program.environment),
            "pam": program.pam,
        }
        frame = json.dumps(request).encode("ascii")
        if len(frame) > MOST_FRAME:
            run.refused("its arguments are too long")
            return
        try:
            started = _Started(self, self._count, run, reactor)
        except OSError as error:
            run.refused(f"no pipe can be made: {error.strerror}")
            return
        self._runs[self._count] = started
        for end in started.theirs:
            self.transport.sendFileDescriptor(end)
        self._send(frame)
        run.began(started)

    def _send(self, frame: bytes) -> None:
        self.transport.write(len(frame).to_bytes(4, "big") + frame)

    def kill(self, number: int, with_signal: int) -> None:
        """The group of a run."""
        if number in self._runs:
            self._send(json.dumps({"kill": number, "signal": with_signal}).encode("ascii"))

    def stringReceived(self, string: bytes) -> None:
        """What became of a run."""
        answer = json.loads(string)
        started = self._runs[answer["run"]]
        started.close_theirs()
        if "refused" in answer:
            del self._runs[answer["run"]]
            started.run.refused(answer["refused"])
        elif "ended" in answer:
            del self._runs[answer["run"]]
            started.run.exited(answer["ended"])

    def connectionLost(self, reason: Any = None) -> None:
        """It is gone, and with it what it ran."""
        runs, self._runs = self._runs, {}
        for started in runs.values():
            began = not started.theirs
            started.close_theirs()
            (started.run.lost if began else started.run.refused)(GONE)
        self._ended()


@implementer(IHalfCloseableProtocol)
class _Started(Protocol):
    """A program that the helper starts: our ends of its pipes, between them and the ``Run``."""

    transport: Any

    def __init__(self, link: Link, number: int, run: Run, reactor: Any) -> None:
        self.run = run
        self._link = link
        self._number = number
        stdin, write = os.pipe()
        try:
            read, output = os.pipe()
        except OSError:
            os.close(stdin)
            os.close(write)
            raise
        self.theirs: tuple[int, ...] = (stdin, output)
        self._read, self._write = read, write
        standard_io: Any = StandardIO  # its signature differs on Windows
        standard_io(self, stdin=read, stdout=write, reactor=reactor)

    def close_theirs(self) -> None:
        """The helper has them by now."""
        theirs, self.theirs = self.theirs, ()
        for end in theirs:
            os.close(end)

    def dataReceived(self, data: bytes) -> None:
        self.run.output(data)

    # ``StandardIO`` leaves descriptors open, since those that it is meant for are not ours to close.
    def readConnectionLost(self) -> None:
        self._read = _closed(self._read)
        self.run.output_ended()

    def writeConnectionLost(self) -> None:
        self._write = _closed(self._write)
        self.run.input_lost()

    def connectionLost(self, reason: Any = None) -> None:
        self.writeConnectionLost()
        self.readConnectionLost()

    # --- Channel ---

    def write(self, octets: bytes) -> None:
        self.transport.write(octets)

    def close_input(self) -> None:
        self.transport.loseWriteConnection()

    def register(self, producer: Any) -> None:
        self.transport.registerProducer(producer, True)

    def kill(self, number: int) -> None:
        self._link.kill(self._number, number)

    def abandon(self) -> None:
        # Also what was written and not read yet: the program is dead.
        if not self.transport.disconnected:
            self.transport.connectionLost(Failure(ConnectionDone()))


def _closed(descriptor: int) -> int:
    """Close it, if that was not done; -1."""
    if descriptor >= 0:
        os.close(descriptor)
    return -1
