"""Received, Return-Path, Date and Message-ID, as a reader of the message would see them."""

from __future__ import annotations

import email.utils
from dataclasses import replace
from email import message_from_bytes, policy

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.envelope import Origin, Right
from mta.message.edits import Edit, apply, merge
from mta.message.header import scan
from mta.message.trace import (
    cut_fields,
    date_text,
    delivered_to,
    missing_fields,
    original_to,
    protocol_name,
    received,
    return_path,
)

ID = "7K3QF9ABCDEF0"
AT = 1_057_049_557_123  # Tue, 1 Jul 2003 08:52:37 UTC
BOB = Address("bob", "example.org")


def origin(helo: str = "a.example", client: str = "192.0.2.7", reverse: str = "mail.a.example") -> Origin:
    return Origin(listener="mx", protocol="ESMTP", client=client, port=4321, helo=helo, reverse_name=reverse)


class Protocols(SynchronousTestCase):
    def test_names(self) -> None:
        # RFC 3848, RFC 6531 4.3
        self.assertEqual(protocol_name(esmtp=False, tls=True), "SMTP")
        for utf8, lmtp, name in (
            (False, False, "ESMTP"),
            (False, True, "LMTP"),
            (True, False, "UTF8SMTP"),
            (True, True, "UTF8LMTP"),
        ):
            for tls, auth, end in ((False, False, ""), (True, False, "S"), (False, True, "A"), (True, True, "SA")):
                self.assertEqual(protocol_name(utf8=utf8, tls=tls, auth=auth, lmtp=lmtp), name + end)

    def test_tls_is_a_comment_that_holds_nothing_else(self) -> None:
        # RFC 5322 3.2.2
        field = received(replace(origin(), tls="TLSv1.3 A)\r\nX: (\\"), ID, "mx.example.org", None, AT)
        self.assertIn(b"with ESMTP (version=TLSv1.3 cipher=A???X: ??) id", field.replace(b"\r\n\t", b" "))


class Cuts(SynchronousTestCase):
    def test_only_of_those_who_may_send_through_us(self) -> None:
        # RFC 5322 3.6.3
        octets = b"BCC: a@b.example\r\nTo: c@d.example\r\nResent-Bcc: e@f.example,\r\n g@h.example\r\n\r\n"
        for rights in (frozenset({Right.NETWORK}), frozenset({Right.AUTHENTICATED})):
            edits, names = cut_fields(scan(octets), rights)
            self.assertEqual(apply(octets, edits), b"To: c@d.example\r\n\r\n")
            self.assertEqual(names, ("Bcc", "Resent-Bcc"))
        self.assertEqual(cut_fields(scan(octets), frozenset()), ((), ()))
        self.assertEqual(cut_fields(scan(b"To: a\r\n\r\nBcc: b\r\n"), frozenset({Right.NETWORK})), ((), ()))


class Dates(SynchronousTestCase):
    def test_form(self) -> None:
        # RFC 5322 3.3
        self.assertEqual(date_text(AT), "Tue, 01 Jul 2003 08:52:37 +0000")

    @given(st.integers(0, 253_402_300_799))
    def test_it_reads_back(self, seconds: int) -> None:
        read = email.utils.parsedate_to_datetime(date_text(seconds * 1000))
        self.assertEqual(int(read.timestamp()), seconds)


