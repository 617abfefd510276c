"""The replies of the server: what holds for every one of them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.reply import Reply
from mta.smtp import replies

ALL = {name: reply for name, reply in vars(replies).items() if isinstance(reply, Reply)}
MADE = {
    "bad_sender": replies.bad_sender("why"),
    "bad_recipient": replies.bad_recipient("why"),
    "etrn_started": replies.etrn_started(0, "a.example"),
    "accepted": replies.accepted("7K3QF9"),
    "accepted_with_priority": replies.accepted_with_priority("7K3QF9", -3),
    "chunk_taken": replies.chunk_taken(7),
}


class EveryReply(SynchronousTestCase):
    def test_enhanced_code_is_of_the_class_of_the_code(self) -> None:
        # RFC 2034 4; RFC 5321 4.2.2, 4.2.3; RFC 5248 2.1
        self.assertGreater(len(ALL), 60)
        for name, reply in (ALL | MADE).items():
            if 300 <= reply.code < 400:
                self.assertEqual(reply.enhanced, "", name)
            else:
                self.assertRegex(reply.enhanced, rf"\A{reply.code // 100}\.[0-9]{{1,3}}\.[0-9]{{1,3}}\Z", name)

    def test_it_is_a_line_that_every_client_can_take(self) -> None:
        # RFC 5321 4.2, 4.5.3.1.5
        for name, reply in (ALL | MADE).items():
            self.assertTrue(reply.wire.endswith(b"\r\n"), name)
            self.assertLessEqual(len(reply.wire), 512, name)
            self.assertTrue(reply.wire[:-2].decode("ascii").isprintable(), name)

    def test_codes_that_their_rfc_names(self) -> None:
        for reply, code, enhanced in (
            (replies.SENDER_NEEDS_SMTPUTF8, 550, "5.6.7"),  # RFC 6531 3.5
            (replies.RECIPIENT_NEEDS_SMTPUTF8, 553, "5.6.7"),  # RFC 6531 3.5
            (replies.CANNOT_SHOW, 252, "2.6.8"),  # RFC 6531 3.7.4.2
            (replies.MAY_NOT_SHOW, 550, "5.6.8"),  # RFC 6531 3.7.4.2
            (replies.DELIVER_BY_TOO_SOON, 555, "5.5.4"),  # RFC 2852 4
            (replies.HOLD_TOO_LONG, 501, "5.5.4"),  # RFC 4865 4.2
            (replies.HOLD_IS_PAST, 501, "5.5.4"),  # RFC 4865 4.2
            (replies.HOLD_OVER_DELIVER_BY, 501, "5.5.4"),  # RFC 4865 5.2.2
            (replies.accepted_with_priority("x", 0), 250, "2.3.6"),  # RFC 6710 4.1
            (replies.ETRN_FAILED, 458, "4.3.0"),  # RFC 1985 5.1
            (replies.ETRN_NOT_ALLOWED, 459, "4.7.1"),  # RFC 1985 5.1
            (replies.UNKNOWN_COMMAND, 500, "5.5.2"),  # RFC 3463 3.6
            (replies.unknown_parameter("X"), 555, "5.5.4"),  # RFC 5321 4.1.1.11
            (replies.TOO_MANY_RECIPIENTS, 452, "4.5.3"),  # RFC 5321 4.5.3.1.10
            (replies.MESSAGE_TOO_BIG, 552, "5.3.4"),  # RFC 1870 6.1
        ):
            self.assertEqual((reply.code, reply.enhanced), (code, enhanced), reply)
