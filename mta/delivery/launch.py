"""Between the service and the programs that it runs: a script of its own, with nothing but the standard library.

What it is: ``launch.py exec SPEC`` confines itself and becomes the program; ``launch.py serve FD`` is the helper that
stays root when the service gives its rights up, and starts programs as other users (docs/decisions/helper.rst).
The other end is ``mta.delivery.running`` and ``mta.delivery.helper``.
Contract of the helper: it starts what a ``Grant`` lists, user, group and program, in its folder, with its variables and
no wider limits, and nothing else, whatever it is asked.  Of a request it takes the arguments, and the variables that
are ``MESSAGE_NAMES``.  The list is read from its standard input before anything else, and never changes.  It never
starts anything as root, but for one script of ours that asks PAM whether a password is right, for the services of PAM
that it was given then.  Frames on its socket are a length of four octets and JSON; with a ``run`` two descriptors
come: the program's standard input, and its output.
A program has a session of its own, the user's groups, umask 077, limits, no way to new privileges, and no descriptor
beside 0, 1 and 2.  What is left in its process group when it ends is killed.
How it fails: what hinders a program's start is written to its output, and it ends with 127.  When the service is gone
(end of file), when a frame is wrong, and when it is itself killed, what it has started is killed: a program must never
take a message that was cut off for a whole one.  SIGTERM, SIGINT and SIGHUP do not end
the helper: the service's end does.
"""

from __future__ import annotations

import ctypes
import grp
import json
import os
import pwd
import resource
import select
import signal
import socket
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, NoReturn

MOST_FRAME: Final = 1 << 20
CANNOT_START: Final = 127
#: The variables that a message sets (``mta.delivery.pipe_argv``).  All others are the configuration's: who could choose
#: them, as LD_PRELOAD or BASH_ENV, could have any code run.
MESSAGE_NAMES: Final = frozenset(
    {"SENDER", "DOMAIN", "MTA_ID", "MTA_KEY", "RECIPIENT", "ORIGINAL_RECIPIENT", "LOCAL", "EXTENSION"}
)
STARTS: Final = 3  # of the exec form: an octet comes here when all is done but to run the program
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_LIMITS: Final = {
    "memory": resource.RLIMIT_AS,
    "cpu_time": resource.RLIMIT_CPU,
    "file_size": resource.RLIMIT_FSIZE,
    "processes": resource.RLIMIT_NPROC,
}
#: What any program expects; the service has raised its own.
_DESCRIPTORS: Final = 1024
_libc = ctypes.CDLL(None, use_errno=True)


class Grant(NamedTuple):
    """A program that may be started as a user, and how.  ``group`` is "" for the user's own."""

    user: str
    group: str
    program: str
    environment: tuple[tuple[str, str], ...] = ()  # what is the same for all messages
    folder: str = "/"
    limits: tuple[tuple[str, int], ...] = ()

    def lacks(self, environment: Mapping[str, str], folder: str, limits: Mapping[str, int]) -> list[tuple[str, str]]:
        """What is not granted: the option that would grant it, and what it is."""
        fixed, widest = dict(self.environment), dict(self.limits)
        names = {name for name, value in fixed.items() if environment.get(name) != value}
        names |= {name for name, value in environment.items() if name not in fixed and not _of_message(name, value)}
        found = [("environment", name) for name in sorted(names)]
        if folder != self.folder:
            found.append(("folder", f"the folder {folder}"))
        # Below zero is RLIM_INFINITY.
        wide = {name for name, most in widest.items() if not 0 <= limits.get(name, -1) <= most}
        wide |= {name for name, number in limits.items() if name not in _LIMITS or number < 0}
        return found + [(name, name) for name in sorted(wide)]


def _of_message(name: str, value: object) -> bool:
    return name in MESSAGE_NAMES and isinstance(value, str) and "\0" not in value


