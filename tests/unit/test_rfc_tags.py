"""The script that compares clauses of the code with those of the tests (tests/rfc_tags.py)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.rfc_tags import Tag, dead, missing, tags


def found(text: str) -> list[str]:
    return [str(tag) for tag in tags(text)]


class Reading(SynchronousTestCase):
    def test_forms(self) -> None:
        for text, expected in (
            ("# RFC 5321 4.1.1.4: only CRLF", ["RFC 5321 4.1.1.4"]),
            ("(RFC 1870 4, 6)", ["RFC 1870 4", "RFC 1870 6"]),
            ("RFC 5321 2.3.8, 4.1.1.4; CVE-2023-51764", ["RFC 5321 2.3.8", "RFC 5321 4.1.1.4", "CVE-2023-51764"]),
            ("RFC 5321 4.1.1.3, appendix C", ["RFC 5321 4.1.1.3", "RFC 5321 C"]),
            ("RFC 5321 4.1.1.8 to 4.1.1.10", ["RFC 5321 4.1.1.8", "RFC 5321 4.1.1.9", "RFC 5321 4.1.1.10"]),
            ("RFC 8689 2 and 5 say", ["RFC 8689 2", "RFC 8689 5"]),
            ("(RFC 3463 X.1.7)", ["RFC 3463 X.1.7"]),
            ("RFC 2045 6.7, 76 octets", ["RFC 2045 6.7"]),
            ("RFC 3848 says; RFC 8601", ["RFC 3848", "RFC 8601"]),
            ("RFC 4291 2.5.5.2.", ["RFC 4291 2.5.5.2"]),
            ("# (RFC 5321\n    # 4.5.2)", ["RFC 5321 4.5.2"]),
        ):
            self.assertEqual(found(text), expected, text)

    def test_a_number_that_is_no_clause(self) -> None:
        self.assertEqual(found("RFC 2606 and 6761: names"), ["RFC 2606"])


class Comparing(SynchronousTestCase):
    def test_a_test_carries_the_clause_and_what_is_around_it(self) -> None:
        test = Tag("RFC 5321", "4.1.1.4")
        for clause, carried in (
            ("4.1.1.4", True),
            ("4.1", True),
            ("", True),
            ("4.1.1.40", False),
            ("4.1.1.4.1", False),
        ):
            self.assertEqual(test.carries(Tag("RFC 5321", clause)), carried, clause)
        self.assertFalse(test.carries(Tag("RFC 5322", "4.1")))

    def test_both_ways(self) -> None:
        code = {Tag("RFC 1870", "4"): ["a.py"], Tag("RFC 2034", "4"): ["b.py"]}
        tests = {Tag("RFC 1870", "4"): ["t.py"], Tag("RFC 9999", "1"): ["t.py"]}
        self.assertEqual(missing(code, tests), [Tag("RFC 2034", "4")])
        self.assertEqual(dead(code, tests), [Tag("RFC 9999", "1")])
