"""The daemon: the one file that knows all others, and the only one that imports the global reactor.

What it is: ``makeService`` for the twistd plugin, and the service that builds everything from a configuration:
spool, router, DNS, delivery services, queue, listeners, control socket.
Contract: ports are bound and the state is locked before the first connection is taken; a reload builds the new
parts whole before any is put to use; a stop takes no new mail, gives running work a bounded time and closes the
spool last.
How it fails: what hinders a start ends the process with one clear sentence and status 1; a wrong configuration at
a reload changes nothing and says why.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from io import FileIO, TextIOWrapper
from random import SystemRandom
from typing import Any, Final, NoReturn

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.stdio import StandardIO
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import ILogObserver, Logger, globalLogBeginner, globalLogPublisher
from twisted.python.threadpool import ThreadPool

from mta import __version__, events
from mta.admin.control import ControlError
from mta.admin.draining import Draining
from mta.admin.log import LogWriter, emit, keep_refused
from mta.admin.operations import Operations
from mta.admin.privacy import mask_of
from mta.admin.refusals import Refusals
from mta.admin.watchdog import Watchdog, notify_systemd
from mta.build import OWNER, Parts, World
from mta.config.fingerprint import changed_needing_restart, keep_running
from mta.config.load import Configuration, ConfigurationError, load
from mta.delivery.helper import Launcher
from mta.queue.paused import Pauses
from mta.reactor import install as install_reactor
from mta.reply import MailFailure
from mta.smtp.context import MemoryBudget
from mta.smtp.factory import SmtpFactory
from mta.spool.sqlite import SqliteSpool
from mta.spool.values import Selection, SpoolLocked, SpoolUnusable
from mta.starting import (
    CannotStart,
    Options,
    adopt,
    bind,
    give_up,
    listen_control,
    make_state,
    on_signal,
    open_log,
    raise_descriptor_limit,
)
from mta.waiting import background
from mta.workers.channel import Channel
from mta.workers.child import EMPTY
from mta.workers.counts import counted
from mta.workers.joining import status_text
from mta.workers.kept import apply
from mta.workers.parent import KILL_AFTER, Parent, Start
from mta.workers.place import ANSWERS, ASKS, COUNTS, KEPT, LOCK, Place
from mta.workers.spools import left_over

install_reactor()
from twisted.internet import reactor as _global_reactor  # noqa: E402  # ours, unless there was one

log = Logger()
reactor: Any = _global_reactor

#: Seconds for sessions and deliveries under way when the service stops.
STOP_TIME: Final = 20.0
#: History is purged every so many seconds, so many messages at a time, with so many seconds between.
PURGE_EVERY: Final = 600.0
PURGE_SLICE: Final = 500
PURGE_PAUSE: Final = 0.2
#: Seconds between two tries to put the spool in order at the start.
RECOVER_AGAIN: Final = 5.0
#: Threads for blocking disk work of delivery services; the spool has its own.
DISK_THREADS: Final = 4
#: Objects made, less those freed, before the cycle collector looks at the youngest; and so on.
GC_THRESHOLDS: Final = (20_000, 20, 20)
#: Seconds between two looks whether a spool that was left over has anything.
LOOK_EMPTY: Final = 30.0
#: The whole service in one process.
ALONE: Final = Place()


def now_ms() -> int:
    """UTC milliseconds: the clock for what is stored."""
    return time.time_ns() // 1_000_000


def makeService(options: Options) -> Service:
    """Called by twistd.  A wrong configuration ends the process here, with all that is wrong."""
    # The reactor's own clock is wall time: its timers would stop when the clock is set back.
    reactor.seconds = time.monotonic
    try:
        configuration = load(options["config"], options.overrides)
    except ConfigurationError as error:
        raise SystemExit(f"mta: the configuration is wrong:\n{error}") from None
    twistd: Any = options.parent or {}
    path, overrides = options["config"], tuple(options.overrides)
    try:
        log_writer = open_log(configuration, twistd.get("logfile"), twistd.get("uid"), twistd.get("gid"))
        left = left_over(configuration.state, configuration.workers)
    except (CannotStart, OSError) as error:
        raise SystemExit(f"mta: {error}") from None
    start = Start(path=path, overrides=overrides, configuration=configuration, log=log_writer, left_over=left)
    if start.alone:
        return MailService(path, overrides, configuration, log_writer)
    return Parent(start, reactor=reactor, now=now_ms, stop_time=STOP_TIME)


def run_worker(place: str, path: str, logfile: str, *overrides: str) -> int:
    """``python -m mta.service``: what the parent starts.  Returns the exit status."""
    reactor.seconds = time.monotonic
    # One line is one write: others write to the same place.
    for descriptor in (ANSWERS, LOCK, COUNTS, KEPT):
        os.set_inheritable(descriptor, False)  # programs that are run here must not keep the state locked
    whole: Any = FileIO(2, "w", closefd=False)
    sys.stderr = TextIOWrapper(whole, "utf-8", "backslashreplace", write_through=True)
    try:
        configuration = apply(KEPT, load(path, overrides))
        log_writer = open_log(configuration, logfile or "-")
        globalLogBeginner.beginLoggingTo([log_writer], redirectStandardIO=False)
        service = MailService(path, overrides, configuration, log_writer, Place.read(place))
        service.startService()
    except (Exception, SystemExit) as error:
        os.write(ANSWERS, json.dumps({"failed": str(error) or type(error).__name__}).encode("ascii") + b"\n")
        if isinstance(error, (ConfigurationError, CannotStart, SystemExit)):
            return 1
        raise  # a mistake of ours, or of a plugin: all of it
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()
    return EMPTY if service.emptied else 0


class MailService(Service):
    """See the module's text.  ``configuration`` is the one in force."""

    name: Any = "txmta"
    emptied = False  # a worker that was to empty a spool has

    def __init__(
        self,
        path: str,
        overrides: tuple[str, ...],
        configuration: Configuration,
        log_writer: LogWriter,
        place: Place = ALONE,
    ) -> None:
        self.path = path
        self.overrides = overrides
        self.configuration = configuration
        self._place = place
        self._channel: Channel | None = None
        self._connections = counted(place)
        self._ports: list[Any] = []
        self._factories: dict[str, SmtpFactory] = {}
        self._threads = ThreadPool(0, DISK_THREADS, "disk")
        self._watchdog = Watchdog(reactor, time.monotonic, emit)
        self._refusals = Refusals(configuration.state, now=now_ms, call_later=reactor.callLater, place=place)
        self._started = 0.0
        self._purging: Any = None
        self._log = log_writer
        self._launcher = Launcher(reactor)
        try:
            world = World(
                reactor=reactor,
                now=now_ms,
                random=SystemRandom(),
                in_thread=self._in_thread,
                memory=MemoryBudget(),
                place=place,
                launch=self._launcher.launch,
            )
            self._parts = Parts(world, configuration)
        except (OSError, ValueError) as error:
            raise SystemExit(f"mta: {error}") from None

    # --- start ---------------------------------------------------------------------------------------------

    def setServiceParent(self, parent: Any) -> None:
        # twistd asks the application for its log observer.
        if hasattr(parent, "setComponent"):
            parent.setComponent(ILogObserver, self._log)
        super().setServiceParent(parent)

    def privilegedStartService(self) -> None:
        """Bind the ports, while we may; nobody is answered before the reactor runs."""
        super().privilegedStartService()
        self._bind()

    def _bind(self) -> None:
        if not self._place.alone:
            for name, descriptor, family in self._place.listeners:
                self._factories[name] = factory = self._parts.factory(name, self._connections)
                self._ports.append(adopt(reactor, descriptor, family, factory))
            return
        self._start_helper()
        for listener in self.configuration.listen:
            self._factories[listener.name] = factory = self._parts.factory(listener.name, self._connections)
            try:
                self._ports.append(bind(reactor, listener.name, listener.endpoint, factory))
            except CannotStart as error:
                self._give_up(str(error))

    def _start_helper(self) -> None:
        """What starts programs as other users has to be there before we are nobody special."""
        try:
            self._launcher.prepare(self.configuration)
        except (OSError, ValueError) as error:
            self._give_up(str(error))

    def startService(self) -> None:
        """Lock and open the spool, then let everything go."""
        super().startService()
        if not self._factories:  # a worker, or python -m twisted: no privileged start, and a log of its own beside ours
            if self._place.alone and self._log.path:
                globalLogPublisher.addObserver(self._log)
            self._bind()
        os.umask(0o077)
        raise_descriptor_limit(self.configuration.limits.connections + self.configuration.queue.attempts)
        state = self.configuration.state
        try:
            make_state(state)
            self.spool.open()
            self._parts.start()
            self._ports += self._parts.listen_local(self._factories, self._connections)
        except (CannotStart, SpoolLocked, SpoolUnusable) as error:
            self._give_up(str(error))
        except ValueError as error:
            self._give_up(str(error))
        except OSError as error:
            self._give_up(f"the spool in {state} cannot be used: {error}")
        self._pauses = Pauses(state)
        self._parts.manager.schedule.paused = self._pauses.paused
        self._log.join_writes(reactor.callLater)
        self._threads.start()
        self._listen_control(state)
        self._watchdog.start()
        try:
            self._parts.tls.start()
        except (OSError, ValueError) as error:
            self._give_up(f"no certificate of our own can be made: {error}")
        try:
            self._pauses.read()
            self._protect()
        except (OSError, ValueError) as error:
            self._give_up(str(error))
        self._started = time.monotonic()
        # What lives as long as the process need not be looked at again by the cycle collector, and what a message
        # needs is freed by counting: without this the collector takes a twentieth of the time.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        reactor.callWhenRunning(self._install_signals)
        background(self._recover(), "start")

    def _give_up(self, why: str) -> NoReturn:
        """End the start."""
        give_up(why, self._log)

    @property
    def spool(self) -> SqliteSpool:
        return self._parts.spool

    async def _recover(self) -> None:
        while True:
            try:
                damages = await self.spool.recover(OWNER)
                break
            except MailFailure as failure:
                # A full or failing disk: mail is refused by the spool itself, and nothing goes out before this.
                emit(events.SPOOL_TROUBLE(error=f"it cannot be put in order: {failure}"), "")
                await deferLater(reactor, RECOVER_AGAIN)
                if not self.running:
                    return
        for damage in damages:
            emit(events.SPOOL_DAMAGE(what=damage.what), damage.id)
        if not self.running:
            return  # stopped meanwhile: nothing may begin now
        self._parts.manager.start()
        self._parts.tell_failing_tests()
        self._purging = reactor.callLater(PURGE_EVERY, self._purge)
        if self._channel is not None:
            self._channel.tell({"ready": self.configuration.fingerprint})
            if self._place.empties:
                background(self._end_when_empty(), "emptying the spool")
            return
        hostname, state = self.configuration.hostname, self.configuration.state
        emit(events.STARTED(version=__version__, hostname=hostname, state=state), "")
        notify_systemd("READY=1")

    async def _end_when_empty(self) -> None:
        """The spool is that of a worker that there is no longer."""
        while self.running:
            rows = [await self.spool.page(Selection(), None, 1, history) for history in (False, True)]
            if not any(rows):
                self.emptied = True
                reactor.stop()
                return
            await deferLater(reactor, LOOK_EMPTY)

    def _purge(self) -> None:
        """Forget history that is older than ``privacy.history``, in small slices."""
        self._purging = reactor.callLater(PURGE_EVERY, self._purge)
        background(self._purge_slices(), "purging history")
        self._refusals.tidy()

    async def _purge_slices(self) -> None:
        before = now_ms() - round(self.configuration.privacy.history * 1000)
        while self.running and await self.spool.purge(before, PURGE_SLICE) >= PURGE_SLICE:
            await deferLater(reactor, PURGE_PAUSE)

    def _protect(self) -> None:
        """Write addresses as ``privacy.addresses`` says, in the log at once.  Raises ``OSError``."""
        mode = self.configuration.privacy.addresses
        mask = None if mode == "full" else mask_of(mode, self.configuration.state)
        self._log.mask = mask
        privacy = self.configuration.privacy
        self._refusals.configure(mode, mask, privacy.refused, round(privacy.history * 1000))
        keep_refused(self._refusals.note)
        background(self.spool.mask_history(mode, mask), "masking the history")

    def _listen_control(self, state: str) -> None:
        self._draining = Draining(
            connections=self._connections,
            factories=self._factories.values,
            spool=self.spool,
            schedule=self._parts.manager.schedule,
            now=now_ms,
            seconds=time.monotonic,
            emit=emit,
        )
        operations = Operations(
            self.spool,
            self._pauses,
            state=state,
            now=now_ms,
            emit=emit,
            queue=self._parts.manager,
            seconds=time.monotonic,
            refusals=self._refusals,
            brakes=self._parts.brakes,
        )
        handlers = {
            "reload": self._control_reload,
            "status": self._control_status,
            "drain": self._draining.drain,
            "stop": self._control_stop,
            **operations.handlers(),
            **self._parts.logins.handlers(),
        }
        if self._place.alone:
            self._ports.append(listen_control(reactor, state, handlers))
            return
        more = {"check": self._control_check, "reopen": self._control_reopen, "reread-pauses": operations.reread_pauses}
        self._channel = Channel({**handlers, **more}, self._parent_gone)
        self._parts.logins.tell = self._channel.tell
        pipes: Any = StandardIO
        pipes(self._channel, ASKS, ANSWERS, reactor)

    def _parent_gone(self) -> None:
        if self.running:
            signal.alarm(round(STOP_TIME + KILL_AFTER))  # nobody is there any more who would end a stop that hangs
            reactor.stop()

    def _install_signals(self) -> None:
        # A terminal that is closed tells all processes: in a worker that is the parent's affair.
        reload = (lambda: background(self._reload_logged(), "reload")) if self._place.alone else (lambda: None)
        on_signal(reactor, signal.SIGHUP, reload)
        on_signal(reactor, signal.SIGUSR1, self._log.reopen)

    def _in_thread(self, work: Any, *args: Any) -> Deferred[Any]:
        return deferToThreadPool(reactor, self._threads, work, *args)

    # --- stop ----------------------------------------------------------------------------------------------

    def stopService(self) -> Deferred[None]:
        """SIGTERM: see the module's text."""
        super().stopService()
        emit(events.STOPPING(reason="asked to"), "")
        notify_systemd("STOPPING=1")
        return background(self._stop(), "stop")

    async def _stop(self) -> None:
        await gatherResults([background(maybeDeferred(port.stopListening), "closing a port") for port in self._ports])
        sessions = gatherResults([factory.shut_down() for factory in self._factories.values()])
        abort = reactor.callLater(STOP_TIME, self._abort_sessions)
        manager = background(self._parts.manager.stop(STOP_TIME), "stop of the queue")
        await sessions
        if abort.active():
            abort.cancel()
        await manager
        await self.spool.close()
        self._launcher.stop()
        self._parts.resolver.close()
        self._parts.tls.stop()
        self._watchdog.stop()
        if self._purging is not None:
            self._purging.cancel()
        if self._threads.started:
            self._threads.stop()
        self._parts.close()
        self._refusals.flush()
        self._log.flush()

    def _abort_sessions(self) -> None:
        for factory in self._factories.values():
            factory.abort()

    # --- reload --------------------------------------------------------------------------------------------

    def reload(self) -> str:
        """Read the configuration again and put it to use.  Raises ``ConfigurationError``, ``OSError``."""
        read = load(self.path, self.overrides)
        kept = (*changed_needing_restart(self.configuration, read), *self._launcher.lacks(read))
        new = keep_running(self.configuration, read)
        self._parts.change(new)
        self.configuration = new
        for name, factory in self._factories.items():
            factory.context = self._parts.context(name)
        self._protect()
        note = f"needs a restart: {', '.join(kept)}" if kept else "all of it is in force"
        if self._parts.tls.refused:
            note += f"; but the certificates of before stay: {', '.join(self._parts.tls.refused)}"
        emit(events.RELOADED(note=note), "")
        return f"read again; {note}"

    async def _reload_logged(self) -> None:
        try:
            self.reload()
        except (ConfigurationError, OSError, ValueError) as error:
            emit(events.RELOAD_REFUSED(error=str(error)), "")
        except Exception as error:  # of a plugin
            log.failure("the reload failed")
            emit(events.RELOAD_REFUSED(error=f"{type(error).__name__}: {error}"), "")

    # --- the control socket --------------------------------------------------------------------------------

    async def _control_reload(self, request: Mapping[str, Any], by: str) -> str:
        try:
            return self.reload()
        except (ConfigurationError, OSError, ValueError) as error:
            emit(events.RELOAD_REFUSED(error=str(error)), "")
            raise ControlError(f"nothing was changed: the configuration is wrong:\n{error}") from None

    async def _control_check(self, request: Mapping[str, Any], by: str) -> str:
        """Of several processes each says yes before any reloads."""
        try:
            self._parts.check(keep_running(self.configuration, load(self.path, self.overrides)))
        except (ConfigurationError, OSError, ValueError) as error:
            raise ControlError(f"nothing was changed: the configuration is wrong:\n{error}") from None
        return "it is right"

    async def _control_reopen(self, request: Mapping[str, Any], by: str) -> str:
        self._log.reopen()
        return "opened again"

    async def _control_stop(self, request: Mapping[str, Any], by: str) -> str:
        log.info("stopped by {by}", by=by)
        reactor.callLater(0, reactor.stop)  # the answer goes first
        return "stopping"

    async def _control_status(self, request: Mapping[str, Any], by: str) -> dict[str, Any]:
        totals = await self.spool.totals()
        figures = {
            "version": __version__,
            "pid": os.getpid(),
            "up": round(time.monotonic() - self._started),
            "connections": self._connections.total,
            "tls": "",
            "tls_done": self._connections.tls,
            "tls_failed": self._connections.tls_failed,
            "accepted": totals.accepted,
            "queued": totals.queued,
            "held": totals.held,
            "in_memory": self._parts.manager.schedule.size,
            "paused": ", ".join(pause.place for pause in self._pauses),
            "draining": "takes no mail" if self._draining.on else "",
            "spool": str(self.spool.unhealthy() or "in order"),
        }
        return status_text(figures) if self._place.alone else figures


if __name__ == "__main__":
    sys.exit(run_worker(*sys.argv[1:]))
