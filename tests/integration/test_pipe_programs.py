"""Real programs: what they are given, how they are held in bounds, and the helper that starts them as another user."""

from __future__ import annotations

import gc
import json
import os
import pwd
import signal
import stat
import subprocess
import sys
import time
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from delivery_contract import recipient, services, stored
from twisted.internet.epollreactor import EPollReactor

from mta.address import Address
from mta.delivery import running
from mta.delivery.helper import Launcher
from mta.delivery.launch import MESSAGE_NAMES, Grant
from mta.delivery.pipe import Pipe, PipeOptions
from mta.delivery.running import Ended, Program, Run
from mta.delivery.values import Batch
from mta.envelope import Destination, Outcome, Status
from mta.reply import LOCAL_ERROR
from mta.routing.values import Route
from mta.waiting import background
from tests.integration.surroundings import DEADLINE


def readable(path: Path) -> bool:
    """By anybody, with all that is above it."""
    return path.exists() and all(one.stat().st_mode & stat.S_IXOTH for one in (path, *path.parents))


#: A Python that other users can run too.
PYTHON = next((one for one in (sys.executable, "/usr/bin/python3") if readable(Path(one).resolve())), sys.executable)
ME = pwd.getpwuid(os.geteuid()).pw_name
ROOT = os.geteuid() == 0
SHOW = """
import json, os, resource, signal, sys
octets = sys.stdin.buffer.read()
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "argv": sys.argv[1:], "environment": dict(os.environ), "input": len(octets), "folder": os.getcwd(),
    "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd")), "umask": os.umask(0),
    "leads": os.getsid(0) == os.getpid(), "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    "memory": resource.getrlimit(resource.RLIMIT_AS)[0], "core": resource.getrlimit(resource.RLIMIT_CORE)[1],
    "uid": os.getresuid(), "gid": os.getresgid(), "groups": os.getgroups(),
    "privileges": int(status["NoNewPrivs"]), "ignored": int(status["SigIgn"], 16) & ~(1 << 24) & ~(1 << 12),
}))
sys.exit(int(os.environ.get("STATUS", 0)))
"""

#: A service that gives root up, and runs a program as another user after that.
DROPPED = """
import os, pwd, sys
from twisted.internet.epollreactor import EPollReactor
from mta.delivery.helper import Launcher
from mta.delivery.launch import Grant
from mta.delivery.running import Program, Run
reactor = EPollReactor()
launcher = Launcher(reactor)
launcher.start([Grant("nobody", "", sys.argv[1])])
entry = pwd.getpwnam("daemon")
os.setgroups([])
os.setgid(entry.pw_gid)
os.setuid(entry.pw_uid)
reactor.startRunning(installSignalHandlers=True)
run, ended = Run(reactor, 20.0), []
code = "import os, pwd; print(pwd.getpwuid(os.getuid()).pw_name)"
launcher.launch(Program((sys.argv[1], "-I", "-c", code), {}, "/", {}, "nobody"), run)
run.ended.addCallback(ended.append)
while not ended:
    reactor.iterate(1)
print(pwd.getpwuid(os.getuid()).pw_name, ended[0].output.decode())
launcher.stop()
"""


class RealCase(unittest.TestCase):
    """With a reactor of its own, which nothing else uses."""

    def setUp(self) -> None:
        self.reactor: Any = EPollReactor()
        self.reactor.startRunning(installSignalHandlers=True)
        self.launcher = Launcher(self.reactor)

    def tearDown(self) -> None:
        self.launcher.stop()
        self.reactor.iterate(0)
        self.reactor.fireSystemEvent("shutdown")
        self.reactor.iterate(0)
        self.reactor.disconnectAll()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def wait(self, done: Any) -> Any:
        """What a Deferred comes to."""
        found: list[Any] = []
        done.addBoth(found.append)
        end = time.monotonic() + DEADLINE
        while not found:
            self.assertLess(time.monotonic(), end, "it takes too long")
            self.reactor.iterate(0.05)
        return found[0]

    def run_program(self, program: Program, limit: float = 20.0, write: bytes = b"") -> Ended:
        run = Run(self.reactor, limit)
        self.launcher.launch(program, run)

        async def feed() -> Ended:
            for start in range(0, len(write), 65536):
                if not await run.write(write[start : start + 65536]):
                    break
            await run.finish()
            return await run.ended

        ended: Ended = self.wait(background(feed(), "a run"))
        return ended

    def python(self, code: str, *arguments: str, user: str = ME, **limits: int) -> Program:
        return Program((PYTHON, "-I", "-c", code, *arguments), {"A": "b"}, "/", limits, user)


