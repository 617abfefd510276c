"""Command lines and message data: the same result however the network cuts them."""

import itertools

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.smtp.wire import BareNewline, ChunkDecoder, CommandSplitter, DataDecoder, LineTooLong

TOO_LONG = "too long"
BARE = "bare"


def cuts(octets: bytes) -> list[list[bytes]]:
    """Whole, byte by byte, and in two at every point."""
    ways = [[octets], [octets[i : i + 1] for i in range(len(octets))]]
    ways += [[octets[:i], octets[i:]] for i in range(1, len(octets))]
    return ways


def split(pieces: list[bytes], limit: int = 512) -> list[bytes | str]:
    splitter = CommandSplitter(limit)
    lines: list[bytes | str] = []
    for piece in pieces:
        splitter.feed(piece)
        while True:
            try:
                line = splitter.next_line()
            except LineTooLong:
                lines.append(TOO_LONG)
                continue
            except BareNewline:
                lines.append(BARE)
                continue
            if line is None:
                break
            lines.append(line)
    return lines


class Lines(SynchronousTestCase):
    def test_every_cut_gives_the_same_lines(self) -> None:
        octets = b"EHLO a\r\n\r\nMAIL FROM:<>\r\nNOOP\nQUIT\r\nrest"
        for pieces in cuts(octets):
            self.assertEqual(split(pieces), [b"EHLO a", b"", b"MAIL FROM:<>", BARE, b"QUIT"])

    def test_line_over_the_limit_is_skipped_to_its_end(self) -> None:
        # RFC 5321 4.5.3.1.4
        octets = b"A" * 20 + b"\r\nQUIT\r\n"
        for pieces in cuts(octets):
            self.assertEqual(split(pieces, 10), [TOO_LONG, b"QUIT"])

    def test_limit_counts_the_crlf(self) -> None:
        self.assertEqual(split([b"A" * 8 + b"\r\n"], 10), [b"A" * 8])
        self.assertEqual(split([b"A" * 9 + b"\r\n"], 10), [TOO_LONG])

    def test_line_without_end_is_not_kept(self) -> None:
        splitter = CommandSplitter(512)
        for _ in range(1000):
            splitter.feed(b"x" * 1000)
            self.assertIsNone(splitter.next_line())
            self.assertLessEqual(splitter.waiting, 1000)
        splitter.feed(b"\r\nQUIT\r\n")
        self.assertRaises(LineTooLong, splitter.next_line)
        self.assertEqual(splitter.next_line(), b"QUIT")

    def test_nothing_before_a_bare_newline_is_run(self) -> None:
        # RFC 5321 2.3.8
        for pieces in cuts(b"NOOP\nRCPT TO:<a@b>\r\n"):
            self.assertEqual(split(pieces), [BARE, b"RCPT TO:<a@b>"])


def decode(pieces: list[bytes], limit: int = 1000) -> tuple[bytes, bytes, DataDecoder]:
    decoder = DataDecoder(limit)
    body, rest = b"", b""
    for piece in pieces:
        if decoder.done:
            rest += piece
            continue
        body += decoder.feed(piece)
        if decoder.done:
            rest = decoder.rest
    return body, rest, decoder


