"""The client by LMTP (RFC 2033): a reply for each recipient, whole or in pieces, by DATA and by BDAT."""

from __future__ import annotations

from typing import Any

from client_harness import Chunks, ClientCase, Transport
from twisted.internet.defer import Deferred

from mta.envelope import Scope
from mta.smtp.client import SmtpClient
from mta.smtp.client_opening import Terms
from mta.smtp.client_values import Outgoing, Sent, Timeouts

LHLO = b"250-box.example\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 8BITMIME\r\n"
PLAIN = b"250 box.example\r\n"
DATA_COMMANDS = b"RCPT TO:<c@x>\r\nDATA\r\n"
TAKEN = (250, "end of data", Scope.RECIPIENT)
FULL = (552, "end of data", Scope.RECIPIENT)


class LmtpCase(ClientCase):
    def connect(self) -> tuple[SmtpClient, Transport]:
        terms = Terms(verb=b"LHLO")
        client = SmtpClient("out.a.example", Timeouts(), self.clock.seconds, self.ticker, terms)
        transport = Transport()
        client.makeConnection(transport)
        return client, transport

    def ready(self, ehlo: bytes = LHLO) -> None:
        self.server(b"220 box.example LMTP\r\n")
        self.assertEqual(self.seen(), b"LHLO out.a.example\r\n")
        self.server(ehlo)
        self.assertIs(self.successResultOf(self.client.ready), self.client)

    def send_by(self, chunking: bool, *rcpts: str, pieces: list[Any] | None = None) -> Deferred[Sent]:
        self.chunks = Chunks([b"Subject: x\r\n\r\n"] if pieces is None else pieces)
        names = tuple(f"RCPT TO:<{rcpt}>".encode() for rcpt in rcpts)
        size = sum(len(piece) for piece in self.chunks.pieces if isinstance(piece, bytes))
        return self.client.send(Outgoing(b"MAIL FROM:<>", names, lambda: self.chunks, chunking, size))


class Greeting(LmtpCase):
    def test_helo_is_never_said(self) -> None:
        # RFC 2033 4.1: a server that does not know LHLO speaks something else.
        self.server(b"220 x ESMTP\r\n", b"500 5.5.1 what?\r\n")
        self.assertEqual(self.failureResultOf(self.client.ready).value.stage, "LHLO")
        self.assertEqual(self.seen(), b"LHLO out.a.example\r\nQUIT\r\n")


class ByData(LmtpCase):
    def begin(self, pieces: list[Any] | None = None) -> Deferred[Sent]:
        """Three recipients, the second of whom is refused; the message has been sent."""
        self.ready()
        sent = self.send_by(False, "a@x", "b@x", "c@x", pieces=pieces)
        self.server(b"250 ok\r\n250 a\r\n550 5.1.1 b\r\n250 c\r\n354 go\r\n")
        return sent

    def test_each_has_its_own_reply(self) -> None:
        sent = self.begin()
        self.server(b"250 2.0.0 a\r\n552 5.2.2 c is full\r\n")
        self.assertEqual(self.codes(sent), [TAKEN, (550, "RCPT", Scope.RECIPIENT), FULL])
        self.assertTrue(self.client.usable)
        self.assertFalse(self.result.lost_after_dot)

    def test_replies_in_pieces_with_several_lines(self) -> None:
        for cut in range(1, 60):
            self.setUp()
            sent = self.begin()
            replies = b"250-2.0.0 more\r\n250 2.0.0 a\r\n452-4.2.2 c\r\n452 4.2.2 later\r\n"
            self.server(replies[:cut], replies[cut:])
            self.assertEqual(self.codes(sent)[::2], [TAKEN, (452, "end of data", Scope.RECIPIENT)], cut)

    def test_the_next_message_waits_for_all_replies(self) -> None:
        sent = self.begin()
        self.server(b"250 2.0.0 a\r\n")
        self.assertNoResult(sent)
        self.assertFalse(self.client.usable)

    def test_connection_lost_between_the_replies(self) -> None:
        # RFC 2033 5: what has come counts, the rest is a trouble for now.
        sent = self.begin()
        self.server(b"250 2.0.0 a\r\n")
        self.lose()
        self.assertEqual(self.codes(sent)[::2], [TAKEN, (421, "end of data", Scope.HOST)])
        self.assertTrue(self.result.lost_after_dot)

    def test_each_reply_has_its_time(self) -> None:
        sent = self.begin()
        self.wait(590)
        self.server(b"250 2.0.0 a\r\n")
        self.wait(590)
        self.assertNoResult(sent)
        self.wait(20)
        self.assertEqual(self.codes(sent)[::2], [TAKEN, (421, "end of data", Scope.HOST)])

    def test_421_ends_the_connection(self) -> None:
        sent = self.begin()
        self.seen()
        self.server(b"250 2.0.0 a\r\n421 4.3.2 stopping\r\n")
        self.assertEqual(self.codes(sent)[::2], [TAKEN, (421, "end of data", Scope.HOST)])
        self.assertEqual(self.seen(), b"QUIT\r\n")

    def test_one_reply_too_many(self) -> None:
        sent = self.begin()
        self.server(b"250 2.0.0 a\r\n250 2.0.0 c\r\n250 2.0.0 b\r\n")
        self.assertEqual([code for code, _, _ in self.codes(sent)], [421, 550, 421])
        self.assertTrue(self.result.lost_after_dot)
        self.assertTrue(self.transport.aborted)

    def test_no_to_half_a_message(self) -> None:
        sent = self.begin([b"Subject: x\r\n", Deferred()])
        self.server(b"451 4.3.0 no\r\n")
        self.assertEqual([code for code, _, _ in self.codes(sent)], [451, 550, 451])
        self.assertTrue(self.transport.aborted)

    def test_data_for_nobody(self) -> None:
        # RFC 2033 4.2: 503, and nothing else.
        self.ready()
        sent = self.send_by(False, "a@x")
        self.server(b"250 ok\r\n550 a\r\n354 go\r\n")
        self.assertEqual(self.codes(sent), [(550, "RCPT", Scope.RECIPIENT)])
        self.assertTrue(self.transport.aborted)

    def test_503_for_nobody(self) -> None:
        self.ready()
        sent = self.send_by(False, "a@x")
        self.server(b"250 ok\r\n550 a\r\n503 5.5.1 no recipients\r\n", b"250 reset\r\n")
        self.assertEqual(self.codes(sent), [(550, "RCPT", Scope.RECIPIENT)])
        self.assertTrue(self.client.usable)

    def test_step_by_step(self) -> None:
        self.ready(PLAIN)
        sent = self.send_by(False, "a@x", "b@x")
        self.server(b"250 ok\r\n", b"250 a\r\n", b"250 b\r\n", b"354 go\r\n", b"552 5.2.2 a\r\n", b"250 2.0.0 b\r\n")
        self.assertEqual(self.codes(sent), [FULL, TAKEN])


