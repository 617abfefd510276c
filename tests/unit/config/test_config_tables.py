"""What is wrong with tables is told when the configuration is read."""

from __future__ import annotations

from config_cases import MINIMAL, Folder
from twisted.trial.unittest import SynchronousTestCase

from mta.routing.tables import optional


class Problems(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Folder(self)

    def told(self, section: str, *hints: str) -> None:
        problems = self.folder.problems(f"{MINIMAL}\n{section}\n")
        self.assertEqual(len(problems), len(hints), problems)
        for problem, hint in zip(problems, hints, strict=True):
            self.assertIn(hint, problem)

    def right(self, section: str) -> None:
        self.folder.load(f"{MINIMAL}\n{section}\n")

    def test_files(self) -> None:
        self.told('[tables.x]\ntype = "regexp"\npath = "missing"', "tables.x.path: ")
        self.folder.write("patterns", "/(a+)+$/ x\n")
        self.told('[tables.x]\ntype = "regexp"\npath = "patterns"', "patterns:1: the pattern is not taken")
        self.folder.write("clients", "192.0.2.1/24 x\n")
        self.told('[tables.x]\ntype = "cidr"\npath = "clients"', "host bits")
        self.folder.write("open", "/a/ x\n", 0o666)
        self.told('[tables.x]\ntype = "regexp"\npath = "open"', "anybody may write")

    def test_queries(self) -> None:
        self.folder.write("x.sqlite")
        head = '[tables.x]\ntype = "sqlite"\ndatabase = "x.sqlite"\n'
        self.told(f'{head}query = "SELECT 1"', "has no parameter")
        self.told(f'{head}query = "SELECT :user"', ":user")
        self.told(f'{head}query = "SELECT a FROM t WHERE b = :key"', "no such table")
        self.right(f'{head}query = "SELECT :local WHERE :domain = :key"')

    def test_tables_of_themselves(self) -> None:
        self.told('[tables.x]\ntype = "chain"\ntables = ["table:x"]', "x -> x")
        both = '[tables.x]\ntype = "chain"\ntables = "table:y"\n[tables.y]\ntype = "cached"\ntable = "table:x"'
        self.told(both, "x -> y -> x", "y -> x -> y")
        self.told('[tables.x]\ntype = "chain"\ntables = []', "is empty")
        self.told('[tables.x]\ntype = "chain"\ntables = ["table:y"]', "no [tables.y]")

    def test_a_package_that_is_missing(self) -> None:
        self.patch(optional, "find_spec", lambda name: None)
        self.told(
            '[tables.x]\ntype = "postgresql"\ndatabase = "x"\nquery = "SELECT :key"',
            'needs the Python package psycopg; run: pip install "txmta[postgresql]"',
        )
        self.told('[tables.x]\ntype = "http"\nurl = "http://h/{key}"', "treq")

    def test_urls(self) -> None:
        self.patch(optional, "find_spec", lambda name: True)
        for url, hint in (
            ("https://h/x", "{key}"),
            ("https://{key}.example.org/", "{key}"),
            ("https://h/{user}", "{key}"),
            ("https://u@h/{key}", "without a user"),
            ("ftp://h/{key}", "https://HOST/"),
            ("https://h/{key}#x", "https://HOST/"),
            ("https://h:x/{key}", "is not a URL"),
            ("https://h/a b{key}", "no URL has"),
        ):
            self.told(f'[tables.x]\ntype = "http"\nurl = "{url}"', hint)
        self.right('[tables.x]\ntype = "http"\nurl = "https://h:8443/a?b={local}&c={domain}"')

    def test_directories(self) -> None:
        self.patch(optional, "find_spec", lambda name: True)
        more = 'base = "dc=x"\nattribute = "uid"\n'
        head = f'[tables.x]\ntype = "ldap"\n{more}'
        self.told(f'{head}url = "ldap://h"\nfilter = "(uid=x)"', "{key}")
        self.told(f'{head}url = "ldap://h"\nfilter = "uid={{key}}"', "parentheses")
        self.told(f'{head}url = "http://h"\nfilter = "(uid={{key}})"', "ldap://")
        # RFC 4513 5.1.2
        self.told(f'{head}url = "ldapi://"\nfilter = "(uid={{key}})"\nbind = "cn=x"', "take us for nobody")

    def test_entries(self) -> None:
        self.told('[tables.x]\ntype = "static"\nentries = { Bob = "1", bob = "2" }', "the same key")
        self.told('[tables.x]\ntype = "static"\nentries = { bob = 1 }', "is not text")
        self.right('[tables.x]\ntype = "static"\nentries = { "bob@example.org" = "" }')