class Data(SynchronousTestCase):
    def test_every_cut_gives_the_same_message(self) -> None:
        # RFC 5321 4.5.2
        octets = b"Subject: x\r\n\r\n..dot\r\n...\r\nend\r\n.\r\nQUIT\r\n"
        for pieces in cuts(octets):
            body, rest, decoder = decode(pieces)
            self.assertEqual(body, b"Subject: x\r\n\r\n.dot\r\n..\r\nend\r\n")
            self.assertEqual(rest, b"QUIT\r\n")
            self.assertEqual(decoder.size, len(body))
            self.assertFalse(decoder.bare or decoder.nul or decoder.line_too_long or decoder.eight_bit)

    def test_empty_message(self) -> None:
        for pieces in cuts(b".\r\nNOOP\r\n"):
            body, rest, decoder = decode(pieces)
            self.assertEqual((body, rest, decoder.size), (b"", b"NOOP\r\n", 0))

    def test_only_crlf_dot_crlf_ends_data(self) -> None:
        # RFC 5321 4.1.1.4; CVE-2023-51764, CVE-2023-51765, CVE-2023-51766
        for end in (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n.\r", b"\r\n.\r\r\n"):
            octets = b"a" + end + b"MAIL FROM:<x@y>\r\n.\r\n"
            for pieces in cuts(octets):
                body, rest, decoder = decode(pieces)
                self.assertTrue(decoder.done)
                self.assertTrue(decoder.bare, (end, pieces))
                self.assertEqual(rest, b"")
                self.assertIn(b"MAIL FROM", body)

    def test_nul_and_eight_bit_are_told(self) -> None:
        for pieces in cuts(b"a\0b\r\n\xc3\xa4\r\n.\r\n"):
            decoder = decode(pieces)[2]
            self.assertTrue(decoder.nul)
            self.assertTrue(decoder.eight_bit)

    def test_line_limit_counts_the_crlf(self) -> None:
        # RFC 5321 4.5.3.1.6
        for length, wrong in ((8, False), (9, True), (40, True)):
            for before, after in ((b"", b""), (b"ab\r\n", b""), (b"", b"cd\r\n"), (b"ab\r\n", b"cd\r\n")):
                for pieces in cuts(before + b"x" * length + b"\r\n" + after + b".\r\n"):
                    self.assertIs(decode(pieces, 10)[2].line_too_long, wrong, (length, pieces))

    @given(
        st.lists(st.sampled_from([b"\r\n", b".", b"a", b"\r", b"\n", b"bcd", b"\0"]), max_size=30),
        st.lists(st.integers(0, 60), max_size=6),
    )
    def test_any_octets_any_cuts(self, parts: list[bytes], where: list[int]) -> None:
        octets = b"".join(parts) + b"\r\n.\r\nNEXT"
        places = [0, *sorted(min(place, len(octets)) for place in where), len(octets)]
        pieces = [octets[a:b] for a, b in itertools.pairwise(places)]
        once, many = decode([octets], 12), decode(pieces, 12)
        self.assertEqual(once[:2], many[:2])
        self.assertEqual(
            [getattr(once[2], name) for name in ("bare", "nul", "line_too_long", "size")],
            [getattr(many[2], name) for name in ("bare", "nul", "line_too_long", "size")],
        )
        self._against_plain_reading(octets, *once)

    def _against_plain_reading(self, octets: bytes, body: bytes, rest: bytes, decoder: DataDecoder) -> None:
        """The same by a reading so slow that it is plainly right."""
        lines = octets.split(b"\r\n")
        end = lines.index(b".")
        expected = [line[1:] if line.startswith(b".") else line for line in lines[:end]]
        self.assertEqual(body, b"".join(line + b"\r\n" for line in expected))
        self.assertEqual(rest, b"\r\n".join(lines[end + 1 :]))
        self.assertIs(decoder.bare, any(b"\r" in line or b"\n" in line for line in lines[:end]))
        self.assertIs(decoder.line_too_long, any(len(line) + 2 > 12 for line in expected))


def chunks(pieces: list[bytes], sizes: list[int], binary: bool = False) -> tuple[bytes, bytes, ChunkDecoder]:
    """The octets as chunks of these sizes, each begun as a session does; what is left over; the decoder."""
    decoder = ChunkDecoder(12, binary)
    waiting = list(sizes)
    body, rest = b"", b""
    decoder.begin(waiting.pop(0))
    for piece in pieces:
        while piece:
            while decoder.done and waiting:
                decoder.begin(waiting.pop(0))
            if decoder.done:
                rest += piece
                break
            body += decoder.feed(piece)
            piece = decoder.rest
    decoder.end()
    return body, rest, decoder


class Chunks(SynchronousTestCase):
    def test_every_cut_gives_the_same_message(self) -> None:
        # RFC 3030 2
        octets = b"a\r\n.\r\nQUIT\r\n\xfc\r\nNOOP\r\n"
        for pieces in cuts(octets):
            body, rest, decoder = chunks(pieces, [2, 0, 4, 1, 8])
            self.assertEqual((body, rest), (octets[:15], octets[15:]))
            self.assertTrue(decoder.eight_bit)
            self.assertEqual(decoder.size, 15)
            self.assertFalse(decoder.bare or decoder.nul or decoder.line_too_long)

    def test_binary_octets_are_no_lines(self) -> None:
        # RFC 3030 3
        octets = b"\0\r\r\n\n" + b"x" * 50
        for binary in (True, False):
            decoder = chunks([octets], [20, len(octets) - 20], binary)[2]
            self.assertEqual({decoder.bare, decoder.nul, decoder.line_too_long}, {not binary})
            self.assertFalse(decoder.eight_bit)

    @given(
        st.lists(st.sampled_from([b"\r\n", b".", b"a", b"\r", b"\n", b"bcd", b"\0", b"\xff"]), max_size=30),
        st.lists(st.integers(0, 60), max_size=6),
        st.lists(st.integers(0, 20), max_size=6),
    )
    def test_any_octets_any_cuts_any_chunks(self, parts: list[bytes], where: list[int], sizes: list[int]) -> None:
        octets = b"".join(parts)
        sizes = [size for size in sizes if size] + [len(octets)]
        places = [0, *sorted(min(place, len(octets)) for place in where), len(octets)]
        pieces = [octets[a:b] for a, b in itertools.pairwise(places)]
        body, rest, decoder = chunks(pieces, sizes)
        self.assertEqual((body, rest), (octets, b""))
        lines = octets.split(b"\r\n")
        self.assertIs(decoder.bare, any(b"\r" in line or b"\n" in line for line in lines))
        self.assertIs(decoder.nul, b"\0" in octets)
        self.assertIs(decoder.eight_bit, not octets.isascii())
        longest = max([len(line) + 2 for line in lines[:-1]] + [len(lines[-1]) + 2])
        if not decoder.bare:
            self.assertIs(decoder.line_too_long, longest > 12)

    def test_splitter_gives_a_chunk_and_no_more(self) -> None:
        splitter = CommandSplitter(100)
        splitter.feed(b"BDAT 3\r\nabcNOOP\r\n")
        self.assertEqual(splitter.next_line(), b"BDAT 3")
        self.assertEqual(splitter.take(3), b"abc")
        self.assertEqual(splitter.next_line(), b"NOOP")
        self.assertEqual(splitter.take(3), b"")


class LongerLines(SynchronousTestCase):
    def test_some_commands_may_have_longer_lines(self) -> None:
        # RFC 5321 4.5.3.1.4: by the extensions' parameters
        octets = b"mail" + b"x" * 14 + b"\r\nRCPT" + b"x" * 14 + b"\r\nMAIL" + b"x" * 15 + b"\r\n"
        for pieces in cuts(octets):
            splitter = CommandSplitter(10, {b"MAIL": 10})
            seen: list[bytes | str] = []
            for piece in pieces:
                splitter.feed(piece)
                while True:
                    try:
                        line = splitter.next_line()
                    except LineTooLong:
                        seen.append(TOO_LONG)
                        continue
                    if line is None:
                        break
                    seen.append(line)
            self.assertEqual(seen, [b"mail" + b"x" * 14, TOO_LONG, TOO_LONG])
