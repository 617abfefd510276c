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

import errno
import gc
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping
from random import SystemRandom
from typing import Any, Final, NoReturn

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import ILogObserver, Logger, globalLogPublisher
from twisted.python.threadpool import ThreadPool
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from mta import __version__, events
from mta.admin.control import ControlError, ControlFactory, socket_path
from mta.admin.draining import Draining
from mta.admin.log import LogWriter, emit
from mta.admin.operations import Operations
from mta.admin.privacy import mask_of
from mta.admin.watchdog import Watchdog, notify_systemd
from mta.build import OWNER, Parts, World
from mta.config.endpoint import with_backlog
from mta.config.fingerprint import changed_needing_restart, keep_running
from mta.config.load import Configuration, ConfigurationError, load
from mta.queue.paused import Pauses
from mta.reactor import install as install_reactor
from mta.reply import MailFailure
from mta.smtp.context import MemoryBudget
from mta.smtp.factory import Connections, SmtpFactory
from mta.spool.sqlite import SqliteSpool
from mta.spool.values import SpoolLocked, SpoolUnusable
from mta.waiting import background

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
#: File descriptors that are needed beside one a connection: spool, logs, outbound connections, DNS.
SPARE_DESCRIPTORS: Final = 512


def now_ms() -> int:
    """UTC milliseconds: the clock for what is stored."""
    return time.time_ns() // 1_000_000


class Options(UsageOptions):
    """What ``twistd mta`` takes."""

    optParameters = [["config", "c", "etc/mta.toml", "The configuration file."]]

    def __init__(self) -> None:
        super().__init__()
        self.overrides: list[str] = []

    def opt_set(self, override: str) -> None:
        """Override one option: KEY=VALUE, for example limits.recipients=50."""
        if "=" not in override:
            raise UsageError(f"--set takes KEY=VALUE, not {override!r}")
        self.overrides.append(override)

    opt_s = opt_set


def makeService(options: Options) -> MailService:
    """Called by twistd.  A wrong configuration ends the process here, with all that is wrong."""
    try:
        configuration = load(options["config"], options.overrides)
    except ConfigurationError as error:
        raise SystemExit(f"mta: the configuration is wrong:\n{error}") from None
    parent: Any = options.parent or {}
    return MailService(options["config"], tuple(options.overrides), configuration, parent.get("logfile"))


