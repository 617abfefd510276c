"""The client with BDAT: what it sends in what pieces, and what it makes of every answer and every silence."""

from __future__ import annotations

from typing import Any

from client_harness import Chunks, ClientCase
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mta.envelope import Scope
from mta.smtp.client_chunks import AT_ONCE, WORTH_IT
from mta.smtp.client_values import Outgoing, Sent

EHLO = b"250-mx.b.example\r\n250-PIPELINING\r\n250 CHUNKING\r\n"
ALONE = b"250-mx.b.example\r\n250 CHUNKING\r\n"
MAIL = b"MAIL FROM:<ann@a.example>\r\n"
RCPT = b"RCPT TO:<bob@b.example>\r\n"
BIG = b"x" * WORTH_IT


class ChunkCase(ClientCase):
    ehlo = EHLO

    def setUp(self) -> None:
        super().setUp()
        self.ready(self.ehlo)

    def begin(self, *pieces: Any, rcpts: int = 1, size: int | None = None) -> Deferred[Sent]:
        self.chunks = Chunks(list(pieces))
        if size is None:
            size = sum(len(piece) for piece in pieces if isinstance(piece, bytes))
        names = (b"RCPT TO:<bob@b.example>",) * rcpts
        return self.client.send(Outgoing(MAIL[:-2], names, lambda: self.chunks, True, size))


