"""Regular expressions and networks: what may stand in their files, and what they find."""

from __future__ import annotations

import re
import time

from hypothesis import given, settings
from hypothesis import strategies as st
from table_contract import InFolder, World
from twisted.trial.unittest import SynchronousTestCase

from mta.reply import TemporaryFailure
from mta.routing.tables import TableError
from mta.routing.tables.backtracking import MAX_KEY, ways
from mta.routing.tables.cidr import CidrTable, CidrTableOptions, parse_networks
from mta.routing.tables.regexp import Patterns, RegexpTable, RegexpTableOptions, parse_patterns
from mta.routing.tables.watched import blocks_of

_REPEATS = st.sampled_from(["*", "+", "?", "{0,3}", "*?", "++"])


def patterns(text: str) -> Patterns:
    return parse_patterns(blocks_of(text), text.count("\n") + 1, "p")


class Expressions(InFolder):
    def find(self, text: str, key: str) -> str | None:
        found = patterns(text).find(key)
        return None if found is None else found[0]

    def test_values(self) -> None:
        text = "# first\n/^(.*)-owner@(example)\\.org$/   ${1}@lists.$2, $$\\2\n/-owner@/ second\n/slash\\/x/\n"
        self.assertEqual(self.find(text, "team-owner@example.org"), "team@lists.example, $example")
        self.assertEqual(self.find(text, "team-OWNER@example.net"), "second")
        self.assertEqual(self.find(text, "a slash/x"), "")
        self.assertIsNone(self.find(text, "other"))

    def test_a_group_that_took_no_part_is_empty(self) -> None:
        self.assertEqual(self.find("/^(a)?b$/ <$1>", "b"), "<>")

    def test_a_stranger_writes_no_command_into_a_value(self) -> None:
        text = "/^(.*)@x$/ $1\n/^y/ $0\n"
        for key in ("|id@x", "/etc/passwd@x", "a,root@x", '"a"@x', ":include:/x@x", "\\a@x", "a b@x", "a<b@x", "a\n@x"):
            self.assertIsNone(self.find(text, key), key)
        self.assertEqual(self.find(text, "bob+tag@x"), "bob+tag")
        self.assertEqual(
            self.find("/^\\|id@x$/ refused", "|id@x"), "refused", "a value without groups is the file's own"
        )

    def test_mistakes_have_their_line(self) -> None:
        for text, line, hint in (
            ("/a/ x\n/(/ y\n", 2, "unterminated"),
            ("a x\n", 1, 'not "/pattern/ value"'),
            ("!/a/ x\n", 1, 'not "/pattern/ value"'),
            ("/a/i x\n", 1, "case is not looked at"),
            ("/a/ $1\n", 1, "0 groups"),
            ("/a/ costs $\n", 1, "write $$"),
            ("/a/ x\n  y\n", 2, "indented"),
            ("/(a+)+$/ x\n", 1, "too many ways"),
            ("/(.*)-(.*)@(.*)/ x\n", 1, "begin it with ^"),
            (r"/(a)\1/ x", 1, "within itself"),
            (f"/{'a' * 2000}/ x\n", 1, "over 1000"),
            ("/^.*.*.*x/ y\n" * 9, 0, "all patterns together"),
            ("/a/ x\n" * 1001, 1001, "more than 1000"),
        ):
            error = self.assertRaises(TableError, patterns, text)
            self.assertEqual(error.line, line, text)
            self.assertIn(hint, str(error))

    def test_a_key_that_is_too_long(self) -> None:
        table = RegexpTable(RegexpTableOptions(path=self.written("/a/ x\n")), World(self).services())
        self.assertEqual(table.lookup("a" * MAX_KEY), "x")
        self.assertRaises(TemporaryFailure, table.lookup, "a" * (MAX_KEY + 1))
        self.assertRaises(TemporaryFailure, table.lookup, "a\n")
        self.assertRegex(table.where("a"), ":1$")