class ByChunks(LmtpCase):
    def test_small_message(self) -> None:
        # RFC 2033 4.3: a reply for each after BDAT LAST; how many is known only after RCPT.
        self.ready()
        sent = self.send_by(True, "a@x", "b@x", "c@x")
        self.assertEqual(self.seen(), b"MAIL FROM:<>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nRCPT TO:<c@x>\r\n")
        self.server(b"250 ok\r\n250 a\r\n550 5.1.1 b\r\n250 c\r\n")
        self.assertEqual(self.seen(), b"BDAT 14 LAST\r\nSubject: x\r\n\r\n")
        self.server(b"552 5.2.2 a is full\r\n250 2.0.0 c\r\n")
        self.assertEqual(self.codes(sent), [FULL, (550, "RCPT", Scope.RECIPIENT), TAKEN])
        self.assertTrue(self.client.usable)

    def test_large_message_goes_chunk_by_chunk(self) -> None:
        piece = b"x" * 40_000
        self.ready()
        sent = self.send_by(True, "a@x", "b@x", pieces=[piece, piece, piece])
        self.server(b"250 ok\r\n250 a\r\n250 b\r\n")
        self.assertTrue(self.seen().endswith(b"BDAT 40000\r\n" + piece))
        self.server(b"250 2.0.0 40000\r\n")
        self.assertEqual(self.seen(), b"BDAT 40000\r\n" + piece)
        self.server(b"250 2.0.0 80000\r\n")
        self.assertEqual(self.seen(), b"BDAT 40000 LAST\r\n" + piece)
        self.server(b"250 2.0.0 a\r\n")
        self.assertNoResult(sent)
        self.server(b"452 4.2.2 b\r\n")
        self.assertEqual(self.codes(sent), [TAKEN, (452, "end of data", Scope.RECIPIENT)])

    def test_chunk_that_is_refused_is_the_last(self) -> None:
        piece = b"x" * 40_000
        self.ready()
        sent = self.send_by(True, "a@x", "b@x", pieces=[piece, piece])
        self.server(b"250 ok\r\n250 a\r\n250 b\r\n")
        self.seen()
        self.server(b"552 5.3.4 too big\r\n")
        self.assertEqual(self.seen(), b"RSET\r\n")
        self.server(b"250 ok\r\n")
        self.assertEqual([code for code, _, _ in self.codes(sent)], [552, 552])
        self.assertTrue(self.client.usable)

    def test_connection_lost_between_the_replies(self) -> None:
        self.ready()
        sent = self.send_by(True, "a@x", "b@x")
        self.server(b"250 ok\r\n250 a\r\n250 b\r\n", b"250 2.0.0 a\r\n")
        self.lose()
        self.assertEqual(self.codes(sent), [TAKEN, (421, "end of data", Scope.HOST)])
        self.assertTrue(self.result.lost_after_dot)

    def test_one_reply_too_many(self) -> None:
        self.ready()
        sent = self.send_by(True, "a@x")
        self.server(b"250 ok\r\n250 a\r\n", b"250 2.0.0 a\r\n250 2.0.0 who?\r\n")
        self.assertEqual(self.codes(sent), [(421, "end of data", Scope.HOST)])
        self.assertTrue(self.transport.aborted)
