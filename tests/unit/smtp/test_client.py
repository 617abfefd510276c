"""The client: what it sends, in what pieces, and what it makes of every answer and every silence."""

from __future__ import annotations

from typing import Any

from client_harness import EHLO, PLAIN, ClientCase
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mta.envelope import Scope
from mta.smtp.client import SmtpClient
from mta.smtp.client_values import ClientFailure, Sent


class Greeting(ClientCase):
    def test_lines_of_a_greeting(self) -> None:
        self.server(b"220-hello\r\n220 mx.b.example\r\n")
        self.assertEqual(self.seen(), b"EHLO out.a.example\r\n")

    def test_capabilities(self) -> None:
        self.ready()
        self.assertTrue(self.client.capabilities.pipelining)
        self.assertTrue(self.client.capabilities.eight_bit_mime)
        self.assertEqual(self.client.capabilities.size, 1000)

    def test_helo_where_ehlo_is_unknown(self) -> None:
        # RFC 5321 3.2
        for code in (b"500", b"502", b"504", b"550"):
            self.setUp()
            self.server(b"220 old\r\n")
            self.seen()
            self.server(code + b" what?\r\n")
            self.assertEqual(self.seen(), b"HELO out.a.example\r\n")
            self.server(PLAIN)
            self.successResultOf(self.client.ready)
            self.assertFalse(self.client.capabilities.pipelining)

    def refused(self, code: int, stage: str) -> None:
        failure = self.failureResultOf(self.client.ready, ClientFailure).value
        self.assertEqual((failure.reply.code, failure.stage), (code, stage))

    def test_refused_at_each_step(self) -> None:
        for turns, code, stage in (
            ((b"554 no\r\n",), 554, "greeting"),
            ((b"421 busy\r\n",), 421, "greeting"),
            ((b"220 x\r\n", b"421 busy\r\n"), 421, "EHLO"),
            ((b"220 x\r\n", b"500 x\r\n", b"550 go\r\n"), 550, "HELO"),
        ):
            self.setUp()
            self.server(*turns)
            self.refused(code, stage)

    def test_no_smtp_server(self) -> None:
        self.server(b"SSH-2.0-OpenSSH_9.2\r\n")
        self.refused(421, "greeting")
        self.assertTrue(self.transport.aborted)

    def test_lost_before_it_was_ready(self) -> None:
        self.server(b"220 x\r\n")
        self.lose()
        self.refused(421, "EHLO")

    def test_silence_at_the_greeting(self) -> None:
        # RFC 5321 4.5.3.2.1
        self.wait(299)
        self.assertNoResult(self.client.ready)
        self.wait(2)
        self.refused(421, "greeting")


