"""What comes to a return path of ours (SRS): who may, and where it leads."""

from __future__ import annotations

from datetime import date
from typing import Final

from routing_cases import STRANGER, RoutingCase, address

from mta.address import Address
from mta.dns.fake import FakeResolver
from mta.routing.ask import Answerer, resolve
from mta.routing.router import Router
from mta.routing.rules import DomainRule, RoutingRules
from mta.routing.srs import EXPIRED, FORGED, NOT_A_REPORT, Srs
from mta.routing.values import Admission

SRS: Final = Srs(domain="srs.example.org", keys=(b"tops3cr3t",))
TODAY: Final = date(2027, 1, 1).toordinal() - date(1970, 1, 1).toordinal()
ANN: Final = Address("ann", "a.example")


class ReturnPaths(RoutingCase):
    def setUp(self) -> None:
        self.make(SRS)

    def make(self, srs: Srs, **more: object) -> None:
        rules = [
            DomainRule(name="example.org", mailboxes="users", deliver="local", separators="+"),
            DomainRule(name="srs.example.org"),
            DomainRule(name="all.example", deliver="local", separators="+"),
        ]
        self.world(*rules, tables={"users": {"ann": ""}}, srs=srs, **more)

    def path(self, sender: Address = ANN, age: int = 0, srs: Srs = SRS) -> str:
        return str(srs.forward(sender, TODAY - age))

    def test_it_leads_to_the_sender(self) -> None:
        path = self.path()
        self.assertEqual(self.admit(path), "taken")
        self.assertEqual(self.expand(path), {"ann@a.example": (f"srs:{path}",)})
        self.assertEqual(self.expand(path.lower()), {"ann@a.example": (f"srs:{path.lower()}",)})

    def test_through_another_forwarder(self) -> None:
        first = Address("SRS0=HHHH=TT=a.example=ann", "first.example")
        self.assertEqual(self.ends(self.path(first)), {str(first)})

    def test_to_a_mailbox_of_ours(self) -> None:
        path = self.path(Address("ANN+x", "example.org"))
        self.assertEqual(self.ends(path), {"ANN+x@example.org"})
        again = self.path(Address.parse(path))
        self.assertEqual(self.ends(again), {"ANN+x@example.org"})

    def test_what_was_not_made_here_is_no_way_out(self) -> None:
        """RFC 5321 7.1: no open relay for reports either."""
        path = self.path()
        for text, reply in (
            (path.replace("a.example", "b.example"), FORGED),
            (path.replace("=ann@", "=bob@"), FORGED),
            (path.replace("SRS0", "SRS1"), FORGED),
            ("SRS0=@srs.example.org", FORGED),
            ('"SRS1=x y"@srs.example.org', FORGED),
            (self.path(age=22), EXPIRED),
        ):
            self.assertEqual(self.admit(text), str(reply), text)
            self.assertEqual(self.ends(text), {str(reply)}, text)
        self.assertTrue(self.admit(path.replace("srs.example.org", "far.example")).startswith("550"))
        self.assertEqual(self.admit(self.path(age=21)), "taken")

    def test_the_domain_has_nothing_else(self) -> None:
        for text in ("ann@srs.example.org", "srs0@srs.example.org", "SRS2=x@srs.example.org"):
            self.assertTrue(self.admit(text).startswith("550 5.1.1"), text)
        self.assertEqual(self.admit("postmaster@srs.example.org"), "taken")
        self.assertEqual(self.ends("postmaster@srs.example.org"), {"ann@example.org"})

    def test_in_a_domain_with_mailboxes(self) -> None:
        srs = Srs(domain="all.example", keys=(b"tops3cr3t",), separator="+")
        self.make(srs)
        path = self.path(srs=srs)
        self.assertTrue(path.startswith("SRS0+"))
        self.assertEqual(self.ends(path), {"ann@a.example"})
        self.assertEqual(self.admit("SRS0+x@all.example"), str(FORGED))
        self.assertEqual(self.ends("ann+x@all.example"), {"ann+x@all.example"})

    def test_only_reports_come_back_unless_all_may(self) -> None:
        for from_any, reply in ((False, NOT_A_REPORT), (True, None)):
            self.make(SRS, srs_from_any=from_any)
            admission = self.decide(lambda facts: self.router.admit(address(self.path()), STRANGER, facts))
            assert isinstance(admission, Admission)
            self.assertEqual((admission.reply, admission.only_null, admission.known), (None, reply, True))

    def test_without_a_calendar_it_waits(self) -> None:
        self.answerer = Answerer(self.tables, FakeResolver())
        self.assertEqual(self.admit(self.path())[:9], "451 4.3.0")

    def test_without_srs_it_is_an_address_as_any(self) -> None:
        router = Router(
            RoutingRules(
                postmaster=ANN,
                services=frozenset({"local"}),
                domains={"srs.example.org": DomainRule(name="srs.example.org", deliver="local")},
            )
        )
        path = address(self.path())
        admission = resolve(lambda facts: router.admit(path, STRANGER, facts), {}, self.answerer)
        assert isinstance(admission, Admission)
        self.assertIsNone(admission.reply)
