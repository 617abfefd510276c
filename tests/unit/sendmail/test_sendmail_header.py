"""Recipients in a header, the From that it lacks, and domains that are missing."""

from __future__ import annotations

from email import message_from_bytes, policy

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.sendmail.content import Field
from mta.sendmail.domains import with_domains
from mta.sendmail.header import all_recipients, author_field, header_recipients, word_recipients
from mta.sendmail.statuses import DATAERR, USAGE, Trouble


class Recipients(SynchronousTestCase):
    def test_to_cc_and_bcc(self) -> None:
        fields = (
            Field(b"to", b"Ann <ann@far.example>, bob (Bob, the one)"),
            Field(b"cc", b'team: "x, y" <x@far.example>;, carol'),
            Field(b"bcc", b"eve@far.example"),
            Field(b"reply-to", b"no@far.example"),
        )
        self.assertEqual(
            header_recipients(fields), ["ann@far.example", "bob", "x@far.example", "carol", "eve@far.example"]
        )

    def test_of_a_resent_message_those_of_now(self) -> None:
        # RFC 5322 3.6.6
        fields = (Field(b"to", b"old@far.example"), Field(b"resent-to", b"new@far.example"))
        self.assertEqual(header_recipients(fields), ["new@far.example"])

    def test_an_empty_group_is_nobody(self) -> None:
        fields = (Field(b"to", b"undisclosed-recipients:;"),)
        self.assertEqual(self.assertRaises(Trouble, all_recipients, (), fields, True).status, USAGE)

    def test_words_are_addresses_or_lists(self) -> None:
        self.assertEqual(
            word_recipients(["ann", "a@x.example, b", "Bob <bob@x.example>"]),
            ["ann", "a@x.example", "b", "bob@x.example"],
        )

    def test_each_once_and_those_of_the_command_line_too(self) -> None:
        fields = (Field(b"to", b"ann, bob"),)
        self.assertEqual(all_recipients(["bob", "carol"], fields, True), ["bob", "carol", "ann"])
        self.assertEqual(all_recipients(["bob"], fields, False), ["bob"])

    def test_what_is_no_utf8(self) -> None:
        fields = (Field(b"to", b"\xff@far.example"),)
        self.assertEqual(self.assertRaises(Trouble, all_recipients, (), fields, True).status, DATAERR)


class Author(SynchronousTestCase):
    def test_names(self) -> None:
        for name, field in (
            ("", b"From: ann\r\n"),
            ("Ann Smith", b"From: Ann Smith <ann>\r\n"),
            ('Ann "the" Smith, Jr.', b'From: "Ann \\"the\\" Smith, Jr." <ann>\r\n'),
        ):
            self.assertEqual(author_field(name, "ann"), field)

    @given(st.text(alphabet=st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"]), min_size=1, max_size=80))
    def test_any_name_reads_back(self, name: str) -> None:
        octets = author_field(name, "ann@ours.example") + b"\r\n"
        self.assertTrue(octets.isascii())
        self.assertEqual(octets.count(b"\r\n\r\n"), 1)
        found = message_from_bytes(octets, policy=policy.default)["From"].addresses
        self.assertEqual([one.addr_spec for one in found], ["ann@ours.example"])


class Domains(SynchronousTestCase):
    def test_names_get_one(self) -> None:
        header = (
            b"From: root (Cron Daemon)\r\nTo: ann, Bob <bob>,\r\n carol@far.example, <dave >\r\n"
            b'Cc: team: x, y;\r\nSubject: ann\r\nX-To: ann\r\nreply-to:"a b"\r\n\r\n'
        )
        self.assertEqual(
            with_domains(header, "ours.example"),
            b"From: root@ours.example (Cron Daemon)\r\nTo: ann@ours.example, Bob <bob@ours.example>,\r\n"
            b" carol@far.example, <dave@ours.example >\r\nCc: team: x@ours.example, y@ours.example;\r\n"
            b'Subject: ann\r\nX-To: ann\r\nreply-to:"a b"@ours.example\r\n\r\n',
        )

    def test_what_has_one_stays(self) -> None:
        header = b"From: Ann <ann@far.example>\r\nTo: undisclosed-recipients:;\r\nCc: ann smith\r\nBcc: <>\r\n\r\n"
        self.assertEqual(with_domains(header, "ours.example"), header)
        self.assertEqual(with_domains(b"To: ann\r\n\r\n", ""), b"To: ann\r\n\r\n")

    @given(st.binary(max_size=80))
    def test_twice_is_as_once(self, value: bytes) -> None:
        once = with_domains(b"To: " + value.replace(b"\r", b"").replace(b"\n", b"") + b"\r\n\r\n", "ours.example")
        self.assertEqual(with_domains(once, "ours.example"), once)