class Ways(SynchronousTestCase):
    def test_what_is_taken(self) -> None:
        for pattern in (
            "^(.*)-(.*)@(.*)$",
            ".*@.*",
            r"^(?:[a-z]+\.)++example$",
            "^(?>a|aa)+$",
            "^(foo|bar)@x$",
            "^[^@]+@(?:[a-z0-9-]+[.])?example[.]org$",
            "^(a{2}){3}$",
            "^$",
            "",
        ):
            ways(pattern, re.IGNORECASE)

    def test_what_is_not(self) -> None:
        for pattern in (
            "(a+)+$",
            "^(a|aa)+$",
            "^(a{1,300}){1,300}",
            "^x(?=(a+)+)",
            "^x(?!(a*)*b)",
            "^(?>(a+)+b)",
            "^(?:(a+)+b)++",
            "^" + "a?" * 30 + "a" * 30,
            "^(a?){30}a{30}$",
            "^(x|(?:y|y)*)*$",
            "^.*.*.*.*$",
            r"^(a)(?(1)b|c)",
        ):
            self.assertRaises(ValueError, ways, pattern, re.IGNORECASE)

    # Whatever is taken is fast, for the keys that are worst.
    @given(
        st.recursive(
            st.sampled_from(["a", "b", "[ab]", ".", "a|ab", ""]),
            lambda inner: st.one_of(
                st.tuples(inner, st.sampled_from(["*", "+", "?", "{0,3}", "*?", "++"])).map(
                    lambda p: f"(?:{p[0]}){p[1]}"
                ),
                st.tuples(inner, inner).map("".join),
                st.tuples(inner, inner).map("|".join).map("({})".format),
            ),
            max_leaves=12,
        )
    )
    @settings(max_examples=200, deadline=None)
    def test_what_is_taken_ends(self, pattern: str) -> None:
        try:
            ways(f"^{pattern}!", re.IGNORECASE)
        except ValueError:
            return
        begin = time.process_time()
        re.search(f"^{pattern}!", "a" * MAX_KEY, re.IGNORECASE)
        self.assertLess(time.process_time() - begin, 5.0)


class Networks(InFolder):
    def table(self, text: str) -> CidrTable:
        return CidrTable(CidrTableOptions(path=self.written(text)), World(self).services())

    def test_the_longest_prefix_counts(self) -> None:
        table = self.table(
            "# clients\n192.0.2.0/24 office\n192.0.2.7   printer\n0.0.0.0/0: world\n"
            "2001:db8::/32: six\n2001:db8:1::/48\n::/0 all six\n::1: self\n"
        )
        for key, value, line in (
            ("192.0.2.1", "office", 2),
            ("192.0.2.7", "printer", 3),
            ("[192.0.2.7]", "printer", 3),
            ("198.51.100.1", "world", 4),
            ("::ffff:192.0.2.7", "printer", 3),  # RFC 4291 2.5.5.2
            ("2001:DB8:0::1", "six", 5),
            ("2001:db8:1::1", "", 6),
            ("fe80::1%eth0", "all six", 7),
            ("::1", "self", 8),
        ):
            self.assertEqual(table.lookup(key), value)
            self.assertTrue(table.where(key).endswith(f":{line}"))
        for key in ("bob@example.org", "192.0.2", "", "1.2.3.4.5", "192.0.2.7/32", "٣.1.1.1"):
            self.assertIsNone(table.lookup(key))
            self.assertEqual(table.where(key), "")

    def test_nothing_for_the_rest(self) -> None:
        self.assertIsNone(self.table("192.0.2.0/24 x\n").lookup("192.0.3.1"))

    def test_mistakes_have_their_line(self) -> None:
        for text, line, hint in (
            ("192.0.2.1/24 x\n", 1, "host bits"),
            ("192.0.2.0/24 x\n192.0.2.0/24 y\n", 2, "already in line 1"),
            ("example.org x\n", 1, "not a network"),
            ("\n::ffff:192.0.2.0/120 x\n", 2, "write 192.0.2.0/24"),
        ):
            error = self.assertRaises(TableError, parse_networks, blocks_of(text), 9, "n")
            self.assertEqual(error.line, line)
            self.assertIn(hint, str(error))
