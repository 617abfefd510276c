"""A server whose replies are out of step must never make us believe that it has a message which it has not."""

from __future__ import annotations

from typing import Any

from client_harness import EHLO, PLAIN, ClientCase
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from mta.envelope import Scope
from mta.smtp.client_values import Sent


class OutOfStep(ClientCase):
    def setUp(self) -> None:
        super().setUp()
        self.ready()

    def begin(self, pieces: list[Any] | None = None) -> Deferred[Sent]:
        sent = self.send(pieces=pieces)
        self.seen()
        return sent

    def assert_dropped(self, sent: Deferred[Sent], in_doubt: bool = False) -> None:
        """Nobody counts as served, and the connection is not used again."""
        for code, _, scope in self.codes(sent):
            self.assertEqual((code, scope), (421, Scope.HOST))
        self.assertEqual(self.result.lost_after_dot, in_doubt)
        self.assertTrue(self.transport.aborted)
        self.assertFalse(self.client.usable)

    def test_yes_to_the_message_before_it_was_sent(self) -> None:
        sent = self.begin()
        self.server(b"250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n")
        self.assert_dropped(sent)

    def test_beginning_of_such_a_yes(self) -> None:
        sent = self.begin()
        self.server(b"250 ok\r\n250 ok\r\n354 go\r\n25")
        self.assert_dropped(sent)
        self.assertEqual(self.seen(), b"")

    def test_data_answered_as_if_it_were_done(self) -> None:
        for code in (b"250", b"220", b"350"):
            with self.subTest(code=code):
                self.setUp()
                sent = self.begin()
                self.server(b"250 ok\r\n250 ok\r\n" + code + b" taken\r\n")
                self.assert_dropped(sent)

    def test_354_where_it_has_no_place(self) -> None:
        for replies in (b"354 x\r\n", b"250 ok\r\n354 x\r\n", b"250 ok\r\n250 ok\r\n354 go\r\n"):
            with self.subTest(replies=replies):
                self.setUp()
                sent = self.begin()
                self.server(replies)
                if sent.called:
                    self.assert_dropped(sent)
                else:  # the third is in order up to here
                    self.server(b"354 go on\r\n")
                    self.assert_dropped(sent, in_doubt=True)

    def test_yes_in_the_middle_of_the_message(self) -> None:
        sent = self.begin([b"one\r\n", b"two\r\n", Deferred()])
        self.server(b"250 ok\r\n250 ok\r\n354 go\r\n")
        self.server(b"250 taken\r\n")
        self.assert_dropped(sent)

    def test_no_in_the_middle_of_the_message(self) -> None:
        # Nothing more goes out: a QUIT would be a line of the message, and a dot would make it whole.
        sent = self.begin([b"one\r\n", b"two\r\n", Deferred()])
        self.server(b"250 ok\r\n250 ok\r\n354 go\r\n")
        self.seen()
        self.server(b"552 5.3.4 too big\r\n")
        self.assertEqual(self.codes(sent), [(552, "data", Scope.MESSAGE)])
        self.assertEqual(self.seen(), b"")
        self.assertTrue(self.chunks.closed)
        self.assertTrue(self.transport.aborted)

    def test_reply_too_many_behind_the_last(self) -> None:
        # The message has been taken, and this stands; but the next transaction would get its replies shifted.
        sent = self.begin()
        self.server(b"250 ok\r\n250 ok\r\n354 go\r\n")
        followed: list[bool] = []
        sent.addCallback(lambda result: followed.append(self.client.usable) or result)
        self.server(b"250 taken\r\n250 again\r\n")
        self.assertEqual(self.codes(sent)[0][0], 250)
        self.assertEqual(followed, [False])
        self.assertTrue(self.transport.aborted)

    def test_reply_too_many_behind_ehlo(self) -> None:
        self.client, self.transport = self.connect()
        self.server(b"220 x\r\n")
        self.server(EHLO + b"250 ok\r\n")
        self.failureResultOf(self.client.ready)
        self.assertTrue(self.transport.aborted)

    def test_greeting_twice(self) -> None:
        self.client, self.transport = self.connect()
        self.server(b"220 x\r\n220 x\r\n")
        self.failureResultOf(self.client.ready)
        self.assertEqual(self.seen(), b"")

    def test_replies_to_commands_not_yet_sent(self) -> None:
        self.client, self.transport = self.connect()
        self.ready(PLAIN)
        sent = self.begin()
        self.server(b"250 ok\r\n250 ok\r\n")
        self.assert_dropped(sent)
        self.assertEqual(self.seen(), b"")

    def test_good_replies_before_junk_count(self) -> None:
        sent = self.begin()
        self.server(b"250 ok\r\n550 5.1.1 nobody\r\njunk\r\n")
        self.assertEqual(self.codes(sent), [(550, "RCPT", Scope.RECIPIENT)])


