"""What a person is told: what happened, whose side it is on, what to do."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.bounce.catalog import catalog
from mta.bounce.explain import CAUSES, Explanation, Side, explain, remote_host, status_code, their_words
from mta.envelope import Destination, Outcome, Recipient, Status
from mta.reply import Reply

BOB = Address("bob", "b.example")
HOST = "mx1.b.example[198.51.100.3]"


def recipient(**progress: Any) -> Recipient:
    return Recipient(
        id=0, address=BOB, original=BOB, destination=Destination("internet", "b.example"), due=0, progress=progress
    )


def outcome(
    code: int,
    enhanced: str = "",
    text: str = "text",
    *,
    host: str = HOST,
    stage: str = "RCPT",
    status: Status = Status.FAILED,
) -> Outcome:
    return Outcome(
        recipient=0, status=status, reply=Reply.of(code, enhanced, text), attempt={"host": host, "stage": stage}
    )


stages = st.sampled_from(["greeting", "EHLO", "MAIL", "RCPT", "end of data", "TLS", "AUTH", "DNS", "connect", "x"])
words = st.sampled_from(["spam", "block list", "no"]) | st.text(max_size=12)


class WhoseSide(SynchronousTestCase):
    def test_whose_side(self) -> None:
        for made, side, cause in (
            (outcome(550, "5.1.1"), Side.YOURS, "no_mailbox"),
            (outcome(550), Side.YOURS, "no_mailbox"),
            (outcome(550, "5.1.2", stage="DNS", host="b.example"), Side.YOURS, "no_domain"),
            (outcome(556, "5.1.10", stage="DNS", host="b.example"), Side.YOURS, "null_mx"),
            (outcome(552, "5.2.2"), Side.THEIRS, "mailbox_full"),
            (outcome(452), Side.THEIRS, "mailbox_full"),
            (outcome(452, "4.2.2", host="", stage="new", status=Status.EXPIRED), Side.THEIRS, "mailbox_full"),
            (outcome(552, "5.3.4", stage="EHLO"), Side.YOURS, "too_large"),
            (outcome(554, "5.6.3", stage="EHLO"), Side.YOURS, "characters"),
            (outcome(554, "5.7.1", stage="end of data"), Side.THEIRS, "policy"),
            (outcome(554, stage="end of data"), Side.THEIRS, "refused"),
            (outcome(554, "5.4.6", stage="connect"), Side.OURS, "loop"),
            (outcome(554, "5.4.6", stage="end of data"), Side.BETWEEN, "loop"),
            (outcome(451, "4.3.0", host="", stage="/var/mail/bob", status=Status.EXPIRED), Side.OURS, "our_trouble"),
            (outcome(451, "4.4.1", stage="connect", status=Status.EXPIRED), Side.BETWEEN, "unreachable"),
            (outcome(550, "5.9.9"), Side.THEIRS, "refused"),
            (outcome(550, "5.7.26", stage="end of data"), Side.OURS, "authentication"),
            (outcome(550, "5.7.25", stage="MAIL"), Side.OURS, "blocked"),
        ):
            explanation = explain(recipient(), made)
            self.assertEqual((explanation.side, explanation.cause), (side, cause), made)

    def test_as_long_as_it_is_temporary_it_may_mean_less(self) -> None:
        for made, cause in (
            (outcome(450, "4.1.1"), "unconfirmed"),
            (outcome(450, "4.1.8"), "sender_refused"),
            (outcome(450, "4.2.0", "Greylisted by policy"), "not_now"),
            (outcome(451, "4.7.1", "Greylisted, come back"), "not_now"),
            (outcome(451), "not_now"),
            (outcome(421, "4.4.2", stage="end of data"), "lost"),
            (outcome(451, "4.4.7"), "lost"),
            (outcome(421, "4.4.5", stage="greeting"), "busy"),
            (outcome(452, "4.3.1", stage="MAIL"), "system"),
        ):
            self.assertEqual(explain(recipient(), made).cause, cause, made)

    def test_trouble_of_our_own_beside_a_host(self) -> None:
        for made, cause in (
            (outcome(454, "4.7.0", stage="AUTH"), "login"),
            (outcome(451, "4.7.5", stage="TLS"), "tls_failed"),
            (outcome(451, "4.7.10", stage="STARTTLS"), "tls_failed"),
            (outcome(451, "4.3.5", stage="TLS"), "our_trouble"),
            (outcome(421, "4.3.2", stage="data"), "our_trouble"),
            (outcome(451, "4.3.5", "The smart host refused us", stage="MAIL"), "misconfigured"),
            (outcome(451, "4.4.7", host="", stage="local"), "our_trouble"),
        ):
            self.assertEqual(explain(recipient(), made).cause, cause, made)

    def test_tls_that_the_message_requires_and_that_the_host_wants(self) -> None:
        # RFC 8689 4.2.1, 5; RFC 3207 4
        for made, cause in (
            (outcome(550, "5.7.10", stage="TLS"), "tls_required"),
            (outcome(550, "5.7.10", stage="DNS", host=""), "tls_required"),
            (outcome(550, "5.7.30", stage="EHLO"), "tls_whole_way"),
            (outcome(530, "5.7.10", stage="MAIL"), "tls_failed"),
        ):
            self.assertEqual(explain(recipient(), made).cause, cause, made)

    def test_a_block_list_and_spam_are_told_apart_by_the_words(self) -> None:
        for made, cause in (
            (outcome(554, "5.7.1", "client [192.0.2.1] blocked using zen.spamhaus.org"), "blocked"),
            (outcome(550, "", "5.7.606 Access denied, banned sending IP"), "blocked"),
            (outcome(554, "", "poor reputation", stage="greeting"), "blocked"),
            (outcome(554, "5.7.1", "no spam from you", stage="MAIL"), "blocked"),
            (outcome(554, "5.7.1", "Spam message rejected", stage="end of data"), "spam"),
            (outcome(554, "5.6.0", "Infected with a virus", stage="end of data"), "spam"),
            (outcome(550, "5.1.1", "no such user; listed in no table"), "no_mailbox"),
            (outcome(550, "5.7.1", "Relaying denied"), "policy"),
        ):
            self.assertEqual(explain(recipient(), made).cause, cause, made)

    def test_what_was_tried_to_the_end(self) -> None:
        made = outcome(451, "4.4.1", stage="connect", status=Status.EXPIRED)
        self.assertEqual(explain(recipient(), made), Explanation("unreachable", Side.BETWEEN, "later", True))

    def test_an_administrator_gave_it_up(self) -> None:
        explanation = explain(recipient(bounce="spam"), outcome(550, "5.3.0", host="", stage="routing"))
        self.assertEqual(explanation.cause, "given_up")

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
        self.assertEqual(remote_host(outcome(550, host="/run/dovecot/lmtp")), "")
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

    @given(st.integers(400, 599), st.text("0123456789.x \n", max_size=9), stages, st.text(max_size=12), words)
    def test_there_is_always_something_to_say(self, code: int, enhanced: str, stage: str, host: str, text: str) -> None:
        cause, side, advice, _ = explain(recipient(), outcome(code, enhanced, text, host=host, stage=stage))
        self.assertIn(cause, CAUSES)
        for key in (f"cause.{cause}", f"side.{side}", f"advice.{advice}"):
            self.assertIn(key, catalog("en").texts)
