"""Replies, verdicts and events as values."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta import events
from mta.events import KINDS, Event, escape
from mta.message.edits import Edit
from mta.reply import LOCAL_ERROR, PermanentFailure, Reply, failure_reply
from mta.verdict import Decision, Verdict


class Replies(SynchronousTestCase):
    def test_one_line(self) -> None:
        self.assertEqual(Reply.of(550, "5.1.1", "No such mailbox").wire, b"550 5.1.1 No such mailbox\r\n")
        self.assertEqual(Reply.of(354, "", "Go").wire, b"354 Go\r\n")

    def test_many_lines(self) -> None:
        # RFC 5321 4.2.1; RFC 2034 4: the enhanced code on each line
        self.assertEqual(Reply.of(250, "2.0.0", "a", "b").wire, b"250-2.0.0 a\r\n250 2.0.0 b\r\n")

    @given(st.lists(st.text(max_size=30), min_size=1, max_size=4))
    def test_no_text_makes_a_line_of_its_own(self, lines: list[str]) -> None:
        wire = Reply.of(550, "5.0.0", *lines).wire
        self.assertEqual(wire.count(b"\n"), len(lines))
        self.assertEqual(wire.count(b"\r"), len(lines))
        self.assertTrue(wire.isascii())

    def test_unknown_trouble_is_temporary(self) -> None:
        # RFC 3463 X.3.0
        self.assertEqual(failure_reply(ValueError("x")), LOCAL_ERROR)
        self.assertTrue(LOCAL_ERROR.temporary)
        reply = Reply.of(550, "5.7.1", "no")
        self.assertEqual(failure_reply(PermanentFailure(reply, "secret")), reply)


class Verdicts(SynchronousTestCase):
    def test_first_refusal_ends_the_stage(self) -> None:
        whole = Verdict.join(
            [
                Verdict(decision=Decision.HOLD, edits=(Edit(0, 0, b"X-A: 1\r\n"),)),
                Verdict.none(),
                Verdict.reject(550, "5.7.1", "no"),
                Verdict.defer(451, "4.7.1", "never asked"),
            ]
        )
        self.assertIs(whole.decision, Decision.REJECT)
        self.assertEqual(str(whole.reply), "550 5.7.1 no")
        self.assertEqual(len(whole.edits), 1)

    def test_hold_and_quarantine_add_up(self) -> None:
        whole = Verdict.join([Verdict(decision=Decision.HOLD), Verdict(decision=Decision.QUARANTINE)])
        self.assertIs(whole.decision, Decision.HOLD)


class Events(SynchronousTestCase):
    def test_every_event_of_the_list_can_be_told(self) -> None:
        for kind in KINDS.values():
            self.assertTrue(kind.meaning)
            self.assertTrue(str(kind()), kind.code)

    def test_what_strangers_sent_is_escaped(self) -> None:
        text = str(events.ACCEPTED(client="192.0.2.7", helo="a\r\nMAIL \x1b[31m\u202e\\", size=1, sender="a@b"))
        self.assertNotIn("\n", text)
        self.assertNotIn("\x1b", text)
        self.assertNotIn("\u202e", text)
        self.assertIn("a\\r\\nMAIL \\x1b[31m\\u202e\\\\", text)

    def test_readable_text_stays(self) -> None:
        self.assertEqual(escape("Grüße, 日本"), "Grüße, 日本")

    def test_event_of_a_newer_version_is_shown_as_it_stands(self) -> None:
        self.assertEqual(str(Event("quantum", {"flux": "a\nb"})), "quantum: flux=a\\nb")
