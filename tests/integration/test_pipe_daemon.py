"""Programs below the daemon: by a route, by an alias, as another user, and what is refused."""

from __future__ import annotations

import os
import pwd
import re
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.integration.tools import Daemon, wait_for

ME = pwd.getpwuid(os.geteuid()).pw_name
WRITE = 'cat > "$1/part" && id -un >> "$1/part" && mv "$1/part" "$1/$2"'
PIPE = """
[delivery.program]
type = "pipe"
command = ["/bin/sh", "-c", '{write}', "sh", "{folder}", "{{local_part}}"]
user = "{user}"

[[route]]
name = "program"
to = ["prog.example"]
via = "program"

[relay]
networks = ["127.0.0.0/8"]
"""


class Programs(unittest.TestCase):
    def setUp(self) -> None:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        os.chmod(folder.name, 0o777)  # another user is to write there
        self.folder = Path(folder.name)

    def daemon(self, user: str, more: str = "", **given: Any) -> Daemon:
        return Daemon(PIPE.format(write=WRITE, folder=self.folder, user=user) + more, **given)

    def written(self, name: str) -> str:
        path = self.folder / name
        wait_for(path.exists, f"a program to write {path}")
        return path.read_text()

    def test_by_a_route(self) -> None:
        with self.daemon(ME) as daemon:
            daemon.take('"$(id) `id`"@prog.example')
            text = self.written("$(id) `id`")
            self.assertTrue(
                text.startswith('Return-Path: <ann@ours.example>\nDelivered-To: "$(id) `id`"@prog.example\n')
            )
            self.assertTrue(text.endswith(f"It works.\n{ME}\n"))
            daemon.drained()

    @unittest.skipUnless(os.geteuid() == 0, "only root can start programs as another user")
    def test_as_another_user_and_by_an_alias(self) -> None:
        commands = (
            '[commands]\nuser = "nobody"\nprograms = ["/bin/sh"]\n'
            '[tables.aliases]\ntype = "file"\npath = "aliases"\ncommands = true\n'
        )
        with self.daemon("nobody", commands, start=False) as daemon:
            daemon.change('aliases = "file:aliases"', 'aliases = "table:aliases"')
            script = self.folder / "script"
            (daemon.folder / "aliases").write_text(f'info: bob, "|/bin/sh {script} {self.folder} info"\n')
            script.write_text(f"{WRITE}\n")
            script.chmod(0o644)
            daemon.start()
            daemon.take("bob@prog.example")
            self.assertTrue(self.written("bob").endswith("It works.\nnobody\n"))
            daemon.take("info@ours.example")
            text = self.written("info")
            self.assertRegex(text, r"\AFrom ann@ours.example .*\nReturn-Path: <ann@ours.example>\nDelivered-To: ")
            self.assertTrue(text.endswith("It works.\nnobody\n"))
            daemon.wait_for_mail("bob")
            daemon.drained()
            # What is new is not in the list of the helper, and says so.
            daemon.change('command = ["/bin/sh"', 'command = ["/usr/bin/env", "sh"')
            self.assertRegex(daemon.mta("reload").stdout, r"needs a restart: .*delivery\.program\.user")
            daemon.take("late@prog.example")
            daemon.tried(words="cannot be started")
            daemon.stop()
            daemon.start()
            daemon.mta("queue", "retry", "--all")
            self.written("late")

    def test_what_only_root_could_do_is_refused_by_check(self) -> None:
        with self.daemon("nobody", start=False) as daemon:
            if os.geteuid() == 0:
                self.assertTrue(re.search("in order", daemon.mta("check").stdout))
            else:
                self.assertIn("only root can start", daemon.mta("check", check=False).stderr)
                self.assertIn("only root can start", daemon.refused())
