"""Header fields in ASCII: the same to a reader, or none."""

from __future__ import annotations

from email import message_from_bytes
from email.header import decode_header
from email.policy import default

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.message.words import seven_bit


def ascii_field(field: str | bytes) -> bytes:
    raw = (field.encode() if isinstance(field, str) else field) + b"\r\n"
    result = seven_bit(raw.partition(b":")[0].lower(), raw)
    assert result is not None
    assert result.isascii()
    assert result.endswith(b"\r\n")
    return result


class Unstructured(SynchronousTestCase):
    """RFC 5322 2.2.1."""

    def test_only_the_words_that_need_it(self) -> None:
        # RFC 2047 2, 5; RFC 5322 2.2.1
        self.assertEqual(
            ascii_field("Subject: Re: Grüße an  alle"), b"Subject: Re: =?utf-8?Q?Gr=C3=BC=C3=9Fe?= an  alle\r\n"
        )

    def test_what_is_no_utf8_has_no_known_name(self) -> None:
        # RFC 1428 3
        self.assertEqual(ascii_field(b"Subject:J\xf6rg"), b"Subject: =?unknown-8bit?Q?J=F6rg?=\r\n")

    def test_white_space_between_encoded_words_is_kept(self) -> None:
        # RFC 2047 6.2
        result = ascii_field("Subject: =?utf-8?Q?=C3=A4?= ö ü =?utf-8?Q?=C3=A4?=")
        self.assertEqual(message_from_bytes(result + b"\r\n", policy=default)["Subject"], "ä ö ü ä")

    def test_no_line_is_too_long_and_no_character_parted(self) -> None:
        result = ascii_field("Subject: " + "ö" * 300)
        self.assertTrue(all(len(line) <= 76 for line in result.split(b"\r\n")))
        for part, charset in decode_header(result.partition(b":")[2].decode().strip()):
            assert isinstance(part, bytes)
            self.assertEqual((part.decode(str(charset)).strip("ö"), charset), ("", "utf-8"))

    @given(
        st.text(
            st.characters(min_codepoint=0x20, exclude_categories=("Cs",), exclude_characters="\x7f=?"),
            min_size=1,
            max_size=200,
        )
    )
    def test_a_reader_sees_the_same(self, text: str) -> None:
        text = " ".join(text.split(" ")).strip()
        if text.isascii() or any(character.isspace() and character != " " for character in text) or "  " in text:
            return
        shown = message_from_bytes(ascii_field("X-Text: " + text) + b"\r\n", policy=default)["X-Text"]
        self.assertEqual(shown.strip(), text)  # its first word may stand on a line of its own


class Addresses(SynchronousTestCase):
    """RFC 5322 3.4."""

    def test_display_names(self) -> None:
        # RFC 2047 5 (3); RFC 5322 3.4
        result = ascii_field(
            'To: Jörg Müller <j@a.example>, "Grüße, \\"an\\"" <g@a.example>,\r\n\tplain <p@a.example>, q@a.example'
        )
        parsed = message_from_bytes(result + b"\r\n", policy=default)["To"].addresses
        self.assertEqual(
            [(address.display_name, address.addr_spec) for address in parsed],
            [
                ("Jörg Müller", "j@a.example"),
                ('Grüße, "an"', "g@a.example"),
                ("plain", "p@a.example"),
                ("", "q@a.example"),
            ],
        )

    def test_groups_and_comments(self) -> None:
        self.assertEqual(
            ascii_field("Cc: Gäste: a@a.example (Jörg), b@b.example;"),
            b"Cc: =?utf-8?Q?G=C3=A4ste?=: a@a.example (=?utf-8?Q?J=C3=B6rg?=), b@b.example;\r\n",
        )

    def test_an_address_has_no_other_form(self) -> None:
        for field in (
            "To: jörg@a.example",
            "To: Jörg <jörg@a.example>",
            'From: "jörg"@a.example',
            "From: =?utf-8?Q?=C3=A4?= Jörg <a@a.example>",
            "From: J (ö) <a@a.example>ö",
            'From: "Jörg <a@a.example>',
            "Message-ID: <ö@a.example>",
            "Received: from ö by us",
            "DKIM-Signature: ö",
            "Näme: x",
        ):
            raw = field.encode() + b"\r\n"
            self.assertIsNone(seven_bit(raw.partition(b":")[0].lower(), raw), field)


class Parameters(SynchronousTestCase):
    """RFC 2045 5.1, RFC 2183."""

    def test_a_file_name(self) -> None:
        # RFC 2231 4
        result = ascii_field('Content-Disposition: attachment; filename="Größe 1.txt"; size=3')
        self.assertEqual(
            result, b"Content-Disposition: attachment; filename*=utf-8''Gr%C3%B6%C3%9Fe%201.txt;\r\n size=3\r\n"
        )
        self.assertEqual(message_from_bytes(result + b"\r\n").get_filename(), "Größe 1.txt")

    def test_a_long_one_in_parts(self) -> None:
        # RFC 2231 3
        result = ascii_field("Content-Type: text/plain; name=" + "ö" * 99)
        self.assertTrue(all(len(line) <= 76 for line in result.split(b"\r\n")))
        self.assertEqual(message_from_bytes(result + b"\r\n").get_filename(), "ö" * 99)

    def test_what_cannot_be_read_stays(self) -> None:
        for field in (
            "Content-Type: multipart/mixed; boundary=ö",
            "Content-Type: text/plain; name*=ö",
            'Content-Type: text/plain; name="ö',
            "Content-Type: ö",
        ):
            raw = field.encode() + b"\r\n"
            self.assertIsNone(seven_bit(raw.partition(b":")[0].lower(), raw), field)