class Own(RealCase):
    user = ME

    def start(self) -> None:
        """Whatever has to be there first."""

    def setUp(self) -> None:
        super().setUp()
        self.start()

    def ended(self, code: str, *arguments: str, limit: float = 20.0, write: bytes = b"", **limits: int) -> Ended:
        return self.run_program(self.python(code, *arguments, user=self.user, **limits), limit, write)

    def test_what_it_is_given(self) -> None:
        argv = ("a b", "$(x)`y`", "-dash", "\u00e9\n*", "")
        ended = self.ended(SHOW, *argv, write=b"x" * 300_000, memory=1 << 30)
        self.assertEqual((ended.status, ended.why), (0, ""), ended.output)
        found = json.loads(ended.output)
        self.assertEqual(found["argv"], list(argv))
        self.assertEqual(found["environment"].pop("A"), "b")
        self.assertLessEqual(set(found["environment"]), {"LC_CTYPE"})  # by Python itself
        self.assertEqual((found["input"], found["folder"]), (300_000, "/"))
        self.assertEqual(found["descriptors"][:3], [0, 1, 2])
        self.assertLessEqual(len(found["descriptors"]), 5)  # /proc/self/status and the folder, by itself
        self.assertEqual((found["umask"], found["core"], found["memory"]), (0o077, 0, 1 << 30))
        self.assertTrue(found["leads"])
        self.assertLessEqual(found["files"], 1024)
        # Signals 32 and 33 are the C library's own: who started us may have left them ignored for good.
        self.assertEqual((found["privileges"], found["ignored"] & ~(0b11 << 31)), (1, 0))
        entry = pwd.getpwnam(self.user)
        self.assertEqual((found["uid"], found["gid"]), ([entry.pw_uid] * 3, [entry.pw_gid] * 3))

    def test_exit_statuses_and_output(self) -> None:
        ended = self.ended("import sys; print('out', flush=True); sys.stderr.write('err'); sys.exit(75)")
        self.assertEqual(ended, Ended(75, b"out\nerr"))

    def test_one_that_reads_nothing(self) -> None:
        self.assertEqual(self.ended("pass", write=b"x" * 3_000_000).status, 0)

    def test_one_that_closes_its_input_and_goes_on(self) -> None:
        ended = self.ended("import os; os.close(0); print('done')", write=b"x" * 3_000_000)
        self.assertEqual((ended.status, ended.output), (0, b"done\n"))

    def test_ten_mebibytes_of_output(self) -> None:
        ended = self.ended("import sys; sys.stdout.write('x' * (10 << 20))")
        self.assertEqual((ended.status, ended.output), (0, b"x" * 4096))

    def test_one_that_never_ends_and_does_not_listen(self) -> None:
        code = "import signal; signal.signal(15, signal.SIG_IGN); print('on', flush=True); signal.pause()"
        began = time.monotonic()
        ended = self.ended(code, limit=1.0, write=b"x" * 300_000)
        self.assertEqual((ended.status, bool(ended.why)), (-signal.SIGKILL, True))
        self.assertLess(time.monotonic() - began, 12.0)

    def test_what_it_leaves_behind_goes_with_it(self) -> None:
        code = "import os, time\npid = os.fork()\nif pid: print(pid, flush=True)\nelse: time.sleep(100)"
        began = time.monotonic()
        ended = self.ended(code)
        self.assertEqual(ended.status, 0)
        self.assertLess(time.monotonic() - began, 10.0)
        pid = int(ended.output)
        end = time.monotonic() + DEADLINE
        while alive(pid):
            self.assertLess(time.monotonic(), end)

    def test_limits_hold(self) -> None:
        self.assertEqual(self.ended("bytearray(1 << 30)", memory=256 << 20).status, 1)
        code = (
            "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_DFL)\nopen({!r}, 'wb').write(b'x' * 99)"
        )
        with TemporaryDirectory() as folder:
            os.chmod(folder, 0o777)  # another user is to write there
            self.assertEqual(self.ended(code.format(f"{folder}/f"), file_size=10).status, -signal.SIGXFSZ)
        self.assertIn(self.ended("while True: pass", cpu_time=1).status, (-signal.SIGXCPU, -signal.SIGKILL))

    def test_one_that_is_not_there(self) -> None:
        program = self.python("pass", user=self.user)
        ended = self.run_program(program._replace(folder="/not/there", environment={"A": "b", "HOME": "/x"}))
        self.assertEqual(ended.status, 127)
        self.assertIn(b"it cannot be started: No such file", ended.output)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@unittest.skipUnless(ROOT, "only root can start programs as another user")