class Received(SynchronousTestCase):
    def test_from_by_with_id_for(self) -> None:
        # RFC 5321 4.4
        self.assertEqual(
            received(origin(), ID, "mx.example.org", BOB, AT),
            b"Received: from a.example (mail.a.example [192.0.2.7])\r\n"
            b"\tby mx.example.org with ESMTP id 7K3QF9ABCDEF0\r\n"
            b"\tfor <bob@example.org>; Tue, 01 Jul 2003 08:52:37 +0000\r\n",
        )

    def test_priority(self) -> None:
        # RFC 6710 4.1, 7: behind all other clauses
        self.assertIn(
            b"\tfor <bob@example.org> PRIORITY -3; Tue, 01 Jul 2003 08:52:37 +0000\r\n",
            received(origin(), ID, "mx.example.org", BOB, AT, -3),
        )
        self.assertIn(
            b" id 7K3QF9ABCDEF0\r\n\tPRIORITY 0; Tue, 01 Jul 2003 08:52:37 +0000\r\n",
            received(origin(), ID, "mx.example.org", None, AT, 0),
        )

    def test_international_domain(self) -> None:
        # RFC 6531 3.7.3: one form for the whole of a mailbox
        for local, domain in (("d\u00f6rte", "gr\u00fc\u00dfe.example"), ("ann", "xn--gre-6ka8l.example")):
            address = Address(local, "xn--gre-6ka8l.example")
            self.assertIn(f"for <{local}@{domain}>;".encode(), received(origin(), ID, "h", address, AT))

    def test_several_recipients_are_not_told_of_each_other(self) -> None:
        # RFC 5321 7.2
        self.assertEqual(
            received(origin(reverse=""), ID, "mx.example.org", None, AT),
            b"Received: from a.example ([192.0.2.7])\r\n"
            b"\tby mx.example.org with ESMTP id 7K3QF9ABCDEF0;\r\n"
            b"\tTue, 01 Jul 2003 08:52:37 +0000\r\n",
        )

    def test_ipv6_has_its_tag(self) -> None:
        # RFC 5321 4.1.3
        self.assertIn(b"([IPv6:2001:db8::1])\r\n", received(origin(client="2001:db8::1", reverse=""), ID, "h", BOB, AT))

    def test_a_client_without_a_name(self) -> None:
        self.assertIn(b"from [192.0.2.7] (", received(origin(helo=""), ID, "h", BOB, AT))

    def test_what_we_wrote_came_from_nobody(self) -> None:
        self.assertEqual(
            received(Origin(listener="", protocol="local"), ID, "mx.example.org", BOB, AT),
            b"Received: by mx.example.org (txmta) id 7K3QF9ABCDEF0\r\n"
            b"\tfor <bob@example.org>; Tue, 01 Jul 2003 08:52:37 +0000\r\n",
        )

    def test_long_names_are_folded(self) -> None:
        # RFC 5322 2.1.1
        long = "a" * 60 + ".example"
        lines = received(origin(helo=long, reverse=long), ID, long, Address("b" * 50, long), AT).split(b"\r\n")
        self.assertTrue(all(line.startswith(b"\t") for line in lines[1:-1]))
        self.assertTrue(all(len(line) <= 130 for line in lines))
        self.assertIn(b"\twith ESMTP id 7K3QF9ABCDEF0", lines)

    @given(st.text(max_size=400), st.text(max_size=300), st.text(min_size=1, max_size=60))
    def test_no_text_of_a_client_adds_anything(self, helo: str, reverse: str, local: str) -> None:
        field = received(origin(helo=helo, reverse=reverse), ID, "mx.example.org", Address(local, "example.org"), AT)
        header = scan(field + b"\r\n")
        self.assertTrue(header.wellformed)
        self.assertEqual([f.name for f in header.fields], [b"received"])
        self.assertTrue(all(len(line) < 998 for line in field.split(b"\r\n")))
        value = b" ".join((header.get(b"received") or b"").split())
        # One comment, ours, about the client; and the clauses that follow it.
        first_line = field.split(b"\r\n\tby ")[0]
        self.assertEqual((first_line.count(b"("), first_line.count(b")"), first_line.count(b";")), (1, 1, 0))
        self.assertTrue(value.endswith(b"; Tue, 01 Jul 2003 08:52:37 +0000"))


class FinalDelivery(SynchronousTestCase):
    def test_return_path(self) -> None:
        # RFC 5321 4.4
        self.assertEqual(return_path(Address("ann", "a.example")), b"Return-Path: <ann@a.example>\r\n")
        self.assertEqual(return_path(None), b"Return-Path: <>\r\n")

    def test_whom_it_is_for(self) -> None:
        self.assertEqual(delivered_to(BOB), b"Delivered-To: bob@example.org\r\n")
        self.assertEqual(original_to(Address("a b", "example.org")), b'X-Original-To: "a b"@example.org\r\n')

    @given(st.text(max_size=80))
    def test_each_is_one_line(self, local: str) -> None:
        address = Address(local, "example.org")
        for field in (return_path(address), delivered_to(address), original_to(address)):
            self.assertEqual((field.count(b"\r"), field.count(b"\n")), (1, 1))