class AtOnce(ChunkCase):
    def test_whole_transaction_in_one_write(self) -> None:
        # RFC 3030 2, RFC 2920 3.1, RFC 6928 2: nothing is stuffed, and the octets are counted
        sent = self.begin(b"Subject: x\r\n\r\n", b".dot\r\n", rcpts=2)
        self.assertEqual(self.seen(), MAIL + RCPT * 2 + b"BDAT 20 LAST\r\nSubject: x\r\n\r\n.dot\r\n")
        self.assertTrue(self.chunks.closed)
        self.server(b"250 ok\r\n250 ok\r\n550 5.1.1 no\r\n250 2.0.0 taken\r\n")
        self.assertEqual(self.codes(sent), [(250, "end of data", Scope.MESSAGE), (550, "RCPT", Scope.RECIPIENT)])
        self.assertTrue(self.client.usable)
        self.assertEqual(self.seen(), b"")

    def test_octets_that_are_no_text(self) -> None:
        self.begin(b"\0\r\n.\r\n\n.\n\r\xff")
        self.assertTrue(self.seen().endswith(b"BDAT 11 LAST\r\n\0\r\n.\r\n\n.\n\r\xff"))

    def test_connection_is_used_again(self) -> None:
        for _ in range(3):
            sent = self.begin(b"x\r\n")
            self.server(b"250 a\r\n250 b\r\n250 c\r\n")
            self.assertEqual(self.codes(sent), [(250, "end of data", Scope.MESSAGE)])
        self.assertNotIn(b"RSET", self.seen())

    def test_no_recipient_left(self) -> None:
        # RFC 3030 2: the chunk is refused, and the state is known only after RSET
        sent = self.begin(b"x\r\n")
        self.seen()
        self.server(b"250 ok\r\n550 no\r\n", b"554 no valid recipients\r\n")
        self.assertEqual(self.seen(), b"RSET\r\n")
        self.assertNoResult(sent)
        self.server(b"250 ok\r\n")
        self.assertEqual(self.codes(sent), [(550, "RCPT", Scope.RECIPIENT)])
        self.assertTrue(self.client.usable)

    def test_mail_refused(self) -> None:
        sent = self.begin(b"x\r\n", rcpts=2)
        self.server(b"451 4.7.1 later\r\n503 x\r\n503 x\r\n503 x\r\n", b"250 reset\r\n")
        self.assertEqual(self.codes(sent), [(451, "MAIL", Scope.MESSAGE)] * 2)

    def test_message_refused(self) -> None:
        sent = self.begin(b"x\r\n", rcpts=2)
        self.seen()
        self.server(b"250 ok\r\n250 ok\r\n550 no\r\n", b"554 5.7.1 spam\r\n")
        self.assertEqual(self.seen(), b"RSET\r\n")
        self.server(b"250 reset\r\n")
        self.assertEqual(self.codes(sent), [(554, "end of data", Scope.MESSAGE), (550, "RCPT", Scope.RECIPIENT)])

    def test_421_anywhere_ends_the_connection_and_concerns_the_host(self) -> None:
        # RFC 5321 3.8
        for turns, stage, in_doubt in (
            ((b"421 bye\r\n",), "MAIL", False),
            ((b"250 ok\r\n421 bye\r\n",), "RCPT", False),
            ((b"250 ok\r\n250 ok\r\n", b"421 bye\r\n"), "end of data", False),
        ):
            self.setUp()
            sent = self.begin(b"x\r\n")
            self.server(*turns)
            self.lose()
            self.assertEqual(self.codes(sent), [(421, stage, Scope.HOST)])
            self.assertEqual(self.result.lost_after_dot, in_doubt)

    def test_lost_at_each_step(self) -> None:
        # The server may have it in all of them: it was sent whole with MAIL.
        for octets, stage in ((b"", "MAIL"), (b"250 ok\r\n", "RCPT"), (b"250 ok\r\n250 ok\r\n", "end of data")):
            self.setUp()
            sent = self.begin(b"x\r\n")
            self.server(octets)
            self.lose()
            self.assertEqual(self.codes(sent), [(421, stage, Scope.HOST)])
            self.assertTrue(self.result.lost_after_dot)

    def test_silence_at_each_step(self) -> None:
        # RFC 5321 4.5.3.2.2, 4.5.3.2.3, 4.5.3.2.6
        for octets, stage, seconds in (
            (b"", "MAIL", 300),
            (b"250 ok\r\n", "RCPT", 300),
            (b"250 ok\r\n250 ok\r\n", "end of data", 600),
        ):
            self.setUp()
            sent = self.begin(b"x\r\n")
            self.server(octets)
            self.wait(seconds - 1)
            self.assertNoResult(sent)
            self.wait(3)
            self.assertEqual(self.codes(sent), [(421, stage, Scope.HOST)])

    def test_waits_for_the_spool(self) -> None:
        late: Deferred[bytes] = Deferred()
        sent = self.begin(b"one\r\n", late, size=10)
        self.assertEqual(self.seen(), b"")
        late.callback(b"two\r\n")
        self.assertEqual(self.seen(), MAIL + RCPT + b"BDAT 10 LAST\r\none\r\ntwo\r\n")
        self.server(b"250 ok\r\n250 ok\r\n250 ok\r\n")
        self.assertEqual(self.codes(sent)[0][0], 250)

    def test_message_that_cannot_be_read(self) -> None:
        # Nothing was sent: the connection is as it was.
        late: Deferred[bytes] = Deferred()
        sent = self.begin(b"one\r\n", late, size=10)
        late.errback(ValueError("damaged"))
        self.assertEqual(self.codes(sent), [(451, "data", Scope.MESSAGE)])
        self.assertEqual(self.seen(), b"")
        self.assertTrue(self.client.usable)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_message_far_longer_than_it_was_said_to_be(self) -> None:
        sent = self.begin(b"x" * AT_ONCE, b"x" * AT_ONCE, b"x", size=10)
        self.assertEqual(self.codes(sent), [(451, "data", Scope.MESSAGE)])
        self.assertEqual(self.seen(), b"")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_stopped_while_the_spool_is_waited_for(self) -> None:
        sent = self.begin(b"one\r\n", Deferred(), size=10)
        sent.cancel()
        self.assertEqual(self.codes(sent), [(421, "MAIL", Scope.HOST)])
        self.assertTrue(self.result.stopped)
        self.assertFalse(self.result.lost_after_dot)
        self.assertTrue(self.chunks.closed)


