"""The client of the socket: what it says, and what it makes of replies."""

from __future__ import annotations

import io
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from mta.sendmail import statuses, submit
from mta.sendmail.main import _told
from mta.sendmail.statuses import Trouble
from mta.sendmail.submit import Message, NotRunning, Submitted

EHLO = "250-ours.example greets you\r\n250-PIPELINING\r\n250-LIMITS MAILMAX=9 RCPTMAX=2\r\n250 XDOMAIN ours.example\r\n"
OK = "250 2.1.0 Ok\r\n"


class Scripted:
    """A socket that gives these replies, and keeps what it is sent."""

    def __init__(self, *replies: str, broken_after: int = 1 << 30) -> None:
        self._replies = io.BytesIO("".join(replies).encode())
        self._left = broken_after
        self.sent = b""

    def sendall(self, octets: bytes) -> None:
        self._left -= 1
        if self._left < 0:
            raise BrokenPipeError
        self.sent += octets

    def makefile(self, mode: str) -> io.BytesIO:
        return self._replies

    def close(self) -> None:
        """It is over."""


class Submitting(SynchronousTestCase):
    def submit(self, sock: Any, *recipients: str, sender: str = "ann", head: bytes = b"To: bob\r\n\r\n") -> Submitted:
        message = Message(sender, recipients, head, 3, lambda: [b"x\r\n"], mail=" RET=FULL", rcpt=" NOTIFY=NEVER")
        with patch.object(submit, "connect", lambda path: sock):
            return submit.submit("socket", message, lambda text: None)

    def test_a_transaction(self) -> None:
        sock = Scripted("220 hi\r\n", EHLO, OK, OK, "250 2.0.0 Ok: queued\r\n", "221 2.0.0 Bye\r\n")
        done = self.submit(sock, "bob")
        self.assertEqual((done.taken, done.refused), (1, ()))
        self.assertEqual(
            sock.sent,
            b"EHLO localhost\r\nMAIL FROM:<ann> SIZE=27 RET=FULL\r\nRCPT TO:<bob> NOTIFY=NEVER\r\n"
            b"BDAT 27 LAST\r\nTo: bob@ours.example\r\n\r\nx\r\nQUIT\r\n",
        )

    def test_more_recipients_than_one_may_have(self) -> None:
        # RFC 9422
        one = (OK, OK, OK, "250 2.0.0 Ok\r\n")
        sock = Scripted("220 hi\r\n", EHLO, *one, *one, OK, OK, "250 2.0.0 Ok\r\n", "221 2.0.0 Bye\r\n")
        done = self.submit(sock, "a", "b", "c", "d", "e")
        self.assertEqual((done.taken, sock.sent.count(b"MAIL FROM"), sock.sent.count(b"BDAT")), (5, 3, 3))

    def test_some_are_refused(self) -> None:
        sock = Scripted("220 hi\r\n", EHLO, OK, OK, "550 5.1.1 No\r\n", "250 2.0.0 Ok\r\n", "221 2.0.0 Bye\r\n")
        done = self.submit(sock, "bob", "nosuch")
        self.assertEqual((done.taken, [one.recipient for one in done.refused]), (1, ["nosuch"]))
        self.assertEqual(_told(done), statuses.NOUSER)

    def test_all_are_refused(self) -> None:
        sock = Scripted("220 hi\r\n", EHLO, OK, "451 4.3.0 Later\r\n", OK, "221 2.0.0 Bye\r\n")
        done = self.submit(sock, "bob")
        self.assertEqual((done.taken, done.last), (0, None))
        self.assertNotIn(b"BDAT", sock.sent)
        self.assertEqual(_told(done), statuses.TEMPFAIL)

    def test_the_sender_is_refused(self) -> None:
        done = self.submit(Scripted("220 hi\r\n", EHLO, "550 5.7.1 Not yours\r\n"), "bob", "c", "d")
        self.assertEqual((done.taken, len(done.refused), _told(done)), (0, 3, statuses.NOPERM))

    def test_the_message_is_refused(self) -> None:
        done = self.submit(Scripted("220 hi\r\n", EHLO, OK, OK, "554 5.6.0 Bad\r\n"), "bob")
        self.assertEqual(_told(done), statuses.DATAERR)

    def test_a_later_part_is_refused(self) -> None:
        replies = (OK, OK, OK, "250 2.0.0 Ok\r\n", OK, OK, "550 5.1.1 No\r\n", "452 4.3.1 Full\r\n")
        done = self.submit(Scripted("220 hi\r\n", EHLO, *replies), "a", "b", "c", "nosuch", "e")
        self.assertEqual(done.taken, 2)
        self.assertEqual([(one, reply.code) for one, reply in done.refused], [("nosuch", 550), ("c", 452), ("e", 452)])

    def test_international_addresses(self) -> None:
        sock = Scripted("220 hi\r\n", EHLO, OK, OK, "250 2.0.0 Ok\r\n", "221 2.0.0 Bye\r\n")
        self.submit(sock, "\u00e4nn@far.example")
        self.assertIn("MAIL FROM:<ann> SIZE=27 SMTPUTF8 RET=FULL\r\nRCPT TO:<\u00e4nn@far.example>".encode(), sock.sent)

    def test_nobody_serves_now(self) -> None:
        for replies in (["421 4.3.2 Too many\r\n"], ["220 hi\r\n", "421 4.3.2 Stopping\r\n"]):
            self.assertRaises(NotRunning, self.submit, Scripted(*replies), "bob")

    def test_nobody_serves_us(self) -> None:
        trouble = self.assertRaises(Trouble, self.submit, Scripted("554 5.7.1 Not you\r\n"), "bob")
        self.assertEqual(trouble.status, statuses.NOPERM)

    def test_the_session_ends_early(self) -> None:
        for replies in (["220 hi\r\n"], ["220 hi\r\n", EHLO, OK], ["220 h"], ["hello\r\n"], []):
            trouble = self.assertRaises(Trouble, self.submit, Scripted(*replies), "bob")
            self.assertEqual(trouble.status, statuses.TEMPFAIL)

    def test_what_it_said_before_it_closed_is_told(self) -> None:
        sock = Scripted("220 hi\r\n", EHLO, OK, OK, "552 5.3.4 Too big\r\n", broken_after=4)
        trouble = self.assertRaises(Trouble, self.submit, sock, "bob")
        self.assertEqual((trouble.status, str(trouble)), (statuses.DATAERR, "552 5.3.4 Too big"))
