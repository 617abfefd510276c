"""How a story is told."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta import events
from mta.address import Address
from mta.admin.story import told, what_next
from mta.bounce.catalog import catalog
from mta.envelope import Destination, Envelope, Origin, Recipient
from mta.events import Event
from mta.queue.paused import Pause
from mta.queue.retry import RetryRule
from mta.spool.values import Row

NOW = 1_700_000_000_000  # 2023-11-14 22:13:20 UTC
BOB = Address("bob", "y.example")
PLACE = Destination("internet", "y.example")
GREYLISTED = {
    "reply": "451 4.7.1 Greylisted",
    "scope": "recipient",
    "host": "mx1.y.example[198.51.100.3]",
    "stage": "RCPT",
    "trouble": "greylisted",
    "tried": NOW,
}


class Told(SynchronousTestCase):
    def lines(self, *story: Event) -> list[str]:
        return list(told(story, NOW))

    def test_from_whom_and_where_to(self) -> None:
        accepted = events.ACCEPTED(
            NOW, client="192.0.2.7", helo="a.example", protocol="ESMTPS", tls="TLSv1.3", listener="mx", size=18_432,
            sender="ann@a.example", recipients=["info@example.org"],
        )  # fmt: skip
        expanded = events.EXPANDED(NOW, address="info@example.org", targets=["bob@y.example"], rule="aliases:12")
        self.assertEqual(
            self.lines(accepted, events.COMMITTED(NOW + 27, ms=9), expanded),
            [
                "Tue 14 Nov 2023 UTC",
                "22:13:20.000 accepted   192.0.2.7 (a.example, ESMTPS, TLSv1.3) listener mx, 18.0 KiB",
                "                        from <ann@a.example>  to info@example.org",
                "22:13:20.027 250        on disk, 9 ms",
                "22:13:20.000 leads      info@example.org -> bob@y.example   aliases:12",
            ],
        )

    def test_an_attempt(self) -> None:
        attempt = events.ATTEMPT(
            NOW, 0, attempt=1, address="bob@y.example", status="deferred", service="internet", scope="recipient",
            host="mx1.y.example[198.51.100.3]", tls="TLSv1.3 verified", seconds=0.6, stage="RCPT",
            reply="451 4.7.1 Greylisted",
        )  # fmt: skip
        self.assertEqual(
            self.lines(attempt)[1:],
            [
                "22:13:20.000 try 1      <bob@y.example> deferred by internet  "
                "mx1.y.example[198.51.100.3] TLSv1.3 verified  0.6s",
                "                        RCPT: 451 4.7.1 Greylisted   scope: recipient",
            ],
        )

    def test_who_did_it(self) -> None:
        changed = events.CHANGED(NOW, 0, change="hold", by="ann", detail="odd")
        self.assertIn("operator   hold: odd   by ann", self.lines(changed)[1])

    def test_strangers_are_escaped(self) -> None:
        evil = events.ACCEPTED(NOW, client="x", helo="a\x1b[2J", sender="a\nb@c", recipients=["\u202ed@e"])
        text = "\n".join(self.lines(evil, Event("odd\x1b", {"a": "\r\n"}, NOW)))
        self.assertEqual(len(text.split("\n")), 4)
        self.assertNotIn("\x1b", text)
        self.assertNotIn("\u202e", text)


class Next(SynchronousTestCase):
    def next(self, pause: Pause | None = None, running: bool = True, **more: object) -> str:
        given = {"id": 0, "address": BOB, "original": BOB, "destination": PLACE, "due": NOW + 360_000, "attempts": 1}
        recipient = Recipient(**{**given, **more})  # type: ignore[arg-type]
        row = Row(id="38GDQNCPM0000", sender="ann@a.example", size=9, arrived=NOW, recipient=recipient)
        envelope = Envelope(origin=Origin(listener="mx", protocol="ESMTP"), reverse_path=None, arrived=NOW)
        rule = RetryRule(after=(60,), jitter=0, expire_after=86_400, warn_after=(14_400,), name="greylisted")
        return "\n".join(what_next(row, envelope, rule, catalog("en"), pause, NOW, running=running))

    def test_the_next_try_the_warning_the_end_and_whose_side(self) -> None:
        text = self.next(progress=GREYLISTED)
        self.assertIn("NEXT         <bob@y.example> try 2 at 22:19:20, in 6m00s, by internet:y.example", text)
        self.assertIn("retry rule: greylisted; warning 15 Nov 02:13; expires 15 Nov 22:13", text)
        self.assertIn("WHOSE SIDE   the recipient's", text)
        self.assertIn("mx1.y.example[198.51.100.3] said: 451 4.7.1 Greylisted", text)

    def test_held_paused_given_up_stopped(self) -> None:
        self.assertIn("held until somebody releases it: odd", self.next(hold="odd"))
        self.assertNotIn("expires", self.next(hold="odd"))
        paused = self.next(Pause("internet", "ann", NOW))
        self.assertIn("waits: internet is paused by ann", paused)
        self.assertIn("given up as soon as it is its turn: spam", self.next(progress={"bounce": "spam"}))
        self.assertIn("when the service is started", self.next(running=False, due=NOW))
