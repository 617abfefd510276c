"""The parameters of MAIL and RCPT as values."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.reply import PermanentFailure
from mta.smtp.grammar import parse_bdat, parse_mail, parse_rcpt
from mta.smtp.parameters import (
    Wishes,
    decode_utf8_address,
    decode_xtext,
    parse_notify,
    parse_orcpt,
    read_mail,
    read_rcpt,
)


def xtext(text: str) -> str:
    """RFC 3461 4, encoded plainly."""
    return "".join(c if "!" <= c <= "~" and c not in "+=" else f"+{ord(c):02X}" for c in text)


class Refusing(SynchronousTestCase):
    def refused(self, code: int, **parameters: str | None) -> None:
        with self.assertRaises(PermanentFailure, msg=repr(parameters)) as caught:
            read_mail({keyword.replace("_", "-"): value for keyword, value in parameters.items()})
        self.assertEqual(caught.exception.reply.code, code, parameters)


class Xtext(Refusing):
    def test_examples(self) -> None:
        # RFC 3461 4
        for encoded, decoded in (("abc", "abc"), ("a+2Bb+3Dc", "a+b=c"), ("x+20y", "x y"), ("", "")):
            self.assertEqual(decode_xtext(encoded), decoded)

    def test_what_is_none(self) -> None:
        for text in ("a+b", "a+2b", "a=b", "a b", "a+", "a+2", "\u00e4", "+C3+A4", "a+7F", "a+00", "a+0D+0Ab", "a+09"):
            with self.assertRaises(PermanentFailure, msg=repr(text)) as caught:
                decode_xtext(text)
            self.assertEqual((caught.exception.reply.code, caught.exception.reply.enhanced), (501, "5.5.4"))

    @given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)))
    def test_decoding_undoes_encoding(self, text: str) -> None:
        self.assertEqual(decode_xtext(xtext(text)), text)

    @given(st.text(max_size=40))
    def test_nothing_decoded_can_begin_a_line(self, text: str) -> None:
        for decode in (decode_xtext, decode_utf8_address):
            try:
                self.assertTrue(decode(text).isprintable())
            except PermanentFailure:
                pass

    def test_utf8_addresses(self) -> None:
        # RFC 6533 3
        for encoded, decoded in (
            ("d\\x{F6}rte@example.org", "d\u00f6rte@example.org"),
            ("d\u00f6rte@example.org", "d\u00f6rte@example.org"),
            ("a\\x{2B}b\\x{3D}c\\x{5C}d", "a+b=c\\d"),
            ("\\x{1F600}\\x{f6}", "\U0001f600\u00f6"),
            ("a+2Bb+5Cx{41}", "a+b\\x{41}"),  # RFC 3461 4.2: xtext; decoded once
        ):
            self.assertEqual(decode_utf8_address(encoded), decoded)
        for text in ("a\\b", "\\x{}", "\\x{1}", "\\x{1234567}", "\\X{F6}", "a+b", "a=b", "a b", "a\u00a0b"):
            self.assertRaises(PermanentFailure, decode_utf8_address, text)
        for text in ("\\x{0A}", "\\x{D800}", "\\x{110000}", "\\x{FFFFFF}", "\\x{85}", "\\x{2028}", "a+C3", "a+0D"):
            self.assertRaises(PermanentFailure, decode_utf8_address, text)


class Notifications(SynchronousTestCase):
    def test_notify(self) -> None:
        # RFC 3461 4.1
        self.assertEqual(parse_notify("never"), "NEVER")
        self.assertEqual(parse_notify("success,DELAY,Failure"), "SUCCESS,DELAY,FAILURE")
        # RFC 822 2.7: a list may have empty elements, and one twice
        self.assertEqual(parse_notify("success,,SUCCESS,delay,"), "SUCCESS,DELAY")
        for value in (None, "", ",", "NEVER,DELAY", "NEVER,", "NEVER,NEVER", "FOO", "SUCCESS DELAY", "nev\u00e9r"):
            self.assertRaises(PermanentFailure, parse_notify, value)

    def test_original_recipient(self) -> None:
        # RFC 3461 4.2
        self.assertEqual(parse_orcpt("RFC822;Ann+2Bx@other.example"), "RFC822;Ann+x@other.example")
        self.assertEqual(parse_orcpt("UTF-8;d\\x{F6}rte@x.example"), "UTF-8;d\u00f6rte@x.example")
        self.assertEqual(parse_orcpt("utf-8;d\\x{F6}rte@x.example"), "utf-8;d\u00f6rte@x.example")
        self.assertEqual(parse_orcpt("x-local;a;b"), "x-local;a;b")
        for value in (None, "", "rfc822", "rfc822;", ";a", "rf c;a", "rfc822;d\u00f6rte", "rfc822;" + "a" * 500):
            self.assertRaises(PermanentFailure, parse_orcpt, value)

    def test_of_a_recipient(self) -> None:
        self.assertEqual(read_rcpt({"NOTIFY": "NEVER", "ORCPT": "rfc822;a@b"}), ("rfc822;a@b", "NEVER"))
        with self.assertRaises(PermanentFailure) as caught:
            read_rcpt({"SIZE": "1"})
        self.assertEqual(caught.exception.reply.code, 555)

    def test_letters_outside_ascii(self) -> None:
        # RFC 6531 3.3: esmtp-value; RFC 6533 3: in an ORCPT whether MAIL had SMTPUTF8 or not
        argument = "TO:<a@b.example> ORCPT=utf-8;d\u00f6rte@x.example".encode()
        for utf8 in (False, True):
            self.assertEqual(parse_rcpt(argument, utf8).parameters, {"ORCPT": "utf-8;d\u00f6rte@x.example"})
        for text in (b"ORCPT=utf-8;\xff", b"ORCPT=\xc2\x85", b"ORCPT=utf-8;a\xc2\xa0b", b"\xc3\xa4=x"):
            self.assertRaises(PermanentFailure, parse_rcpt, b"TO:<a@b.example> " + text)

    def test_sizes(self) -> None:
        # RFC 3461 5.4: 500 for an ORCPT, 100 for an ENVID, as they are written
        self.assertEqual(len(parse_orcpt("rfc822;" + "+41" * 164)), 7 + 164)
        self.assertRaises(PermanentFailure, parse_orcpt, "rfc822;" + "+41" * 165)
        self.assertEqual(read_mail({"ENVID": "+41" * 33}).envid, "A" * 33)
        self.assertRaises(PermanentFailure, read_mail, {"ENVID": "+41" * 34})


class OfMail(Refusing):
    def test_nothing(self) -> None:
        self.assertEqual(read_mail({"SIZE": "1", "BODY": "7BIT"}), Wishes())

    def test_dsn(self) -> None:
        # RFC 3461 4.3, 4.4
        wishes = read_mail({"RET": "full", "ENVID": "a+20b"})
        self.assertEqual((wishes.ret, wishes.envid), ("FULL", "a b"))
        for value in (None, "", "ALL"):
            self.refused(501, RET=value)
        for value in (None, "", "x" * 101, "a+0A", "\u00e4"):
            self.refused(501, ENVID=value)

    def test_flags_take_no_value(self) -> None:
        # RFC 6531 3.4, RFC 8689 2
        wishes = read_mail({"SMTPUTF8": None, "REQUIRETLS": None})
        self.assertTrue(wishes.smtputf8 and wishes.requiretls)
        self.refused(501, SMTPUTF8="1")
        self.refused(501, REQUIRETLS="1")

    def test_deliver_by(self) -> None:
        # RFC 2852 4
        for value, by, mode in (
            ("120;R", 120, "R"),
            ("+120;n", 120, "N"),
            ("-5;N", -5, "N"),
            ("0;NT", 0, "NT"),
            ("999999999;rt", 999_999_999, "RT"),
        ):
            wishes = read_mail({"BY": value})
            self.assertEqual((wishes.by, wishes.by_mode), (by, mode))
        for value in (
            None,
            "",
            "120",
            "120;",
            ";R",
            "120;T",
            "120;RN",
            "0;R",
            "-1;R",
            "1.5;R",
            "1234567890;N",
            "\u0661;N",
        ):
            self.refused(501, BY=value)

    def test_future_release(self) -> None:
        # RFC 4865 3, 4.2; RFC 3339 5.6, 5.7
        self.assertEqual(read_mail({"HOLDFOR": "86400"}).hold_for, 86400)
        for value, until in (
            ("2023-11-14T22:13:20Z", 1_700_000_000_000),
            ("2023-11-14t22:13:20z", 1_700_000_000_000),
            ("2023-11-14T22:13:20+00:00", 1_700_000_000_000),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000),
            ("2023-11-14T22:13:20.5Z", 1_700_000_000_500),
        ):
            self.assertEqual(read_mail({"HOLDUNTIL": value}).hold_until, until)
        for value in (None, "", "0", "01", "-1", "1234567890", "x"):
            self.refused(501, HOLDFOR=value)
        for value in (
            None, "", "2023-11-14", "2023-11-14T22:13:20", "2023-13-14T22:13:20Z", "2023-11-14T25:13:20Z",
            "0001-01-01T00:00:00Z", "2023-11-14T23:13:20+01:00", "2023-W01-1T22:13:20Z",
            "2023-11-14T22:13:60Z", "2023-11-14 22:13:20Z",
        ):  # fmt: skip
            self.refused(501, HOLDUNTIL=value)
        self.refused(501, HOLDFOR="1", HOLDUNTIL="2023-11-14T22:13:20Z")

    def test_priority(self) -> None:
        # RFC 6710 3, 7
        for number in range(-9, 10):
            self.assertEqual(read_mail({"MT-PRIORITY": str(number)}).priority, number)
        for value in (None, "", "10", "-10", "+1", "-0", "00", "1.0"):
            self.refused(501, MT_PRIORITY=value)

    def test_what_is_not_known(self) -> None:
        # RFC 5321 4.1.1.11
        for keyword in ("NOTIFY", "FOO"):
            self.refused(555, **{keyword: "x"})

    def test_who_submitted_it_is_read_and_let_be(self) -> None:
        # RFC 4954 5.1, and 3 for its length
        self.assertTrue(read_mail({"AUTH": "e+3Dmc2@example.com"}).auth)
        self.assertTrue(read_mail({"AUTH": "<>"}).auth)
        for wrong in (None, "", "x", "e=mc2@example.com", "a+0Ab@example.com", "a@b" + "c" * 500):
            with self.subTest(wrong):
                self.refused(501, AUTH=wrong)

    @given(st.dictionaries(st.sampled_from(["BY", "RET", "ENVID", "HOLDFOR", "HOLDUNTIL", "MT-PRIORITY"]), st.text()))
    def test_any_text_is_a_wish_or_a_refusal(self, parameters: dict[str, str | None]) -> None:
        try:
            wishes = read_mail(parameters)
        except PermanentFailure as failure:
            self.assertEqual(failure.reply.code, 501)
        else:
            self.assertTrue(wishes.envid.isprintable())


class International(SynchronousTestCase):
    def test_path_needs_the_parameter(self) -> None:
        # RFC 6531 3.5; a space of Unicode does not make a parameter
        for parse, text, refusal in (
            (parse_mail, "FROM:<d\u00f6rte@b.example>", (550, "5.6.7")),
            (parse_mail, "FROM:<a@gr\u00fc\u00dfe.example> SIZE=1", (550, "5.6.7")),
            (parse_mail, "FROM:<d\u00f6rte@b.example> X=y\u2003SMTPUTF8", (501, "5.5.4")),
            (parse_rcpt, "TO:<d\u00f6rte@b.example>", (553, "5.6.7")),
        ):
            with self.assertRaises(PermanentFailure) as caught:
                parse(text.encode())
            self.assertEqual((caught.exception.reply.code, caught.exception.reply.enhanced), refusal)

    def test_domain_is_kept_as_a_labels(self) -> None:
        # RFC 5891 5: one domain, however it is written
        for domain in ("b\u00fccher.example", "BU\u0308CHER.example", "xn--bcher-kva.example"):
            path = parse_mail(f"FROM:<d\u00f6rte@{domain}> smtputf8".encode()).path
            assert path is not None
            self.assertEqual((path.local, path.domain), ("d\u00f6rte", "xn--bcher-kva.example"))

    def test_invisible_characters(self) -> None:
        # RFC 6532 3.2 has no C1 controls; U+2028 is a line end to some
        for text in ("FROM:<a\x85b@c.example> SMTPUTF8", 'FROM:<"a\u2028b"@c.example> SMTPUTF8'):
            with self.assertRaises(PermanentFailure) as caught:
                parse_mail(text.encode())
            self.assertEqual((caught.exception.reply.code, caught.exception.reply.enhanced), (553, "5.1.7"))


class Chunks(SynchronousTestCase):
    def test_sizes(self) -> None:
        # RFC 3030 2
        for argument, size, last, wellformed in (
            (b"0", 0, False, True),
            (b"86 LAST", 86, True, True),
            (b"86  last", 86, True, True),
            (b"00012", 12, False, True),
            (b"86 FIRST", 86, False, False),
            (b"86 LAST LAST", 86, False, False),
        ):
            self.assertEqual(parse_bdat(argument), (size, last, wellformed), argument)

    def test_sizes_that_cannot_be_read(self) -> None:
        for argument in (b"", b"LAST", b"-1", b"+1", b"0x10", b"1e3", b"9" * 21, "\u0661".encode(), b"1,000"):
            self.assertIsNone(parse_bdat(argument), argument)
