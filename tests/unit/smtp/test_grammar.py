"""The grammar of MAIL, RCPT and EHLO."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.reply import PermanentFailure
from mta.smtp import replies
from mta.smtp.grammar import (
    PathCommand,
    _parse_common,
    _parse_full,
    parse_greeting,
    parse_mail,
    parse_rcpt,
)
from mta.smtp.parameters import parse_body, parse_size


class Paths(SynchronousTestCase):
    def test_good_ones(self) -> None:
        ann = Address("ann", "a.example")
        for text, expected in (
            (b"FROM:<ann@a.example>", PathCommand(ann, {})),
            (b"from:<ann@A.EXAMPLE>", PathCommand(ann, {})),
            (b"FROM:<>", PathCommand(None, {})),
            (b"FROM:<> SIZE=12 BODY=8bitmime", PathCommand(None, {"SIZE": "12", "BODY": "8bitmime"})),
            (b"FROM:<ann@a.example> SIZE=1", PathCommand(ann, {"SIZE": "1"})),
            (b'FROM:<"a>b"@a.example> X', PathCommand(Address("a>b", "a.example"), {"X": None})),
            (b'FROM:<"a\\"> b"@a.example>', PathCommand(Address('a"> b', "a.example"), {})),
            (b"FROM:<@r1.example,@r2.example:ann@a.example>", PathCommand(ann, {})),  # RFC 5321 C
            (b"FROM: <ann@a.example>", PathCommand(ann, {})),  # old Outlook, scripts
            (b"FROM:ann@a.example SIZE=3", PathCommand(ann, {"SIZE": "3"})),  # printers
            (b"FROM:<ann@[192.0.2.1]>", PathCommand(Address("ann", "[192.0.2.1]"), {})),
        ):
            self.assertEqual(parse_mail(text), expected, text)

    def test_postmaster_needs_no_domain_as_recipient(self) -> None:
        # RFC 5321 4.1.1.3
        self.assertEqual(parse_rcpt(b"TO:<PostMaster>").path, Address("PostMaster", ""))
        self.assert_refused(parse_mail, b"FROM:<postmaster>", 553)

    def assert_refused(self, parse: object, text: bytes, code: int) -> None:
        with self.assertRaises(PermanentFailure, msg=repr(text)) as caught:
            parse(text)  # type: ignore[operator]
        self.assertEqual(caught.exception.reply.code, code, text)

    def test_bad_ones(self) -> None:
        for text in (
            b"", b"FROM", b"<a@b.example>", b"TO:<a@b.example>", b"FROM:", b"FROM:<a@b.example",
            b"FROM:<a@b.example>x",
            b"FROM:<a@b.example> =", b"FROM:<a@b.example> A=B=C", b"FROM:<a@b.example> SIZE=1 size=2",
            b"FROM:<a@b.example> X=\xc3\xa4", b"FROM:<\xff@b.example>", b"FROM:a@b.example> X",
        ):  # fmt: skip
            self.assert_refused(parse_mail, text, 501)
        for text in (
            b"FROM:<a>",
            b"FROM:<a b@c>",
            b"FROM:<a@b c>",
            b"FROM:<a\x01@b>",
        ):
            self.assert_refused(parse_mail, text, 553)
        self.assert_refused(parse_rcpt, b"TO:<>", 501)
        # RFC 6531 3.5
        self.assert_refused(parse_mail, b"FROM:<\xc3\xa4@b.example>", 550)
        self.assert_refused(parse_rcpt, b"TO:<\xc3\xa4@b.example>", 553)

    @given(
        st.from_regex(r"[A-Za-z0-9.!#+_-]{1,20}@[A-Za-z0-9.-]{1,20}", fullmatch=True),
        st.sampled_from(["", " SIZE=100", " SIZE=1 BODY=8BITMIME", " a=b a=c", "  X", " =", ">"]),
    )
    def test_short_way_gives_what_the_full_grammar_gives(self, mailbox: str, rest: str) -> None:
        text = f"FROM:<{mailbox}>{rest}".encode()
        try:
            short = _parse_common(text, "FROM")
        except PermanentFailure as failure:
            self.assert_refused(lambda t: _parse_full(t, "FROM:", replies.MAIL_SYNTAX), text, failure.reply.code)
            return
        if short is not None:
            self.assertEqual(short, _parse_full(text, "FROM:", replies.MAIL_SYNTAX))

    @given(st.binary(max_size=80))
    def test_any_octets_are_a_path_or_a_refusal(self, octets: bytes) -> None:
        for parse, word in ((parse_mail, b"FROM:<"), (parse_rcpt, b"TO:<")):
            try:
                parse(word + octets)
            except PermanentFailure as failure:
                self.assertIn(failure.reply.code, (501, 550, 553))


class Values(SynchronousTestCase):
    def test_size(self) -> None:
        # RFC 1870 3
        self.assertEqual(parse_size("00012"), 12)
        for value in (None, "", "-1", "1e3", "x", "1" * 21, "\u0661"):
            self.assertRaises(PermanentFailure, parse_size, value)

    def test_body(self) -> None:
        # RFC 6152 3
        self.assertEqual(parse_body("8bitmime"), "8BITMIME")
        self.assertRaises(PermanentFailure, parse_body, "9BITMIME")

    def test_greeting(self) -> None:
        # RFC 5321 4.1.4
        for text, name in ((b"A.Example", "a.example"), (b"[192.0.2.1]", "[192.0.2.1]"), (b"my_PC!", "my_PC!")):
            self.assertEqual(parse_greeting(text), name)
        for text in (b"", b"a b", b"a\x01", b"\xc3\xa4", b"x" * 256):
            self.assertRaises(PermanentFailure, parse_greeting, text)