class ChunkByChunk(ChunkCase):
    def test_size_that_nobody_knows(self) -> None:
        sent = self.begin(b"x\r\n", size=0)
        self.assertEqual(self.seen(), MAIL + RCPT)
        self.server(b"250 ok\r\n250 ok\r\n")
        self.assertEqual(self.seen(), b"BDAT 3 LAST\r\nx\r\n")
        self.server(b"250 ok\r\n")
        self.assertEqual(self.codes(sent), [(250, "end of data", Scope.MESSAGE)])

    def test_empty(self) -> None:
        self.begin(size=0)
        self.seen()
        self.server(b"250 ok\r\n250 ok\r\n")
        self.assertEqual(self.seen(), b"BDAT 0 LAST\r\n")

    def test_chunks_follow_each_other(self) -> None:
        # RFC 3030 4.2
        sent = self.begin(BIG, BIG, b"end\r\n")
        self.seen()
        self.server(b"250 ok\r\n250 ok\r\n")
        head = b"BDAT %d\r\n" % WORTH_IT
        self.assertEqual(self.seen(), head + BIG + head + BIG + b"BDAT 5 LAST\r\nend\r\n")
        self.server(b"250 a\r\n", b"250 b\r\n")
        self.assertNoResult(sent)
        self.server(b"250 taken\r\n")
        self.assertEqual(self.codes(sent), [(250, "end of data", Scope.MESSAGE)])
        self.assertTrue(self.client.usable)

    def test_small_pieces_are_put_together(self) -> None:
        self.begin(*[b"x" * 1000] * 40)
        self.seen()
        self.server(b"250 ok\r\n250 ok\r\n")
        self.assertEqual(self.seen().count(b"BDAT"), 2)

    def test_no_recipient_left(self) -> None:
        sent = self.begin(BIG)
        self.seen()
        self.server(b"250 ok\r\n550 no\r\n")
        self.assertEqual(self.seen(), b"RSET\r\n")
        self.server(b"250 ok\r\n")
        self.assertEqual(self.codes(sent), [(550, "RCPT", Scope.RECIPIENT)])

    def test_refused_in_the_middle(self) -> None:
        # RFC 3030 2: no further chunk; those under way have their replies; and the connection goes on
        sent = self.begin(BIG, BIG, b"x", Deferred())
        self.server(b"250 ok\r\n250 ok\r\n")
        self.seen()
        self.server(b"552 5.3.4 too big\r\n")
        self.assertTrue(self.chunks.closed)
        self.assertEqual(self.seen(), b"")
        self.server(b"503 5.5.1 x\r\n")
        self.assertEqual(self.seen(), b"RSET\r\n")
        self.server(b"250 ok\r\n")
        self.assertEqual(self.codes(sent), [(552, "data", Scope.MESSAGE)])
        self.assertTrue(self.client.usable)

    def test_first_no_counts_whatever_follows(self) -> None:
        sent = self.begin(BIG, b"end\r\n")
        self.server(b"250 ok\r\n250 ok\r\n")
        self.server(b"452 4.3.1 full\r\n", b"250 taken\r\n", b"250 reset\r\n")
        self.assertEqual(self.codes(sent), [(452, "end of data", Scope.MESSAGE)])

    def test_message_that_cannot_be_read(self) -> None:
        # No chunk was begun that could not be ended: RSET, and the connection goes on.
        late: Deferred[bytes] = Deferred()
        sent = self.begin(BIG, BIG, late)
        self.server(b"250 ok\r\n250 ok\r\n")
        self.seen()
        late.errback(ValueError("damaged"))
        self.server(b"250 first\r\n")
        self.assertEqual(self.seen(), b"RSET\r\n")
        self.server(b"250 reset\r\n")
        self.assertEqual(self.codes(sent), [(451, "data", Scope.MESSAGE)])
        self.assertFalse(self.result.lost_after_dot)
        self.assertTrue(self.client.usable)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_full_buffer_holds_the_rest_back(self) -> None:
        sent = self.begin(*[BIG] * 6)
        self.client.pauseProducing()
        self.seen()
        self.server(b"250 ok\r\n250 ok\r\n")
        self.assertEqual(self.seen().count(b"BDAT"), 1)
        self.client.resumeProducing()
        self.assertTrue(self.seen().endswith(b"LAST\r\n" + BIG))
        self.server(b"250 x\r\n" * 6)
        self.assertEqual(self.codes(sent)[0][0], 250)

    def test_peer_that_does_not_take_the_next_piece(self) -> None:
        # RFC 5321 4.5.3.2.5
        sent = self.begin(*[BIG] * 6)
        self.client.pauseProducing()
        self.server(b"250 ok\r\n250 ok\r\n")
        self.wait(183)
        self.assertEqual(self.codes(sent), [(421, "data", Scope.HOST)])
        self.assertFalse(self.result.lost_after_dot)
        self.assertTrue(self.chunks.closed)

    def test_silence_after_the_last(self) -> None:
        # RFC 5321 4.5.3.2.6
        sent = self.begin(BIG, b"end\r\n")
        self.server(b"250 ok\r\n250 ok\r\n", b"250 chunk\r\n")
        self.wait(599)
        self.assertNoResult(sent)
        self.wait(3)
        self.assertEqual(self.codes(sent), [(421, "end of data", Scope.HOST)])
        self.assertTrue(self.result.lost_after_dot)

    def test_lost_between_chunks(self) -> None:
        sent = self.begin(BIG, BIG, Deferred())
        self.server(b"250 ok\r\n250 ok\r\n", b"250 chunk\r\n")
        self.lose()
        self.assertEqual(self.codes(sent)[0][2], Scope.HOST)
        self.assertFalse(self.result.lost_after_dot)