class MissingFields(SynchronousTestCase):
    OURS = frozenset({Right.NETWORK})

    def completed(self, octets: bytes, rights: frozenset[Right] = OURS) -> tuple[bytes, tuple[str, ...]]:
        edits, added = missing_fields(scan(octets), rights, ID, "mx.example.org", AT)
        return apply(octets, merge(edits)), added

    def test_own_clients_get_date_and_message_id(self) -> None:
        # RFC 6409 8.2, 8.3; RFC 5322 3.6.1, 3.6.4
        octets, added = self.completed(b"Subject: x\r\n\r\nbody\r\n")
        self.assertEqual(added, ("Date", "Message-ID"))
        parsed = message_from_bytes(octets, policy=policy.SMTP)
        self.assertEqual(parsed["Date"], "Tue, 01 Jul 2003 08:52:37 +0000")
        self.assertEqual(parsed["Message-ID"], f"<{ID}@mx.example.org>")
        self.assertTrue(octets.endswith(b"Subject: x\r\n\r\nbody\r\n"))

    def test_only_what_is_missing(self) -> None:
        octets, added = self.completed(b"date: Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\n")
        self.assertEqual(added, ("Message-ID",))
        self.assertEqual(octets.lower().count(b"date:"), 1)
        whole = b"Date: x\r\nMessage-Id: <y@z>\r\n\r\n"
        self.assertEqual(self.completed(whole), (whole, ()))

    def test_mail_in_transit_is_left_alone(self) -> None:
        # RFC 5321 6.4
        octets = b"Subject: x\r\n\r\nbody\r\n"
        self.assertEqual(self.completed(octets, frozenset()), (octets, ()))

    def test_text_without_a_header_stays_text(self) -> None:
        octets, _ = self.completed(b"disk is full\r\n")
        self.assertEqual(message_from_bytes(octets).get_payload(), "disk is full\r\n")

    def test_an_empty_header_stays_one(self) -> None:
        octets, _ = self.completed(b"\r\nbody\r\n")
        self.assertEqual(message_from_bytes(octets).get_payload(), "body\r\n")


class OnTop(SynchronousTestCase):
    """Our fields above what a client sent: neither becomes part of the other."""

    def record(self, octets: bytes, rights: frozenset[Right]) -> tuple[bytes, bytes]:
        """Our Received as it was written, and the message with all that acceptance puts on top."""
        trace = received(origin(), ID, "mx.example.org", BOB, AT)
        edits, _ = missing_fields(scan(octets), rights, ID, "mx.example.org", AT)
        return trace, apply(octets, merge((Edit(0, 0, trace),), edits))

    def test_a_first_line_that_begins_with_white_space_does_not_go_on_with_our_field(self) -> None:
        # RFC 5322 2.2.3
        octets = b" (good.example [198.51.100.1])\r\nFrom: ann@a.example\r\n\r\nbody\r\n"
        trace, whole = self.record(octets, frozenset())
        self.assertEqual(whole, trace + b"\r\n" + octets)
        parsed = message_from_bytes(whole, policy=policy.SMTP)
        self.assertNotIn("good.example", parsed["Received"])
        self.assertEqual(parsed.get_payload().encode(), octets)

    def test_nor_with_one_that_we_complete(self) -> None:
        for first in (b" ", b"\t"):
            octets = first + b"folded\r\nDate: x\r\nMessage-ID: <a@b>\r\n\r\nbody\r\n"
            _, whole = self.record(octets, frozenset({Right.NETWORK}))
            parsed = message_from_bytes(whole, policy=policy.SMTP)
            self.assertEqual(parsed["Date"], "Tue, 01 Jul 2003 08:52:37 +0000")
            self.assertEqual(parsed["Message-ID"], f"<{ID}@mx.example.org>")
            self.assertEqual(parsed.get_payload().encode(), octets)

    @given(
        st.one_of(
            st.binary(max_size=60),
            st.lists(st.sampled_from([b"\r\n", b" ", b"\t", b"a", b"Date:", b":", b"\xff"]), max_size=12).map(b"".join),
        ),
        st.sampled_from([frozenset[Right](), frozenset({Right.NETWORK})]),
    )
    def test_whatever_was_sent_our_fields_are_as_we_wrote_them(self, octets: bytes, rights: frozenset[Right]) -> None:
        trace, whole = self.record(octets, rights)
        self.assertTrue(whole.endswith(octets))
        header = scan(whole)
        first = header.fields[0]
        self.assertEqual(whole[: first.end], trace)
        if rights:
            self.assertTrue(header.count(b"date"))
            self.assertTrue(header.count(b"message-id"))
            self.assertNotEqual(header.get(b"message-id"), None)
            added = header.all(b"message-id")[0]
            self.assertEqual(whole[added.start : added.end], f"Message-ID: <{ID}@mx.example.org>\r\n".encode())
