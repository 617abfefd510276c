"""``[lists.X]``: what may stand there, what it comes to, and what is wrong with others."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from config_cases import MINIMAL, Folder
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.config.rules import routing_rules, sources
from mta.envelope import Destination
from mta.lists.values import Posting

LIST = """\
[lists."Team@Site.com"]
owner = "ann@site.com"
members = ["bob@site.com", "Carl@b.example"]
"""

SQLITE = 'type = "sqlite"\ndatabase = "db.sqlite"\nquery = "SELECT 1 FROM member WHERE address = :key"\n'
FROM_SQLITE = 'members_from = "table:s"\n'
CHAIN = '[tables.c]\ntype = "chain"\ntables = ["table:s"]\n'


class Lists(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Folder(self)

    def problems(self, text: str = LIST, base: str = MINIMAL) -> list[str]:
        return [problem.partition(": ")[2] for problem in self.folder.problems(base + text)]

    def test_what_a_list_comes_to(self) -> None:
        self.folder.write("team", "dora@c.example\n")
        text = 'members_from = "file:team"\nposting = ["owner", "eve@e.example", "*.d.example"]\nexpn = "networks"\n'
        rules = routing_rules(self.folder.load(MINIMAL + LIST + text))
        rule = rules.list_at(Destination("(list)", "team@site.com"))
        assert rule is not None
        self.assertEqual(rule.members, (Address("bob", "site.com"), Address("Carl", "b.example")))
        self.assertEqual(rule.tables, (f"file:{self.folder.path}/team",))
        self.assertEqual((rule.posting, rule.domains), ({Posting.OWNER}, ("*.d.example",)))
        self.assertEqual((rule.senders, rule.expn), ({Address("eve", "e.example")}, "networks"))
        self.assertEqual(str(rule.bounces), "team-bounces@site.com")
        self.assertIn(rule.tables[0], sources(rules))
        self.assertIsNone(rules.list_at(Destination("(list)", "team-bounces@site.com")))
        self.assertIsNone(rules.list_at(Destination("local", "team@site.com")))

    def test_members_and_owner_may_post_unless_it_says_otherwise(self) -> None:
        rules = routing_rules(self.folder.load(MINIMAL + LIST))
        rule = rules.list_at(Destination("(list)", "team@site.com"))
        assert rule is not None
        self.assertEqual(rule.posting, {Posting.MEMBERS, Posting.OWNER})

    def test_a_file_for_each_in_a_folder(self) -> None:
        self.folder.write("lists/team.toml", LIST)
        configuration = self.folder.load('include = "lists/*.toml"\n' + MINIMAL)
        self.assertEqual(list(configuration.lists), ["team@site.com"])

    def test_a_domain_of_lists_needs_no_mailboxes(self) -> None:
        self.assertEqual(self.problems('[domains."l.site.com"]\n' + LIST.replace("Site.com", "l.site.com")), [])
        self.assertIn("deliver is missing", self.problems('[domains."l.site.com"]\n')[0])

    def test_members_from_a_database_and_a_chain(self) -> None:
        with closing(sqlite3.connect(self.folder.write("db.sqlite"))) as db:
            db.execute("CREATE TABLE member (address TEXT)")
        table = "[tables.s]\n" + SQLITE + 'list_query = "SELECT address FROM member"'
        for text in (FROM_SQLITE + table, FROM_SQLITE.replace(":s", ":c") + CHAIN + table):
            self.assertEqual(self.problems(LIST + text), [])

    def test_what_is_wrong_is_said(self) -> None:
        for text, said in (
            (LIST.replace("Site.com", "other.com"), "other.com is not a domain of ours"),
            (LIST.replace('"Team@', '"te/am@'), "te/am has letters that the name of a list may not have"),
            (LIST.replace('"Team@', '"gr\u00fcn@'), "has letters"),
            (LIST.replace("ann@", "team-owner@"), "takes no reports"),
            (LIST.replace("ann@", "Team@"), "takes no reports"),
            (LIST + LIST.replace("Team", "team-bounces"), "is where reports about this list go"),
            (LIST.replace("members", "#"), "has no members"),
            (LIST + "max_members = 1", "has more than max_members = 1"),
            (LIST + 'members_from = "table:clients"\n[tables.clients]\ntype = "cidr"\npath = "c"', "cannot tell all"),
            (LIST + FROM_SQLITE + "[tables.s]\n" + SQLITE, "table:s has no list_query"),
            (
                LIST + FROM_SQLITE.replace(":s", ":c") + CHAIN + "[tables.s]\n" + SQLITE,
                "table:c cannot tell all that it holds: table:s has no list_query",
            ),
            (LIST + FROM_SQLITE + "[tables.s]\n" + SQLITE + 'list_query = "SELECT :key"', "has a parameter"),
            (LIST + 'members_from = "table:none"', "there is no [tables.none]"),
            (LIST + 'members_from = "file:none"', "cannot be read"),
            (LIST + 'posting = "everyone"', 'has "everyone", which is none of'),
            (LIST + "posting = []", "is empty"),
            (LIST + 'subject_tag = "a\\nb"', "is not ASCII text on one line"),
            (LIST + 'description = "<b>"', "holds quotes"),
            (LIST + 'reply_to = "nobody"', 'is neither "list" nor an address'),
            (LIST + 'expn = "all"', "is not one of its values"),
            (LIST + '[domains."x.com"]\ncatch_all = "team@site.com"', "is a list"),
        ):
            self.folder.write("c", "192.0.2.0/24 x\n")
            problems = self.problems(text)
            self.assertTrue(any(said in problem for problem in problems), (said, problems))
