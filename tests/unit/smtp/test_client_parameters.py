"""Parameters as the client writes them: what the server's own reader makes of them, and what they can never do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.smtp.client_parameters import (
    deliver_by,
    encode_utf8_address,
    encode_xtext,
    mail_dsn,
    original_recipient,
    rcpt_dsn,
)
from mta.smtp.parameters import decode_utf8_address, decode_xtext, parse_orcpt, read_mail

PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=60)


class Xtext(SynchronousTestCase):
    def test_examples(self) -> None:
        # RFC 3461 4
        for text, encoded in (
            ("QQ314159", "QQ314159"),
            ("a b+c=d", "a+20b+2Bc+3Dd"),
            ("x\r\ny", "x+0D+0Ay"),
            ("\xe9", "?"),
        ):
            self.assertEqual(encode_xtext(text), encoded)

    @given(PRINTABLE)
    def test_comes_back(self, text: str) -> None:
        self.assertEqual(decode_xtext(encode_xtext(text)), text)

    @given(st.text())
    def test_nothing_ends_a_line_or_begins_a_parameter(self, text: str) -> None:
        for encoded in (encode_xtext(text), encode_utf8_address(text)):
            self.assertRegex(encoded, r"\A[\x21-\x7e]*\Z")
            self.assertNotIn("=", encoded)


class Utf8Address(SynchronousTestCase):
    def test_examples(self) -> None:
        # RFC 6533 3: also "\", "+" and "=" are written so
        self.assertEqual(encode_utf8_address("d\xf8d@x.example"), "d\\x{F8}d@x.example")
        self.assertEqual(encode_utf8_address("a+b=\\ c"), "a\\x{2B}b\\x{3D}\\x{5C}\\x{20}c")
        self.assertEqual(encode_utf8_address("\U0001f4e7"), "\\x{1F4E7}")

    @given(st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=30))
    def test_comes_back(self, text: str) -> None:
        self.assertEqual(decode_utf8_address(encode_utf8_address(text)), text)


class Dsn(SynchronousTestCase):
    def test_mail(self) -> None:
        # RFC 3461 4.3, 4.4
        self.assertEqual(mail_dsn("", ""), "")
        self.assertEqual(mail_dsn("HDRS", "QQ 1"), " RET=HDRS ENVID=QQ+201")
        self.assertEqual(mail_dsn("FULL", ""), " RET=FULL")
        self.assertEqual(mail_dsn("other", ""), "")

    def test_rcpt(self) -> None:
        # RFC 3461 4.1, 4.2
        self.assertEqual(rcpt_dsn("", ""), "")
        self.assertEqual(rcpt_dsn("NEVER", ""), " NOTIFY=NEVER")
        self.assertEqual(
            rcpt_dsn("SUCCESS,DELAY", "rfc822;Bob+x@y.example"),
            " NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob+2Bx@y.example",
        )
        self.assertEqual(rcpt_dsn("", "utf-8;b\xf8b@y.example"), " ORCPT=utf-8;b\\x{F8}b@y.example")

    def test_what_no_grammar_lets_in_is_not_sent(self) -> None:
        for notify, orcpt in (("SUCCESS\r\nDATA", ""), ("", "no type"), ("", "a b;x"), ("", "rfc822;"), ("", ";x")):
            self.assertEqual(rcpt_dsn(notify, orcpt), "")

    def test_orcpt_that_we_add(self) -> None:
        # RFC 3461 5.2.1 (d), RFC 6533 3
        for address, orcpt in (
            (Address("info", "ours.example"), "rfc822;info@ours.example"),
            (Address("b\xf8b", "ours.example"), "utf-8;b\xf8b@ours.example"),
            (Address("a b", "ours.example"), 'rfc822;"a b"@ours.example'),
        ):
            self.assertEqual(original_recipient(address), orcpt)
            self.assertEqual(parse_orcpt(rcpt_dsn("", orcpt).removeprefix(" ORCPT=")), orcpt)


class DeliverBy(SynchronousTestCase):
    def test_remaining_time(self) -> None:
        # RFC 2852 4: at most nine digits, and what is past has its sign
        self.assertEqual(deliver_by(120, "R"), " BY=120;R")
        self.assertEqual(deliver_by(-3, "NT"), " BY=-3;NT")
        self.assertEqual(deliver_by(10**12, "N"), " BY=999999999;N")

    def test_comes_back(self) -> None:
        keyword, value = deliver_by(90, "RT").strip().split("=")
        wishes = read_mail({keyword: value})
        self.assertEqual((wishes.by, wishes.by_mode), (90, "RT"))
