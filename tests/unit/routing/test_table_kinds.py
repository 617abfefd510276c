"""Every kind of table that needs no peer keeps the contract (tests/unit/contracts/table_contract.py)."""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing
from typing import Any

from table_contract import ENTRIES, InFolder, TableContract
from twisted.internet.defer import Deferred, fail, succeed

from mta.config.option import Duration, Path, TableName
from mta.reply import TemporaryFailure
from mta.routing.tables import FileTable, FileTableOptions, MemoryTable
from mta.routing.tables.cached import CachedTable, CachedTableOptions
from mta.routing.tables.chain import ChainTable, ChainTableOptions
from mta.routing.tables.regexp import RegexpTable, RegexpTableOptions
from mta.routing.tables.sqlite import SqliteTable, SqliteTableOptions
from mta.routing.tables.static import StaticTable, StaticTableOptions

QUERY = "SELECT target FROM alias WHERE address = :key"


class Files(TableContract, InFolder):
    def make_table(self) -> FileTable:
        text = "".join(f"{key}: {value}\n" for key, value in ENTRIES.items())
        return FileTable(FileTableOptions(path=self.written(text)), self.world.services())

    def make_failing(self) -> FileTable:
        table = self.make_table()
        os.unlink(table._file.path)
        table._file._next_check = 0
        return table

    def test_where(self) -> None:
        table = self.make_table()
        self.assertEqual(table.where("Info@example.org"), f"{table._file.path}:2")


class Static(TableContract, InFolder):
    def make_table(self) -> StaticTable:
        return StaticTable(StaticTableOptions(entries=ENTRIES), self.world.services())

    def test_two_spellings_of_a_key(self) -> None:
        options = StaticTableOptions(entries={"Bob@x.example": "1", "bob@X.example": "2"})
        self.assertEqual([found[0] for found in options.contradictions()], ["entries"])


class Regexp(TableContract, InFolder):
    def make_table(self) -> RegexpTable:
        text = "".join(f"/^{re.escape(key)}$/ {value}\n" for key, value in ENTRIES.items())
        return RegexpTable(RegexpTableOptions(path=self.written(text)), self.world.services())

    def make_failing(self) -> RegexpTable:
        table = self.make_table()
        os.unlink(table._file.path)
        table._file._next_check = 0
        return table


class Chain(TableContract, InFolder):
    def make_table(self) -> ChainTable:
        keys = list(ENTRIES)
        first = MemoryTable({keys[0]: ENTRIES[keys[0]]})
        second = MemoryTable({key: ENTRIES[key] for key in keys[1:]} | {keys[0]: "not this"})
        return self.of(first, Later(first), second)

    def of(self, *tables: Any) -> ChainTable:
        named = {f"table:{number}": table for number, table in enumerate(tables)}
        options = ChainTableOptions(tables=tuple(TableName(name) for name in named))
        return ChainTable(options, self.world.services(tables=named))

    def make_failing(self) -> ChainTable:
        return self.of(MemoryTable(failing="down"), MemoryTable(ENTRIES))

    def make_listing(self, members: list[str]) -> ChainTable:
        file = self.written("".join(f"{one}\n" for one in members[:7]))
        rest = StaticTableOptions(entries=dict.fromkeys(members[7:], ""))
        services = self.world.services()
        return self.of(FileTable(FileTableOptions(path=file), services), StaticTable(rest, services))

    def test_one_that_cannot_know_counts_only_before_one_that_knows(self) -> None:
        down = MemoryTable(failing="down")
        self.assertEqual(self.answer(self.of(MemoryTable(ENTRIES), down), "bob@example.org"), "home=/srv/bob")
        self.assertEqual(self.answer(self.of(Later(MemoryTable(ENTRIES)), down), "bob@example.org"), "home=/srv/bob")
        for first in (MemoryTable(), Later(MemoryTable())):
            chain = self.of(first, down, MemoryTable(ENTRIES))
            failure = self.assertRaises(TemporaryFailure, self.answer, chain, "bob@example.org")
            self.assertIn("down", failure.reason)

    def test_where(self) -> None:
        path = self.written("# mine\nbob@example.org\n")
        file = FileTable(FileTableOptions(path=path), self.world.services())
        chain = self.of(MemoryTable(), file)
        self.assertEqual(chain.where("bob@example.org"), f"{path}:2")
        self.assertEqual(self.of(Later(MemoryTable()), file).where("bob@example.org"), "", "it does not wait")


class Later:
    """A table whose answers come as Deferreds."""

    def __init__(self, table: MemoryTable) -> None:
        self._table = table

    def lookup(self, key: str) -> Deferred[str | None]:
        try:
            return succeed(self._table.lookup(key))
        except Exception:
            return fail()


