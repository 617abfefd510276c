"""The mbox form: what a reader of such files gets back."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.message.mbox import FromQuoting, from_line


def quoted(*chunks: bytes) -> bytes:
    quoting = FromQuoting()
    return b"".join([*map(quoting.feed, chunks), quoting.finish()])


class Mbox(SynchronousTestCase):
    def test_the_line_that_begins_a_message(self) -> None:
        self.assertEqual(from_line(Address("ann", "a.example"), 0), b"From ann@a.example Thu Jan  1 00:00:00 1970\n")
        self.assertTrue(from_line(None, 0).startswith(b"From MAILER-DAEMON Thu"))

    def test_a_sender_cannot_add_a_line_or_a_date(self) -> None:
        line = from_line(Address("a b\nFrom x", "a.example"), 0)
        self.assertEqual(line, b'From "a_b_From_x"@a.example Thu Jan  1 00:00:00 1970\n')

    def test_lines_that_look_like_one_are_quoted(self) -> None:
        # RFC 4155
        octets = b"From a\n>From b\n From c\nFromage\nx From d\n>>>From e\nFrom"
        self.assertEqual(quoted(octets), b">From a\n>>From b\n From c\nFromage\nx From d\n>>>>From e\nFrom")

    @given(st.lists(st.sampled_from([b"F", b"r", b"o", b"m", b" ", b">", b"\n", b"From ", b"x", b""]), max_size=40))
    def test_wherever_it_is_cut_and_back_again(self, chunks: list[bytes]) -> None:
        whole = b"".join(chunks)
        out = quoted(*chunks)
        self.assertEqual(out, quoted(whole))
        self.assertIsNone(re.search(rb"^From ", out, re.MULTILINE))
        self.assertEqual(re.sub(rb"^>(>*From )", rb"\1", out, flags=re.MULTILINE), whole)
