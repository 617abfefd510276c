"""``mta list``: by the configuration and the tables alone."""

from __future__ import annotations

import json

from stopped_state import StoppedState

LISTS = """
[lists."team@a.example"]
owner = "ann@a.example"
description = "The team"
members = ["ann@a.example", "board@a.example"]
members_from = "file:team"

[lists."board@a.example"]
owner = "ann@a.example"
members = ["team@a.example", "Carl@b.example", "ann@a.example"]
posting = "owner"

[domains."a.example"]
aliases = "file:none"
"""


class Lists(StoppedState):
    more = LISTS

    def setUp(self) -> None:
        super().setUp()
        (self.folder / "none").write_text("")
        (self.folder / "team").write_text("bob\ndora@c.example\nx@\n")

    def test_all(self) -> None:
        for command in (("list",), ("list", "list")):
            said = self.ok(*command).splitlines()
            self.assertEqual(said[1], "team@a.example   ann@a.example  members, owner  The team")
            self.assertEqual(said[2], "board@a.example  ann@a.example  owner")

    def test_one(self) -> None:
        said = self.ok("list", "show", "TEAM")
        self.assertIn("sender        team-bounces@a.example\n", said)
        self.assertEqual(json.loads(self.ok("list", "show", "team@a.example", "--json"))["list_id"], "team.a.example")
        self.assertIn("did you mean", self.refused("list", "show", "team@a.exampel"))

    def test_members_of_lists_within_each_once(self) -> None:
        found = self.ok("list", "members", "team")
        for member in ("ann@a.example", "bob@a.example", "dora@c.example", "Carl@b.example"):
            self.assertEqual(found.count(f"{member}\n"), 1, found)
        self.assertIn("warning: team@a.example: x@: ", found)
        self.assertNotIn("board@a.example\n", found)

    def test_a_file_that_cannot_be_read_is_told(self) -> None:
        (self.folder / "team").unlink()
        self.assertIn("cannot be read", self.refused("list", "members", "team"))