class StepByStep(ChunkCase):
    ehlo = ALONE

    def test_each_chunk_after_the_reply_to_the_one_before(self) -> None:
        # RFC 3030 2, without PIPELINING
        sent = self.begin(BIG, BIG, b"end\r\n")
        head = b"BDAT %d\r\n" % WORTH_IT
        for line in (MAIL, RCPT, head + BIG, head + BIG, b"BDAT 5 LAST\r\nend\r\n"):
            self.assertEqual(self.seen(), line)
            self.server(b"250 ok\r\n")
        self.assertEqual(self.codes(sent), [(250, "end of data", Scope.MESSAGE)])

    def test_refused_in_the_middle(self) -> None:
        sent = self.begin(BIG, BIG, b"end\r\n")
        self.server(b"250 ok\r\n", b"250 ok\r\n")
        self.seen()
        self.server(b"552 too big\r\n")
        self.assertEqual(self.seen(), b"RSET\r\n")
        self.server(b"250 ok\r\n")
        self.assertEqual(self.codes(sent), [(552, "data", Scope.MESSAGE)])
        self.assertTrue(self.chunks.closed)

    def test_lost_while_a_reply_is_waited_for(self) -> None:
        sent = self.begin(BIG, BIG, b"end\r\n")
        self.server(b"250 ok\r\n", b"250 ok\r\n")
        self.lose()
        self.assertEqual(self.codes(sent), [(421, "data", Scope.HOST)])
        self.assertTrue(self.chunks.closed)


class OutOfStep(ChunkCase):
    def assert_dropped(self, sent: Deferred[Sent]) -> None:
        for code, _, scope in self.codes(sent):
            self.assertEqual((code, scope), (421, Scope.HOST))
        self.assertTrue(self.transport.aborted)
        self.assertFalse(self.client.usable)

    def test_354_to_a_chunk(self) -> None:
        for pieces in ((b"x\r\n",), (BIG, b"end")):
            self.setUp()
            sent = self.begin(*pieces)
            self.server(b"250 ok\r\n250 ok\r\n", b"354 go\r\n")
            self.assert_dropped(sent)

    def test_yes_before_the_chunk_was_sent(self) -> None:
        sent = self.begin(BIG, b"end\r\n")
        self.seen()
        self.server(b"250 ok\r\n250 ok\r\n250 taken\r\n")
        self.assert_dropped(sent)
        self.assertEqual(self.seen(), b"")

    def test_one_reply_too_many(self) -> None:
        # Then the yes may be that to RCPT said twice: the message counts as not taken, and may come twice.
        for pieces in ((b"x\r\n",), (BIG, b"end")):
            self.setUp()
            sent = self.begin(*pieces)
            self.server(b"250 ok\r\n250 ok\r\n" if len(pieces) == 2 else b"")
            due = 2 if len(pieces) == 2 else 3
            self.server(b"250 x\r\n" * (due + 1))
            self.assert_dropped(sent)
            self.assertTrue(self.result.lost_after_dot)


class Anything(SynchronousTestCase):
    @given(
        st.sampled_from([EHLO, ALONE]),
        st.sampled_from([(b"x\r\n",), (BIG, b"end"), (BIG, BIG, BIG)]),
        st.lists(
            st.lists(
                st.sampled_from(
                    [b"250 ok\r\n", b"354 go\r\n", b"550 x\r\n", b"421 x\r\n", b"250-", b"ok\r\n", b"junk\r\n"]
                ),
                min_size=1,
                max_size=4,
            ),
            max_size=8,
        ),
    )
    def test_everybody_gets_an_answer_and_no_yes_that_came_before_the_message(
        self, ehlo: bytes, pieces: tuple[bytes, ...], turns: list[list[bytes]]
    ) -> None:
        case = ChunkCase()
        case.ehlo = ehlo
        case.setUp()
        sent = case.begin(*pieces, rcpts=2)
        before = b""
        for turn in turns:
            if not sent.called:
                before = case.transport.value()
                case.server(b"".join(turn))
        if not sent.called:
            case.lose()
        codes = case.codes(sent)
        self.assertEqual(len(codes), 2)
        if any(code == 250 for code, _, _ in codes):
            self.assertIn(b" LAST\r\n" + pieces[-1], before)