class Helped(Own):
    """The same, as another user."""

    user = "nobody"

    def start(self) -> None:
        if not readable(Path(PYTHON).resolve()):
            self.skipTest("there is no Python that other users can run")
        limits = (("processes", 10_000),)
        granted = Grant(self.user, "", PYTHON, (("A", "b"),), "/", limits)
        self.launcher.start([granted, granted._replace(folder="/not/there", environment=(("A", "b"), ("HOME", "/x")))])

    def python(self, code: str, *arguments: str, user: str = ME, **limits: int) -> Program:
        return super().python(code, *arguments, user=user, **{"processes": 10_000, **limits})

    def test_no_descriptor_stays_open(self) -> None:
        self.ended("pass", write=b"x" * 1_000_000)
        gc.collect()  # the reactors of other tests
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(10):
            self.ended("pass", write=b"x" * 1_000_000)
            self.ended("import sys; sys.stdin.read()")
        self.assertLessEqual(len(os.listdir("/proc/self/fd")), before)

    def test_nothing_but_what_it_was_started_for(self) -> None:
        program = self.python("pass", user=self.user)
        other = self.run_program(program._replace(argv=("/bin/true",)))
        self.assertEqual((other.began, other.status), (False, 127))
        # Nor where the service itself is somebody else's by now.
        self.launcher.grants = (Grant(self.user, "", "/bin/true"), Grant("root", "", "/bin/true"))
        for user in (self.user, "root"):
            self.launcher._euid = lambda: 1
            asked = self.run_program(program._replace(argv=("/bin/true",), user=user))
            self.assertFalse(asked.began)
            self.assertIn("restart", asked.why)

    def refused(self, wrong: str, **given: Any) -> None:
        ended = self.run_program(self.python("pass", user=self.user)._replace(**given))
        self.assertEqual((ended.began, ended.status), (False, 127), wrong)
        self.assertEqual(ended.why, f"the helper was not started with {wrong}; restart the service")

    def test_no_environment_but_what_it_was_started_with(self) -> None:
        for name in ("LD_PRELOAD", "BASH_ENV", "PYTHONPATH", "HOME", "PATH", "IFS", ""):
            self.refused(name, environment={"A": "b", name: "/tmp/x"})
        self.refused("A", environment={"A": "c"})
        self.refused("A", environment={})
        # Nor of what one section gives together with what another does.
        self.refused("HOME", environment={"A": "b", "HOME": "/x"})
        self.refused("the folder /tmp", folder="/tmp")
        self.refused("the folder /not/there", folder="/not/there")

    def test_of_each_message_what_it_is_told_and_no_more(self) -> None:
        told = dict.fromkeys(MESSAGE_NAMES, "x")
        ended = self.run_program(self.python(SHOW, user=self.user)._replace(environment={"A": "b", **told}))
        self.assertEqual({key: json.loads(ended.output)["environment"][key] for key in told}, told)
        self.refused("SENDER", environment={"A": "b", "SENDER": "x\0LD_PRELOAD=/tmp/x"})

    def test_limits_are_those_it_was_started_with_or_stricter(self) -> None:
        for limits in ({}, {"processes": 10_001}, {"processes": -1}):
            self.refused("processes", limits=limits)
        self.refused("memory", limits={"processes": 1, "memory": -1})  # -1 is RLIM_INFINITY
        self.refused("core", limits={"processes": 1, "core": 1})
        self.assertEqual(self.ended("pass", processes=9_999, memory=1 << 30).status, 0)

    def test_nobody_who_lists_processes_sees_what_it_was_started_with(self) -> None:
        self.ended("pass")  # it is there by now
        helper = self.launcher._process
        assert helper is not None
        self.assertNotIn(PYTHON, Path(f"/proc/{helper.pid}/cmdline").read_text().split("serve")[1])

    def test_it_ends_with_us_and_kills_what_it_started(self) -> None:
        run = Run(self.reactor, 20.0)
        self.launcher.launch(self.python("import signal; signal.pause()", user=self.user), run)
        for _ in range(20):
            self.reactor.iterate(0.05)
        helper = self.launcher._process
        assert helper is not None
        (child,) = Path(f"/proc/{helper.pid}/task/{helper.pid}/children").read_text().split()
        self.launcher.stop()
        ended = self.wait(run.ended)
        # What it did before it was killed it may do again.
        self.assertEqual((ended.began, ended.status), (True, -signal.SIGKILL))
        self.assertEqual(helper.wait(DEADLINE), 0)
        end = time.monotonic() + DEADLINE
        while alive(int(child)):
            self.assertLess(time.monotonic(), end)

    def test_a_stop_that_signals_every_process_does_not_end_it(self) -> None:
        run = Run(self.reactor, 20.0)
        self.launcher.launch(self.python("import sys; print(sys.stdin.read())", user=self.user), run)
        self.wait(background(run.write(b"one "), "writing"))
        helper = self.launcher._process
        assert helper is not None
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            for _ in range(10):
                self.reactor.iterate(0.05)
            os.kill(helper.pid, number)
        self.wait(background(run.write(b"two"), "writing"))
        background(run.finish(), "the end")
        self.assertEqual(self.wait(run.ended), Ended(0, b"one two\n"))

    def test_without_it_nothing_runs(self) -> None:
        helper = self.launcher._process
        assert helper is not None
        helper.kill()
        helper.wait(DEADLINE)
        end = time.monotonic() + DEADLINE
        while self.launcher.runs:
            self.assertLess(time.monotonic(), end)
            self.reactor.iterate(0.05)
        ended = self.run_program(self.python("pass", user=self.user))
        self.assertEqual((ended.began, "restart" in ended.why), (False, True))

    def test_it_outlasts_our_being_root(self) -> None:
        done = subprocess.run([sys.executable, "-c", DROPPED, PYTHON], capture_output=True, text=True, timeout=DEADLINE)
        self.assertEqual(done.stdout.split(), ["daemon", "nobody"], done.stderr)

    def test_never_as_root(self) -> None:
        self.launcher.stop()
        refused = Launcher(self.reactor, lambda: 1)
        refused.start([Grant("root", "", "/bin/true")])
        assert refused._process is not None
        self.assertNotEqual(refused._process.wait(DEADLINE), 0)