class MailService(Service):
    """See the module's text.  ``configuration`` is the one in force."""

    name: Any = "txmta"

    def __init__(
        self, path: str, overrides: tuple[str, ...], configuration: Configuration, logfile: str | None = None
    ) -> None:
        # The reactor's own clock is wall time: its timers would stop when the clock is set back.
        reactor.seconds = time.monotonic
        self.path = path
        self.overrides = overrides
        self.configuration = configuration
        self._connections = Connections()
        self._ports: list[Any] = []
        self._factories: dict[str, SmtpFactory] = {}
        self._threads = ThreadPool(0, DISK_THREADS, "disk")
        self._watchdog = Watchdog(reactor, time.monotonic, emit)
        self._started = 0.0
        self._purging: Any = None
        if logfile is None:
            logfile = configuration.log.file or ""
        elif logfile == "-":  # as twistd has it
            logfile = ""
        try:
            self._log = LogWriter(logfile, configuration.log.level == "debug", configuration.log.format == "json")
        except OSError as error:
            raise SystemExit(f"mta: the log cannot be opened: {error}") from None
        try:
            world = World(
                reactor=reactor,
                now=now_ms,
                random=SystemRandom(),
                in_thread=self._in_thread,
                memory=MemoryBudget(),
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
        for listener in self.configuration.listen:
            factory = SmtpFactory(self._parts.context(listener.name), self._connections, reactor.callLater)
            self._factories[listener.name] = factory
            self._listen(listener.name, listener.endpoint, factory)

    def _listen(self, name: str, endpoint: str, factory: Any) -> None:
        def failed(failure: Any) -> None:
            error = failure.value
            why = error.socketError if isinstance(error, CannotListenError) else error
            if isinstance(why, OSError) and why.errno == errno.EADDRINUSE:
                why = "it is in use by another process; stop that one (ss -ltnp shows it), or change the endpoint"
            elif isinstance(why, OSError) and why.errno == errno.EACCES:
                why = "permission is missing; ports below 1024 take root (twistd's --uid and --gid give it up)"
            self._give_up(f"listener {name} cannot have {endpoint}: {why}")

        def listening(port: Any) -> None:
            self._ports.append(port)
            emit(events.LISTENING(name=name, address=_address_text(port.getHost())), "")

        outcome: list[Any] = []
        serverFromString(reactor, with_backlog(endpoint)).listen(factory).addCallbacks(listening, outcome.append)
        if outcome:
            failed(outcome[0])

    def startService(self) -> None:
        """Lock and open the spool, then let everything go."""
        super().startService()
        if not self._factories:  # python -m twisted: no privileged start, and a log of its own beside ours
            if self._log.path:
                globalLogPublisher.addObserver(self._log)
            self._bind()
        os.umask(0o077)
        _raise_descriptor_limit(self.configuration.limits.connections + self.configuration.queue.attempts)
        state = self.configuration.state
        try:
            os.makedirs(state, mode=0o700, exist_ok=True)
            self.spool.open()
        except (SpoolLocked, SpoolUnusable) as error:
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
        """End the start; said on standard error too where that leads into the log by now."""
        if self._log.path and sys.stderr is not sys.__stderr__:
            print(f"mta: {why}", file=sys.__stderr__)
        raise SystemExit(f"mta: {why}") from None

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
        self._purging = reactor.callLater(PURGE_EVERY, self._purge)
        emit(
            events.STARTED(version=__version__, hostname=self.configuration.hostname, state=self.configuration.state),
            "",
        )
        notify_systemd("READY=1")

    def _purge(self) -> None:
        """Forget history that is older than ``privacy.history``, in small slices."""
        self._purging = reactor.callLater(PURGE_EVERY, self._purge)
        background(self._purge_slices(), "purging history")

    async def _purge_slices(self) -> None:
        before = now_ms() - round(self.configuration.privacy.history * 1000)
        while self.running and await self.spool.purge(before, PURGE_SLICE) >= PURGE_SLICE:
            await deferLater(reactor, PURGE_PAUSE)

    def _protect(self) -> None:
        """Write addresses as ``privacy.addresses`` says, in the log at once.  Raises ``OSError``."""
        mode = self.configuration.privacy.addresses
        mask = None if mode == "full" else mask_of(mode, self.configuration.state)
        self._log.mask = mask
        background(self.spool.mask_history(mode, mask), "masking the history")

    def _listen_control(self, state: str) -> None:
        path = socket_path(state)
        if os.path.lexists(path):
            os.unlink(path)  # the state is locked: whoever made it is gone
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
        )
        handlers = {
            "reload": self._control_reload,
            "status": self._control_status,
            "drain": self._draining.drain,
            "stop": self._control_stop,
            **operations.handlers(),
        }
        self._ports.append(reactor.listenUNIX(path, ControlFactory(handlers), mode=0o660))

    def _install_signals(self) -> None:
        def on_hup(number: int, frame: Any) -> None:
            reactor.callFromThread(lambda: background(self._reload_logged(), "reload"))

        def on_usr1(number: int, frame: Any) -> None:
            reactor.callFromThread(self._log.reopen)

        signal.signal(signal.SIGHUP, on_hup)
        signal.signal(signal.SIGUSR1, on_usr1)

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
        self._parts.resolver.close()
        self._parts.tls.stop()
        self._watchdog.stop()
        if self._purging is not None:
            self._purging.cancel()
        if self._threads.started:
            self._threads.stop()
        self._log.flush()

    def _abort_sessions(self) -> None:
        for factory in self._factories.values():
            factory.abort()

    # --- reload --------------------------------------------------------------------------------------------

    def reload(self) -> str:
        """Read the configuration again and put it to use.  Raises ``ConfigurationError``, ``OSError``."""
        read = load(self.path, self.overrides)
        kept = changed_needing_restart(self.configuration, read)
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

    async def _control_stop(self, request: Mapping[str, Any], by: str) -> str:
        log.info("stopped by {by}", by=by)
        reactor.callLater(0, reactor.stop)  # the answer goes first
        return "stopping"

    async def _control_status(self, request: Mapping[str, Any], by: str) -> dict[str, Any]:
        totals = await self.spool.totals()
        return {
            "version": __version__,
            "pid": os.getpid(),
            "up": round(time.monotonic() - self._started),
            "connections": self._connections.total,
            "tls": f"{self._connections.tls} handshakes, {self._connections.tls_failed} failed",
            "accepted": totals.accepted,
            "queued": totals.queued,
            "held": totals.held,
            "in memory": self._parts.manager.schedule.size,
            "paused": ", ".join(pause.place for pause in self._pauses),
            "draining": "takes no mail" if self._draining.on else "",
            "spool": str(self.spool.unhealthy() or "in order"),
        }


def _address_text(address: Any) -> str:
    if hasattr(address, "host"):
        host = f"[{address.host}]" if ":" in address.host else address.host
        return f"{host}:{address.port}"
    return str(getattr(address, "name", address))


def _raise_descriptor_limit(connections: int) -> None:
    """As many file descriptors as the limits need, if the system lets us."""
    needed = connections + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        log.warn(
            "limits.connections and queue.attempts need {needed} file descriptors, the system allows {hard}",
            needed=needed,
            hard=hard,
        )
        needed = hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
