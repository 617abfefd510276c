"""Quoted-printable, checked against the standard library's decoder."""

from __future__ import annotations

import quopri

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.message.quoted import encode, is_plain

near = st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b" ", b"\t", b"=", b"\xe9", b"a" * 37, b"\0"]), max_size=30)


class QuotedPrintable(SynchronousTestCase):
    @given(st.one_of(st.binary(max_size=300), near.map(b"".join)))
    def test_decoding_gives_the_octets_back(self, octets: bytes) -> None:
        encoded = encode(octets)
        self.assertTrue(is_plain(encoded))
        # RFC 2045 6.7 rule 5
        self.assertTrue(all(len(line) <= 76 for line in encoded.split(b"\r\n")))
        self.assertFalse(any(line.endswith((b" ", b"\t")) for line in encoded.split(b"\r\n")))
        self.assertEqual(quopri.decodestring(encoded), octets)

    def test_plain(self) -> None:
        self.assertTrue(is_plain(b"Subject: x\r\n\tfolded\r\n"))
        for odd in (b"\xe9", b"\0", b"a\rb", b"a\nb", b"x" * 999, b"\x7f", b"ok\r\n" + b"x" * 999):
            self.assertFalse(is_plain(odd), odd)
