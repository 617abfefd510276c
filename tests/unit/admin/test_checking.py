"""``mta check``: everything at once, also what the world around the configuration says."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from mta.admin.checking import unwritable
from mta.admin.main import main

CONFIGURATION = """\
format = 1
hostname = "mail.site.com"
postmaster = "postmaster@site.com"
state = "{state}"
[[listen]]
name = "mx"
endpoint = "tcp:2525:interface=127.0.0.1"
[domains."site.com"]
deliver = "local"
[delivery.local]
type = "maildir"
path = "{mail}/{{domain}}/{{local_part}}"
[delivery.internet]
type = "smtp"
"""


class Check(SynchronousTestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory(prefix="txmta-")  # a short path
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)

    def check(self, *arguments: str, state: str = "/var/tmp", mail: str = "/var/tmp", more: str = "") -> Result:
        (self.folder / "mta.toml").write_text(CONFIGURATION.format(state=state, mail=mail) + more)
        return CliRunner().invoke(main, ["--config", str(self.folder / "mta.toml"), "check", *arguments])

    def test_in_order(self) -> None:
        result = self.check()
        self.assertEqual(result.exit_code, 0, result.output)
        self.assertIn("is in order", result.output)
        self.assertNotIn("warning", result.output)

    def test_as_json(self) -> None:
        values = json.loads(self.check("--json").stdout)
        self.assertEqual((values["errors"], values["warnings"], len(values["hints"])), ([], [], 1))
        result = self.check("--json", more="[limts]\n")
        self.assertEqual(result.exit_code, 1)
        (error,) = json.loads(result.stdout)["errors"]
        self.assertEqual((error["key_path"], error["file"]), ("limts", str(self.folder / "mta.toml")))

    def test_with_tests_beside_it(self) -> None:
        # docs/route.rst
        case = '[[case]]\nname = "taken"\nto = "{}"\n[case.expect]\nreply = "250"\n'
        (self.folder / "tests.d").mkdir()
        (self.folder / "tests.d/a.toml").write_text(case.format("ann@site.com"))
        self.assertIn("is in order; 1 test passed", self.check().output)
        (self.folder / "tests.d/b.toml").write_text(case.format("ann@else.example"))
        result = self.check("--json")
        self.assertEqual(result.exit_code, 1)
        values = json.loads(result.stdout)
        (error,) = values["errors"]
        self.assertEqual((values["tests"], error["file"]), (2, str(self.folder / "tests.d/b.toml")))
        self.assertEqual(error["key_path"], 'case[0] "taken"')
        self.assertIn("came: 550 5.7.1", error["what"])

    def test_a_state_whose_socket_has_no_name(self) -> None:
        # unix(7): 107 octets
        result = self.check(state=f"/var/tmp/{'x' * 99}")
        self.assertEqual(result.exit_code, 1)
        self.assertIn("state: the control socket", result.output)
        self.assertIn("at most; write a shorter path", result.output)
        self.assertEqual(self.check(state=f"/var/tmp/{'x' * 90}").exit_code, 0)

    def test_a_log_without_its_folder(self) -> None:
        result = self.check(more=f'[log]\nfile = "{self.folder}/none/mta.log"\n')
        self.assertEqual(result.exit_code, 1)
        self.assertIn(f"log.file: there is no folder {self.folder}/none; make it: mkdir", result.output)

    def test_folders_in_the_way(self) -> None:
        (self.folder / "file").write_text("")
        result = self.check(state=f"{self.folder}/file/state", mail=f"{self.folder}/file/mail")
        self.assertEqual(result.exit_code, 0)
        for key in ("state", "delivery.local.path"):
            self.assertIn(f"{key}: {self.folder}/file is no folder; ", result.output)

    def test_a_full_disk(self) -> None:
        result = self.check(more='[queue]\nreserve = "100000GiB"\n')
        self.assertIn("state: the disk has less than queue.reserve (100000GiB) left: MAIL gets 452", result.output)


class Unwritable(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(0o755)

    def test_for_ourselves(self) -> None:
        self.assertEqual(unwritable(str(self.folder), os.geteuid()), "")
        self.assertEqual(unwritable(str(self.folder / "a/b/c"), os.geteuid()), "")

    def test_for_the_user_of_the_service(self) -> None:
        if os.geteuid():
            raise SkipTest("only root asks for others")
        other: Any = 12345
        self.assertEqual(unwritable(str(self.folder), other), f"{self.folder} cannot be written by uid 12345")
        self.assertIn("cannot be made, since", unwritable(str(self.folder / "a"), other))
        os.chmod(self.folder, 0o777)
        self.assertEqual(unwritable(str(self.folder), other), "")
        os.chown(self.folder, other, -1)
        os.chmod(self.folder, 0o700)
        self.assertEqual(unwritable(str(self.folder), other), "")


class Doubtful(SynchronousTestCase):
    """What aliases can have us do must be the administrator's alone: programs, folders, included files."""

    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory(prefix="txmta-")
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        self.state = self.folder / "state"
        self.state.mkdir()
        self.program = self.folder / "bin" / "prog"
        self.program.parent.mkdir()
        self.program.write_text("#!/bin/sh\n")
        self.program.chmod(0o755)
        self.files = self.folder / "files"
        self.files.mkdir()
        self.members = self.folder / "members"
        self.members.write_text("x@far.example\n")
        (self.folder / "aliases").write_text("team: :include:members\nbroken: :include\nann: bob\n")

    def warnings(self) -> list[str]:
        more = (
            f'[commands]\nprograms = ["{self.program}"]\nuser = "nobody"\nfolders = ["files"]\n'
            '[tables.programs]\ntype = "file"\npath = "aliases"\ncommands = true\n'
        )
        text = CONFIGURATION.format(state=self.state, mail="/var/tmp")
        text = text.replace('deliver = "local"\n', 'deliver = "local"\naliases = "table:programs"\n', 1)
        (self.folder / "aliases").write_text("team: :include:members\nann: bob\n")
        (self.folder / "mta.toml").write_text(text + more)
        found = CliRunner().invoke(main, ["--config", str(self.folder / "mta.toml"), "check"])
        lines = found.output.replace(f"{self.folder}/", "").splitlines()
        return [line for line in lines if "write" in line and not line.startswith("hint")]

    def test_nothing_to_say(self) -> None:
        self.assertEqual(self.warnings(), [])

    def test_a_group_that_may_write(self) -> None:
        for path, key in (
            (self.program, "commands.programs"),
            (self.program.parent, "commands.programs"),
            (self.files, "commands.folders"),
            (self.members, 'domains."site.com".aliases'),
        ):
            mode = path.stat().st_mode & 0o777
            path.chmod(mode | 0o020)
            (line,) = self.warnings()
            self.assertIn(f"warning: mta.toml: {key}: {path.relative_to(self.folder)}".replace("bin:", "bin"), line)
            self.assertIn("its group or anybody may write to it; run: chmod go-w", line)
            path.chmod(mode)

    def test_a_file_of_aliases_with_commands_is_refused(self) -> None:
        (self.folder / "aliases").chmod(0o664)
        (line,) = self.warnings()
        self.assertIn("it may hold commands (commands = true), but its group or anybody may write to it", line)
        self.assertNotIn("warning", line)
