"""The resolver against a real DNS server on loopback: what a next hop's DNS says, and what it leaves unsaid."""

from __future__ import annotations

import socket

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
from loopback_dns import LoopbackDns, Zone
from twisted.internet import reactor
from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SkipTest, TestCase

from mta.dns import servers
from mta.dns.records import MAX_RECORDS
from mta.dns.resolver import Resolver
from mta.routing.values import Found, MxRecord, SrvRecord

ZONE = """
example.org        MX    20 mx2.example.org.
example.org        MX    10 MX1.Example.org.
example.org        TXT   "v=spf1 " "-all"
mx1.example.org    A     192.0.2.1
mx1.example.org    AAAA  2001:db8::1
mx2.example.org    A     192.0.2.2
null.example       MX    0 .
www.example.org    CNAME web.example.net.
web.example.net    CNAME host.example.net.
host.example.net   A     192.0.2.80
_25._tcp.mx1.example.org  TLSA  3 1 1 aabbccddaabbccddaabbccddaabbccddaabbccddaabbccddaabbccddaabbccdd
1.2.0.192.in-addr.arpa  PTR  mx1.example.org.
_imaps._tcp.example.org  SRV  10 1 993 second.example.org.
_imaps._tcp.example.org  SRV  5 1 993 IMAP.example.org.
_pop3._tcp.example.org  SRV  0 0 0 .
"""


class OnWire(TestCase):
    def setUp(self) -> None:
        self.zone = Zone(ZONE)
        self.dns = LoopbackDns(self.zone)
        self.addCleanup(self.dns.stop)
        self.resolver = self.make(self.dns.server)

    def make(self, *servers: str, **kwargs) -> Resolver:
        resolver = Resolver(reactor, servers, **kwargs)
        self.addCleanup(resolver.close)
        return resolver