class OwnAlone(RealCase):
    """What is ours to see to where no helper is."""

    def test_input_that_something_left_behind_never_reads_is_let_go(self) -> None:
        code = "import os, time\nif os.fork() == 0: os.setsid(); os.close(1); os.close(2); time.sleep(20)"
        gc.collect()  # the reactors of other tests
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            run = Run(self.reactor, 20.0)
            self.launcher.launch(self.python(code), run)
            background(run.write(b"x" * 1_000_000), "writing")
            self.assertEqual(self.wait(run.ended).status, 0)
        self.assertEqual(len(self.reactor.getWriters()), 0)
        self.assertLessEqual(len(os.listdir("/proc/self/fd")), before)

    def test_a_failure_of_our_own_script_is_not_the_status_of_the_program(self) -> None:
        for wrong in ((sys.executable, "-I", "-S", "/not/there.py"), ("/not/there", "-I")):
            with patch.object(running, "INTERPRETER", wrong):
                ended = self.run_program(self.python("pass"))
            self.assertFalse(ended.began, ended)
        self.assertEqual(self.run_program(self.python("import sys; sys.exit(1)")), Ended(1, b""))


class Delivered(RealCase):
    def outcome(self, code: str, *, octets: bytes = b"Subject: x\r\n\r\nbody\r\n", **options: Any) -> Outcome:
        given = {"command": (sys.executable, "-I", "-c", code, "{recipient}"), "line_ends": "lf", "user": ME, **options}
        service = Pipe(PipeOptions(**given), services(reactor=self.reactor, launch=self.launcher.launch))
        recipients = (recipient(0, Address("bob", "example.org")),)
        batch = Batch(stored(octets), recipients, Route(destination=Destination("out", "")), 300.0)
        self.wait(background(service.deliver(batch), "a delivery"))
        (outcome,) = batch.close(LOCAL_ERROR)
        return outcome

    def test_a_message(self) -> None:
        octets = b"Subject: x\r\n\r\n" + b"0123456789abcd\r\n" * 400_000
        path = Path.cwd() / "mail"
        code = f"import sys; open({str(path)!r}, 'wb').write(sys.stdin.buffer.read())"
        outcome = self.outcome(code, octets=octets)
        self.assertEqual(outcome.status, Status.DELIVERED, outcome)
        front = b"Return-Path: <>\nDelivered-To: bob@example.org\n"
        self.assertEqual(path.read_bytes(), front + octets.replace(b"\r\n", b"\n"))

    def test_a_refusal(self) -> None:
        outcome = self.outcome("import sys; print('5.1.6 moved away'); sys.exit(67)")
        self.assertEqual(str(outcome.reply), "550 5.1.6 The program says: moved away")

    @unittest.skipUnless(ROOT, "the tests are not run by root")
    def test_not_as_root_by_mistake(self) -> None:
        outcome = self.outcome("pass", user=None)
        self.assertEqual((outcome.status, outcome.reply.enhanced), (Status.DEFERRED, "4.3.5"))
        self.assertIn("write user", outcome.attempt["error"])