class Spool(ClientCase):
    def test_octets_that_come_while_they_are_asked_for(self) -> None:
        class Late:
            """An awaitable that waits for what is there already."""

            def __await__(self) -> Any:
                octets = yield succeed(b"one\r\n")
                return octets

        self.ready()
        sent = self.send(pieces=[Late()])
        self.server(b"250 ok\r\n250 ok\r\n354 go\r\n", b"250 taken\r\n")
        self.assertEqual(self.codes(sent)[0][0], 250)
        self.assertTrue(self.client.usable)


class Stopped(ClientCase):
    def test_while_the_server_greets(self) -> None:
        self.client.ready.cancel()
        self.failureResultOf(self.client.ready, CancelledError)
        self.assertTrue(self.transport.aborted)

    def test_in_a_transaction(self) -> None:
        self.ready()
        sent = self.send()
        sent.cancel()
        self.assertEqual(self.codes(sent), [(421, "MAIL", Scope.HOST)])
        self.assertTrue(self.result.stopped)

    def test_after_the_dot_the_message_may_be_there(self) -> None:
        self.ready()
        sent = self.send()
        self.server(b"250 ok\r\n250 ok\r\n354 go\r\n")
        sent.cancel()
        self.codes(sent)
        self.assertTrue(self.result.stopped and self.result.lost_after_dot)


class Unreadable(ClientCase):
    def test_damaged_message_is_not_the_hosts_trouble(self) -> None:
        self.ready()
        sent = self.send(pieces=[Deferred()])
        late = self.chunks.pieces[0]
        self.server(b"250 ok\r\n250 ok\r\n354 go\r\n")
        late.errback(ValueError("damaged"))
        self.assertEqual(self.codes(sent), [(451, "data", Scope.MESSAGE)])
        self.assertNotIn(b"\r\n.\r\n", self.seen())
        self.assertFalse(self.result.lost_after_dot)
        self.assertTrue(self.transport.aborted)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


class Anything(SynchronousTestCase):
    @given(
        st.sampled_from([EHLO, PLAIN]),
        st.lists(
            st.lists(
                st.sampled_from([b"250 ok\r\n", b"354 go\r\n", b"550 x\r\n", b"250-", b"ok\r\n", b"junk\r\n"]),
                min_size=1,
                max_size=4,
            ),
            max_size=8,
        ),
    )
    def test_no_yes_counts_that_came_before_the_whole_message_was_sent(
        self, ehlo: bytes, turns: list[list[bytes]]
    ) -> None:
        case = ClientCase()
        case.setUp()
        case.ready(ehlo)
        sent = case.send("a@b.example", "c@b.example")
        for turn in turns:
            before = case.transport.value()
            case.server(b"".join(turn))
            if sent.called:
                if any(code == 250 for code, _, _ in case.codes(sent)):
                    self.assertIn(b"Subject: x\r\n\r\n..dot\r\n.\r\n", before)
                break
