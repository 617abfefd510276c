"""What SPF and DMARC of a domain demand of those who bring its mail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mta.dns.fake import FakeResolver
from mta.routing.ask import Answerer, resolve
from mta.routing.sender_policy import Said, dmarc, spf
from mta.routing.values import CannotKnow, Facts, Needs, TxtQuestion


class Policies(SynchronousTestCase):
    def said(self, decide: Callable[[str, Facts], Said | Needs], domain: str, zone: str) -> tuple[bool, str]:
        self.dns = FakeResolver(zone)
        found: Any = resolve(lambda facts: decide(domain, facts), {}, Answerer({}, self.dns))
        return tuple(found)

    def test_the_end_of_an_spf_record_counts(self) -> None:
        """RFC 7208 4.5, 4.7, 5.1, 6.1."""
        for records, expected in (
            ("", (False, "a.example has no SPF")),
            ('TXT "something else"', (False, "a.example has no SPF")),
            ('TXT "v=spf10 -all"', (False, "a.example has no SPF")),
            ('TXT "v=spf1 mx -all"', (True, "a.example has SPF -all")),
            ('TXT "V=SPF1 mx ~ALL"', (True, "a.example has SPF ~all")),
            ('TXT "v=spf1 ?all"', (True, "a.example has SPF ?all")),
            ('TXT "v=spf1 +all"', (False, "the SPF of a.example ends with +all: anybody may send for it")),
            ('TXT "v=spf1 all"', (False, "the SPF of a.example ends with all: anybody may send for it")),
            ('TXT "v=spf1 -all +all"', (True, "a.example has SPF -all")),
            ('TXT "v=spf1"', (True, "a.example has SPF without all")),
            ('TXT "v=spf1 redirect=_spf.b.example"', (True, "a.example has SPF redirect=_spf.b.example")),
            ('TXT "v=spf1 redirect=b.example -all"', (True, "a.example has SPF -all")),
            ('TXT "v=spf1 -all"|TXT "v=spf1 +all"', (True, "a.example has several SPF records")),
            ("servfail", (True, "the SPF of a.example cannot be known")),
        ):
            zone = "\n".join(f"a.example {record}" for record in records.split("|") if record)
            self.assertEqual(self.said(spf, "a.example", zone), expected, records)
        self.assertEqual(self.said(spf, "[192.0.2.1]", ""), (False, "[192.0.2.1] is no name and has no SPF"))
        self.assertEqual(
            spf("a.example", {TxtQuestion("a.example"): CannotKnow("x")}),
            (True, "the SPF of a.example cannot be known"),
        )

    def test_a_policy_of_dmarc(self) -> None:
        """RFC 7489 6.3, 6.4, 6.6.3."""
        for records, expected in (
            ("", (False, "a.example has no DMARC")),
            ('TXT "v=DMARC1; p=reject"', (True, "a.example has DMARC p=reject")),
            ('TXT "v=DMARC1;p=Quarantine; pct=5"', (True, "a.example has DMARC p=quarantine")),
            ('TXT "v=DMARC1; p=none; sp=reject"', (False, "a.example has DMARC p=none")),
            ('TXT "v=DMARC1"', (False, "a.example has DMARC p=none")),
            ('TXT "p=reject"', (False, "a.example has no DMARC")),
            ('TXT "v=DMARC1; p=reject"|TXT "v=DMARC1; p=reject"', (False, "a.example has DMARC p=reject")),
            ("servfail", (False, "the DMARC policy of a.example cannot be known")),
        ):
            zone = "\n".join(f"_dmarc.a.example {record}" for record in records.split("|") if record)
            self.assertEqual(self.said(dmarc, "a.example", zone), expected, records)
        self.assertEqual(self.said(dmarc, "[192.0.2.1]", ""), (False, "[192.0.2.1] is no name and has no DMARC"))

    def test_the_policy_of_the_organisation_is_for_what_is_below_it(self) -> None:
        zone = '_dmarc.a.example TXT "v=DMARC1; p=none; sp=reject"'
        self.assertEqual(self.said(dmarc, "x.mail.a.example", zone), (True, "a.example has DMARC p=reject"))
        zone = '_dmarc.a.example TXT "v=DMARC1; p=reject"'
        self.assertEqual(self.said(dmarc, "mail.a.example", zone), (True, "a.example has DMARC p=reject"))
        self.said(dmarc, ".".join("abcdefghij"), "")
        self.assertEqual(
            [name for _, name in self.dns.questions],
            [f"_dmarc.{name}" for name in ("a.b.c.d.e.f.g.h.i.j", "g.h.i.j", "h.i.j", "i.j")],
        )