def lacking(
    grants: Iterable[Grant],
    key: tuple[str, str, str],
    environment: Mapping[str, str],
    folder: str,
    limits: Mapping[str, int],
) -> list[tuple[str, str]]:
    """As ``Grant.lacks``, of the nearest of these that are for this user, group and program.

    Each is for itself: the variables of one section of the configuration never come with the folder of another.
    """
    found = [grant.lacks(environment, folder, limits) for grant in grants if grant[:3] == key]
    return min(found, key=len, default=[("user", f"{key[2]} as {key[0]}")])


class Account(NamedTuple):
    """Whom to become; looked up once."""

    uid: int
    gid: int
    groups: tuple[int, ...]


def account(user: str, group: str) -> Account:
    """Raises ``KeyError``, and ``PermissionError`` for root."""
    entry = pwd.getpwnam(user)
    if entry.pw_uid == 0:
        raise PermissionError("nothing is started as root")
    gid = grp.getgrnam(group).gr_gid if group else entry.pw_gid
    return Account(entry.pw_uid, gid, tuple(os.getgrouplist(user, gid)))


# --- becoming a program ------------------------------------------------------------------------------------------


def become(spec: Mapping[str, Any], environment: Mapping[bytes, bytes], who: Account | None, parent: int) -> NoReturn:
    """Confine this process and run the program in it; what hinders that ends it with ``CANNOT_START``."""
    argv = [octets(one) for one in spec["argv"]]
    try:
        _confine(spec["limits"])
        if who is not None:
            os.setgroups(who.groups)
            os.setgid(who.gid)
            os.setuid(who.uid)
            if 0 in (*os.getresuid(), *os.getresgid()):
                raise PermissionError("some right of root is left")
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            raise ProcessLookupError("the service has ended")
        os.chdir(octets(spec["folder"]))
        if "parent" in spec:  # the exec form
            os.set_inheritable(STARTS, False)
            os.write(STARTS, b"!")
        os.execve(argv[0], argv, environment)  # noqa: S606  # no shell is what we want
    except BaseException as error:
        why = getattr(error, "strerror", None) or str(error)
        os.write(2, b"it cannot be started: %s\n" % octets(why))
    os._exit(CANNOT_START)


def _confine(limits: Mapping[str, int]) -> None:
    if os.getsid(0) != os.getpid():
        os.setsid()
    os.umask(0o077)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, _DESCRIPTORS)
    for name, number in limits.items():
        _lower(_LIMITS[name], number)
    for one in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(one, signal.SIG_DFL)  # Python ignores some, and the service may do so with others
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _lower(which: int, number: int) -> None:
    _, hard = resource.getrlimit(which)
    number = number if hard == resource.RLIM_INFINITY else min(number, hard)
    resource.setrlimit(which, (number, number))