class Answers(OnWire):
    async def test_mx_by_preference(self) -> None:
        answer = await self.resolver.mx("Example.ORG.")
        self.assertEqual(answer.found, Found.OK)
        self.assertEqual(answer.records, (MxRecord(10, "mx1.example.org"), MxRecord(20, "mx2.example.org")))

    async def test_null_mx(self) -> None:
        """RFC 7505 3."""
        self.assertEqual((await self.resolver.mx("null.example")).records, (MxRecord(0, "."),))

    async def test_addresses_ipv6_first(self) -> None:
        self.assertEqual((await self.resolver.addresses("mx1.example.org")).records, ("2001:db8::1", "192.0.2.1"))
        self.assertEqual((await self.resolver.addresses("mx2.example.org")).records, ("192.0.2.2",))

    async def test_aliases_are_followed(self) -> None:
        self.assertEqual((await self.resolver.addresses("www.example.org")).records, ("192.0.2.80",))

    async def test_aliases_that_the_server_does_not_follow(self) -> None:
        def only_the_alias(query, response, transport):
            name = query.question[0].name
            response.answer.append(dns.rrset.from_text(name, 300, "IN", "CNAME", "mx2.example.org."))
            return response

        self.zone.special["lazy.example"] = only_the_alias
        self.assertEqual((await self.resolver.addresses("lazy.example")).records, ("192.0.2.2",))

    async def test_aliases_have_an_end(self) -> None:
        """RFC 1034 3.6.2: a chain should not be; one of any length is an attack."""

        def next_alias(query, response, transport):
            name = query.question[0].name
            number = int(name.labels[0][1:])
            there = f"a{number + 1}.chain.example."
            response.answer.append(dns.rrset.from_text(name, 300, "IN", "CNAME", there))
            return response

        for number in range(200):
            self.zone.special[f"a{number}.chain.example"] = next_alias
        answer = await self.resolver.txt("a0.chain.example")
        self.assertEqual(answer.found, Found.FAILED)
        self.assertIn("too long", answer.error)
        self.assertLess(len(self.zone.queries), 20)

    async def test_aliases_in_one_answer_have_an_end(self) -> None:
        def all_of_them(query, response, transport):
            for number in range(60):
                here, there = f"a{number}.long.example.", f"a{number + 1}.long.example."
                response.answer.append(dns.rrset.from_text(here, 300, "IN", "CNAME", there))
            response.answer.append(dns.rrset.from_text("a60.long.example.", 300, "IN", "TXT", "x"))
            return response

        self.zone.special["a0.long.example"] = all_of_them
        self.assertEqual((await self.resolver.txt("a0.long.example")).found, Found.FAILED)

    async def test_alias_of_itself_is_temporary(self) -> None:
        self.zone.records["loop.example", "CNAME"] = ["loop2.example."]

        def loop(query, response, transport):
            for here, there in (("loop.example.", "loop2.example."), ("loop2.example.", "loop.example.")):
                response.answer.append(dns.rrset.from_text(here, 300, "IN", "CNAME", there))
            return response

        self.zone.special["loop.example"] = loop
        self.assertEqual((await self.resolver.addresses("loop.example")).found, Found.FAILED)

    async def test_txt_parts_joined(self) -> None:
        self.assertEqual((await self.resolver.txt("example.org")).records, (b"v=spf1 -all",))

    async def test_tlsa(self) -> None:
        answer = await self.resolver.tlsa("_25._tcp.mx1.example.org")
        self.assertEqual(answer.records, ((3, 1, 1, bytes.fromhex("aabbccdd" * 8)),))

    async def test_srv(self) -> None:
        # RFC 2782
        answer = await self.resolver.srv("_imaps._tcp.example.org")
        self.assertEqual(
            answer.records, (SrvRecord(5, 1, 993, "imap.example.org"), SrvRecord(10, 1, 993, "second.example.org"))
        )
        self.assertEqual((await self.resolver.srv("_pop3._tcp.example.org")).records, (SrvRecord(0, 0, 0, "."),))

    async def test_ptr(self) -> None:
        self.assertEqual((await self.resolver.ptr("192.0.2.1")).records, ("mx1.example.org",))
        self.assertEqual((await self.resolver.ptr("::ffff:192.0.2.1")).records, ("mx1.example.org",))
        self.assertEqual((await self.resolver.ptr("nonsense")).found, Found.NO_DOMAIN)

    async def test_absence_is_told_from_absence(self) -> None:
        self.assertEqual((await self.resolver.mx("nowhere.example")).found, Found.NO_DOMAIN)
        self.assertEqual((await self.resolver.mx("mx1.example.org")).found, Found.NO_DATA)
        self.assertEqual((await self.resolver.addresses("example.org")).found, Found.NO_DATA)
        self.assertEqual((await self.resolver.addresses("nowhere.example")).found, Found.NO_DOMAIN)

    async def test_a_name_that_dns_cannot_have(self) -> None:
        self.assertEqual((await self.resolver.mx("a..b")).found, Found.NO_DOMAIN)
        self.assertEqual((await self.resolver.mx("x" * 64 + ".example")).found, Found.NO_DOMAIN)
        self.assertEqual(self.zone.queries, [])

    async def test_authentic_as_the_server_says(self) -> None:
        self.assertFalse((await self.resolver.mx("example.org")).authentic)
        self.zone.authentic = True
        self.assertTrue((await self.resolver.txt("example.org")).authentic)

    async def test_authentic_only_where_the_server_may_be_believed(self) -> None:
        """RFC 4035 4.9.3: a way to the server on which nobody can change what it says."""
        self.zone.authentic = True
        self.patch(servers, "_is_local", lambda server: False)
        self.assertFalse((await self.resolver.txt("example.org")).authentic)
        self.assertFalse((await self.resolver.txt("nowhere.example")).authentic)
        trusting = self.make(self.dns.server, trust_ad=True)
        self.assertTrue((await trusting.txt("example.org")).authentic)
        self.assertTrue((await trusting.txt("nowhere.example")).authentic)

    async def test_authentic_is_every_alias_on_the_way_or_none(self) -> None:
        """RFC 4035 3.2.3: the AD bit is for all of an answer, and a chain is as good as its weakest link."""

        def alias(there):
            def only_the_alias(query, response, transport):
                name = query.question[0].name
                response.flags &= ~dns.flags.AD
                response.answer.append(dns.rrset.from_text(name, 300, "IN", "CNAME", there))
                return response

            return only_the_alias

        self.zone.authentic = True
        self.zone.special["lazy.example"] = alias("example.org.")
        self.zone.special["lazy2.example"] = alias("nowhere.example.")
        answer = await self.resolver.txt("lazy.example")
        self.assertEqual((answer.found, answer.authentic), (Found.OK, False))
        answer = await self.resolver.txt("lazy2.example")
        self.assertEqual((answer.found, answer.authentic), (Found.NO_DOMAIN, False))

    async def test_the_question_asks_for_that_and_has_edns(self) -> None:
        """RFC 6840 5.7: AD in a question."""
        await self.resolver.mx("example.org")
        query = self.zone.queries[0]
        self.assertEqual((query.edns, query.payload), (0, 1232))
        self.assertTrue(query.flags & dns.flags.AD)
        self.assertTrue(query.flags & dns.flags.RD)

    async def test_over_ipv6(self) -> None:
        if not socket.has_ipv6:
            raise SkipTest("no IPv6 here")
        try:
            server = LoopbackDns(self.zone, "::1")
        except OSError as error:
            raise SkipTest("no IPv6 on loopback") from error
        self.addCleanup(server.stop)
        resolver = self.make(server.server)
        self.assertEqual((await resolver.mx("null.example")).records, (MxRecord(0, "."),))


