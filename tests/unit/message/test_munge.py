"""Who wrote a message, and its going on in the name of another."""

from __future__ import annotations

from email import message_from_bytes, policy

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.message.author import aligned, author_domain, signers
from mta.message.edits import apply
from mta.message.header import scan
from mta.message.mailboxes import mailboxes
from mta.message.munge import munge

INFO = Address("info", "example.org")


def munged(*lines: bytes) -> list[bytes]:
    """The header lines after it; the message is checked to be otherwise as it was."""
    octets = b"".join(line + b"\r\n" for line in lines) + b"\r\nFrom: body\r\n"
    changed = apply(octets, munge(scan(octets), INFO, "example.org"))
    assert changed.endswith(b"\r\n\r\nFrom: body\r\n")
    return changed.removesuffix(b"\r\n\r\nFrom: body\r\n").split(b"\r\n")


class Mailboxes(SynchronousTestCase):
    def test_as_people_write_them(self) -> None:
        """RFC 5322 3.4, 4.4."""
        for value, expected in (
            (b"ann@a.example", [(b"", b"ann@a.example")]),
            (b"Ann Lee <ann@a.example>", [(b"Ann Lee", b"ann@a.example")]),
            (b'"Lee, Ann" <ann@a.example>', [(b'"Lee, Ann"', b"ann@a.example")]),
            (b"ann@a.example (Ann (the one) Lee)", [(b"Ann (the one) Lee", b"ann@a.example")]),
            (b"(x\\)y) <ann@a.example>", [(b"x\\)y", b"ann@a.example")]),
            (b"a@a.example, B <b@b.example>", [(b"", b"a@a.example"), (b"B", b"b@b.example")]),
            (b"Team: a@a.example, B <b@b.example>;", [(b"", b"a@a.example"), (b"B", b"b@b.example")]),
            (b"Nobody here:;", [(b"Nobody here", b"")]),
            (b'"a b"@a.example', [(b"", b'"a b"@a.example')]),
            (b"=?utf-8?q?Jos=C3=A9?= <j@a.example>", [(b"=?utf-8?q?Jos=C3=A9?=", b"j@a.example")]),
            ("José <j@a.example>".encode(), [("José".encode(), b"j@a.example")]),
            (b"Ann <ann @ a.example>", [(b"Ann", b"ann@a.example")]),
            (b"", []),
            (b"<>", []),
        ):
            self.assertEqual([tuple(mailbox) for mailbox in mailboxes(value)], expected, value)

    @given(st.binary(max_size=200))
    def test_anything_is_read(self, octets: bytes) -> None:
        mailboxes(octets)
        author_domain(scan(b"From: " + octets + b"\r\n\r\n"))

    def test_the_domain_of_the_author(self) -> None:
        """RFC 7489 6.6.1."""
        for value, expected in (
            (b"From: Ann <ann@A.Example>\r\n\r\n", "a.example"),
            (b"From: a@a.example, b@a.example\r\n\r\n", "a.example"),
            (b"From: a@a.example, b@b.example\r\n\r\n", ""),
            (b"From: a@a.example\r\nFrom: b@a.example\r\n\r\n", ""),
            (b"From: Ann\r\n\r\n", ""),
            (b"Subject: x\r\n\r\n", ""),
            ("From: a@bücher.example\r\n\r\n".encode(), "xn--bcher-kva.example"),
        ):
            self.assertEqual(author_domain(scan(value)), expected, value)

    def test_who_signed_it(self) -> None:
        """RFC 6376 3.5."""
        header = scan(
            b"DKIM-Signature: v=1; a=rsa-sha256; d=Mail.A.example;\r\n\ts=x; bh=d=; b=Q\r\n"
            b"dkim-signature: d = b.\r\n example ; s=y\r\nDKIM-Signature: s=z\r\n\r\n"
        )
        self.assertEqual(signers(header), {"mail.a.example", "b.example"})

    def test_alignment(self) -> None:
        """RFC 7489 3.1.1."""
        for signer, author, expected in (
            ("a.example", "a.example", True),
            ("mail.a.example", "a.example", True),
            ("a.example", "mail.a.example", True),
            ("aa.example", "a.example", False),
            ("example", "a.example", False),
            ("b.example", "a.example", False),
        ):
            self.assertIs(aligned(signer, author), expected, (signer, author))


