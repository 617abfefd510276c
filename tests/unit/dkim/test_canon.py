"""The relaxed canonical forms: the examples of the RFC, another implementation's, and every way of cutting."""

from __future__ import annotations

from collections.abc import Iterable

from dkim.canonicalization import Relaxed
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.dkim.canon import RelaxedBody, relaxed_field
from mta.dkim.fields import signed_octets
from mta.message.header import scan

PIECES = st.lists(
    st.sampled_from(
        [b" ", b"\t", b"\r\n", b"\r\n\r\n", b" \r\n", b"\r", b"\n", b"a", b"bc", b"\xc3\xa9", b"  ", b"\x00"]
    ),
    max_size=40,
)


def body(chunks: Iterable[bytes]) -> bytes:
    found: list[bytes] = []
    relaxed = RelaxedBody(found.append)
    for chunk in chunks:
        relaxed.feed(chunk)
    relaxed.finish()
    return b"".join(found)


def plainly(octets: bytes) -> bytes:
    """RFC 6376 3.4.4, line by line."""
    lines = []
    for line in octets.split(b"\r\n"):
        words = line.replace(b"\t", b" ").rstrip(b" ")
        while b"  " in words:
            words = words.replace(b"  ", b" ")
        lines.append(words)
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)


class Fields(SynchronousTestCase):
    def test_the_example_of_the_rfc(self) -> None:
        # RFC 6376 3.4.5
        header = scan(b"A: X\r\nB : Y\t\r\n\tZ  \r\n\r\n")
        self.assertEqual(signed_octets(header, (b"a", b"b")), b"a:X\r\nb:Y Z\r\n")

    def test_an_empty_one(self) -> None:
        # RFC 6376 3.4.2
        self.assertEqual(relaxed_field(b"Subject", b" \r\n \r\n"), b"subject:\r\n")

    def test_only_white_space_is(self) -> None:
        self.assertEqual(relaxed_field(b"x", b" a\x0b\x0c b\r\n"), b"x:a\x0b\x0c b\r\n")

    @given(st.lists(st.sampled_from([b" ", b"\t", b"\r\n ", b"\r\n\t", b"a", b"b:", b"\xff"]), max_size=20))
    def test_as_dkimpy(self, parts: list[bytes]) -> None:
        value = b"".join(parts) + b"\r\n"
        ((name, theirs),) = Relaxed.canonicalize_headers([(b"Name", value)])
        self.assertEqual(relaxed_field(b"Name", value), name + b":" + theirs)


class Bodies(SynchronousTestCase):
    def test_the_example_of_the_rfc(self) -> None:
        # RFC 6376 3.4.5
        self.assertEqual(body([b" C \r\nD \t E\r\n\r\n\r\n"]), b" C\r\nD E\r\n")

    def test_nothing(self) -> None:
        # RFC 6376 3.4.4: an empty body stays empty, and one of empty lines becomes it.
        for octets in (b"", b"\r\n", b"\r\n \r\n\t\r\n", b" ", b"\t \t"):
            self.assertEqual(body([octets]), b"")

    def test_a_line_without_end(self) -> None:
        # RFC 6376 3.4.4 b
        self.assertEqual(body([b"a"]), b"a\r\n")
        self.assertEqual(body([b"a \t"]), b"a\r\n")

    def test_only_crlf_ends_a_line(self) -> None:
        self.assertEqual(body([b"a\n\r\n\r"]), b"a\n\r\n\r\r\n")
        self.assertEqual(body([b"\n\n"]), b"\n\n\r\n")

    def test_very_many_empty_lines(self) -> None:
        lines = b"\r\n" * 10_000
        self.assertEqual(body([b"a", lines, lines, b"b"]), b"a" + lines + lines + b"b\r\n")
        self.assertEqual(body([b"a", lines, lines]), b"a\r\n")

    def test_what_is_kept_is_bounded(self) -> None:
        found: list[bytes] = []
        relaxed = RelaxedBody(found.append)
        for _ in range(100):
            relaxed.feed(b" \t" * 1000)
        self.assertLess(sum(map(len, found)), 2)
        for _ in range(100):
            relaxed.feed(b"\r\n" * 1000)
        relaxed.feed(b"x")
        self.assertLess(max(map(len, found)), 10_000)
        self.assertEqual(len(b"".join(found)), 200_001)

    @given(PIECES)
    @example([b"\r", b"\n"])
    @example([b"a", b" ", b"\r", b"\n", b" "])
    def test_as_the_rfc_says(self, parts: list[bytes]) -> None:
        octets = b"".join(parts)
        self.assertEqual(body([octets]), plainly(octets))

    @given(PIECES)
    def test_as_dkimpy(self, parts: list[bytes]) -> None:
        # As SMTP has it: it ends with a line's end and has no lone CR or LF, of which dkimpy thinks otherwise.
        octets = b"".join(part for part in parts if part not in (b"\r", b"\n")) + b"\r\n"
        self.assertEqual(body([octets]), Relaxed.canonicalize_body(octets))

    @given(PIECES)
    def test_wherever_it_is_cut(self, parts: list[bytes]) -> None:
        octets = b"".join(parts)
        whole = body([octets])
        self.assertEqual(body(parts), whole)
        for cut in range(len(octets)):
            self.assertEqual(body([octets[:cut], octets[cut:]]), whole)
        self.assertEqual(body(octets[at : at + 1] for at in range(len(octets))), whole)