class Truncation(OnWire):
    def setUp(self) -> None:
        super().setUp()
        self.zone.records["many.example", "MX"] = [f"{n} mx{n}.many.example." for n in range(300)]

        def truncated(query, response, transport):
            if transport == "tcp":
                return self.zone.fill("many.example", "MX", response)
            response.flags |= dns.flags.TC
            return response

        self.zone.special["many.example"] = truncated

    async def test_asked_again_over_tcp(self) -> None:
        """RFC 7766 5."""
        answer = await self.resolver.mx("many.example")
        self.assertEqual([record.preference for record in answer.records], list(range(MAX_RECORDS)), "the best of 300")
        self.assertEqual(self.zone.asked["many.example", "MX", "udp"], 1)
        self.assertEqual(self.zone.asked["many.example", "MX", "tcp"], 1)

    async def test_a_truncated_answer_is_never_used(self) -> None:
        """RFC 2181 9: what it has, may be any part of the truth."""

        def part(query, response, transport):
            if transport == "tcp":
                return self.zone.fill("part.example", "MX", response)
            response.answer.append(dns.rrset.from_text("part.example.", 300, "IN", "MX", "5 part.example."))
            return self.cut(response)

        self.zone.special["part.example"] = part
        self.zone.records["part.example", "MX"] = ["7 whole.example."]
        self.assertEqual((await self.resolver.mx("part.example")).records, (MxRecord(7, "whole.example"),))

    async def test_truncated_over_tcp_too(self) -> None:
        self.zone.special["many.example"] = lambda query, response, transport: self.cut(response)
        self.assertEqual((await self.resolver.mx("many.example")).found, Found.FAILED)

    async def test_answer_to_another_question_over_tcp(self) -> None:
        """RFC 5452 4; the connection is of no use any more, and what it said is not believed."""

        def other(query, response, transport):
            if transport == "udp":
                return self.cut(response)
            wrong = dns.message.make_response(dns.message.make_query("evil.example.", "MX"))
            wrong.id = query.id
            wrong.answer.append(dns.rrset.from_text("many.example.", 300, "IN", "MX", "0 evil.example."))
            return wrong

        self.zone.special["many.example"] = other
        self.assertEqual((await self.resolver.mx("many.example")).found, Found.FAILED)

    async def test_addresses_are_bounded(self) -> None:
        """RFC 5321 5.1: 100 hosts with 100 addresses each, or ten times as many."""

        def many(query, response, transport):
            if transport == "udp":
                return self.cut(response)
            return self.zone.fill("wide.example", dns.rdatatype.to_text(query.question[0].rdtype), response)

        self.zone.special["wide.example"] = many
        self.zone.records["wide.example", "A"] = [f"192.0.{n // 256}.{n % 256}" for n in range(1000)]
        self.zone.records["wide.example", "AAAA"] = [f"2001:db8::{n:x}" for n in range(1000)]
        self.assertEqual(len((await self.resolver.addresses("wide.example")).records), 2 * MAX_RECORDS)

    async def test_server_that_hangs_up_on_tcp(self) -> None:
        self.zone.special["many.example"] = lambda query, response, transport: (
            None if transport == "tcp" else self.cut(response)
        )
        answer = await self.resolver.mx("many.example")
        self.assertEqual(answer.found, Found.FAILED)

    def cut(self, response):
        response.flags |= dns.flags.TC
        return response


