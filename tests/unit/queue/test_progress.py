"""What is kept of an attempt comes back as the outcome that it was."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.envelope import Destination, Outcome, Recipient, Scope, Status
from mta.queue.progress import early, kept, outcome_of, owed, read_reply
from mta.reply import Reply

BOB = Address("bob", "b.example")
ONE = Recipient(id=3, address=BOB, original=BOB, destination=Destination("internet", "b.example"), due=500)
OUTCOME = Outcome(
    recipient=3,
    status=Status.FAILED,
    reply=Reply.of(550, "5.1.1", "No such user", "here"),
    scope=Scope.MESSAGE,
    dsn_taken_over=True,
    time_dropped=True,
    attempt={"host": "mx.b.example", "stage": "RCPT", "seconds": 0.1},
)


class Kept(SynchronousTestCase):
    def test_there_and_back(self) -> None:
        progress = json.loads(json.dumps(owed(ONE, OUTCOME, 1000)))
        back = outcome_of(replace(ONE, progress=progress), Status.FAILED)
        plain = replace(
            OUTCOME,
            reply=Reply.of(550, "5.1.1", "No such user here"),
            attempt={"host": "mx.b.example", "stage": "RCPT"},
        )
        self.assertEqual(back, plain)
        self.assertEqual((progress["owed"], progress["tried"]), ("failed", 1000))

    def test_some_of_it_outlives_a_try_and_the_rest_does_not(self) -> None:
        old = {"warned": 1, "until": 9, "via": ["a", "b"], "raised": 2, "try": 5, "look": 4, "aside": True, "host": "x"}
        old["home"] = True
        deferred = replace(OUTCOME, status=Status.DEFERRED, attempt={})
        progress = kept(replace(ONE, progress=old), deferred, 1000)
        self.assertEqual({name for name in old if name in progress}, {"warned", "until", "via", "raised", "home"})

    def test_one_that_was_never_tried(self) -> None:
        self.assertEqual(outcome_of(ONE, Status.EXPIRED).reply.code, 451)

    @given(st.dictionaries(st.sampled_from(["reply", "scope", "host", "stage", "taken"]), st.text() | st.integers()))
    def test_whatever_was_left_there(self, progress: dict[str, object]) -> None:
        outcome_of(replace(ONE, progress=progress), Status.DEFERRED)

    @given(st.sampled_from([220, 451, 550]), st.sampled_from(["", "4.7.1", "5.1.1"]), st.text(max_size=30))
    def test_replies(self, code: int, enhanced: str, text: str) -> None:
        reply = Reply.of(code, enhanced, text)
        self.assertEqual(str(read_reply(str(reply))), str(reply))

    def test_early_until_the_try_or_an_operators_change(self) -> None:
        waits = replace(ONE, progress={"try": 900, "look": 500})
        self.assertTrue(early(waits, 500))
        self.assertFalse(early(waits, 900))
        self.assertFalse(early(replace(waits, due=400), 500))
        self.assertFalse(early(ONE, 500))