class Munged(SynchronousTestCase):
    def test_the_author_becomes_another_and_is_kept(self) -> None:
        self.assertEqual(
            munged(b"Received: x", b"From: Ann Lee <ann@a.example>", b"Subject: y"),
            [
                b"Received: x",
                b'From: "Ann Lee via example.org"',
                b" <info@example.org>",
                b"Reply-To: Ann Lee <ann@a.example>",
                b"X-Original-From: Ann Lee <ann@a.example>",
                b"Subject: y",
            ],
        )

    def test_names(self) -> None:
        for value, name in (
            (b"ann@a.example", b'"ann via example.org"'),
            (b'"Lee, \\"Ann\\"" <ann@a.example>', b'"Lee, \\"Ann\\" via example.org"'),
            (b"Ann 'x' \\ <ann@a.example>", b"\"Ann 'x' \\\\ via example.org\""),
            (b"ann@a.example (Ann)", b'"Ann via example.org"'),
            (b"a@a.example, Bob <b@b.example>", b'"a and others via example.org"'),
            (b"Team: Ann <a@a.example>, Bob <b@b.example>;", b'"Ann and others via example.org"'),
            (b"Undisclosed senders:;", b'"Undisclosed senders via example.org"'),
            (b"", b'"via example.org"'),
            ("José <j@a.example>".encode(), '"José via example.org"'.encode()),
            (b"\xe9 <j@a.example>", b'"\xe9 via example.org"'),
            (b"(=?utf-8?q?a,b?=) <j@a.example>", b'"=?utf-8?q?a,b?= via example.org"'),
            (b"x" * 300 + b" <j@a.example>", b'"' + b"x" * 200 + b' via example.org"'),
        ):
            self.assertEqual(munged(b"From: " + value)[0], b"From: " + name, value)

    def test_encoded_words_stay(self) -> None:
        """RFC 2047 5 (3): not inside of a quoted-string."""
        lines = munged(b"From: =?utf-8?q?Jos=C3=A9?=", b" =?utf-8?q?_Garc=C3=ADa?= <j@a.example>")
        self.assertEqual(
            lines[:4],
            [
                b"From: =?utf-8?q?Jos=C3=A9?=",
                b" =?utf-8?q?_Garc=C3=ADa?=",
                b' "via example.org"',
                b" <info@example.org>",
            ],
        )
        self.assertEqual(lines[4:6], [b"Reply-To: =?utf-8?q?Jos=C3=A9?=", b" =?utf-8?q?_Garc=C3=ADa?= <j@a.example>"])
        message = message_from_bytes(b"\r\n".join(lines) + b"\r\n\r\n", policy=policy.default)
        new, old = message["from"].addresses[0], message["reply-to"].addresses[0]
        self.assertIn("García", old.display_name)
        self.assertEqual((new.display_name, new.addr_spec), (f"{old.display_name} via example.org", "info@example.org"))

    def test_a_reply_to_stays(self) -> None:
        lines = munged(b"From: ann@a.example", b"reply-to: desk@a.example")
        self.assertEqual(
            [line for line in lines if line.lower().startswith(b"reply-to")], [b"reply-to: desk@a.example"]
        )

    def test_several_authors_fields_become_one_and_none_gets_one(self) -> None:
        """RFC 5322 3.6."""
        # RFC 5322 3.6.2
        self.assertEqual(
            munged(b"From: a@a.example", b"Subject: x", b"From: b@b.example"),
            [
                b'From: "a and others via example.org"',
                b" <info@example.org>",
                b"Reply-To: a@a.example",
                b"X-Original-From: a@a.example",
                b"X-Original-From: b@b.example",
                b"Subject: x",
            ],
        )
        self.assertEqual(munged(b"Subject: x")[1:], [b'From: "via example.org"', b" <info@example.org>"])

    def test_signatures_stay(self) -> None:
        self.assertIn(b"DKIM-Signature: d=a.example", munged(b"DKIM-Signature: d=a.example", b"From: a@a.example"))

    def test_a_header_without_an_end_is_left_alone(self) -> None:
        self.assertEqual(munge(scan(b"From: ann@a.example\r\n"), INFO, "example.org"), ())

    @given(st.binary(max_size=120))
    def test_whatever_stands_there_there_is_one_author(self, value: bytes) -> None:
        value = value.replace(b"\r", b"").replace(b"\n", b"")
        octets = b"From: " + value + b"\r\nSubject: s\r\n\r\nbody\r\n"
        changed = apply(octets, munge(scan(octets), INFO, "example.org"))
        header = scan(changed)
        self.assertEqual(header.count(b"from"), 1)
        self.assertEqual(author_domain(header), "example.org")
        self.assertTrue(changed.endswith(b"\r\nSubject: s\r\n\r\nbody\r\n"))
        self.assertEqual(header.get(b"x-original-from"), value.strip(b" \t"))
