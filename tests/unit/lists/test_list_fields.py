"""The header of a list's copy: RFC 2369, RFC 2919; and in whose name it goes on (DMARC)."""

from __future__ import annotations

from email import message_from_bytes
from typing import Any

from list_cases import OCTETS, TEAM, Lists, a_list
from twisted.trial.unittest import SynchronousTestCase

from mta.lists.fields import been_through, list_fields
from mta.lists.values import Posting
from mta.message.edits import apply
from mta.message.header import scan


def copied(octets: bytes = OCTETS, **more: Any) -> bytes:
    return apply(octets, list_fields(a_list(**more), scan(octets)))


class Fields(SynchronousTestCase):
    def test_what_a_list_says_of_itself(self) -> None:
        """RFC 2369 3, RFC 2919 2"""
        # RFC 2369 3.1
        octets = copied(description="The team")
        self.assertEqual(
            octets.removesuffix(OCTETS).decode(),
            'List-Id: "The team" <team.example.org>\r\n'
            "List-Post: <mailto:team@example.org>\r\n"
            "List-Help: <mailto:team-owner@example.org?subject=help>\r\n"
            "List-Owner: <mailto:team-owner@example.org>\r\n"
            "Precedence: list\r\n"
            "X-BeenThere: team@example.org\r\n",
        )

    def test_nobody_posts_to_an_announcement(self) -> None:
        """RFC 2369 3.4"""
        for word in (Posting.NOBODY, Posting.OWNER):
            self.assertIn(b"List-Post: NO\r\n", copied(posting=frozenset({word})))

    def test_a_description_beyond_ascii_is_encoded(self) -> None:
        octets = copied(description="Größe, der: Leute")
        self.assertTrue(octets.isascii())
        self.assertIn("team.example.org", str(message_from_bytes(octets)["List-Id"]))
        self.assertIn(b"=?utf-8?", octets.lower())

    def test_each_field_stands_once(self) -> None:
        """RFC 2369 3, RFC 2919 3"""
        before = (
            b"list-id: Others\r\n <other.b.example>\r\nList-Unsubscribe: <mailto:x@b.example>\r\n"
            b"Precedence: bulk\r\nDKIM-Signature: v=1; d=a.example\r\nX-BeenThere: other@b.example\r\n"
        )
        message = message_from_bytes(copied(before + OCTETS))
        self.assertEqual(message.get_all("List-Id"), ["<team.example.org>"])
        self.assertIsNone(message["List-Unsubscribe"])
        self.assertEqual(message.get_all("Precedence"), ["list"])
        # A signature stays as it was, and so does what ends loops over other hosts.
        self.assertEqual(message["DKIM-Signature"], "v=1; d=a.example")
        self.assertEqual(message.get_all("X-BeenThere"), ["team@example.org", "other@b.example"])

    def test_a_tag_goes_before_the_subject_once(self) -> None:
        for subject, tagged in (
            (b"Subject: hello\r\n", b"Subject: [team] hello\r\n"),
            (b"Subject:hello\r\n", b"Subject: [team] hello\r\n"),
            (b"subject: Re: [TEAM] hello\r\n", b"subject: Re: [TEAM] hello\r\n"),
            (b"Subject:\r\n =?utf-8?Q?gr=C3=BC=C3=9Fe?=\r\n", b"Subject: [team]\r\n =?utf-8?Q?gr=C3=BC=C3=9Fe?=\r\n"),
            (b"", b"Subject: [team]\r\n"),
        ):
            octets = b"From: a@a.example\r\n" + subject + b"\r\nbody"
            self.assertIn(tagged, copied(octets, subject_tag="[team]"))
            self.assertTrue(copied(octets, subject_tag="[team]").endswith(b"\r\n\r\nbody"))

    def test_answers_and_sender_where_they_are_asked_for(self) -> None:
        octets = b"Reply-To: ann@a.example\r\nSender: x@a.example\r\n" + OCTETS
        self.assertTrue(copied(octets).endswith(octets))
        message = message_from_bytes(copied(octets, reply_to="list", sender=True))
        self.assertEqual(message.get_all("Reply-To"), ["<team@example.org>"])
        self.assertEqual(message.get_all("Sender"), ["<team-bounces@example.org>"])
        self.assertIn(b"Reply-To: <help@b.example>\r\n", copied(octets, reply_to="help@b.example"))

    def test_no_header_makes_it_fail(self) -> None:
        for octets in (b"", b"\r\n", b"\r\nbody", b"no field\r\n\r\n", b"Subject: x", b"\xff:\r\n\r\n\0"):
            done = copied(octets, subject_tag="[t]", reply_to="list", sender=True)
            self.assertTrue(done.startswith(b"List-Id: <team.example.org>\r\n"))
            self.assertFalse(done.startswith((b" ", b"\t")))

    def test_a_loop_is_known_by_either_field(self) -> None:
        """RFC 5321 6.3"""
        for field, through in (
            (b"List-Id: <team.example.org>\r\n", True),
            (b"List-Id: The\r\n team <Team.Example.ORG>\r\n", True),
            (b"X-BeenThere: TEAM@example.org\r\n", True),
            (b"List-Id: <other-team.example.org>\r\n", False),
            (b"X-BeenThere: team@example.org.evil\r\n", False),
            (b"X-Other: <team.example.org>\r\n", False),
        ):
            self.assertIs(been_through(a_list(), scan(field + OCTETS)), through, field)


class InWhoseName(Lists):
    def header(self, octets: bytes = OCTETS, policy: str = "v=DMARC1; p=reject", **more: Any) -> Any:
        self.resolver.remove("_dmarc.a.example")
        self.resolver.add("_dmarc.a.example", f"TXT {policy}")
        self.begin(a_list("team", "carl@b.example", **more))
        *_, row = self.send(octets=octets)
        return message_from_bytes(self.octets(row))

    def assert_lists(self, message: Any) -> None:
        self.assertIn(str(TEAM), message["From"])
        self.assertIn("ann@a.example", message["X-Original-From"])

    def test_the_lists_where_the_authors_domain_demands_it(self) -> None:
        message = self.header()
        self.assert_lists(message)
        self.assertIn("ann@a.example", message["Reply-To"])

    def test_the_authors_where_nothing_demands_more(self) -> None:
        self.assertEqual(self.header(policy="v=DMARC1; p=none")["From"], "ann@a.example")
        self.assertEqual(self.header(rewrite_from="never")["From"], "ann@a.example")

    def test_a_signature_holds_as_long_as_the_list_breaks_nothing(self) -> None:
        signed = b"DKIM-Signature: v=1; d=a.example; b=x\r\n" + OCTETS
        self.assertEqual(self.header(signed)["From"], "ann@a.example")
        self.assert_lists(self.header(signed, subject_tag="[team]"))

    def test_always_is_always_and_answers_go_where_the_list_wants_them(self) -> None:
        message = self.header(policy="", rewrite_from="always", reply_to="list")
        self.assert_lists(message)
        self.assertEqual(message.get_all("Reply-To"), ["<team@example.org>"])
