"""Daemons that are up at once: forked from a process that has read the whole program already.

What it is: a start of the daemon takes 0.7 seconds, nearly all of it the reading of modules; a thousand kills are a
thousand starts.  The nursery reads them once and forks; the child goes on as ``twistd`` does, so all that opens,
locks, recovers and binds is done anew by each.
Contract: ``ForkedDaemon`` is a ``Daemon``; ``step`` and ``hit`` name a step of ``faulty.py`` at which the next one
dies; ``settings`` are put into the program's modules before it starts; ``disk`` is what ``failing_disk.c`` is told.
Limits: what modules do as they are read is done once; nothing of the program does more than define.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from tests.integration.tools import DEADLINE, Daemon, wait_for

ROOT: Final = Path(__file__).parents[2]
#: One for each daemon of this process.
_NUMBERS: Final = count()
#: What ``mta.service`` needs, but not itself: it makes the reactor, and an epoll descriptor must not be shared.
ALL: Final = (
    "mta.build",
    "mta.admin.control",
    "mta.admin.draining",
    "mta.admin.main",
    "mta.admin.operations",
    "mta.admin.watchdog",
    "mta.config.fingerprint",
    "mta.plugins.builtin",
    "mta.queue.paused",
    "mta.smtp.factory",
    "tests.crash.faulty",
    "twisted.internet.endpoints",
    "twisted.internet.epollreactor",
    "twisted.internet.threads",
    "twisted.plugin",
    "twisted.scripts.twistd",
)


class Birth(NamedTuple):
    """What a child is to be: ``twistd`` or ``mta``, with arguments."""

    arguments: list[str]
    folder: str
    log: str
    step: str = ""
    hit: int = 1
    settings: Mapping[str, Any] = {}


# --- in the harness --------------------------------------------------------------------------------------------


class Nursery:
    """The other process; ``library`` comes before the system's in it and its children, and reads ``control``."""

    def __init__(self, library: Path | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="nursery-")
        self.control = Path(self._folder.name, "control")
        more = {"LD_PRELOAD": str(library), "FAILING_DISK": str(self.control)} if library else {}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.nursery"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **more},
        )

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.communicate()  # the end of its input is the end of it
        self._folder.cleanup()

    def start(self, birth: Birth) -> Child:
        return Child(self, self.ask(birth._asdict()))

    def ask(self, what: Mapping[str, Any]) -> Any:
        """A question, and its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


class Child:
    """A daemon that was forked: as much of ``subprocess.Popen`` as a test needs."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._nursery = nursery

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._nursery.ask({"over": self.pid})
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        wait_for(lambda: self.poll() is not None, f"process {self.pid} to end", timeout or DEADLINE)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:  # nobody else reaps it: the number is still its own
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkedDaemon(Daemon):
    """See the module's text."""

    def __init__(self, nursery: Nursery, more: str = "", *, internet: str) -> None:
        # An address of its own: while it is dead, another daemon on this machine might get its port, and its mail.
        self.host = f"127.{os.getpid() // 250 % 250 + 1}.{os.getpid() % 250 + 1}.{next(_NUMBERS) % 250 + 1}"
        super().__init__(more, internet=internet, start=False, endpoint=f"tcp:{{port}}:interface={self.host}")
        self.step = ""
        self.hit = 1
        self.disk = ""
        self.settings: Mapping[str, Any] = {}
        self._nursery = nursery

    @property
    def where(self) -> tuple[str, int]:
        """Host and port."""
        return self.host, self.port

    def launch(self) -> Child:
        log = self.folder / "log"
        if log.exists():
            os.replace(log, self.folder / "log.before")  # a thousand of them are not read again at each start
        self._nursery.control.write_text(self.disk)
        arguments = ["twistd", "--nodaemon", "--pidfile=", "mta", "--config", str(self.configuration)]
        birth = Birth(arguments, str(self.folder), str(log), self.step, self.hit, self.settings)
        self.process = self._nursery.start(birth)
        return self.process

    def launch_until_up(self) -> bool:
        """Start it, which it may not survive: is it up?"""
        process = self.launch()
        wait_for(lambda: self.starts() or process.poll() is not None, self.log)
        return process.poll() is None

    def start(self) -> None:
        if not self.launch_until_up():
            raise AssertionError(f"the daemon ended with {self.process and self.process.returncode}:\n{self.log()}")


# --- the other process -----------------------------------------------------------------------------------------


def _become(birth: Birth) -> NoReturn:
    """The program, from where it has read its modules."""
    for number, (path, flags) in enumerate(
        ((os.devnull, os.O_RDONLY), (birth.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND))
    ):
        descriptor = os.open(path, flags, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.dup2(1, 2)
    os.chdir(birth.folder)
    sys.argv = birth.arguments
    if birth.arguments[0] == "mta":
        from mta.admin.main import main as command_line

        command_line()
    from mta.reactor import install

    install()
    for path, value in birth.settings.items():
        module, _, name = path.rpartition(".")
        owner = importlib.import_module(module)
        if not hasattr(owner, name):
            raise AttributeError(f"{path} is no more")
        setattr(owner, name, value)
    if birth.step:
        from tests.crash.faulty import arm

        arm(birth.step, birth.hit)
    from twisted.scripts.twistd import run

    sys.exit(run())


def _over(pid: int) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def main() -> None:
    for name in ALL:
        importlib.import_module(name)
    assert "twisted.internet.reactor" not in sys.modules, "a reactor must not be shared"
    gc.collect()
    gc.freeze()
    alive: set[int] = set()
    for line in sys.stdin:
        asked = json.loads(line)
        answer: int | None
        if "over" in asked:
            answer = _over(asked["over"])
            if answer is not None:
                alive.discard(asked["over"])
        else:
            answer = os.fork()
            if not answer:
                _become(Birth(**asked))
            alive.add(answer)
        print(json.dumps(answer), flush=True)
    for pid in alive:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
