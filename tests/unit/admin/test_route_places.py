"""``mta route`` names file and line of every rule that led on, and of what nearly did."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import Any

from test_route import SITE, Command
from twisted.internet.defer import Deferred

from mta.admin.trying import on_trial
from mta.config.load import load
from mta.dns.fake import FakeResolver
from mta.trial.trial import Trial
from mta.trial.values import Mail

STEPS = """
[domains."also.example"]
alias_of = "ours.example"
[domains."all.example"]
mailboxes = "file:boxes"
catch_all = "ann@ours.example"
deliver = "local"
[srs]
domain = "srs.example"
keys = "a key that is long enough"
[tables.sql]
type = "sqlite"
database = "db.sqlite"
query = "SELECT target FROM alias WHERE name = :key"
[tables.remembered]
type = "cached"
table = "file:special"
[tables.both]
type = "chain"
tables = ["table:remembered", "table:sql"]
[domains."sql.example"]
aliases = "table:both"
mailboxes = "table:sql"
deliver = "local"
[lists."team@lists.example"]
owner = "ann@ours.example"
members = ["bob@ours.example"]
posting = "anyone"
[domains."lists.example"]
"""
OPTIONS = 'separators = "+"\nmoved = "file:moved"\nservices = "file:services"\n'


class Places(Command):
    def setUp(self) -> None:
        super().setUp()
        etc = self.folder / "etc"
        (etc / "mta.toml").write_text(SITE.replace('deliver = "local"\n', f'deliver = "local"\n{OPTIONS}', 1) + STEPS)
        (etc / "moved").write_text("# who has moved\ngone: gone@far.example\n")
        (etc / "services").write_text("\nbob: smart\n")
        (etc / "special").write_text("# special\n\nspecial@sql.example: bob@ours.example\n")
        with closing(sqlite3.connect(etc / "db.sqlite")) as db, db:
            db.execute("CREATE TABLE alias (name TEXT, target TEXT)")
            db.execute("INSERT INTO alias VALUES ('from-sql@sql.example', 'ann@ours.example')")

    def place(self, name: str, line: int) -> str:
        return f"{os.path.join(self.folder, 'etc', name)}:{line}"

    def steps(self, address: str, code: int = 0, *more: str) -> list[tuple[str, str]]:
        """Rule and place of each step of the tree."""
        (tree,) = self.values(address, *more, code=code)["trees"]
        found: list[tuple[str, str]] = []
        todo: list[Any] = [tree]
        for node in todo:
            if node["rule"]:
                found.append((node["rule"], node["where"]))
            todo += node["targets"]
        return found

    def section(self, words: str) -> str:
        return self.place("mta.toml", self.line(words))

    def test_each_step(self) -> None:
        for address, steps in (
            ("info@ours.example", [("alias", self.place("aliases", 1))]),
            ("gone@ours.example", [("moved", self.place("moved", 2))]),
            (
                "info+x@also.example",
                [
                    ("alias-domain", self.section('[domains."also.example"]')),
                    ("subaddress", self.section('[domains."ours.example"]')),
                    ("alias", self.place("aliases", 1)),
                ],
            ),
            ("nobody@all.example", [("catch-all", self.section('[domains."all.example"]'))]),
            ("postmaster", [("postmaster", self.section('postmaster = "ann@ours.example"'))]),
            (
                "special@sql.example",
                [
                    ("alias", self.place("special", 3)),
                ],
            ),
            ("from-sql@sql.example", [("alias", self.section("[tables.both]"))]),
            ("team@lists.example", [("list", self.section('[lists."team@lists.example"]'))]),
            ("team-owner@lists.example", [("list-owner", self.section('[lists."team@lists.example"]'))]),
            ("team-bounces@lists.example", [("list-owner", self.section('[lists."team@lists.example"]'))]),
        ):
            self.assertEqual(self.steps(address), steps, address)

    def test_what_a_file_includes(self) -> None:
        etc = self.folder / "etc"
        (etc / "aliases").write_text("team: :include:crew, ann\n")
        (etc / "crew").write_text("# the crew\nbob, x@far.example\n:include:more\n")
        (etc / "more").write_text("\ny@far.example\n:include:crew\n")
        (tree,) = self.values("team@ours.example")["trees"]
        self.assertEqual(
            {one["address"]: one["stands"] for one in tree["targets"]},
            {
                "bob@ours.example": self.place("crew", 2),
                "x@far.example": self.place("crew", 2),
                "y@far.example": self.place("more", 2),
                "ann@ours.example": "",
            },
        )
        text = self.mta("team@ours.example", "--no-dns").output
        self.assertIn(f"-> y@far.example   (in {self.place('more', 2)})", text)

    def test_the_rules_of_each_recipient(self) -> None:
        (bob,) = self.values("bob@ours.example")["recipients"]
        self.assertEqual(
            [(one["rule"], one["where"]) for one in bob["rules"]],
            [
                (f"bob@ours.example in file:{self.folder}/etc/boxes", self.place("boxes", 2)),
                (f"bob@ours.example in file:{self.folder}/etc/services", self.place("services", 2)),
            ],
        )
        (ann,) = self.values("ann+tag@ours.example")["recipients"]
        self.assertEqual(
            [one["where"] for one in ann["rules"]], [self.place("boxes", 1), self.section('[domains."ours.example"]')]
        )
        (bank,) = self.values("x@bank.example", "--auth", "ann")["recipients"]
        self.assertEqual([one["rule"] for one in bank["rules"]], ["route bank"])
        self.assertTrue(bank["rules"][0]["where"].startswith(self.place("mta.toml", 1)[:-1]))

    def test_the_story_has_them_too(self) -> None:
        """As it was at acceptance: ``mta explain`` shows the events."""
        (event,) = self.told("info@ours.example")
        self.assertEqual(event, f"info@ours.example -> bob@ours.example   alias   {self.place('aliases', 1)}")

    def told(self, address: str) -> list[str]:
        trial = Trial(
            on_trial(load(str(self.folder / "etc/mta.toml"))),
            resolver=None,
            names=FakeResolver({"192.0.2.1": []}),
            now=lambda: 1_700_000_000_000,
        )
        result = self.successResultOf(Deferred.fromCoroutine(trial.run(Mail(recipients=(address,)))))
        return [str(event) for event in result.events if event.code == "expanded"]