class Cached(TableContract, InFolder):
    def make_table(self) -> CachedTable:
        return self.of(MemoryTable(ENTRIES))

    def of(self, table: Any) -> CachedTable:
        options = CachedTableOptions(table=TableName("table:x"))
        return CachedTable(options, self.world.services(tables={"table:x": table}))

    def make_failing(self) -> CachedTable:
        return self.of(MemoryTable(failing="down"))

    def make_listing(self, members: list[str]) -> CachedTable:
        text = "".join(f"{one}\n" for one in members)
        return self.of(FileTable(FileTableOptions(path=self.written(text)), self.world.services()))


class Sqlite(TableContract, InFolder):
    def database(self) -> Path:
        path = os.path.join(self.folder(), "accounts.sqlite")
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("CREATE TABLE alias (address TEXT, target TEXT)")
            rows = [(key, part) for key, value in ENTRIES.items() for part in value.split(", ")]
            db.executemany("INSERT INTO alias VALUES (?, ?)", [*rows, ("null@example.org", None)])
        return Path(path)

    def table(
        self, path: Path, query: str = "SELECT target FROM alias WHERE address = :key", **more: Any
    ) -> SqliteTable:
        table = SqliteTable(SqliteTableOptions(database=path, query=query, **more), self.world.services())
        self.addCleanup(table.close)
        return table

    def make_table(self) -> SqliteTable:
        return self.table(self.database())

    def make_failing(self) -> SqliteTable:
        return self.table(Path(os.path.join(self.folder(), "missing")))

    def make_listing(self, members: list[str]) -> SqliteTable:
        path = self.database()
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("CREATE TABLE member (address TEXT)")
            db.executemany("INSERT INTO member VALUES (?)", [(one,) for one in members])
        return self.table(path, list_query="SELECT address FROM member ORDER BY rowid")

    def test_a_listing_of_what_is_no_key(self) -> None:
        table = self.table(self.database(), list_query="SELECT char(10) UNION ALL SELECT NULL UNION ALL SELECT 'bob'")
        ((wrong, right),) = self.listed(table)
        self.assertIn("control characters", wrong)
        self.assertEqual(right, "bob")

    def test_a_listing_that_fails(self) -> None:
        table = self.table(self.database(), list_query="SELECT address FROM none_such")
        self.assertIn("no such table", self.assertRaises(TemporaryFailure, self.listed, table).reason)
        table = self.table(
            self.database(),
            list_query="WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n WHERE i < 0",
            timeout=Duration(0.2),
        )
        self.assertRegex(self.assertRaises(TemporaryFailure, self.listed, table).reason, "interrupted|no page")

    def test_parts_of_a_key(self) -> None:
        table = self.table(self.database(), "SELECT :domain || '|' || :local")
        self.assertEqual(self.answer(table, "bob@example.org"), "example.org|bob")
        self.assertEqual(self.answer(table, "bob"), "|bob")

    def test_no_row_and_null_are_nothing(self) -> None:
        self.assertIsNone(self.answer(self.made(), "null@example.org"))

    def test_it_is_never_written_to(self) -> None:
        table = self.table(self.database(), "DELETE FROM alias WHERE address = :key")
        failure = self.assertRaises(TemporaryFailure, self.answer, table, "bob@example.org")
        self.assertIn("readonly", failure.reason)

    def test_another_file_in_its_place(self) -> None:
        path = self.database()
        table = self.table(path, cache=Duration(0.0))
        self.assertEqual(self.answer(table, "bob@example.org"), "home=/srv/bob")
        with closing(sqlite3.connect(path + ".new")) as db, db:
            db.execute("CREATE TABLE alias (address TEXT, target TEXT)")
            db.execute("INSERT INTO alias VALUES ('bob@example.org', 'new')")
        os.replace(path + ".new", path)
        self.assertEqual(self.answer(table, "bob@example.org"), "new")

    def test_a_database_that_is_locked(self) -> None:
        path = self.database()
        table = self.table(path, timeout=Duration(0.05), cache=Duration(0.0))
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("BEGIN EXCLUSIVE")
            failure = self.assertRaises(TemporaryFailure, self.answer, table, "bob@example.org")
            self.assertRegex(failure.reason, "locked|no answer within")
            db.execute("ROLLBACK")
        self.table(path)
        self.assertEqual(self.answer(self.table(path), "bob@example.org"), "home=/srv/bob")

    def test_a_query_without_end_is_ended(self) -> None:
        endless = (
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n WHERE x = :key"
        )
        table = self.table(self.database(), endless, timeout=Duration(0.05))
        failure = self.assertRaises(TemporaryFailure, self.answer, table, "bob@example.org")
        self.assertRegex(failure.reason, "interrupted|no answer within")

    def test_a_wrong_query_is_told_when_the_configuration_is_read(self) -> None:
        path = self.database()
        SqliteTable.examine(SqliteTableOptions(database=path, query=QUERY))
        wrong = SqliteTableOptions(database=path, query="SELECT missing FROM alias WHERE address = :key")
        self.assertIn("no such column", str(self.assertRaises(ValueError, SqliteTable.examine, wrong)))
        no_database = SqliteTableOptions(database=self.written("x" * 5000), query="SELECT :key")
        self.assertRaises(ValueError, SqliteTable.examine, no_database)
