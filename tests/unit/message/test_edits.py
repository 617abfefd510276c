"""Edits: applied to octets whole, and to the same octets in any chunks."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.message.edits import Edit, EditedStream, apply, growth, merge


@st.composite
def edited(draw: st.DrawFn) -> tuple[bytes, tuple[Edit, ...]]:
    """Octets, and edits of them that do not overlap."""
    octets = draw(st.binary(max_size=60))
    edits: list[Edit] = []
    position = 0
    for _ in range(draw(st.integers(0, 5))):
        offset = draw(st.integers(position, max(position, len(octets))))
        cut = draw(st.integers(0, max(0, len(octets) - offset)))
        edits.append(Edit(offset, cut, draw(st.binary(max_size=8))))
        position = offset + cut
    return octets, merge(edits)


class Apply(SynchronousTestCase):
    def test_put_in_cut_out_and_replace(self) -> None:
        edits = merge([Edit(0, 0, b"Received: x\r\n"), Edit(3, 2, b""), Edit(6, 1, b"!!")])
        self.assertEqual(apply(b"0123456789", edits), b"Received: x\r\n0125!!789")
        self.assertEqual(growth(edits), 13 - 2 + 1)

    def test_none_changes_nothing(self) -> None:
        self.assertEqual(apply(b"as it came", ()), b"as it came")

    def test_at_the_very_end(self) -> None:
        self.assertEqual(apply(b"ab", [Edit(2, 0, b"c"), Edit(2, 0, b"d")]), b"abcd")

    @given(edited())
    def test_the_size_is_told_by_growth(self, case: tuple[bytes, tuple[Edit, ...]]) -> None:
        octets, edits = case
        self.assertEqual(len(apply(octets, edits)), len(octets) + growth(edits))


class Stream(SynchronousTestCase):
    @given(edited(), st.lists(st.integers(0, 60), max_size=6))
    def test_every_cut_gives_the_same(self, case: tuple[bytes, tuple[Edit, ...]], cuts: list[int]) -> None:
        octets, edits = case
        stream = EditedStream(edits)
        borders = sorted({0, *(min(cut, len(octets)) for cut in cuts), len(octets)})
        pieces = [stream.feed(octets[a:b]) for a, b in itertools.pairwise(borders)]
        self.assertEqual(b"".join(pieces) + stream.finish(), apply(octets, edits))

    def test_a_cut_over_several_chunks(self) -> None:
        stream = EditedStream([Edit(1, 5, b"-")])
        self.assertEqual([stream.feed(b"ab"), stream.feed(b"cd"), stream.feed(b"efgh")], [b"a-", b"", b"gh"])
        self.assertEqual(stream.finish(), b"")


class Merge(SynchronousTestCase):
    def test_at_one_offset_the_earlier_group_stands_first(self) -> None:
        self.assertEqual(
            merge([Edit(0, 0, b"a"), Edit(0, 0, b"b")], [Edit(0, 0, b"c")]),
            (Edit(0, 0, b"a"), Edit(0, 0, b"b"), Edit(0, 0, b"c")),
        )

    def test_what_overlaps_is_refused(self) -> None:
        for other in (Edit(4, 1, b""), Edit(3, 0, b"x"), Edit(1, 3, b"")):
            with self.assertRaises(ValueError):
                merge([Edit(2, 3, b"")], [other])
        with self.assertRaises(ValueError):
            merge([Edit(0, -1, b"")])