class Pipelined(ClientCase):
    def setUp(self) -> None:
        super().setUp()
        self.ready()

    def test_whole_transaction_in_two_writes(self) -> None:
        # RFC 2920 3.1, RFC 5321 4.5.2
        sent = self.send("bob@b.example", "eve@b.example")
        self.assertEqual(
            self.seen(),
            b"MAIL FROM:<ann@a.example>\r\nRCPT TO:<bob@b.example>\r\nRCPT TO:<eve@b.example>\r\nDATA\r\n",
        )
        self.server(b"250 ok\r\n250 ok\r\n550 5.1.1 no\r\n354 go\r\n")
        self.assertEqual(self.seen(), b"Subject: x\r\n\r\n..dot\r\n.\r\n")
        self.server(b"250 2.0.0 queued\r\n")
        self.assertEqual(self.codes(sent), [(250, "end of data", Scope.MESSAGE), (550, "RCPT", Scope.RECIPIENT)])
        self.assertTrue(self.client.usable)
        self.assertTrue(self.chunks.closed)

    def test_connection_is_used_again(self) -> None:
        for _ in range(3):
            sent = self.send()
            self.server(b"250 a\r\n250 b\r\n354 c\r\n")
            self.server(b"250 d\r\n")
            self.assertEqual(self.codes(sent), [(250, "end of data", Scope.MESSAGE)])
        self.assertEqual(self.client.messages, 3)
        self.assertNotIn(b"RSET", self.seen())

    def test_no_recipient_left_but_the_server_takes_data(self) -> None:
        # RFC 2920 3.1
        sent = self.send()
        self.seen()
        self.server(b"250 ok\r\n450 4.2.1 later\r\n354 go\r\n")
        self.assertEqual(self.seen(), b".\r\n")
        self.assertNoResult(sent)
        self.server(b"554 no valid recipients\r\n")
        self.assertEqual(self.codes(sent), [(450, "RCPT", Scope.RECIPIENT)])
        self.assertTrue(self.client.usable)

    def test_no_recipient_left(self) -> None:
        sent = self.send()
        self.seen()
        self.server(b"250 ok\r\n550 no\r\n503 no\r\n")
        self.assertEqual(self.seen(), b"RSET\r\n")
        self.server(b"250 ok\r\n")
        self.assertEqual(self.codes(sent), [(550, "RCPT", Scope.RECIPIENT)])
        self.assertTrue(self.client.usable)

    def test_mail_refused(self) -> None:
        sent = self.send("bob@b.example", "eve@b.example")
        self.server(b"451 4.7.1 later\r\n503 x\r\n503 x\r\n503 x\r\n")
        self.server(b"250 reset\r\n")
        self.assertEqual(self.codes(sent), [(451, "MAIL", Scope.MESSAGE)] * 2)

    def test_data_refused(self) -> None:
        sent = self.send("bob@b.example", "eve@b.example")
        self.server(b"250 ok\r\n250 ok\r\n550 no\r\n451 4.3.0 later\r\n250 reset\r\n")
        self.assertEqual(self.codes(sent), [(451, "DATA", Scope.MESSAGE), (550, "RCPT", Scope.RECIPIENT)])

    def test_message_refused_at_its_end(self) -> None:
        sent = self.send()
        self.server(b"250 ok\r\n250 ok\r\n354 go\r\n", b"554 5.7.1 spam\r\n")
        self.assertEqual(self.codes(sent), [(554, "end of data", Scope.MESSAGE)])
        self.assertTrue(self.client.usable)

    def test_421_anywhere_ends_the_connection_and_concerns_the_host(self) -> None:
        # RFC 5321 3.8
        for turns, stage in (
            ((b"421 bye\r\n",), "MAIL"),
            ((b"250 ok\r\n421 bye\r\n",), "RCPT"),
            ((b"250 ok\r\n250 ok\r\n421 bye\r\n",), "DATA"),
            ((b"250 ok\r\n250 ok\r\n354 go\r\n", b"421 bye\r\n"), "end of data"),
        ):
            self.setUp()
            sent = self.send()
            self.server(*turns)
            self.lose()
            self.assertEqual(self.codes(sent), [(421, stage, Scope.HOST)])
            self.assertFalse(self.client.usable)
            self.assertFalse(self.result.lost_after_dot)

    def test_lost_at_each_step(self) -> None:
        for octets, stage, after_dot in (
            (b"", "MAIL", False),
            (b"250 ok\r\n", "RCPT", False),
            (b"250 ok\r\n250 ok\r\n", "DATA", False),
            (b"250 ok\r\n250 ok\r\n354 go\r\n", "end of data", True),
        ):
            self.setUp()
            sent = self.send()
            self.server(octets)
            self.lose()
            self.assertEqual(self.codes(sent), [(421, stage, Scope.HOST)])
            self.assertIs(self.result.lost_after_dot, after_dot)

    def test_silence_at_each_step(self) -> None:
        # RFC 5321 4.5.3.2.2 to 4.5.3.2.6
        for octets, stage, seconds in (
            (b"", "MAIL", 300),
            (b"250 ok\r\n", "RCPT", 300),
            (b"250 ok\r\n250 ok\r\n", "DATA", 120),
            (b"250 ok\r\n250 ok\r\n354 go\r\n", "end of data", 600),
        ):
            self.setUp()
            sent = self.send()
            self.server(octets)
            self.wait(seconds - 1)
            self.assertNoResult(sent)
            self.wait(3)
            self.assertEqual(self.codes(sent), [(421, stage, Scope.HOST)])
            self.assertTrue(self.transport.aborted)

    def test_reply_that_nobody_asked_for(self) -> None:
        sent = self.send()
        self.server(b"250 ok\r\n250 ok\r\n354 go\r\n", b"250 ok\r\n250 and more\r\n")
        self.assertEqual(self.codes(sent), [(250, "end of data", Scope.MESSAGE)])
        self.assertTrue(self.client.gone)
        self.assertTrue(self.transport.aborted)

    def test_what_is_no_reply(self) -> None:
        sent = self.send()
        self.server(b"250 ok\r\nHTTP/1.1 400 Bad Request\r\n")
        self.assertEqual(self.codes(sent), [(421, "RCPT", Scope.HOST)])

    def test_idle_connection_leaves_when_its_time_is_over(self) -> None:
        ended: list[SmtpClient] = []
        self.client.on_idle_end = ended.append
        self.client.keep_until(self.clock.seconds() + 5)
        self.wait(7)
        self.assertEqual(self.seen(), b"QUIT\r\n")
        self.assertEqual(ended, [self.client])
        self.server(b"221 bye\r\n")
        self.assertTrue(self.transport.disconnecting)

    def test_server_that_says_nothing_to_quit(self) -> None:
        self.client.quit()
        self.wait(12)
        self.assertTrue(self.transport.aborted)


