"""Damage in the middle of the database: the start refuses and says what to do; what can be read is saved."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from spool_contract import LARGE, LATER, NORTH, SMALL, SOUTH, START, outcome, recipient
from sqlite_case import SqliteCase
from twisted.trial.unittest import SynchronousTestCase

from mta.envelope import Status
from mta.spool.salvage import LOST, Salvaged, salvage
from mta.spool.schema import PAGE_SIZE
from mta.spool.values import Next, SpoolLocked, SpoolUnusable

GARBAGE = b"\x0d" + b"\xee" * (PAGE_SIZE - 1)


class Damaged(SqliteCase, SynchronousTestCase):
    """A spool with mail in it whose pages are overwritten."""

    def fill(self) -> None:
        """Messages that wait, one that many wait for, one under way, held, deferred, ended, owed a report."""
        self.ids = [self.accept(recipient(0), recipient(1, destination=SOUTH), body=SMALL + b"x" * 3000)
                    for _ in range(20)]  # fmt: skip
        self.ids.append(self.accept(*[recipient(n) for n in range(600)]))
        self.ids.append(self.accept(recipient(0, hold="by hand"), body=LARGE))
        self.ids.append(self.accept_leased(body=LARGE).message.id)
        lease = self.accept_leased(recipient(0), recipient(1))
        after = {1: Next(START + 9, SOUTH)}
        self.finish(lease, outcomes=(outcome(0), outcome(1, Status.DEFERRED, LATER)), next=after)
        self.ids.append(lease.message.id)
        self.finish(self.accept_leased(), outcomes=(outcome(0, Status.FAILED),), owed=(0,))
        self.there = self.balanced()
        self.now(self.spool.close())

    def damage(self, page: int) -> None:
        with open(self.database, "r+b") as file:
            file.seek((page - 1) * PAGE_SIZE)
            file.write(GARBAGE)

    def salvaged(self) -> Salvaged:
        """Save it, and go on with what was saved."""
        found = salvage(self.state, "saved")
        self.state = str(Path("saved").absolute())
        self.spool = self.make_spool()
        damages = {damage.id for damage in self.now(self.spool.recover("queue"))}
        self.assertLessEqual(damages | {damage.id for damage in self.now(self.spool.check())}, self.names(found))
        return found

    def names(self, found: Salvaged) -> set[str]:
        return {damage.id for damage in found.lost}

    def test_of_a_sound_one_all_is_there(self) -> None:
        self.fill()
        found = self.salvaged()
        self.assertEqual((found.lost, found.messages), ([], 25))
        self.assertEqual(self.balanced(), self.there)
        self.assertEqual(self.now(self.spool.check()), [])
        self.assertEqual(len(self.claim_notices()), 1)
        waiting = {lease.message.id: self.read(lease.message) for lease in self.claim(NORTH, 10_000)}
        self.assertEqual(len(waiting), 22)
        self.assertEqual(waiting[self.ids[22]], LARGE)
        self.assertEqual([row.recipient.hold for row in self.page(held=True)], ["by hand"])

    def test_whatever_page_is_damaged_the_rest_is_saved(self) -> None:
        self.fill()
        whole = Path("whole")
        os.rename(self.state, whole)
        pages = (whole / "spool/0/spool.db").stat().st_size // PAGE_SIZE
        kept = 0
        for page in range(2, pages + 1, 3):
            self.state = str(Path("state").absolute())
            shutil.copytree(whole, self.state)
            self.damage(page)
            self.salvaged()
            totals = self.balanced()
            self.assertEqual(totals.accepted, self.there.accepted, page)
            kept += totals.queued + totals.held
            # One message with its 600 recipients fills pages of its own; no page holds half of all.
            self.assertGreater(totals.queued, self.there.queued // 2, (page, totals))
            self.now(self.spool.close())
            for folder in ("state", "saved"):
                shutil.rmtree(folder)
        self.assertGreater(kept / len(range(2, pages + 1, 3)), self.there.queued * 0.9)
        shutil.copytree(whole, self.state)
        self.spool = self.make_spool()

    def test_without_its_first_page(self) -> None:
        self.fill()
        self.damage(1)
        self.assertEqual(self.salvaged().lost, [])
        self.assertEqual(self.balanced(), self.there)

    def test_what_is_lost_is_named_and_counted(self) -> None:
        id, other = self.accept(body=LARGE), self.accept()
        self.lose_body(id)
        self.now(self.spool.close())
        found = self.salvaged()
        self.assertEqual(found.lost, [(id, "its body cannot be read")])
        self.assertEqual([row.recipient.hold for row in self.page()], ["damaged: its body cannot be read", ""])
        self.sql("DELETE FROM recipient WHERE message = (SELECT max(id) FROM message)")
        self.now(self.spool.close())
        shutil.rmtree("state")
        os.rename("saved", "state")
        self.state = str(Path("state").absolute())
        found = self.salvaged()
        self.assertEqual([damage.id for damage in found.lost], [id, other])
        self.assertEqual(self.balanced().ended, {LOST: 1})

    def test_the_damaged_spool_is_only_read(self) -> None:
        self.fill()
        self.damage(5)
        before = self.octets()
        salvage(self.state, "saved")
        self.assertEqual(self.octets(), before)
        self.assertEqual(sorted(os.listdir("saved/spool/0")), ["body", "spool.db"])
        self.state = str(Path("saved").absolute())
        self.spool = self.make_spool()

    def octets(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in sorted(Path(self.state, "spool").rglob("*")) if path.is_file()}

    def test_the_start_refuses_and_says_what_to_do(self) -> None:
        self.fill()
        self.damage(7)
        with self.assertRaises(SpoolUnusable) as raised:
            self.make_spool()
        said = str(raised.exception)
        self.assertIn("is damaged", said)
        self.assertIn("mta spool salvage", said)
        self.spool = self.sound()

    def test_not_while_a_service_runs_nor_into_a_folder_in_use(self) -> None:
        with self.assertRaises(SpoolLocked):
            salvage(self.state, "saved")
        self.now(self.spool.close())
        Path("used").mkdir()
        Path("used", "precious").touch()
        for state, target in ((self.state, "used"), ("nowhere", "saved")):
            with self.assertRaises(SpoolUnusable):
                salvage(state, target)
        self.spool = self.make_spool()

    def sound(self) -> Any:
        self.state = str(Path("another").absolute())
        return self.make_spool()
