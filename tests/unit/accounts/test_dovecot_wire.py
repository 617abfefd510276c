"""The protocols of Dovecot's authentication sockets."""

from __future__ import annotations

from base64 import b64encode

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.accounts.dovecot_wire import (
    Answer,
    BadAnswer,
    Handshake,
    Verdict,
    answer,
    auth_request,
    escaped,
    unescaped,
    user_answer,
    user_request,
)


class Requests(SynchronousTestCase):
    def test_a_password(self) -> None:
        self.assertEqual(
            auth_request(7, "bob@example.org", b"a\tb", "smtp"),
            b"AUTH\t7\tPLAIN\tservice=smtp\tsecured\tno-penalty\tnologin\tresp="
            + b64encode(b"\0bob@example.org\0a\tb")
            + b"\n",
        )

    def test_a_name_is_nothing_but_a_name(self) -> None:
        said = user_request(1, "a\tb\nUSER\t2\x01", "smtp")
        self.assertEqual(said, b"USER\t1\ta\x01tb\x01nUSER\x01t2\x011\tservice=smtp\n")
        self.assertEqual(said.count(b"\n"), 1)

    @given(st.binary(max_size=40))
    def test_what_is_escaped_comes_back(self, octets: bytes) -> None:
        made = escaped(octets)
        self.assertFalse({9, 10, 13, 0} & set(made))
        self.assertEqual(unescaped(made), octets)


class Answers(SynchronousTestCase):
    def test_verdicts(self) -> None:
        for line, wanted in (
            (b"OK\t1\tuser=bob@example.org\tx=y", Answer(1, Verdict.YES, "bob@example.org")),
            (b"OK\t1", Answer(1, Verdict.YES)),
            (b"FAIL\t2\tuser=bob", Answer(2, Verdict.NO, why="it says no")),
            (b"FAIL\t2\tuser=bob\tcode=user_disabled", Answer(2, Verdict.NO, why="user_disabled")),
            (b"FAIL\t2\tuser=bob\ttemp", Answer(2, Verdict.UNKNOWN, why="it cannot tell now")),
            (b"FAIL\t2\tcode=temp_fail\treason=a\x01tb", Answer(2, Verdict.UNKNOWN, why="a\tb")),
            (b"CONT\t3\t", Answer(3, Verdict.UNKNOWN, why="it cannot tell now")),
            (b"USER\t4\tbob\tuid=1", Answer(4, Verdict.YES, "bob")),
            (b"NOTFOUND\t5", Answer(5, Verdict.NO, why="no such user")),
        ):
            self.assertEqual(answer(line), wanted)
        self.assertIsNone(answer(b"MECH\tPLAIN\tplaintext"))
        self.assertIsNone(answer(b""))
        found = user_answer(b"FAIL\t6\treason=x")
        assert found is not None
        self.assertEqual(found.verdict, Verdict.UNKNOWN)

    def test_what_it_cannot_say(self) -> None:
        for line in (b"OK", b"OK\tx", b"OK\t-1", b"OK\t99999999999", b"OK\t1\tuser=\xff", b"OK\t1\tuser=a\x01z"):
            self.assertRaises(BadAnswer, answer, line)

    def test_the_handshake(self) -> None:
        one = Handshake(1, b"DONE")
        for line in (b"VERSION\t1\t2", b"MECH\tPLAIN\tplaintext", b"SPID\t1", b"COOKIE\tx"):
            one.line(line)
            self.assertFalse(one.done)
        one.line(b"DONE")
        self.assertTrue(one.done)
        self.assertRaises(BadAnswer, Handshake(1, b"DONE").line, b"VERSION\t2\t0")
        self.assertRaises(BadAnswer, Handshake(1, b"DONE").line, b"DONE")

    @given(st.binary(max_size=60))
    def test_nothing_else_is_raised(self, line: bytes) -> None:
        for read in (answer, user_answer):
            try:
                read(line)
            except BadAnswer:
                continue
