"""The header scanner: where fields stand, on real headers and on any octets."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.message.edits import apply
from mta.message.header import header_end, scan

MESSAGE = (
    b"Received: from a.example\r\n\tby b.example; Mon, 1 Jan 2024 00:00:00 +0000\r\n"
    b"received: from c.example\r\n"
    b"Subject:  a folded\r\n   subject \r\n"
    b"X-Empty:\r\n"
    b"\r\n"
    b"Subject: not this one\r\n"
)
# Octets that come near to what a header is made of, beside any others.
near = st.lists(
    st.sampled_from(
        [b"\r\n", b"\r", b"\n", b" ", b"\t", b":", b"A", b"received", b"Date:", b"\0", b"\xff", b"\r\n\r\n"]
    ),
    max_size=30,
).map(b"".join)
anything = st.one_of(st.binary(max_size=80), near)


class Scan(SynchronousTestCase):
    def test_fields_in_order_with_their_offsets(self) -> None:
        header = scan(MESSAGE)
        self.assertEqual([field.name for field in header.fields], [b"received", b"received", b"subject", b"x-empty"])
        self.assertEqual(header.value(header.fields[1]), b"from c.example")
        first = header.fields[0]
        self.assertTrue(MESSAGE[first.start : first.end].endswith(b"+0000\r\n"))
        self.assertTrue(MESSAGE[header.end :].startswith(b"Subject: not"))
        self.assertTrue(header.wellformed)

    def test_names_are_compared_without_case_and_the_body_does_not_count(self) -> None:
        header = scan(MESSAGE)
        self.assertEqual((header.count(b"received"), header.count(b"subject"), header.count(b"date")), (2, 1, 0))

    def test_a_value_is_unfolded(self) -> None:
        # RFC 5322 2.2.3
        self.assertEqual(scan(MESSAGE).get(b"subject"), b"a folded   subject")
        self.assertEqual(scan(MESSAGE).get(b"x-empty"), b"")
        self.assertIsNone(scan(MESSAGE).get(b"date"))

    def test_white_space_before_the_colon_is_seen(self) -> None:
        # RFC 5322 4.5: obsolete, and a way to hide a field from a filter
        self.assertEqual(scan(b"Date \t: x\r\n\r\n").count(b"date"), 1)

    def test_a_line_that_is_no_field_is_told(self) -> None:
        header = scan(b"From someone Mon Jan  1\r\n folded\r\nSubject: x\r\n\r\n")
        self.assertEqual([field.name for field in header.fields], [b"", b"subject"])
        self.assertTrue(header.complete)
        self.assertFalse(header.wellformed)

    def test_without_an_empty_line_all_is_header(self) -> None:
        header = scan(b"Subject: x\r\nDate: y")
        self.assertEqual(header.end, 19)
        self.assertFalse(header.complete)
        self.assertEqual(header.get(b"date"), b"y")

    def test_no_header_at_all(self) -> None:
        for octets in (b"", b"\r\n", b"\r\nbody"):
            header = scan(octets)
            self.assertEqual((header.fields, header.end), ((), min(2, len(octets))))

    def test_a_bare_newline_begins_no_field(self) -> None:
        # RFC 5321 2.3.8
        header = scan(b"Subject: x\nDate: forged\rReceived: forged\r\n\r\n")
        self.assertEqual([field.name for field in header.fields], [b"subject"])

    def test_fields_are_cut_out_by_edits(self) -> None:
        self.assertEqual(apply(MESSAGE, scan(MESSAGE).cuts(b"received")), MESSAGE[MESSAGE.index(b"Subject:  a") :])

    @given(anything)
    @example(b"\r\n :\r\n\r\n")
    @example(b"A:\r\n\r")
    @example(b"A:\r\n \r\n\r\n")
    def test_any_octets_scan_and_the_fields_leave_no_gap(self, octets: bytes) -> None:
        header = scan(octets)
        position = 0
        for field in header.fields:
            self.assertEqual(field.start, position)
            self.assertTrue(field.start <= field.value_start <= field.end)
            self.assertLess(field.start, field.end)
            position = field.end
        self.assertEqual(position, header.end - (2 if header.complete else 0))
        self.assertEqual(header.end, header_end(octets))
        if header.complete:
            self.assertEqual(octets[header.end - 2 : header.end], b"\r\n")

    @given(anything)
    def test_the_count_is_that_of_the_fields(self, octets: bytes) -> None:
        header = scan(octets)
        names = [field.name for field in header.fields if field.name]
        for name in {*names, b"received", b"a"}:
            self.assertEqual(header.count(name), names.count(name))

    @given(anything)
    def test_a_value_has_no_line_break_of_its_own(self, octets: bytes) -> None:
        header = scan(octets)
        for field in header.fields:
            self.assertNotIn(b"\r\n", header.value(field))
