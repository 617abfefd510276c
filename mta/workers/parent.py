"""The parent of several workers: has the endpoints, the state's lock and the control socket, and handles no mail.

What it is: a service for twistd.  It binds while it has the privileges; then it starts a worker for each spool
(``python -m mta.service``) that inherits the listening sockets, and starts again what dies (child.py).  Spools of
workers that there are no longer get a worker that takes no mail and ends when its spool has nothing any more.
Contract: systemd is told READY when all workers are; worker 0 starts first, since it makes what is made once in the
state folder.  The state's lock is held by the workers too: as long as one of them lives no other service can have the
state. When the parent is gone, the workers see the end of their pipes and stop by themselves.
How it fails: what hinders a start ends the process with one sentence and status 1: also a spool of any worker that is
unsafe, and that no worker at all comes up.  Later, and where others work, a worker that cannot start is told in the log
and by ``mta status``, and tried again.
Limits: a stop gives the workers their time and ``KILL_AFTER`` seconds more.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.logger import ILogObserver, globalLogPublisher

from mta import __version__, events
from mta.admin.control import ControlError
from mta.admin.log import LogWriter, emit
from mta.admin.pausing import Pausing
from mta.admin.watchdog import Watchdog, notify_systemd
from mta.config.fingerprint import keep_running
from mta.config.load import Configuration, ConfigurationError, load
from mta.config.local_options import LISTENER
from mta.config.programs import grants, needs_helper
from mta.local.serving import listen_local
from mta.queue.paused import Pauses
from mta.spool.folders import Folders, StateLock
from mta.spool.values import SpoolLocked, SpoolUnusable
from mta.starting import CannotStart, bind, give_up, give_up_late, listen_control, make_state, on_signal
from mta.waiting import background
from mta.workers import counts, kept
from mta.workers.asking import Asking
from mta.workers.child import Child, Surroundings
from mta.workers.place import ANSWERS, ASKS, COUNTS, KEPT, LISTENERS, LOCK, Place

#: Seconds that a worker has beyond those that a stop gives to its sessions and deliveries.
KILL_AFTER: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What the service is started with.  ``left_over``: spools of former workers; true where something waits in one."""

    path: str
    overrides: tuple[str, ...]
    configuration: Configuration
    log: LogWriter
    left_over: Mapping[int, bool]

    @property
    def alone(self) -> bool:
        """Is one process enough?  What is only remembered in a former worker's spool can wait for the day when no
        program runs as another user; mail cannot."""
        if self.configuration.workers > 1:
            return False
        return not self.left_over or (not any(self.left_over.values()) and bool(_of_others(self.configuration)))


