"""How a story is told."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta import events
from mta.address import Address
from mta.admin.story import asked_for, told, what_next
from mta.bounce.catalog import catalog
from mta.envelope import Destination, Envelope, Origin, Recipient
from mta.events import Event
from mta.queue.paused import Pause
from mta.queue.retry import RetryRule
from mta.routing.values import EXPANSION
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
        return list(told(story))

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
                "mx1.y.example[198.51.100.3]  TLSv1.3 verified  0.6s",
                "                        RCPT: 451 4.7.1 Greylisted   scope: recipient",
            ],
        )

    def test_an_address_that_leads_to_others(self) -> None:
        attempt = events.ATTEMPT(
            NOW, 0, attempt=1, address="list@y.example", status="expanded", service="(expansion)", scope="recipient",
            host="", tls="", seconds=0.0, stage="expansion", reply="250 2.0.0 x",
        )  # fmt: skip
        self.assertEqual(
            self.lines(attempt)[1:],
            ["22:13:20.000 expanded   <list@y.example>: its targets have the message from here on"],
        )

    def test_where_an_address_stands_and_what_became_of_a_list_and_of_a_note(self) -> None:
        step = {"address": "info@example.org", "targets": ["bob@y.example"], "rule": "alias", "table": "file:a"}
        ended = {"address": "team@example.org", "status": "expanded", "reply": "250 2.0.0 Sent on as X", "attempt": 1}
        lines = self.lines(
            events.EXPANDED(NOW, where="/etc/mta/aliases:12", **step),
            events.ATTEMPT(NOW, service="(list)", **ended),
            events.ATTEMPT(NOW, service="(note)", **{**ended, "reply": "250 2.0.0 No note: it has no sender"}),
        )
        self.assertEqual(
            [line[13:] for line in lines[1:]],
            [
                "leads      info@example.org -> bob@y.example   alias   /etc/mta/aliases:12",
                "expanded   <team@example.org>: Sent on as X",
                "note       <team@example.org>: No note: it has no sender",
            ],
        )

    def test_reports(self) -> None:
        told = events.REPORTED(NOW, 0, report="38GDQNCPM0000", sender="ann@a.example", status="delivered")
        silent = events.NOT_BOUNCED(NOW, 0, reason="the sender asked for NOTIFY=NEVER")
        self.assertEqual(
            self.lines(told, silent)[1:],
            [
                "22:13:20.000 told       <ann@a.example>: delivered; the report is 38GDQNCPM0000",
                "22:13:20.000 not told   the sender asked for NOTIFY=NEVER",
            ],
        )

    def test_what_the_sender_asked_for(self) -> None:
        accepted = events.ACCEPTED(NOW, client="192.0.2.7", sender="ann@a.example", recipients=["info@y.example"])
        envelope = Envelope(
            origin=Origin(listener="mx", protocol="ESMTP"), reverse_path=None, arrived=NOW, ret="HDRS", envid="a\x1bb",
            body="8BITMIME", deliver_by=NOW + 3_600_000, by_mode="RT", hold_until=NOW + 60_000, requiretls=True,
        )  # fmt: skip
        notify = {"notify": "SUCCESS", "orcpt": "rfc822;x@y.example"}
        lines = list(told([accepted], envelope, [row(**notify), row(address=Address("ann", "y.example"), **notify)]))
        self.assertEqual(
            [line.strip() for line in lines[-2:]],
            [
                "asked for: not to be sent before 14 Nov 2023 22:14:20 UTC (HOLD); "
                "delivery by 14 Nov 2023 23:13:20 UTC, or to be returned (BY RT); "
                "RET=HDRS; ENVID=a\\x1bb; BODY=8BITMIME; REQUIRETLS",
                "asked for: NOTIFY=SUCCESS ORCPT=rfc822;x@y.example  for bob@y.example",
            ],
        )

    def test_what_is_ours_is_not_the_senders_wish(self) -> None:
        # RFC 3461 5.2.7.3: the address itself is told of; those that it leads to have NOTIFY=NEVER.
        itself = row(notify="SUCCESS", destination=EXPANSION)
        target = row(address=Address("far", "z.example"), notify="NEVER", path=("alias:bob@y.example",))
        self.assertEqual(list(asked_for(None, [target, itself])), ["asked for: NOTIFY=SUCCESS  for bob@y.example"])

    def test_a_thousand_recipients(self) -> None:
        names = [f"u{number}@y.example" for number in range(1000)]
        accepted = events.ACCEPTED(NOW, client="192.0.2.7", sender="ann@a.example", recipients=names)
        self.assertTrue(self.lines(accepted)[2].endswith("u9@y.example and 990 others"))

    def test_what_was_refused(self) -> None:
        recipient = events.RECIPIENT_REFUSED(
            NOW, client="192.0.2.7", sender="ann@a.example", address="x@y.example", reply="550 5.1.1 No", why=["why"]
        )
        command = events.COMMAND_REFUSED(NOW, client="192.0.2.7", command="MAIL", reply="501 No", said="FROM:<a@b>")
        cut = events.UNFINISHED(NOW, client="192.0.2.7", sender="ann@a.example", count=0, recipients=[], why="it left")
        more = events.NOT_KEPT(NOW, client="192.0.2.7", until="23:00 UTC")
        self.assertEqual(
            [line[13:].rstrip() for line in self.lines(recipient, command, cut, more)[1:]],
            [
                "refused    192.0.2.7   550 5.1.1 No",
                "           from <ann@a.example>  to <x@y.example>",
                "           why",
                "refused    192.0.2.7   MAIL: 501 No",
                "           FROM:<a@b>",
                "refused    192.0.2.7   cut off: it left",
                "           from <ann@a.example>  to",
                "refused    of 192.0.2.7 no more is kept until 23:00 UTC",
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


def row(**more: object) -> Row:
    given = {"id": 0, "address": BOB, "original": BOB, "destination": PLACE, "due": NOW + 360_000, "attempts": 1}
    recipient = Recipient(**{**given, **more})  # type: ignore[arg-type]
    return Row(id="38GDQNCPM0000", sender="ann@a.example", size=9, arrived=NOW, recipient=recipient)


class Next(SynchronousTestCase):
    def next(self, pause: Pause | None = None, running: bool = True, **more: object) -> str:
        envelope = Envelope(origin=Origin(listener="mx", protocol="ESMTP"), reverse_path=None, arrived=NOW)
        rule = RetryRule(after=(60,), jitter=0, expire_after=86_400, warn_after=(14_400,), name="greylisted")
        return "\n".join(what_next(row(**more), envelope, rule, catalog("en"), pause, NOW, running=running))

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

    def test_put_off_while_its_destination_rests(self) -> None:
        end = NOW + 86_400_000
        text = self.next(due=end, progress={"try": NOW - 1000, "look": end})
        self.assertIn("try 2 as soon as its destination, which could not be reached, is reached again", text)
