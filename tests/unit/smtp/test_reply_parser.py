"""Replies of a server: the same for every cut, bounded, and nothing taken for a reply that is none."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.reply import Reply
from mta.smtp.wire import BadReply, ReplyParser

WIRE = (
    b"220-mx.b.example ESMTP\r\n220 no spam\r\n"
    b"250-mx.b.example\r\n250-SIZE 1000\r\n250 PIPELINING\r\n"
    b"250 2.1.0 Ok\r\n550-5.1.1 No such\r\n550 5.1.1 mailbox\r\n354\r\n451 5.7.1 not of its class\r\n"
)
REPLIES = [
    Reply(220, "", ("mx.b.example ESMTP", "no spam")),
    Reply(250, "", ("mx.b.example", "SIZE 1000", "PIPELINING")),
    Reply(250, "2.1.0", ("Ok",)),
    Reply(550, "5.1.1", ("No such", "mailbox")),
    Reply(354),
    Reply(451, "", ("5.7.1 not of its class",)),
]


def parse(pieces: list[bytes]) -> tuple[list[Reply], str, bool]:
    """The replies, what was wrong, and whether one is not finished."""
    parser, replies = ReplyParser(), []
    try:
        for piece in pieces:
            for reply in parser.feed(piece):
                replies.append(reply)
    except BadReply as error:
        return replies, str(error), False
    return replies, "", parser.pending


def cut(octets: bytes, where: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(place, len(octets)) for place in where), len(octets)]
    return [octets[start:end] for start, end in itertools.pairwise(edges)]


class Replies(SynchronousTestCase):
    def test_every_cut_gives_the_same(self) -> None:
        for place in range(len(WIRE) + 1):
            self.assertEqual(parse([WIRE[:place], WIRE[place:]]), (REPLIES, "", False))
        self.assertEqual(parse([bytes([octet]) for octet in WIRE])[0], REPLIES)

    def test_bare_newline_ends_a_line(self) -> None:
        self.assertEqual(parse([b"250-a\n250 b\n"])[0], [Reply(250, "", ("a", "b"))])

    def test_beginning_of_a_reply_is_pending(self) -> None:
        for beginning in (b"2", b"250-a\r\n", b"250 a\r"):
            self.assertEqual(parse([beginning]), ([], "", True))

    def test_what_is_no_reply(self) -> None:
        for line in (b"", b"25", b"ok", b"1000 x", b"100 x", b"600 x", b"250x", b"\xb2\xb2\xb2 x", b"-50 x"):
            self.assertTrue(parse([b"250 ok\r\n" + line + b"\r\n"])[1], line)

    def test_what_is_good_before_it_counts(self) -> None:
        for pieces in ([b"250 ok\r\nno reply\r\n"], [b"250 ok\r\n", b"no reply\r\n"]):
            self.assertEqual(parse(pieces)[0], [Reply(250, "", ("ok",))])

    def test_lines_of_one_reply_have_one_code(self) -> None:
        # RFC 5321 4.2.1
        self.assertIn("differ", parse([b"250-a\r\n550 b\r\n"])[1])

    def test_it_keeps_no_endless_line_and_no_endless_reply(self) -> None:
        self.assertTrue(parse([b"250 " + b"x" * 13_000])[1])
        self.assertTrue(parse([b"250 " + b"x" * 13_000 + b"\r\n"])[1])
        self.assertTrue(parse([b"250-x\r\n"] * 201)[1])
        for lines, wrong in ((3, False), (4, True)):
            reply = [b"250-" + b"x" * 8188 + b"\r\n"] * lines + [b"250 x\r\n"]
            self.assertEqual(bool(parse(reply * 2)[1]), wrong)

    def test_longest_line_is_one_for_every_cut(self) -> None:
        # RFC 5321 4.5.3.1.5
        for more, wrong in ((0, False), (1, True)):
            line = b"250 " + b"x" * (ReplyParser.MAX_LINE - 4 + more) + b"\r\n"
            for place in (1, len(line) - 2, len(line) - 1, len(line)):
                self.assertEqual(bool(parse([line[:place], line[place:]])[1]), wrong)

    def test_text_that_is_no_utf_8(self) -> None:
        self.assertEqual(parse([b"550 n\xf8\r\n"])[0][0].text, "n\ufffd")

    def test_enhanced_code_only_where_it_stands_alone(self) -> None:
        # RFC 2034 4, RFC 3463 2
        for text, enhanced in (
            (b"5.1.1 x", "5.1.1"),
            (b"5.1.1", "5.1.1"),
            (b"5.1.1x", ""),
            (b"5.1 x", ""),
            (b"5.1.1000 x", ""),
        ):
            self.assertEqual(parse([b"550 " + text + b"\r\n"])[0][0].enhanced, enhanced)

    @given(
        st.lists(st.sampled_from([b"250 ", b"250-", b"550 5.1.1 ", b"x", b"\r\n", b"\n", b"\r", b"\xff"]), max_size=30),
        st.lists(st.integers(0, 100), max_size=6),
    )
    def test_any_octets_any_cuts(self, parts: list[bytes], where: list[int]) -> None:
        octets = b"".join(parts)
        self.assertEqual(parse(cut(octets, where)), parse([octets]))
