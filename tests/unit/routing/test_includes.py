"""``:include:`` files and tables that may hold commands: what is read, and who is believed."""

from __future__ import annotations

import os
from pathlib import Path

from delivery_contract import services
from routing_cases import RoutingCase
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.config.option import Path as ConfiguredPath
from mta.routing.aliases import Allowed
from mta.routing.includes import MAX_FILES, MAX_OCTETS, Includes, targets_of
from mta.routing.rules import DomainRule
from mta.routing.tables import FileTable, FileTableOptions, TableError
from mta.routing.tables.watched import read
from mta.routing.values import CannotKnow, IncludeQuestion


class Files(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.includes = Includes(services("include", reactor=self.clock))
        self.folder = Path.cwd()

    def write(self, text: str | bytes, name: str = "members", mode: int = 0o644) -> str:
        path = self.folder / name
        path.unlink(missing_ok=True)  # a new file: one that is written in place may be read in the middle
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        path.chmod(mode)
        return str(path)

    def answer(self, path: str) -> str:
        found = self.includes.answer(IncludeQuestion(path))
        return f"cannot: {found.error}" if isinstance(found, CannotKnow) else found

    def test_one_or_more_targets_a_line(self) -> None:
        path = self.write('# members\n\nann, bob@far.example,\n  "a, b"@far.example\r\n:include:more\n')
        self.assertEqual(self.answer(path), 'ann, bob@far.example, "a, b"@far.example, :include:more')
        self.assertEqual(self.answer(self.write("", "empty")), "")

    def test_read_again_when_it_changes(self) -> None:
        path = self.write("ann\n")
        self.assertEqual(self.answer(path), "ann")
        self.write("bob, eve\n")
        self.clock.advance(2)
        self.answer(path)
        self.assertEqual(self.answer(path), "bob, eve")

    def test_a_wrong_version_changes_nothing(self) -> None:
        path = self.write("ann\n")
        self.answer(path)
        self.write("a@b@c\n")
        self.clock.advance(2)
        self.answer(path)
        self.assertEqual(self.answer(path), "ann")

    def test_wrong_ones(self) -> None:
        for text, hint in (
            ("ann\n\nbob@..\n", "members:3"),
            (b"ann\n\xff\n", "members:2: the text is not UTF-8"),
            ("ann\n" * (MAX_OCTETS // 4 + 1), "over the limit"),
            ("|/usr/bin/x\n", "commands"),
            ("/var/mail/x\n", "commands"),
        ):
            self.assertIn(hint, self.answer(self.write(text)))
        self.assertIn("No such file", self.answer("/nowhere/members"))
        self.assertIn("cannot: ", self.answer(str(self.folder)))

    def test_a_fifo_in_its_place_holds_nobody_up(self) -> None:
        os.mkfifo(self.folder / "fifo", 0o600)
        self.assertIn("no regular file", self.answer(str(self.folder / "fifo")))
        with self.assertRaisesRegex(TableError, "no regular file"):
            read(str(self.folder / "fifo"), targets_of)

    def test_only_what_the_administrator_alone_can_change_is_believed(self) -> None:
        for mode in (0o664, 0o646):
            self.assertIn("its group or anybody may write to it", self.answer(self.write("ann\n", mode=mode)))
        if os.geteuid() == 0:
            os.chown(self.write("ann\n"), 12345, -1)
            self.assertIn("it belongs to user 12345", self.answer(str(self.folder / "members")))
        os.truncate(self.write("", "large", 0o666), 1 << 40)  # nothing of it is read
        self.assertIn("anybody may write", self.answer(str(self.folder / "large")))
        (self.folder / "open").mkdir()
        (self.folder / "open").chmod(0o777)
        self.assertIn("its folder", self.answer(self.write("ann\n", "open/members")))

    def test_few_are_remembered(self) -> None:
        path = self.write("ann\n")
        for number in range(MAX_FILES + 10):
            link = f"{path}{number}"
            os.link(path, link)
            self.answer(link)
        self.assertEqual(len(self.includes._files), MAX_FILES)


class Commands(SynchronousTestCase):
    def test_a_table_that_others_may_write_holds_none(self) -> None:
        path = Path.cwd() / "aliases"
        path.write_text("ann: |/usr/bin/x\n")
        for mode, commands, right in ((0o644, True, True), (0o664, True, False), (0o664, False, True)):
            path.chmod(mode)
            options = FileTableOptions(path=ConfiguredPath(str(path)), commands=commands)
            if right:
                self.assertEqual(FileTable(options, services()).lookup("ann"), "|/usr/bin/x")
            else:
                self.assertRaises(TableError, FileTable, options, services())


class Expanded(RoutingCase):
    def setUp(self) -> None:
        self.world(
            DomainRule(name="example.org", mailboxes="users", aliases="aliases", deliver="local"),
            tables={
                "users": {"ann": "", "bob": ""},
                "aliases": {
                    "team": ":include:team, x@far.example",
                    "prog": "|/usr/bin/prog a, ann",
                    "file": "/var/mail/all",
                    "empty": ":include:empty",
                    "emptier": ":include:empty, ann",
                },
            },
            allowed={"aliases": Allowed(commands=True, folder="/etc/mta")},
            places=frozenset({"(command)"}),
        )
        self.files = {
            "/etc/mta/team": "ann, :include:more/list, :include:team",
            "/etc/mta/more/list": "bob, prog, :include:../team, :include:/etc/mta/team",
            "/etc/mta/empty": "",
        }

    def test_files_that_include_each_other_end(self) -> None:
        self.files["/etc/mta/more/list"] = "bob, :include:/etc/mta/team"
        self.assertEqual(self.ends("team@example.org"), {"ann@example.org", "bob@example.org", "x@far.example"})
        path = ("alias:team@example.org",)
        self.assertEqual(self.expand("team@example.org")["bob@example.org"], path)

    def test_a_file_that_cannot_be_read_or_is_wrong_bounces_nothing(self) -> None:
        self.assertIn("451 4.3.5", self.admit("team@example.org"))  # ".." in a path
        self.files["/etc/mta/more/list"] = CannotKnow("no such file")
        self.assertIn("451 4.3.0", self.admit("team@example.org"))

    def test_commands_and_files_are_ends(self) -> None:
        path = ("alias:prog@example.org",)
        self.assertEqual(self.expand("prog@example.org"), {"(command):/usr/bin/prog a": path, "ann@example.org": path})
        self.assertEqual(self.ends("file@example.org"), {"(file):/var/mail/all"})

    def test_a_list_without_members(self) -> None:
        self.assertEqual(self.ends("emptier@example.org"), {"ann@example.org"})
        self.assertEqual(self.admit("empty@example.org"), "550 5.1.1 No such mailbox here")
