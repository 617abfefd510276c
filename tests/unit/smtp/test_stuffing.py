"""Dot stuffing, both ways: what is sent is what arrives, and no line of a message ends it (RFC 5321 4.5.2)."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.smtp.wire import DataDecoder, DotStuffer


def stuff(pieces: list[bytes]) -> bytes:
    stuffer = DotStuffer()
    return b"".join([*(stuffer.feed(piece) for piece in pieces), stuffer.end()])


def arrives(octets: bytes) -> bytes:
    """What a server makes of it; it must end with the last octet and not before."""
    decoder = DataDecoder(1 << 20)
    message = decoder.feed(octets)
    assert decoder.done
    assert decoder.rest == b""
    return message


def cut(octets: bytes, where: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(place, len(octets)) for place in where), len(octets)]
    return [octets[start:end] for start, end in itertools.pairwise(edges)]


CUTS = st.lists(st.integers(0, 80), max_size=6)
MESSAGE = b".\r\n..\r\na\r\n.b\r\n\r\n.\r\n.\r\nend."


class Stuffing(SynchronousTestCase):
    def test_every_cut_gives_the_same(self) -> None:
        whole = stuff([MESSAGE])
        self.assertEqual(whole, b"..\r\n...\r\na\r\n..b\r\n\r\n..\r\n..\r\nend.\r\n.\r\n")
        for place in range(len(MESSAGE) + 1):
            self.assertEqual(stuff([MESSAGE[:place], MESSAGE[place:]]), whole)
        self.assertEqual(stuff([bytes([octet]) for octet in MESSAGE]), whole)

    def test_ends(self) -> None:
        for message, octets in (
            (b"", b".\r\n"),
            (b"x", b"x\r\n.\r\n"),
            (b"x\r\n", b"x\r\n.\r\n"),
            (b"x\r", b"x\r\r\n.\r\n"),
            (b"x\n", b"x\n\r\n.\r\n"),
        ):
            self.assertEqual(stuff([message]), octets)

    def test_dot_after_what_a_careless_server_takes_for_a_line_end(self) -> None:
        # CVE-2023-51764: such a server finds no lone dot either
        for end in (b"\n", b"\r", b"\r\n"):
            for last in (b"\n", b"\r", b"\r\n"):
                octets = stuff([b"a" + end + b"." + last + b"MAIL FROM:<x@y.example>"])
                self.assertNotIn(end + b"." + last, octets.removesuffix(b"\r\n.\r\n"))

    @given(st.lists(st.sampled_from([b".", b"\r\n", b"a", b"\xff", b"..\r\n"]), max_size=40), CUTS)
    def test_what_is_sent_arrives(self, parts: list[bytes], where: list[int]) -> None:
        message = b"".join(parts)
        whole = message if message.endswith(b"\r\n") or not message else message + b"\r\n"
        self.assertEqual(arrives(stuff(cut(message, where))), whole)

    @given(st.lists(st.sampled_from([b".", b"\r", b"\n", b"a"]), max_size=40), CUTS)
    def test_any_octets_any_cuts(self, parts: list[bytes], where: list[int]) -> None:
        message = b"".join(parts)
        octets = stuff(cut(message, where))
        self.assertEqual(octets, stuff([message]))
        arrives(octets)  # bare line ends or not, only the true end ends it
        self.assertNotIn(b"\n.\n", octets)
        self.assertNotIn(b"\r.\r", octets.removesuffix(b"\r\n.\r\n"))
