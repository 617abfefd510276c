"""Addresses in another form: canonical tables and masquerading."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.dns.fake import FakeResolver
from mta.reply import TemporaryFailure
from mta.routing.ask import Answerer, resolve
from mta.routing.canonical import Canonical, Kind, canonical, read_canonical
from mta.routing.rules import DomainRule
from mta.routing.tables import MemoryTable

OURS = DomainRule(name="ours.example", mailboxes="boxes", separators="+")
BOTH = {
    "ann": "ann.lee@ours.example",
    "eve@far.example": "eve@ours.example",
    "@old.example": "@ours.example",
    "joe@old.example": "joseph@ours.example",
    "@gone.example": "office@ours.example",
    "one": "two@ours.example",
    "two": "one@ours.example",
    "bad": "no address",
    "BOB": "robert@ours.example",
}
RULES = Canonical(table="both", senders="senders", domains={"ours.example": OURS})


class CanonicalCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.tables = {"both": MemoryTable(BOTH), "senders": MemoryTable({"ann": "boss@ours.example"})}

    def become(self, text: str, kind: Kind = Kind.HEADER_RECIPIENT, rules: Canonical = RULES) -> str:
        address = Address.parse(text, utf8=True)
        answerer = Answerer(self.tables, FakeResolver())
        found: Any = resolve(lambda facts: canonical(rules, address, kind, facts), {}, answerer)
        return str(found.address)


class Tables(CanonicalCase):
    def test_whole_then_local_part_of_ours_then_domain(self) -> None:
        for text, became in (
            ("ann@ours.example", "ann.lee@ours.example"),
            ("Ann@Ours.Example", "ann.lee@ours.example"),
            ("bob@ours.example", "robert@ours.example"),
            ("eve@far.example", "eve@ours.example"),
            ("joe@old.example", "joseph@ours.example"),
            ("Any.One@old.example", "Any.One@ours.example"),
            ("x@gone.example", "office@ours.example"),
            ("nobody@ours.example", "nobody@ours.example"),
            ("ann@far.example", "ann@far.example"),  # a local part alone is one of ours
            ("ann@sub.old.example", "ann@sub.old.example"),
        ):
            self.assertEqual(self.become(text), became)

    def test_a_tag_stays(self) -> None:
        self.assertEqual(self.become("ann+news@ours.example"), "ann.lee+news@ours.example")
        self.assertEqual(self.become("nobody+x@ours.example"), "nobody+x@ours.example")

    def test_once_and_no_further(self) -> None:
        self.assertEqual(self.become("one@ours.example"), "two@ours.example")
        self.assertEqual(self.become("two@ours.example"), "one@ours.example")

    def test_the_table_of_senders_comes_first(self) -> None:
        for kind in Kind:
            became = "boss@ours.example" if kind.of_sender else "ann.lee@ours.example"
            self.assertEqual(self.become("ann@ours.example", kind), became)

    def test_only_where_it_counts(self) -> None:
        rules = replace(RULES, canonical_in=frozenset({Kind.HEADER_SENDER}))
        for kind in Kind:
            became = "boss@ours.example" if kind is Kind.HEADER_SENDER else "ann@ours.example"
            self.assertEqual(self.become("ann@ours.example", kind, rules), became)
            self.assertEqual(rules.counts_in(kind), kind is Kind.HEADER_SENDER)

    def test_trouble_is_temporary(self) -> None:
        for code in ("451 4.3.5", "451 4.3.0"):
            with self.assertRaises(TemporaryFailure) as raised:
                self.become("bad@ours.example")
            self.assertIn(code, str(raised.exception.reply))
            self.tables["both"].failing = "away"

    def test_values(self) -> None:
        for wrong in ("", "x", "@", "@-", "a@b c", "x@"):
            self.assertRaises(ValueError, read_canonical, wrong)
        self.assertEqual(str(read_canonical(" @Far.Example ", "x")), "x@far.example")

    @given(st.text(min_size=1, max_size=20))
    def test_any_local_part_becomes_an_address(self, local: str) -> None:
        address = Address(local, "old.example")
        answerer = Answerer(self.tables, FakeResolver())
        found: Any = resolve(lambda facts: canonical(RULES, address, Kind.ENVELOPE_SENDER, facts), {}, answerer)
        self.assertEqual(found.address.domain, "ours.example")


class Masquerading(CanonicalCase):
    RULES = Canonical(masquerade=("!lab.ours.example", "dept.ours.example", "ours.example"), keep=frozenset({"root"}))

    def test_the_first_that_matches(self) -> None:
        for text, became in (
            ("ann@pc7.ours.example", "ann@ours.example"),
            ("ann@a.b.ours.example", "ann@ours.example"),
            ("ann@pc7.dept.ours.example", "ann@dept.ours.example"),
            ("ann@dept.ours.example", "ann@dept.ours.example"),
            ("ann@lab.ours.example", "ann@lab.ours.example"),
            ("ann@pc.lab.ours.example", "ann@pc.lab.ours.example"),
            ("ann@ours.example", "ann@ours.example"),
            ("ann@yours.example", "ann@yours.example"),
            ("ann@far.example", "ann@far.example"),
            ("Root@pc7.ours.example", "Root@pc7.ours.example"),
        ):
            self.assertEqual(self.become(text, rules=self.RULES), became)

    def test_not_of_recipients_in_the_envelope(self) -> None:
        for kind in Kind:
            became = "pc7.ours.example" if kind is Kind.ENVELOPE_RECIPIENT else "ours.example"
            self.assertEqual(self.become("ann@pc7.ours.example", kind, self.RULES), f"ann@{became}")

    def test_after_the_tables(self) -> None:
        rules = replace(self.RULES, table="both", domains=RULES.domains)
        self.tables["both"] = MemoryTable({"ann@far.example": "ann@pc7.ours.example"})
        self.assertEqual(self.become("ann@far.example", rules=rules), "ann@ours.example")
