"""Tables in files: what may stand in them, and what happens while they change."""

from __future__ import annotations

import os
import shutil
import tempfile
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mta.config.option import Path
from mta.interfaces import IProvider, ITable
from mta.reply import TemporaryFailure
from mta.routing.tables import FileTable, FileTableOptions, MemoryTable, TableError, parse_table, watched
from mta.routing.tables.entries import build

GOOD = """\ufeff# mailboxes of example.org
bob@example.org
Ann@Example.org:   home=/srv/ann\r
  # a comment between

info: ann@example.org,
    bob@example.org,   # not a comment: a value
\tx@far.example
"a: b"@example.org : quoted
me@[IPv6:2001:db8::1]:literal
josé:
"""


class Parsing(SynchronousTestCase):
    def test_what_may_stand(self) -> None:
        entries = parse_table(GOOD, "users")
        self.assertEqual(
            entries,
            {
                "bob@example.org": "",
                "ann@example.org": "home=/srv/ann",
                "info": "ann@example.org, bob@example.org,   # not a comment: a value x@far.example",
                '"a: b"@example.org': "quoted",
                "me@[IPv6:2001:db8::1]": "literal",
                "josé": "",
            },
        )

    def test_other_line_separators_are_no_ends(self) -> None:
        self.assertEqual(parse_table("a: x\u2028y\x0bz\u0085", "t"), {"a": "x\u2028y\x0bz"})

    def test_lines_of_entries_across_blocks(self) -> None:
        lines = [
            b"# head",
            b"a: 1",
            b"",
            b"b: 2",
            b"  more",
            b"# between",
            b"  and more",
            b"c: 3",
            b"d",
            b" # x",
            b"e: 5",
        ]
        for size in range(1, len(lines) + 1):
            blocks = [b"\n".join(lines[at : at + size]) for at in range(0, len(lines), size)]
            entries = build(blocks, len(lines), "x")
            self.assertEqual([entries.line(key) for key in "abcdex"], [2, 4, 8, 9, 11, 0], size)
            self.assertEqual(entries["b"], "2 more and more")
        many = [b"# x" if number % 7 else b"k%d: v\n more" % number for number in range(1000)]
        text = b"\n".join(many)
        entries = build([text], text.count(b"\n") + 1, "x")
        at = text.split(b"\n").index(b"k994: v") + 1
        self.assertEqual((entries.line("k994"), entries["k994"]), (at, "v more"))

    def test_errors_have_file_and_line(self) -> None:
        for text, line, hint in (
            ("ok\nbob@example.org # Bob\n", 2, 'not "key: value"'),
            ("a: 1\n\nb: 2\nA: 3\n", 4, "already in line 1"),
            ("# x\n  indented: x\n", 2, "indented"),
            (": value\n", 1, "nor a single key"),
            ("a b: value\n", 1, "nor a single key"),
            ("a: 1\nb c\n  d\n", 2, "b c"),
            ("a: 1\nb\n  d\n", 3, "a key alone"),
            ("ok\nb: \0\n", 2, "NUL"),
            ("a: 1\nbob@xn--bcher-kva.example\n\nbob@bücher.example: x\n", 4, "already in line 2"),
        ):
            error = self.assertRaises(TableError, parse_table, text, "etc/users")
            self.assertEqual(error.line, line)
            self.assertTrue(str(error).startswith(f"etc/users:{line}: "))
            self.assertIn(hint, str(error))


class FileCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.now = 4_000_000_000_000  # UTC ms, far later than the files' times
        self.events: list[str] = []
        self.threads: list[tuple[Any, Deferred[Any]]] = []
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        self.path = os.path.join(folder, "users")

    def write(self, text: str | bytes, path: str = "") -> None:
        with open(path or self.path, "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())

    def replace(self, text: str) -> None:
        self.write(text, self.path + ".new")
        os.replace(self.path + ".new", self.path)

    def in_thread(self, work: Any, *args: Any) -> Deferred[Any]:
        deferred: Deferred[Any] = Deferred()
        self.threads.append((lambda: work(*args), deferred))
        return deferred

    def table(self) -> FileTable:
        services: Any = SimpleNamespace(
            name="users",
            reactor=self.clock,
            now=lambda: self.now,
            in_thread=self.in_thread,
            emit=lambda event, id: self.events.append(str(event)),
        )
        return FileTable(FileTableOptions(path=Path(self.path)), services)


class Files(FileCase):
    def test_lookup(self) -> None:
        self.write(GOOD)
        table = self.table()
        verifyObject(ITable, table)
        self.assertEqual(table.lookup("ANN@example.org"), "home=/srv/ann")
        self.assertEqual(table.lookup("jose\u0301"), "")
        self.assertIsNone(table.lookup("nobody@example.org"))

    def test_it_is_a_provider_like_any_plugin(self) -> None:
        self.assertTrue(IProvider.providedBy(FileTable))
        self.assertTrue(IPlugin.providedBy(FileTable))
        self.assertEqual((FileTable.kind, FileTable.type_name), ("table", "file"))

    def test_the_start_is_stopped_by_a_wrong_or_missing_file(self) -> None:
        self.assertRaises(FileNotFoundError, self.table)
        self.write("a b c\n")
        self.assertRaises(TableError, self.table)
        self.write(b"a\nb: \xff\n")
        self.assertIn(":2: the text is not UTF-8", str(self.assertRaises(TableError, self.table)))

    def test_too_large(self) -> None:
        self.patch(watched, "MAX_OCTETS", 10)
        self.write("a: 23456789012\n")
        self.assertIn("over the limit", str(self.assertRaises(TableError, self.table)))

    def test_read_again_when_it_changes_looked_at_once_a_second(self) -> None:
        self.write("a: 1\n")
        table = self.table()
        self.replace("a: 2\nb: 3\n")
        self.clock.advance(0.9)
        self.assertEqual(table.lookup("a"), "1")
        self.clock.advance(0.1)
        self.assertEqual(table.lookup("a"), "2")
        self.assertEqual(self.events, ["table users: read again, 2 entries"])
        self.clock.advance(5)
        table.lookup("a")
        self.assertEqual(len(self.events), 1, "unchanged: not read")

    def test_a_wrong_version_changes_nothing_and_is_told_once(self) -> None:
        self.write("a: 1\n")
        table = self.table()
        self.replace("a b c\n")
        for _ in range(3):
            self.clock.advance(1)
            self.assertEqual(table.lookup("a"), "1")
        self.assertEqual(len(self.events), 1)
        self.assertIn(f"the version before stays in force: {self.path}:1:", self.events[0])
        self.replace("a: 3\n")
        self.clock.advance(1)
        self.assertEqual(table.lookup("a"), "3")

    def test_a_file_in_the_middle_of_being_written_waits(self) -> None:
        """Nobody becomes unknown because half of the file is written."""
        self.write("a: 1\nb: 2\n")
        table = self.table()
        self.write("a: 1\n")
        self.now = int(os.stat(self.path).st_mtime_ns / 1e6) + 500
        self.clock.advance(1)
        self.assertEqual(table.lookup("b"), "2")
        self.write("a: 1\nb: 3\n")
        self.now += 5000
        self.clock.advance(1)
        self.assertEqual(table.lookup("b"), "3")

    def test_a_file_that_is_away_makes_nobody_unknown(self) -> None:
        self.write("a: 1\n")
        table = self.table()
        os.rename(self.path, self.path + ".away")
        self.clock.advance(1)
        for _ in range(2):
            error = self.assertRaises(TemporaryFailure, table.lookup, "a")
            self.assertEqual(error.reply.code, 451)
            self.assertIn(self.path, error.reason)
        os.rename(self.path + ".away", self.path)
        self.clock.advance(1)
        self.assertEqual(table.lookup("a"), "1")


class LargeFiles(FileCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(watched, "INLINE_OCTETS", 10)
        self.write("a: 1\n")
        self.large = self.table()
        self.replace("a: 2 and some more\n")
        self.clock.advance(1)
        self.assertEqual(self.large.lookup("a"), "1")
        self.clock.advance(1)
        self.assertEqual(self.large.lookup("a"), "1")
        self.assertEqual(len(self.threads), 1, "it is being read: not once more")

    def test_read_outside_of_the_reactor_s_thread(self) -> None:
        work, deferred = self.threads.pop()
        deferred.callback(work())
        self.assertEqual(self.large.lookup("a"), "2 and some more")

    def test_wrong(self) -> None:
        self.threads.pop()[1].errback(TableError(self.path, 1, "wrong"))
        self.assertEqual(self.large.lookup("a"), "1")
        self.assertIn("wrong", self.events[0])

    def test_unreadable(self) -> None:
        self.threads.pop()[1].errback(PermissionError(13, "Permission denied"))
        error = self.assertRaises(TemporaryFailure, self.large.lookup, "a")
        self.assertIn("Permission denied", error.reason)


class Memory(SynchronousTestCase):
    def test_compares_as_files_do(self) -> None:
        table = MemoryTable({"Bob@Example.org": "x"})
        verifyObject(ITable, table)
        self.assertEqual(table.lookup("bob@example.org"), "x")
        table.failing = "down"
        self.assertRaises(TemporaryFailure, table.lookup, "bob@example.org")
        self.assertEqual(table.asked, ["bob@example.org"] * 2)
