"""Tables of a configuration, their threads, and the index of a file."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from table_contract import InFolder, World
from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from mta.config.option import Path, TableName
from mta.config.section import Section
from mta.interfaces import ITable
from mta.routing.keys import table_key
from mta.routing.tables import FileTable, FileTableOptions, TableError, parse_table, watched
from mta.routing.tables.chain import ChainTable, ChainTableOptions
from mta.routing.tables.entries import build
from mta.routing.tables.file import read_table
from mta.routing.tables.made import Tables, where
from mta.routing.tables.static import StaticTable, StaticTableOptions
from mta.routing.tables.threads import Crew


def static(**entries: str) -> Section:
    return Section(type_name="static", provider=StaticTable, options=StaticTableOptions(entries=entries))


def chain(*names: str) -> Section:
    options = ChainTableOptions(tables=tuple(TableName(name) for name in names))
    return Section(type_name="chain", provider=ChainTable, options=options)


class Making(InFolder):
    def tables(self, **sections: Section) -> Tables:
        world = World(self)

        def services(name: str) -> Any:
            return replace(world.services(name), table=lambda other: made.get(other))

        made = Tables(sections, services)
        return made

    def test_each_is_made_once_and_those_it_is_made_of(self) -> None:
        path = self.written("# users\nann: x\n")
        tables = self.tables(all=chain("table:late", f"file:{path}"), late=static(bob="y"))
        found: Any = tables.get("table:all")
        self.assertIs(tables.get("table:all"), found)
        self.assertEqual(sorted(tables.made), [f"file:{path}", "table:all", "table:late"])
        self.assertEqual((found.lookup("bob"), found.lookup("ann")), ("y", "x"))
        self.assertEqual((where(found, "ann"), where(found, "bob")), (f"{path}:2", ""))
        self.assertEqual(where(tables.get("table:late"), "bob"), "")

    def test_circles(self) -> None:
        tables = self.tables(a=chain("table:b"), b=chain("table:c"), c=chain("table:b"))
        error = self.assertRaises(ValueError, tables.get, "table:a")
        self.assertIn("table:b -> table:c -> table:b", str(error))

    def test_what_is_not_there(self) -> None:
        self.assertRaises(KeyError, self.tables().get, "table:none")

    def test_close_reaches_those_that_have_something_to_close(self) -> None:
        closed: list[str] = []

        class Plugin:
            def __init__(self, options: object, services: Any) -> None:
                self.name = services.name

            def lookup(self, key: str) -> None:
                return None

            def close(self) -> None:
                closed.append(self.name)

        plugin = Section(type_name="x", provider=Plugin, options=StaticTableOptions(entries={}))
        tables = self.tables(a=plugin, b=static())
        made: list[ITable] = [tables.get("table:a"), tables.get("table:b")]
        tables.close()
        self.assertEqual((len(made), closed), (2, ["a"]))


class Threads(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World(self)
        self.made: list[Any] = []

    def crew(self, most: int = 2) -> Crew:
        made = self.made

        class Echo:
            def __init__(self) -> None:
                self.closed = False
                made.append(self)

            def answer(self, key: str) -> str | None:
                if key == "bad":
                    raise ValueError("odd")
                return key.upper()

            def close(self) -> None:
                self.closed = True

        return Crew(self.world.reactor, Echo, most, "test")

    def test_answers_and_failures(self) -> None:
        crew = self.crew()
        answers = [crew.ask(key) for key in "abcd"]
        self.assertEqual([self.world.wait(answer) for answer in answers], ["A", "B", "C", "D"])
        self.assertLessEqual(len(self.made), 2)
        self.assertRaises(ValueError, self.world.wait, crew.ask("bad"))
        self.assertEqual(self.world.wait(crew.ask("e")), "E")
        crew.close()

    def test_after_the_end_each_question_has_a_thread_of_its_own(self) -> None:
        """A session that began before a reload goes on with the tables of before."""
        crew = self.crew(1)
        self.assertEqual(self.world.wait(crew.ask("a")), "A")
        crew.close()
        crew.close()
        self.assertEqual([self.world.wait(answer) for answer in [crew.ask("b"), crew.ask("c")]], ["B", "C"])

    def test_one_that_was_cancelled(self) -> None:
        crew = self.crew()
        cancelled = crew.ask("a")
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        self.assertEqual(self.world.wait(crew.ask("b")), "B")
        crew.close()

    def test_no_thread_before_the_first_question(self) -> None:
        self.crew().close()
        self.assertEqual(self.made, [])


WORDS = st.text(st.sampled_from('aAbB@.:-xé\u0301"[] \\'), min_size=1, max_size=6)


class Index(InFolder):
    @given(st.dictionaries(WORDS, WORDS, max_size=30), st.integers(1, 40))
    def test_it_holds_what_a_dictionary_would(self, wanted: dict[str, str], size: int) -> None:
        """Whatever is written, and wherever a block ends."""
        expected: dict[str, str] = {}
        lines: dict[str, int] = {}
        text = ""
        for key, value in wanted.items():
            line = f"{key}: {value}\n"
            try:
                (one,) = parse_table(line, "t").items()
            except (TableError, ValueError):
                continue
            if one[0] in expected:
                continue
            expected[one[0]] = one[1]
            lines[one[0]] = text.count("\n") + 3
            text += f"# comment\n\n{line}"
        blocks: list[bytes] = []
        for line in text.encode().splitlines():
            if blocks and len(blocks[-1]) < size:
                blocks[-1] += b"\n" + line
            else:
                blocks.append(line)
        entries = build(blocks, text.count("\n") + 1, "t")
        self.assertEqual(dict(entries.items()), expected)
        self.assertEqual(list(entries.pairs()), list(expected.items()))
        self.assertEqual(len(entries), len(expected))
        for key, value in expected.items():
            self.assertEqual((entries[key], entries.line(key)), (value, lines[key]))
            self.assertEqual(table_key(key), key)

    def test_blocks_of_a_file(self) -> None:
        self.patch(watched, "BLOCK", 7)
        path = self.written("\ufeffann: 1\n\nbob: a very long value\n  and more\n# comment\ncarol\ndave: 3")
        entries = read_table(path).entries
        self.assertEqual(dict(entries), {"ann": "1", "bob": "a very long value and more", "carol": "", "dave": "3"})
        self.assertEqual([entries.line(key) for key in entries], [1, 3, 6, 7])
        self.assertEqual(entries.line("nobody"), 0)

    def test_a_version_that_somebody_has_is_not_read_again(self) -> None:
        path = self.written("ann: 1\n")
        first = read_table(path)
        self.assertIs(read_table(path), first)
        os.utime(path, ns=(1, 1))
        self.assertIsNot(read_table(path), first)

    def test_a_file_that_grows_while_it_is_read(self) -> None:
        self.assertRaises(TableError, build, [b"a: 1\nb: 2"], 1, "t")
        empty = Path(self.written(""))
        self.assertEqual(len(read_table(empty).entries), 0)

    def test_what_was_checked_is_not_read_again_to_be_used(self) -> None:
        options = FileTableOptions(path=self.written("ann: 1\n"))
        FileTable.examine(options)
        self.patch(watched, "_blocks", None)  # whoever reads now fails
        table = FileTable(options, World(self).services())
        self.assertEqual(table.lookup("ann"), "1")
        self.assertNotIn(options.path, {path for path, _ in watched._kept})