class Bodies(ClientCase):
    def setUp(self) -> None:
        super().setUp()
        self.ready()

    def begin(self, pieces: list[Any]) -> Deferred[Sent]:
        sent = self.send(pieces=pieces)
        self.seen()
        self.server(b"250 ok\r\n250 ok\r\n354 go\r\n")
        return sent

    def test_no_final_line_end(self) -> None:
        self.begin([b"no end"])
        self.assertEqual(self.seen(), b"no end\r\n.\r\n")

    def test_empty(self) -> None:
        self.begin([])
        self.assertEqual(self.seen(), b".\r\n")

    def test_waits_for_the_spool(self) -> None:
        late: Deferred[bytes] = Deferred()
        sent = self.begin([b"one\r\n", late, b"three\r\n"])
        self.assertEqual(self.seen(), b"")
        late.callback(b".two\r\n")
        self.assertEqual(self.seen(), b"one\r\n..two\r\nthree\r\n.\r\n")
        self.server(b"250 ok\r\n")
        self.assertEqual(self.codes(sent)[0][0], 250)

    def test_full_buffer_holds_the_rest_back(self) -> None:
        pieces = [b"x" * 1000 + b"\r\n"] * 10
        self.transport.registerProducer = lambda producer, streaming: None  # type: ignore[method-assign]
        sending = self.send(pieces=pieces)
        self.seen()
        self.client.pauseProducing()
        self.server(b"250 ok\r\n250 ok\r\n354 go\r\n")
        self.assertEqual(len(self.seen()), 2004)
        self.assertEqual(len(self.chunks.pieces), 8)
        self.client.resumeProducing()
        self.assertTrue(self.seen().endswith(b"\r\n.\r\n"))
        self.server(b"250 ok\r\n")
        self.assertEqual(self.codes(sending)[0][0], 250)

    def test_peer_that_does_not_take_the_next_piece(self) -> None:
        # RFC 5321 4.5.3.2.5
        sent = self.send(pieces=[b"x\r\n"] * 9)
        self.client.pauseProducing()
        self.server(b"250 ok\r\n250 ok\r\n354 go\r\n")
        self.wait(183)
        self.assertEqual(self.codes(sent), [(421, "data", Scope.HOST)])
        self.assertFalse(self.result.lost_after_dot)
        self.assertTrue(self.chunks.closed)


class StepByStep(ClientCase):
    def setUp(self) -> None:
        super().setUp()
        self.ready(PLAIN)

    def test_nothing_is_sent_before_its_turn(self) -> None:
        sent = self.send("bob@b.example", "eve@b.example")
        for line, reply in (
            (b"MAIL FROM:<ann@a.example>\r\n", b"250 ok\r\n"),
            (b"RCPT TO:<bob@b.example>\r\n", b"450 later\r\n"),
            (b"RCPT TO:<eve@b.example>\r\n", b"250 ok\r\n"),
            (b"DATA\r\n", b"354 go\r\n"),
            (b"Subject: x\r\n\r\n..dot\r\n.\r\n", b"250 ok\r\n"),
        ):
            self.assertEqual(self.seen(), line)
            self.server(reply)
        self.assertEqual(self.codes(sent), [(450, "RCPT", Scope.RECIPIENT), (250, "end of data", Scope.MESSAGE)])

    def test_all_refused(self) -> None:
        sent = self.send()
        self.server(b"250 ok\r\n")
        self.server(b"550 no\r\n")
        self.assertTrue(self.seen().endswith(b"RSET\r\n"))
        self.server(b"250 ok\r\n")
        self.assertEqual(self.codes(sent), [(550, "RCPT", Scope.RECIPIENT)])

    def test_mail_refused(self) -> None:
        sent = self.send()
        self.server(b"550 5.7.1 no\r\n")
        self.server(b"250 ok\r\n")
        self.assertEqual(self.codes(sent), [(550, "MAIL", Scope.MESSAGE)])


class Anything(SynchronousTestCase):
    @given(
        st.lists(
            st.sampled_from(
                [
                    b"220 x\r\n",
                    EHLO,
                    b"250 ok\r\n",
                    b"354 go\r\n",
                    b"450 x\r\n",
                    b"550 x\r\n",
                    b"421 x\r\n",
                    b"\r\n",
                    b"junk",
                ]
            ),
            max_size=14,
        )
    )
    def test_whatever_the_server_says_everybody_gets_an_answer(self, replies: list[bytes]) -> None:
        case = ClientCase()
        case.setUp()
        case.client.ready.addErrback(lambda failure: failure.trap(ClientFailure))
        case.server(b"220 x\r\n")
        case.server(EHLO)
        sent = case.send("a@b.example", "c@b.example")
        for octets in replies:
            if not case.transport.aborted:
                case.server(octets)
        case.lose()
        result = case.successResultOf(sent)
        self.assertEqual(len(result.answers), 2)
        self.assertTrue(case.client.gone)
