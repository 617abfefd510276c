"""What a person is told: what happened, whose side it is on, what to do."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.bounce.explain import BETWEEN, OURS, THEIRS, YOURS, explain, remote_host, status_code, their_words
from mta.envelope import Destination, Outcome, Recipient, Status
from mta.reply import Reply

BOB = Address("bob", "b.example")
HOST = "mx1.b.example[198.51.100.3]"


def recipient(**progress: Any) -> Recipient:
    return Recipient(
        id=0, address=BOB, original=BOB, destination=Destination("internet", "b.example"), due=0, progress=progress
    )


def outcome(
    code: int, enhanced: str = "", *, host: str = HOST, stage: str = "RCPT", status: Status = Status.FAILED
) -> Outcome:
    return Outcome(
        recipient=0, status=status, reply=Reply.of(code, enhanced, "text"), attempt={"host": host, "stage": stage}
    )


class Side(SynchronousTestCase):
    def test_whose_side(self) -> None:
        for made, side, word in (
            (outcome(550, "5.1.1"), YOURS, "no such mailbox"),
            (outcome(550), YOURS, "no such mailbox"),
            (outcome(550, "5.1.2", stage="DNS", host="b.example"), YOURS, "domain"),
            (outcome(556, "5.1.10", stage="DNS", host="b.example"), YOURS, "takes no mail"),
            (outcome(552, "5.2.2"), THEIRS, "full"),
            (outcome(452, "4.2.2", host="", stage="new", status=Status.EXPIRED), THEIRS, "full"),
            (outcome(552, "5.3.4", stage="EHLO"), YOURS, "larger"),
            (outcome(554, "5.6.3", stage="EHLO"), YOURS, "characters"),
            (outcome(554, "5.7.1", stage="end of data"), THEIRS, "rules"),
            (outcome(554, stage="end of data"), THEIRS, "refused"),
            (outcome(554, "5.4.6", stage="connect"), OURS, "loop"),
            (outcome(451, "4.3.0", host="", stage="/var/mail/bob", status=Status.EXPIRED), OURS, "this mail system"),
            (outcome(451, "4.4.1", stage="connect", status=Status.EXPIRED), BETWEEN, "until the time"),
            (outcome(550, "5.9.9"), THEIRS, "refused"),
        ):
            explanation = explain(recipient(), made)
            self.assertEqual(explanation.side, side, made)
            self.assertIn(word, explanation.happened.lower())

    def test_an_administrator_gave_it_up(self) -> None:
        explanation = explain(recipient(bounce="spam"), outcome(550, "5.3.0", host="", stage="routing"))
        self.assertIn("administrator", explanation.happened)

    def test_their_words_and_ours(self) -> None:
        self.assertTrue(their_words(outcome(550, "5.1.1")))
        self.assertTrue(their_words(outcome(421, "4.7.0", stage="greeting")))
        self.assertFalse(their_words(outcome(421, "4.4.2")))  # our word for a connection that was lost
        self.assertFalse(their_words(outcome(451, "4.4.1", stage="connect")))
        self.assertFalse(their_words(outcome(554, "5.6.3", stage="EHLO")))
        self.assertFalse(their_words(outcome(451, "4.3.0", host="")))
        self.assertFalse(their_words(Outcome(recipient=0, status=Status.FAILED, reply=Reply.of(550, ""))))

    def test_the_name_of_the_host(self) -> None:
        # RFC 3464 2.3.5
        self.assertEqual(remote_host(outcome(550)), "mx1.b.example")
        self.assertEqual(remote_host(outcome(550, host="")), "")
        for stage in ("DNS", "connect"):
            self.assertEqual(remote_host(outcome(550, host="b.example", stage=stage)), "")

    def test_a_host_without_a_name_is_a_literal(self) -> None:
        # RFC 5321 4.1.3
        for where in ("[192.0.2.1][192.0.2.1]:26", "192.0.2.1[192.0.2.1]", "192.0.2.1"):
            self.assertEqual(remote_host(outcome(550, host=where)), "[192.0.2.1]")
        self.assertEqual(remote_host(outcome(550, host="2001:db8::1[2001:db8::1]:26")), "[IPv6:2001:db8::1]")
        self.assertEqual(remote_host(outcome(550, host="[odd")), "")

    def test_status(self) -> None:
        # RFC 3464 2.3.4; RFC 3463 3.5 has 4.4.7 for the time that is over
        self.assertEqual(status_code(outcome(550, "5.1.1")), "5.1.1")
        self.assertEqual(status_code(outcome(550)), "5.0.0")
        self.assertEqual(status_code(outcome(451, status=Status.EXPIRED)), "4.4.7")
        self.assertEqual(status_code(outcome(451, "4.2.2", status=Status.EXPIRED)), "4.2.2")
        self.assertEqual(status_code(outcome(550, "5.1.1; rm -rf")), "5.0.0")

    @given(st.integers(400, 599), st.text("0123456789.x \n", max_size=9), st.text(max_size=12), st.text(max_size=12))
    def test_there_is_always_something_to_say(self, code: int, enhanced: str, host: str, stage: str) -> None:
        explanation = explain(recipient(), outcome(code, enhanced, host=host, stage=stage))
        self.assertTrue(explanation.happened and explanation.side and explanation.advice)
