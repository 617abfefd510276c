"""What is kept of refused mail: who is told of it, how much, how long, and in whose name."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mta import events
from mta.admin import refusals
from mta.admin.privacy import domain_only, full
from mta.admin.refusals import Asked, Refusals, erase_refused, refused_events
from mta.events import Event
from mta.spool.masking import Mask
from mta.workers.place import Place

NOW = 1_700_000_000_000
DAY = 86_400_000
MIB = 1 << 20


def refused(
    client: str = "192.0.2.7", sender: str = "ann@a.example", address: str = "bob@ours.example", **more: Any
) -> Event:
    return events.RECIPIENT_REFUSED(client=client, sender=sender, address=address, reply="550 5.1.1 No", why=[], **more)


class Kept(SynchronousTestCase):
    def setUp(self) -> None:
        self.state = os.path.abspath(self.mktemp())
        os.mkdir(self.state)
        self.now = NOW
        self.kept = Refusals(self.state, now=lambda: self.now)
        self.configure()

    def configure(self, mode: str = "full", mask: Mask | None = None, size: int = MIB, history: int = 14 * DAY) -> None:
        self.kept.configure(mode, mask, size, history)

    def found(self) -> list[Event]:
        return refused_events(self.state)

    def files(self) -> list[Path]:
        return sorted((Path(self.state) / "refused").iterdir())

    def test_what_was_noted_is_read_back_with_its_time(self) -> None:
        self.assertEqual(self.found(), [])
        self.kept.note(refused())
        (event,) = self.found()
        self.assertEqual((event.at, event.code, event.args), (NOW, "recipient-refused", refused().args))
        (file,) = self.files()
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(file.parent.stat().st_mode), 0o700)

    def test_lines_wait_for_each_other(self) -> None:
        calls: list[Any] = []
        kept = Refusals(
            self.state,
            now=lambda: NOW,
            call_later=lambda delay, call: calls.append(call),
            place=Place(number=1, workers=2),
        )
        kept.configure("full", None, MIB, DAY)
        kept.note(refused())
        kept.note(refused())
        self.assertEqual((len(calls), self.found()), (1, []))
        calls[0]()
        self.assertEqual(len(self.found()), 2)

    def test_one_client_does_not_push_out_the_others(self) -> None:
        for number in range(3 * refusals.MOST_OF_ONE):
            self.kept.note(refused(client="2001:db8::1", address=f"u{number}@ours.example"))
            self.kept.note(refused(client="2001:db8::2", address=f"v{number}@ours.example"))
        self.kept.note(refused(client="192.0.2.9"))
        found = self.found()
        self.assertEqual(len(found), refusals.MOST_OF_ONE + 2)
        self.assertEqual(str(found[-2]), "of 2001:db8::/64 no more is kept until 23:13 UTC")
        self.now += DAY
        self.kept.note(refused(client="2001:db8::1"))
        self.assertEqual(len(self.found()), refusals.MOST_OF_ONE + 3)

    def test_bounded(self) -> None:
        self.configure(size=100_000)
        for number in range(3000):
            self.kept.note(refused(client=f"10.0.{number >> 8}.{number & 255}", address=f"u{number}@ours.example"))
        self.assertLess(sum(file.stat().st_size for file in self.files()), 110_000)
        self.assertEqual(self.found()[-1].args["address"], "u2999@ours.example")

    def test_nothing_is_kept_where_nothing_is_to_be(self) -> None:
        self.kept.note(refused())
        self.configure(size=0)
        self.kept.note(refused())
        self.kept.tidy()
        self.assertEqual(self.files(), [])

    def test_none_is_older_than_the_history(self) -> None:
        self.kept.note(refused())
        self.assertEqual(len(self.files()), 1)
        for days in range(1, 16):
            self.now = NOW + days * DAY
            for path in self.files():
                os.utime(path, (NOW / 1000, NOW / 1000))
            self.kept.tidy()
        self.assertEqual(self.files(), [])

    def test_masked_and_what_was_not_is_removed(self) -> None:
        self.kept.note(refused())
        self.configure("domain", domain_only)
        self.assertEqual(self.found(), [])
        self.kept.note(refused())
        self.assertEqual(self.found()[0].args["sender"], "*@a.example")
        self.assertTrue(Asked("ann@a.example", domain_only).concerns(self.found()[0]))

    def test_erased(self) -> None:
        for address in ("bob@ours.example", "jbob@ours.example", "Bob@ours.example"):
            self.kept.note(refused(address=address))
        said = "TO:<bob@ours.example>"
        self.kept.note(events.COMMAND_REFUSED(client="192.0.2.7", command="RCPT", reply="452 4.5.3 x", said=said))
        self.assertEqual(erase_refused(self.state, "bob@ours.example", ""), 3)
        self.assertEqual([event.args["address"] for event in self.found()], ["jbob@ours.example"])

    def test_each_worker_erases_what_is_its_own(self) -> None:
        folder = Path(self.state, "refused")
        folder.mkdir(0o700)
        line = json.dumps({"at": NOW, "code": "refused", "args": {"sender": "ann@a.example"}}) + "\n"
        for name in ("0-full", "1-full", "1-full.old", "2-full", "7-full"):
            (folder / name).write_text(line)
        counts = {}
        for number in (2, 1, 0):  # 2 is there to empty the spool of one that there is no longer
            place = Place(number=number, workers=2, listeners=(("mx", 7, 2),) if number < 2 else ())
            counts[number] = Refusals(self.state, now=lambda: NOW, place=place).erase("ann@a.example", "")
        self.assertEqual((counts, self.found()), ({2: 0, 1: 2, 0: 3}, []))

    def test_what_a_worker_of_before_kept_otherwise_is_removed_by_the_first(self) -> None:
        self.kept.note(refused())
        (file,) = self.files()
        file.rename(file.with_name("5-full"))
        Refusals(self.state, now=lambda: NOW, place=Place(number=1, workers=2)).configure("domain", None, MIB, DAY)
        self.assertEqual(len(self.files()), 1)
        self.configure("domain", domain_only)
        self.assertEqual(self.files(), [])

    def test_a_file_that_somebody_wrote_into(self) -> None:
        self.kept.note(refused())
        (file,) = self.files()
        with open(file, "ab") as odd:
            odd.write(b"nonsense\n[]\n{}\n" + b"[" * 100_000 + b"\n\xff\n")
        self.kept.note(refused())
        self.assertEqual(len(self.found()), 2)

    def test_a_disk_that_takes_nothing_hinders_nobody(self) -> None:
        Path(self.state, "refused").write_text("in the way")
        self.kept.note(refused())
        self.kept.tidy()


class Concerned(SynchronousTestCase):
    def is_about(self, text: str, event: Event) -> bool:
        return Asked(text, full).concerns(event)

    def test_addresses_domains_clients_networks(self) -> None:
        for text in ("ann@a.example", "BOB@ours.example", "@a.example", "192.0.2.7", "192.0.2.0/24"):
            self.assertTrue(self.is_about(text, refused()), text)
        for text in ("nn@a.example", "b@ours.example", "@b.example", "192.0.2.8", "2001:db8::/32"):
            self.assertFalse(self.is_about(text, refused()), text)

    def test_in_a_command_that_could_not_be_read(self) -> None:
        for command, said in (
            ("MAIL", "FROM:<ann@a.example> SIZE=1"),
            ("MAIL", "FROM:ann@a.example"),
            ("RCPT", "TO:<x y@z>   from <ann@a.example>"),
        ):
            event = events.COMMAND_REFUSED(client="192.0.2.7", command=command, reply="501 x", said=said)
            self.assertTrue(self.is_about("ann@a.example", event), said)
            self.assertFalse(self.is_about("bob@a.example", event), said)

    def test_no_network_is_no_question(self) -> None:
        for text in ("*", "FOO", "38GDQNCPM0000", ""):
            self.assertRaises(ValueError, Asked, text, full)
