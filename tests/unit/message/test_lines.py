"""CRLF into LF, whole and in chunks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.message.lines import LfStream, to_lf

pieces = st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b".", b""]), max_size=20)


class LineEnds(SynchronousTestCase):
    def test_only_crlf_is_a_line_end(self) -> None:
        self.assertEqual(to_lf(b"a\r\nb\rc\nd\r\r\n"), b"a\nb\rc\nd\r\n")

    @given(pieces)
    def test_every_cut_gives_the_same(self, chunks: list[bytes]) -> None:
        stream = LfStream()
        self.assertEqual(
            b"".join([stream.feed(chunk) for chunk in chunks] + [stream.finish()]), to_lf(b"".join(chunks))
        )

    @given(st.lists(st.binary(max_size=10), max_size=8))
    def test_what_came_by_smtp_can_be_had_back(self, lines: list[bytes]) -> None:
        # RFC 5321 2.3.8: neither CR nor LF alone
        octets = b"\r\n".join(line.replace(b"\r", b"").replace(b"\n", b"") for line in lines) + b"\r\n"
        self.assertEqual(to_lf(octets).replace(b"\n", b"\r\n"), octets)