class Failures(OnWire):
    async def test_servfail(self) -> None:
        def servfail(query, response, transport):
            response.set_rcode(dns.rcode.SERVFAIL)
            return response

        self.zone.special["broken.example"] = servfail
        answer = await self.resolver.mx("broken.example")
        self.assertEqual(answer.found, Found.FAILED)
        self.assertIn("127.0.0.1: SERVFAIL", answer.error)

    async def test_no_answer(self) -> None:
        self.zone.special["silent.example"] = lambda query, response, transport: None
        resolver = self.make(self.dns.server, timeout=0.2)
        began = reactor.seconds()
        answer = await resolver.mx("silent.example")
        self.assertEqual(answer.found, Found.FAILED)
        self.assertIn("no DNS server answered within 0.2 s", answer.error)
        self.assertLess(reactor.seconds() - began, 5)

    async def test_nobody_listens(self) -> None:
        await self.dns.stop()
        began = reactor.seconds()
        answer = await self.resolver.mx("example.org")
        self.assertEqual(answer.found, Found.FAILED)
        self.assertLess(reactor.seconds() - began, 5, "it must not wait for the whole time-out")

    async def test_the_next_server_is_asked(self) -> None:
        dead = LoopbackDns(Zone())
        await dead.stop()
        resolver = self.make(dead.server, self.dns.server)
        self.assertEqual((await resolver.mx("example.org")).found, Found.OK)

    async def test_answers_to_other_questions_are_ignored(self) -> None:
        """RFC 5452 4: id and question must match; noise does not end the waiting."""

        def forged(query, response, transport):
            other = dns.message.make_response(query)
            other.id = query.id ^ 1
            other.answer.append(dns.rrset.from_text("example.net.", 300, "IN", "MX", "0 evil.example."))
            wrong = dns.message.make_response(dns.message.make_query("evil.example.", "MX"))
            wrong.id = query.id
            response.answer.append(dns.rrset.from_text("example.net.", 300, "IN", "MX", "5 good.example."))
            return [other, b"noise", b"", wrong, response]

        self.zone.special["example.net"] = forged
        self.assertEqual((await self.resolver.mx("example.net")).records, (MxRecord(5, "good.example"),))

    async def test_answers_from_another_address_are_ignored(self) -> None:
        """RFC 5452 4.2: all is right but who sends it."""
        attacker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        attacker.bind(("127.0.0.1", 0))
        self.addCleanup(attacker.close)

        def late(query, response, transport):
            forged = dns.message.make_response(query)
            forged.answer.append(dns.rrset.from_text("example.net.", 300, "IN", "MX", "0 evil.example."))
            attacker.sendto(forged.to_wire(), self.zone.client)
            response.answer.append(dns.rrset.from_text("example.net.", 300, "IN", "MX", "5 good.example."))
            return response

        self.zone.special["example.net"] = late
        self.assertEqual((await self.resolver.mx("example.net")).records, (MxRecord(5, "good.example"),))

    async def test_each_question_has_a_port_and_an_id_of_its_own(self) -> None:
        """RFC 5452 9.2."""
        ports = set()
        for n in range(8):
            await self.resolver.mx(f"n{n}.example")
            ports.add(self.zone.client[1])
        self.assertGreater(len(ports), 1)
        self.assertGreater(len({query.id for query in self.zone.queries}), 1)

    async def test_server_without_edns_is_asked_without(self) -> None:
        """RFC 6891 7: FORMERR, or NOTIMP, and no OPT in it."""

        def old(rcode):
            def answer(query, response, transport):
                if query.edns < 0:
                    return self.zone.fill("old.example", "MX", response)
                response.use_edns(-1)
                response.set_rcode(rcode)
                if rcode == dns.rcode.FORMERR:
                    response.question = []  # it read no further
                return response

            return answer

        self.zone.records["old.example", "MX"] = ["5 mx.old.example."]
        for rcode in (dns.rcode.FORMERR, dns.rcode.NOTIMP):
            self.zone.special["old.example"] = old(rcode)
            resolver = self.make(self.dns.server)
            self.assertEqual((await resolver.mx("old.example")).records, (MxRecord(5, "mx.old.example"),))
        self.assertTrue(self.zone.queries[-1].flags & dns.flags.AD)

    async def test_format_error_by_a_server_that_knows_edns_is_one(self) -> None:
        def formerr(query, response, transport):
            response.set_rcode(dns.rcode.FORMERR)
            return response

        self.zone.special["bad.example"] = formerr
        answer = await self.resolver.mx("bad.example")
        self.assertEqual(answer.found, Found.FAILED)
        self.assertIn("FORMERR", answer.error)
        self.assertEqual(len(self.zone.queries), 1)

    async def test_other_refusals_are_failures(self) -> None:
        """RFC 5321 5.1: nothing but NXDOMAIN says that a domain is not there."""
        for rcode in (dns.rcode.REFUSED, dns.rcode.NOTAUTH, dns.rcode.YXDOMAIN):

            def refuse(query, response, transport, rcode=rcode):
                response.set_rcode(rcode)
                return response

            name = f"{dns.rcode.to_text(rcode)}.example".lower()
            self.zone.special[name] = refuse
            self.assertEqual((await self.resolver.mx(name)).found, Found.FAILED, name)

    async def test_a_referral_is_not_an_absence(self) -> None:
        """RFC 2308 2.2: mail must not bounce because a server does not resolve."""

        def referral(query, response, transport):
            response.authority.append(dns.rrset.from_text("example.", 300, "IN", "NS", "ns.example."))
            return response

        self.zone.special["lame.example"] = referral
        answer = await self.resolver.mx("lame.example")
        self.assertEqual(answer.found, Found.FAILED)
        self.assertIn("refers to others", answer.error)

    async def test_one_family_broken(self) -> None:
        def aaaa_broken(query, response, transport):
            if query.question[0].rdtype == dns.rdatatype.AAAA:
                response.set_rcode(dns.rcode.SERVFAIL)
                return response
            return self.zone.fill("half.example", "A", response)

        self.zone.special["half.example"] = aaaa_broken
        self.zone.records["half.example", "A"] = ["192.0.2.9"]
        self.assertEqual((await self.resolver.addresses("half.example")).records, ("192.0.2.9",))
        del self.zone.records["half.example", "A"]
        self.zone.records["half.example", "TXT"] = ["x"]
        self.assertEqual((await self.make(self.dns.server).addresses("half.example")).found, Found.FAILED)

    async def test_closing_tells_those_who_wait(self) -> None:
        self.zone.special["silent.example"] = lambda query, response, transport: None
        waiting = self.resolver.mx("silent.example")
        self.resolver.close()
        self.assertEqual((await waiting).found, Found.FAILED)
        self.assertEqual((await self.resolver.mx("example.org")).found, Found.FAILED)

    async def test_cancelling_ends_the_question(self) -> None:
        """No socket and no timer stays behind: trial looks for them."""
        self.zone.special["silent.example"] = lambda query, response, transport: None
        waiting = self.resolver.addresses("silent.example")
        waiting.cancel()
        with self.assertRaises(CancelledError):
            await waiting

    async def test_cancelling_on_tcp(self) -> None:
        def cancel_now(query, response, transport):
            if transport == "tcp":
                self.waiting.cancel()
                return None
            response.flags |= dns.flags.TC
            return response

        self.zone.special["cut.example"] = cancel_now
        self.waiting = self.resolver.mx("cut.example")
        with self.assertRaises(CancelledError):
            await self.waiting
