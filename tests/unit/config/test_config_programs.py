"""As whom programs run by a configuration, and what is wrong before anything runs."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.config.load import Configuration, ConfigurationError, from_mapping
from mta.config.programs import grants, wrong_programs, wrong_users
from mta.config.rules import routing_rules
from mta.delivery.helper import Launcher
from mta.delivery.launch import Grant
from mta.delivery.running import Ended, Program, Run
from mta.routing.values import COMMAND, FILE

ME = pwd.getpwuid(os.geteuid()).pw_name


def configuration(pipe: dict[str, Any], **more: Any) -> Configuration:
    Path("mailboxes").write_text("postmaster\n")
    return from_mapping(
        {
            "format": 1,
            "hostname": "mail.ours.example",
            "postmaster": "postmaster@ours.example",
            "state": "state",
            "listen": [{"name": "mx", "endpoint": "tcp:2525", "service": "mx"}],
            "domains": {"ours.example": {"mailboxes": "file:mailboxes", "deliver": "prog"}},
            "delivery": {"prog": {"type": "pipe", "command": ["/bin/x"], **pipe}, "internet": {"type": "smtp"}},
            **more,
        },
        os.getcwd(),
    )


class Users(SynchronousTestCase):
    def test_what_the_helper_is_started_for(self) -> None:
        commands = {"user": "nobody", "programs": ["/bin/a", "/bin/b"]}
        pipe = {
            "user": "nobody",
            "group": "mail",
            "folder": "/tmp",
            "environment": ["B=1", "PATH=/bin"],
            "memory": "0B",
        }
        found = grants(configuration({**pipe, "processes": 7, "cpu_time": "2s"}, commands=commands))
        fixed = {
            "HOME": pwd.getpwnam("nobody").pw_dir,
            "LANG": "C.UTF-8",
            "LOGNAME": "nobody",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "SHELL": "/bin/sh",
            "USER": "nobody",
        }
        own = tuple(sorted({**fixed, "B": "1", "PATH": "/bin"}.items()))
        plain = Grant("nobody", "", "/bin/a", tuple(sorted(fixed.items())), "/", (("memory", 1 << 30),))
        wanted = {
            plain: "commands",
            plain._replace(program="/bin/b"): "commands",
            Grant("nobody", "mail", "/bin/x", own, "/tmp", (("cpu_time", 2), ("processes", 7))): "delivery.prog",
        }
        self.assertEqual(found, wanted)

    def test_only_root_becomes_others(self) -> None:
        asked = configuration({"user": "nobody"})
        ((path, what, _),) = wrong_users(asked, 1000)
        self.assertEqual((path, what), ("delivery.prog.user", "only root can start /bin/x as nobody"))
        self.assertEqual(list(wrong_users(asked, 0)), [])
        self.assertEqual(list(wrong_users(asked, pwd.getpwnam("nobody").pw_uid)), [])
        self.assertEqual(list(wrong_users(configuration({}), 1000)), [])

    def test_programs_that_cannot_be_run_or_that_anybody_may_write(self) -> None:
        program = Path.cwd() / "program"
        asked = configuration({"command": [str(program)]})

        def told() -> list[str]:
            return [f"{path}: {what}" for path, what, _ in wrong_programs(asked)]

        self.assertEqual(told(), [f"delivery.prog.command: {program}: No such file or directory"])
        program.touch()
        program.chmod(0o666)
        self.assertEqual(told(), [f"delivery.prog.command: {program}: anybody may write to it"])
        program.chmod(0o644)
        self.assertEqual(told(), [f"delivery.prog.command: {program} cannot be run"])
        program.chmod(0o755)
        self.assertEqual(told(), [])

    def test_workers_have_no_helper(self) -> None:
        ((_, what, _),) = wrong_users(configuration({"user": "nobody"}, workers=2), 0)
        self.assertIn("workers", what)

    def test_a_start_that_could_not_is_refused(self) -> None:
        launcher = Launcher(Clock(), lambda: 1000)
        self.assertRaises(ValueError, launcher.prepare, configuration({"user": "nobody"}))
        launcher.prepare(configuration({}))
        self.assertFalse(launcher.runs)

    def test_what_a_reload_adds_needs_a_restart(self) -> None:
        launcher = Launcher(Clock(), lambda: 1000)
        self.assertEqual(launcher.lacks(configuration({"user": "nobody"})), ["delivery.prog.user"])
        self.assertEqual(launcher.lacks(configuration({})), [])

    def test_so_does_what_a_reload_changes_of_how_it_runs(self) -> None:
        launcher = Launcher(Clock(), lambda: 1000)
        pipe = {"user": "nobody", "processes": 5, "environment": ["A=1"]}
        launcher.grants = tuple(grants(configuration(pipe)))
        for changed, wanted in (
            ({}, []),
            ({"environment": ["A=2"]}, ["environment"]),
            ({"environment": []}, ["environment"]),
            ({"environment": ["A=1", "LD_PRELOAD=x"], "folder": "/tmp"}, ["environment", "folder"]),
            ({"processes": 6}, ["processes"]),
            ({"processes": 0, "memory": "2GiB"}, ["memory", "processes"]),
            ({"processes": 4, "cpu_time": "1s"}, []),
            ({"group": "mail", "folder": "/tmp"}, ["user"]),
            ({"command": ["/bin/y"]}, ["user"]),
        ):
            lacks = launcher.lacks(configuration({**pipe, **changed}))
            self.assertEqual(lacks, [f"delivery.prog.{key}" for key in wanted], changed)

    def test_two_sections_of_one_program_each_have_their_own(self) -> None:
        launcher = Launcher(Clock(), lambda: 1000)
        commands = {"user": "nobody", "programs": ["/bin/x"], "folder": "/tmp", "environment": ["A=1"]}
        both = configuration({"user": "nobody"}, commands=commands)
        launcher.grants = tuple(grants(both))
        self.assertEqual(launcher.lacks(both), [])
        mixed = configuration({"user": "nobody"}, commands={**commands, "folder": "/"})
        self.assertEqual(launcher.lacks(mixed), ["commands.folder"])

    def test_commands_are_off_by_default(self) -> None:
        places = routing_rules(configuration({})).places
        self.assertIn(FILE, places)
        self.assertNotIn(COMMAND, places)
        commands = {"user": "nobody", "programs": ["/bin/a"]}
        self.assertIn(COMMAND, routing_rules(configuration({}, commands=commands)).places)

    def test_mistakes_are_told(self) -> None:
        for pipe, words in (
            ({"user": "no-such-user"}, "no user of this machine"),
            ({"user": "nobody", "group": "no-such-group"}, "no group of this machine"),
            ({"group": "mail"}, "a group without a user"),
            ({"command": ["x"]}, "full path"),
            ({"fails_for_ever": [0]}, "no exit status"),
            ({"recipients": 0}, "from 1 to 100"),
        ):
            error = self.assertRaises(ConfigurationError, configuration, pipe)
            self.assertIn(words, str(error))


class Started(SynchronousTestCase):
    def ended(self, launcher: Launcher, user: str) -> Ended:
        run = Run(Clock(), 60.0)
        launcher.launch(Program(("/bin/x",), {}, "/", {}, user), run)
        found: Ended = self.successResultOf(run.ended)
        return found

    def test_nothing_as_root_that_does_not_say_so(self) -> None:
        ended = self.ended(Launcher(Clock(), lambda: 0), "")
        self.assertEqual((ended.began, "write user" in ended.why), (False, True))

    def test_nothing_that_the_helper_was_not_started_for(self) -> None:
        self.assertIn("was not started for /bin/x as nobody", self.ended(Launcher(Clock(), lambda: 1), "nobody").why)
