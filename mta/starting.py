"""What a start of the service consists of, whether it is one process (mta/service.py) or several (mta/workers/).

Contract: everything either succeeds or raises ``CannotStart`` with one sentence that says what to do; ``give_up`` ends
the process with it, ``give_up_late`` where the reactor runs already; both with status 1.
"""

from __future__ import annotations

import atexit
import errno
import os
import pwd
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, NoReturn

from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.unix import Port as UnixPort
from twisted.logger import Logger
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from mta import events
from mta.admin.control import ControlFactory, Handler, socket_path, too_long
from mta.admin.log import LogWriter, emit
from mta.config.endpoint import BACKLOG, with_backlog
from mta.config.load import Configuration

log = Logger()

#: File descriptors that are needed beside one a connection: spool, logs, outbound connections, DNS.
SPARE_DESCRIPTORS: Final = 512


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


class CannotStart(Exception):
    """What hinders the start, and what to do."""


def give_up(why: str, writer: LogWriter) -> NoReturn:
    """End the start; said on standard error too where that leads into the log by now."""
    if writer.path and sys.stderr is not sys.__stderr__:
        print(f"mta: {why}", file=sys.__stderr__)
    raise SystemExit(f"mta: {why}") from None


def give_up_late(reactor: Any, why: str, writer: LogWriter) -> None:
    """End a start that went wrong when the reactor ran already.  Twisted has no status for that but a signal's."""
    log.error("the service cannot start: {why}", why=why)
    writer.flush()
    if writer.path:
        print(f"mta: {why}", file=sys.__stderr__)
    atexit.register(_status_one)
    reactor.stop()


def _status_one() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(1)


def open_log(
    configuration: Configuration, logfile: str | None, uid: int | None = None, gid: int | None = None
) -> LogWriter:
    """The log; ``logfile`` is what twistd was told, and whom the service is going to be: the file is made for that user
    and opened with its rights, since it is opened again later.  Raises ``CannotStart``."""
    if logfile is None:
        logfile = configuration.log.file or ""
    elif logfile == "-":  # as twistd has it
        logfile = ""
    try:
        if not logfile or uid is None or os.geteuid() != 0:
            return LogWriter(logfile, configuration.log.level == "debug", configuration.log.format == "json")
        gid = pwd.getpwuid(uid).pw_gid if gid is None else gid
        _make_log(logfile, uid, gid)
        with _rights_of(uid, gid):
            return LogWriter(logfile, configuration.log.level == "debug", configuration.log.format == "json")
    except KeyError:
        raise CannotStart(f"the user {uid} that the service is to have is unknown here; name a --gid too") from None
    except OSError as error:
        folder = os.path.dirname(logfile)
        hint = "" if os.path.isdir(folder) else f"; make the folder {folder}, for the user that the service has"
        if not hint and isinstance(error, PermissionError) and uid is not None:
            hint = f"; run: chown {uid} {logfile}, and see that this user may look into {folder}"
        raise CannotStart(f"the log cannot be opened: {error}{hint}") from None


def _make_log(path: str, uid: int, gid: int) -> None:
    """Where there is none.  The folder may be the user's: no link of theirs is followed with our rights."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
    except FileExistsError:
        return
    try:
        os.fchown(descriptor, uid, gid)
    finally:
        os.close(descriptor)


@contextmanager
def _rights_of(uid: int, gid: int) -> Iterator[None]:
    """For a moment, as twistd will have them for good."""
    groups, group = os.getgroups(), os.getegid()
    try:
        name = pwd.getpwuid(uid).pw_name
        theirs = os.getgrouplist(name, gid)
    except KeyError:
        theirs = [gid]
    os.setgroups(theirs)
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def bind(reactor: Any, name: str, endpoint: str, factory: IProtocolFactory) -> Any:
    """The port of a listener.  Raises ``CannotStart``."""
    ports: list[Any] = []
    failures: list[Any] = []
    serverFromString(reactor, with_backlog(endpoint)).listen(factory).addCallbacks(ports.append, failures.append)
    if ports:
        emit(events.LISTENING(name=name, address=address_text(ports[0].getHost())), "")
        return ports[0]
    error = failures[0].value
    why = error.socketError if isinstance(error, CannotListenError) else error
    if isinstance(why, OSError) and why.errno == errno.EADDRINUSE:
        why = "it is in use by another process; stop that one (ss -ltnp shows it), or change the endpoint"
    elif isinstance(why, OSError) and why.errno == errno.EACCES:
        why = "permission is missing; ports below 1024 take root (twistd's --uid and --gid give it up)"
    raise CannotStart(f"listener {name} cannot have {endpoint}: {why}")


def adopt(reactor: Any, descriptor: int, family: int, factory: IProtocolFactory) -> Any:
    """The port of a listening socket that others have too.

    One connection is accepted at a time: whoever has time takes the next one.  (A burst would go to whoever came
    first.) A UNIX socket keeps its name when the port is closed: it is the parent's.
    """
    port: Any
    if family == socket.AF_UNIX:
        port = UnixPort._fromListeningDescriptor(reactor, descriptor, factory)
        port._bindPath = b"\0"  # as one without a name: Twisted changes no mode, and removes nothing
        port.backlog = BACKLOG
        port.startListening()
    else:
        port = reactor.adoptStreamPort(descriptor, socket.AddressFamily(family), factory)
    os.close(descriptor)  # the port has a copy
    read = port.doRead

    def read_one() -> None:
        port.numberAccepts = 1
        read()

    port.doRead = read_one
    # Twisted shuts a socket down before it closes it: nobody else could accept from it any more.
    port._closeSocket = lambda orderly: port.socket.close()
    return port


def listen_control(reactor: Any, state: str, handlers: dict[str, Handler]) -> Any:
    """The port of the control socket."""
    path = socket_path(state)
    if os.path.lexists(path):
        os.unlink(path)  # the state is locked: whoever made it is gone
    return reactor.listenUNIX(path, ControlFactory(handlers), mode=0o660)


def make_state(state: str) -> None:
    """The state folder.  Raises ``CannotStart``, ``OSError``."""
    if why := too_long(state):
        raise CannotStart(f"state: {why}; write a shorter path")
    os.makedirs(state, mode=0o700, exist_ok=True)


def on_signal(reactor: Any, number: int, call: Callable[[], object]) -> None:
    """Have something called, in the reactor's own time, when a signal comes."""
    signal.signal(number, lambda *_: reactor.callFromThread(call))


def address_text(address: Any) -> str:
    """Where a port is, for people."""
    if hasattr(address, "host"):
        host = f"[{address.host}]" if ":" in address.host else address.host
        return f"{host}:{address.port}"
    return str(getattr(address, "name", address))


def raise_descriptor_limit(connections: int) -> None:
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