class Parent(Service):
    """See the module's text.  ``now`` is UTC milliseconds; ``stop_time`` what a worker gives to work under way."""

    name: Any = "txmta"

    def __init__(self, start: Start, *, reactor: Any, now: Callable[[], int], stop_time: float) -> None:
        self._start = start
        self._reactor = reactor
        self._now = now
        self._stop_time = stop_time
        self.configuration = start.configuration
        self._ports: dict[str, Any] = {}
        self._control: Any = None
        self._lock = StateLock(Folders(start.configuration.state).lock)
        self._watchdog = Watchdog(reactor, reactor.seconds, emit)
        self._counts = self._kept = -1
        self._starting = True
        self._since = 0.0
        self._told_ready = False
        workers = start.configuration.workers
        around = Surroundings(
            reactor=reactor, spawn=self._spawn, ready=self._ready, died=self._died, emit=emit, noted=self._noted
        )
        self.children = {number: Child(number, around) for number in (*range(workers), *start.left_over)}

    # --- start ---------------------------------------------------------------------------------------------

    def setServiceParent(self, parent: Any) -> None:
        # twistd asks the application for its log observer.
        if hasattr(parent, "setComponent"):
            parent.setComponent(ILogObserver, self._start.log)
        super().setServiceParent(parent)

    def privilegedStartService(self) -> None:
        """Bind the ports, while we may; the workers accept."""
        super().privilegedStartService()
        self._bind()

    def _bind(self) -> None:
        try:
            if keys := _of_others(self.configuration):
                raise CannotStart(self._no_helper(keys))
            for listener in self.configuration.listen:
                port = bind(self._reactor, listener.name, listener.endpoint, Factory())
                port.stopReading()
                self._ports[listener.name] = port
        except CannotStart as error:
            give_up(str(error), self._start.log)

    def _no_helper(self, keys: list[str]) -> str:
        if self.configuration.workers > 1:
            return f"{', '.join(keys)}: programs that run as other users need workers = 1"
        spools = ", ".join(f"spool/{number}" for number, waits in self._start.left_over.items() if waits)
        return (
            f"mail waits in {spools}, of a worker that there is no longer, and the process that would send it cannot "
            f"run programs as other users: leave out the user of {', '.join(keys)} until mta status says that it is "
            "empty, or take the mail out with mta queue"
        )

    def startService(self) -> None:
        """Lock the state; the workers start when the reactor runs."""
        super().startService()
        if not self._ports:  # python -m twisted: no privileged start, and a log of its own beside ours
            if self._start.log.path:
                globalLogPublisher.addObserver(self._start.log)
            self._bind()
        os.umask(0o077)
        state = self.configuration.state
        pauses = Pauses(state)
        try:
            make_state(state)
            self._lock.acquire()
            for number in self.children:
                Folders(state, number).expect()
            pauses.read()
            self._counts = counts.make(self.configuration.workers)
            self._kept = kept.make(self.configuration)
            if self.configuration.local.folder is not None:
                self._ports[LISTENER] = port = listen_local(self._reactor, self.configuration, Factory())
                port.stopReading()
        except (CannotStart, SpoolLocked, SpoolUnusable, ValueError) as error:
            give_up(str(error), self._start.log)
        except OSError as error:
            give_up(f"the state folder {state} cannot be used: {error}", self._start.log)
        self._listen_control(state, pauses)
        self._start.log.join_writes(self._reactor.callLater)
        self._watchdog.start()
        self._since = self._reactor.seconds()
        self._reactor.callWhenRunning(self._run)

    def _listen_control(self, state: str, pauses: Pauses) -> None:
        pausing = Pausing(pauses, now=self._now, emit=emit)
        self._asking = Asking(self._children, pausing, about=partial(self._about, pauses), read=self._read)
        handlers = {**self._asking.handlers(), "stop": self._stop_asked}
        self._control = listen_control(self._reactor, state, handlers)

    def _children(self) -> list[Child]:
        return list(self.children.values())

    def _run(self) -> None:
        on_signal(self._reactor, signal.SIGHUP, lambda: background(self._reload_logged(), "reload"))
        on_signal(self._reactor, signal.SIGUSR1, self._reopen)
        self.children[0].start()

    def _place(self, number: int) -> Place:
        workers = self.configuration.workers
        listeners = tuple(
            (name, LISTENERS + index, int(port.socket.family)) for index, (name, port) in enumerate(self._ports.items())
        )
        return Place(
            number=number,
            share=workers + sum(self._start.left_over.values()),
            workers=workers,
            listeners=listeners if number < workers else (),
        )

    def _spawn(self, number: int, protocol: ProcessProtocol) -> Any:
        start, place = self._start, self._place(number)
        if number < place.workers:
            counts.Counts(self._counts, place.workers).forget(number)
        descriptors: dict[int, int | str] = {
            ASKS: "w",
            1: 1,
            2: 2,
            ANSWERS: "r",
            LOCK: self._lock.descriptor,
            COUNTS: self._counts,
            KEPT: self._kept,
            **{descriptor: self._ports[name].fileno() for name, descriptor, _ in place.listeners},
        }
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("NOTIFY_", "WATCHDOG_"))}
        arguments = [sys.executable, "-m", "mta.service", place.text(), start.path, start.log.path, *start.overrides]
        return self._reactor.spawnProcess(protocol, sys.executable, arguments, env=environment, childFDs=descriptors)

    # --- workers -------------------------------------------------------------------------------------------

    def _ready(self, number: int) -> None:
        child = self.children[number]
        self._starting = self._starting and number >= self.configuration.workers
        same = child.fingerprint == self.configuration.fingerprint
        note = "" if same else ", with a configuration that the others have not read yet: mta reload"
        emit(events.WORKER_UP(worker=number, pid=child.pid, note=note), "")
        if self._asking.draining:
            child.ask("drain", "the service", {"on": True}).addErrback(lambda failure: None)
        # What was changed while it was starting reached only those that were up: it may have read too early.
        child.ask("reread-pauses", "the service", {}).addErrback(lambda failure: None)
        if not same:
            child.ask("reload", "the service", {}).addErrback(lambda failure: None)
        self._start_unborn()
        if not self._told_ready and all(child.up or child.empty for child in self._children()):
            self._told_ready = True
            hostname, state = self.configuration.hostname, self.configuration.state
            emit(events.STARTED(version=__version__, hostname=hostname, state=state), "")
            notify_systemd("READY=1")

    def _start_unborn(self) -> None:
        # The first makes what is made once; where it cannot even start the others must not wait for it for ever.
        for other in self._children():
            if other.unborn:
                other.start()

    def _noted(self, number: int, what: Mapping[str, Any]) -> None:
        """A worker has refused a login: the brakes of the others count it too (mta/accounts/logins.py)."""
        for child in self._children():
            if child.up and child.number != number:
                child.ask("noted", "a worker", what).addErrback(lambda failure: None)

    def _died(self, number: int) -> None:
        if number < self.configuration.workers:
            counts.Counts(self._counts, self.configuration.workers).forget(number)  # its connections have ended with it
        if self.children[number].empty:
            emit(events.WORKER_EMPTY(worker=number, note="its spool has nothing any more"), "")
        elif self.running:
            failed = [self.children[worker].failed for worker in range(self.configuration.workers)]
            if self._starting and all(failed):
                self._starting = False
                give_up_late(self._reactor, f"no worker can start: {'; '.join(dict.fromkeys(failed))}", self._start.log)
                return
            self._start_unborn()

    def _about(self, pauses: Pauses) -> dict[str, Any]:
        """What ``mta status`` says of the whole."""
        return {
            "version": __version__,
            "pid": os.getpid(),
            "up": round(self._reactor.seconds() - self._since),
            "paused": ", ".join(pause.place for pause in pauses),
            "draining": "takes no mail" if self._asking.draining else "",
        }

    # --- reload --------------------------------------------------------------------------------------------

    def _read(self) -> Callable[[], None]:
        try:
            read = load(self._start.path, self._start.overrides)
        except ConfigurationError as error:
            raise ControlError(f"nothing was changed: the configuration is wrong:\n{error}") from None

        def use() -> None:
            self.configuration = keep_running(self.configuration, read)

        return use

    async def _reload_logged(self) -> None:
        try:
            await self._asking.reload({}, "SIGHUP")
        except ControlError as error:
            emit(events.RELOAD_REFUSED(error=str(error)), "")

    def _reopen(self) -> None:
        self._start.log.reopen()
        for child in self._children():
            child.ask("reopen", "SIGUSR1", {}).addErrback(lambda failure: None)

    # --- stop ----------------------------------------------------------------------------------------------

    async def _stop_asked(self, request: Mapping[str, Any], by: str) -> str:
        self._reactor.callLater(0, self._reactor.stop)  # the answer goes first
        return "stopping"

    def stopService(self) -> Deferred[None]:
        """SIGTERM: all workers stop as one process would."""
        super().stopService()
        emit(events.STOPPING(reason="asked to"), "")
        notify_systemd("STOPPING=1")
        return background(self._stop(), "stop")

    async def _stop(self) -> None:
        ports = [*self._ports.values(), self._control]
        await DeferredList([maybeDeferred(port.stopListening) for port in ports if port is not None])
        kill = self._reactor.callLater(self._stop_time + KILL_AFTER, self._kill)
        await DeferredList([child.stop() for child in self._children()])
        if kill.active():
            kill.cancel()
        self._lock.release()
        self._watchdog.stop()
        self._start.log.flush()

    def _kill(self) -> None:
        for child in self._children():
            child.kill()


def _of_others(configuration: Configuration) -> list[str]:
    """The sections of programs that run as other users: only one process has a helper for them."""
    euid = os.geteuid()
    return sorted({path for grant, path in grants(configuration).items() if needs_helper(grant, euid)})
