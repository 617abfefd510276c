"""mailq and its kin."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.admin.classic import do, listing
from mta.admin.first import sendmail_of
from mta.envelope import Destination, Recipient
from mta.sendmail.arguments import ALIASES, QUEUE
from mta.sendmail.statuses import CONFIG, UNAVAILABLE, Trouble
from mta.spool.values import Row


def row(id: str, address: str, sender: str | None = "ann@ours.example", claimed: bool = False, hold: str = "") -> Row:
    found = Address.parse(address)
    recipient = Recipient(
        id=0, address=found, original=found, destination=Destination("internet", found.domain), due=0, hold=hold
    )
    return Row(id=id, sender=sender, size=2048, arrived=1_700_000_000_000, recipient=recipient, claimed=claimed)


class Listing(SynchronousTestCase):
    def test_nothing_waits(self) -> None:
        self.assertEqual(list(listing([])), ["Mail queue is empty"])

    def test_a_message_with_its_recipients(self) -> None:
        lines = list(
            listing([row("AAAAAAAAAAAAA", "a@far.example"), row("AAAAAAAAAAAAA", "b@far.example", hold="why")])
        )
        self.assertEqual(lines[1], "AAAAAAAAAAAAA      2048 Tue Nov 14 22:13:20  ann@ours.example")
        self.assertEqual([line.strip() for line in lines[2:5]], ["a@far.example", lines[3].strip(), "b@far.example"])
        self.assertIn("why", lines[3])
        self.assertEqual(lines[-1], "-- 2 Kbytes in 1 Request.")

    def test_marks(self) -> None:
        lines = list(listing([row("A", "a@far.example", claimed=True), row("B", "b@far.example", None, hold="x")]))
        self.assertTrue(lines[1].startswith("A* "))
        held = next(line for line in lines if line.startswith("B"))
        self.assertTrue(held.startswith("B! ") and held.endswith("MAILER-DAEMON"))
        self.assertEqual(lines[-1], "-- 4 Kbytes in 2 Requests.")


class Doing(SynchronousTestCase):
    def test_what_is_wrong_has_its_status(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        path = folder / "mta.toml"
        path.write_text('format = 2\nstate = "state"\n')
        self.assertEqual(self.assertRaises(Trouble, do, ALIASES, ("", ""), str(path)).status, CONFIG)
        self.assertEqual(self.assertRaises(Trouble, do, QUEUE, ("", ""), str(path)).status, UNAVAILABLE)


class First(SynchronousTestCase):
    def test_the_short_way(self) -> None:
        self.assertEqual(sendmail_of(["sendmail", "-t", "--config", "x"]), ("", ["-t", "--config", "x"]))
        self.assertEqual(sendmail_of(["--config", "mta.toml", "sendmail", "bob"]), ("mta.toml", ["bob"]))
        self.assertEqual(sendmail_of(["--config=mta.toml", "sendmail"]), ("mta.toml", []))
        for words in ([], ["queue", "list"], ["--config", "sendmail"], ["--set", "a=b", "sendmail"]):
            self.assertIsNone(sendmail_of(words))
