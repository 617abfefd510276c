"""The DNS for tests answers as the real one does."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mta.dns.fake import FakeResolver
from mta.dns.resolver import Resolver
from mta.interfaces import IResolver
from mta.routing.values import Found, MxRecord, SrvRecord

ZONE = """
; what a test may need
example.org.      MX    10 mx1.example.org.
example.org       MX    20 mx2.example.org
example.org       TXT   "v=spf1 -all"
mx1.example.org   A     192.0.2.1
mx1.example.org   AAAA  2001:db8::1
www.example.org   CNAME mx1.example.org
null.example      MX    0 .
192.0.2.1         PTR   mx1.example.org
_25._tcp.mx1.example.org TLSA 3 1 1 aabb
dead.example      servfail
slow.example      timeout
half.example      servfail AAAA
half.example      A     192.0.2.5
"""


class Fake(SynchronousTestCase):
    def setUp(self) -> None:
        self.dns = FakeResolver(ZONE)

    def test_it_and_the_real_one_are_resolvers(self) -> None:
        verifyObject(IResolver, self.dns)
        verifyObject(IResolver, Resolver(type("Clock", (), {"seconds": lambda self: 0.0})(), ["127.0.0.1"]))

    def records(self, deferred):
        return self.successResultOf(deferred).records

    def found(self, deferred):
        return self.successResultOf(deferred).found

    def test_records(self) -> None:
        mx = (MxRecord(10, "mx1.example.org"), MxRecord(20, "mx2.example.org"))
        self.assertEqual(self.records(self.dns.mx("Example.org")), mx)
        self.assertEqual(self.records(self.dns.mx("null.example")), (MxRecord(0, "."),))
        for name in ("mx1.example.org", "www.example.org"):
            self.assertEqual(self.records(self.dns.addresses(name)), ("2001:db8::1", "192.0.2.1"))
        self.assertEqual(self.records(self.dns.txt("example.org")), (b"v=spf1 -all",))
        self.assertEqual(self.records(self.dns.ptr("192.0.2.1")), ("mx1.example.org",))
        self.assertEqual(self.records(self.dns.tlsa("_25._tcp.mx1.example.org")), ((3, 1, 1, b"\xaa\xbb"),))
        self.dns.add("_imap._tcp.example.org", "SRV 0 0 0 .")
        self.assertEqual(self.records(self.dns.srv("_imap._tcp.example.org")), (SrvRecord(0, 0, 0, "."),))
        self.assertEqual(self.records(self.dns.addresses("localhost")), ("::1", "127.0.0.1"))

    def test_absence_and_failure(self) -> None:
        self.assertEqual(self.found(self.dns.mx("nowhere.example")), Found.NO_DOMAIN)
        self.assertEqual(self.found(self.dns.mx("mx1.example.org")), Found.NO_DATA)
        self.assertEqual(self.found(self.dns.mx("org")), Found.NO_DATA, "it has names below")
        self.assertEqual(self.found(self.dns.mx("dead.example")), Found.FAILED)
        self.assertIn("10 s", self.successResultOf(self.dns.mx("slow.example")).error)
        self.assertEqual(self.records(self.dns.addresses("half.example")), ("192.0.2.5",))

    def test_counts_and_changes(self) -> None:
        self.dns.mx("example.org")
        self.dns.mx("EXAMPLE.org.")
        self.assertEqual(self.dns.questions["mx", "example.org"], 2)
        self.dns.remove("dead.example")
        self.dns.add("dead.example", "MX 5 mx1.example.org")
        self.assertEqual(self.records(self.dns.mx("dead.example")), (MxRecord(5, "mx1.example.org"),))

    def test_holding(self) -> None:
        self.dns.hold()
        waiting, given_up = self.dns.mx("example.org"), self.dns.mx("example.org")
        self.assertNoResult(waiting)
        given_up.cancel()
        self.failureResultOf(given_up)
        self.dns.release()
        self.assertEqual(self.found(waiting), Found.OK)

    def test_from_a_mapping(self) -> None:
        dns = FakeResolver({"a.example": ["MX 1 b.example", "TXT x"]})
        dns.authentic.add("a.example")
        self.assertEqual(self.records(dns.mx("a.example")), (MxRecord(1, "b.example"),))
        self.assertTrue(self.successResultOf(dns.txt("a.example")).authentic)
