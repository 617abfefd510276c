"""``mta table get`` asks tables that have to wait, too: threads, the network."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from unittest import SkipTest

from table_contract import InFolder

from mta.admin.tables import Look, look_up
from mta.config.load import load
from mta.reply import TemporaryFailure
from mta.routing.tables.optional import missing

CONFIGURATION = """\
format = 1
hostname = "mx1.site.com"
postmaster = "postmaster@site.com"
state = "var"
[[listen]]
name = "mx"
endpoint = "tcp:2525"
[domains."site.com"]
deliver = "local"
[delivery.local]
type = "discard"
[delivery.internet]
type = "smtp"
[tables.special]
type = "static"
entries = { "ann@example.org" = "special" }
[tables.accounts]
type = "sqlite"
database = "accounts.sqlite"
query = "SELECT target FROM alias WHERE address = :key"
[tables.all]
type = "chain"
tables = ["table:special", "file:users", "table:accounts"]
"""


class Get(InFolder):
    def setUp(self) -> None:
        self.path = self.folder()
        self.users = self.write("users", "# who\nbob@example.org: x\n")
        with closing(sqlite3.connect(self.write("accounts.sqlite"))) as db, db:
            db.execute("CREATE TABLE alias (address TEXT, target TEXT)")
            db.execute("INSERT INTO alias VALUES ('carol@example.org', 'y')")

    def write(self, name: str, text: str = "") -> str:
        path = os.path.join(self.path, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def look(self, name: str, key: str, more: str = "") -> Look:
        path = self.write("mta.toml", f"{CONFIGURATION}\n{more}")
        return look_up(load(path, environ={}), name, key, lambda: 0)

    def test_of_each_kind(self) -> None:
        self.assertEqual(self.look("accounts", "Carol@example.org"), ("y", ""))
        self.assertEqual(self.look("table:all", "carol@example.org"), ("y", ""))
        self.assertEqual(self.look("all", "ann@example.org"), ("special", ""))
        self.assertEqual(self.look("all", "bob@example.org"), ("x", f"{self.users}:2"))
        self.assertEqual(self.look(f"file:{self.users}", "bob@example.org"), ("x", f"{self.users}:2"))
        self.assertEqual(self.look("all", "dave@example.org"), (None, ""))

    def test_one_that_cannot_know(self) -> None:
        if list(missing("treq", "http")):
            raise SkipTest("treq is not installed (the extra http)")
        billing = '[tables.billing]\ntype = "http"\nurl = "http://127.0.0.1:1/{key}"'
        failure = self.assertRaises(TemporaryFailure, self.look, "billing", "bob@example.org", billing)
        self.assertIn("refused", failure.reason)

    def test_names(self) -> None:
        error = self.assertRaises(ValueError, self.look, "accunts", "x")
        self.assertIn('did you mean "accounts"', str(error))