def _prctl(what: int, value: int) -> None:
    if _libc.prctl(what, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def octets(text: str) -> bytes:
    """As programs take text."""
    return text.encode("utf-8", "surrogateescape")


# --- the helper --------------------------------------------------------------------------------------------------


class Refused(Exception):
    """What was asked is not granted."""


class Server:
    """The helper's loop; see the module's text."""

    def __init__(
        self, sock: socket.socket, grants: Sequence[Grant], pam: Sequence[str] = (), checker: str = ""
    ) -> None:
        self._socket = sock
        self._grants = grants
        self._pam = frozenset(pam)
        self._checker = checker
        self._accounts = {(grant.user, grant.group): account(grant.user, grant.group) for grant in grants}
        self._running: dict[int, int] = {}  # pids by the number of the run
        self._octets = b""
        self._descriptors: list[int] = []

    def run(self) -> None:
        """Until the service is gone."""
        woken, wake = os.pipe()
        for end in (woken, wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        watched: list[Any] = [self._socket, woken]
        try:
            while True:
                ready, _, _ = select.select(watched, [], [])
                if woken in ready:
                    os.read(woken, 512)
                    self._reap()
                if self._socket in ready and not self._receive():
                    return
        finally:
            for pid in self._running.values():
                _kill_group(pid, signal.SIGKILL)

    def _receive(self) -> bool:
        got, descriptors, _, _ = socket.recv_fds(self._socket, 65536, 64)
        self._descriptors += descriptors
        if not got:
            return False
        self._octets += got
        while len(self._octets) >= 4:
            size = int.from_bytes(self._octets[:4], "big")
            if size > MOST_FRAME:
                raise ValueError("a frame is too long")
            if len(self._octets) < 4 + size:
                break
            frame, self._octets = self._octets[4 : 4 + size], self._octets[4 + size :]
            self._serve(json.loads(frame))
        return True

    def _serve(self, request: Mapping[str, Any]) -> None:
        if "kill" in request:
            pid = self._running.get(request["kill"])
            if pid is not None:
                _kill_group(pid, request["signal"])
            return
        ends, self._descriptors = self._descriptors[:2], self._descriptors[2:]
        try:
            self._start(request, ends)
        except (Refused, OSError) as error:
            self._tell({"run": request["run"], "refused": str(error)})
        finally:
            for end in ends:
                os.close(end)

    def _start(self, request: Mapping[str, Any], ends: Sequence[int]) -> None:
        if request["pam"]:
            if request["pam"] not in self._pam:
                raise Refused(f"the helper was not started for the service {request['pam']} of PAM")
            argv = [sys.executable, "-I", "-S", self._checker, request["pam"]]
            spec = {"argv": argv, "limits": {}, "folder": "/"}
            self._run(request["run"], spec, {b"PATH": b"/usr/sbin:/usr/bin:/sbin:/bin", b"LC_ALL": b"C.UTF-8"}, ends)
            return
        key = (request["user"], request["group"], request["argv"][0])
        if lacks := lacking(self._grants, key, request["environment"], request["folder"], request["limits"]):
            raise Refused(f"the helper was not started with {lacks[0][1]}; restart the service")
        environment = {octets(key): octets(value) for key, value in request["environment"].items()}
        self._run(request["run"], request, environment, ends, self._accounts[key[:2]])

    def _run(
        self,
        number: int,
        spec: Mapping[str, Any],
        environment: Mapping[bytes, bytes],
        ends: Sequence[int],
        who: Account | None = None,
    ) -> None:
        """``who``: whom to become; None: who we are."""
        stdin, output = ends
        helper = os.getpid()
        pid = os.fork()
        if not pid:
            try:
                signal.set_wakeup_fd(-1)
                os.dup2(stdin, 0)
                os.dup2(output, 1)
                os.dup2(output, 2)
                os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
                become(spec, environment, who, helper)
            finally:
                os._exit(CANNOT_START)
        self._running[number] = pid
        self._tell({"run": number, "pid": pid})

    def _reap(self) -> None:
        for number, pid in list(self._running.items()):
            # Not waited for yet: until then nobody else can have the number of its group.
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                continue
            _kill_group(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            del self._running[number]
            self._tell({"run": number, "ended": os.waitstatus_to_exitcode(status)})

    def _tell(self, answer: Mapping[str, Any]) -> None:
        frame = json.dumps(answer).encode("ascii")
        self._socket.sendall(len(frame).to_bytes(4, "big") + frame)


def _kill_group(pid: int, number: int) -> None:
    """The group, or the process alone as long as it has not made it."""
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, number)
            return
        except ProcessLookupError:
            pass


def main(arguments: Sequence[str]) -> None:
    """See the module's text."""
    if arguments[0] == "exec":
        spec = json.loads(arguments[1])
        become(spec, os.environb, None, spec["parent"])
    for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # A stop that reaches all processes must not end us before the service: the programs would find the end of a
        # message that was cut off.  We end with the service.  ``_confine`` gives programs the defaults back.
        signal.signal(one, signal.SIG_IGN)
    sock = socket.socket(fileno=int(arguments[1]))
    sock.setblocking(True)
    sock.set_inheritable(False)
    granted = json.load(sys.stdin)
    Server(sock, [Grant(*one) for one in granted["grants"]], granted["pam"], granted["checker"]).run()


if __name__ == "__main__":
    main(sys.argv[1:])
