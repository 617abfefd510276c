"""Reading a spool while the service runs or is stopped, and copying it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from unittest import mock

from spool_contract import LARGE, NORTH, SMALL, START, outcome, recipient
from sqlite_case import SqliteCase
from twisted.trial.unittest import SynchronousTestCase

from mta.spool.backup import backup
from mta.spool.bodies import BodyFolder
from mta.spool.reader import SpoolReader
from mta.spool.values import Due, Selection, SpoolUnusable, id_number


class Reader(SqliteCase, SynchronousTestCase):
    """What the command line sees."""

    def look(self) -> Any:
        with SpoolReader(self.state) as reader:
            totals = reader.audit()
            self.assertEqual((totals.accepted, totals.queued, totals.unaccounted), (2, 1, 0))
            (row,) = reader.page(Selection(), None, 10)
            (ended,) = reader.page(Selection(), None, 10, history=True)
            self.assertEqual(ended.status, "relayed")
            self.assertEqual(reader.story(row.id), [])
            message = reader.get(row.id)
            self.assertEqual(message.header(), b"Subject: large\r\n\r\n")
            self.assertEqual(self.read(message), LARGE)
            self.assertEqual(reader.record(ended.id).envelope.arrived, START)
            with self.assertRaises(KeyError):
                reader.get(ended.id)
            self.assertEqual(reader.due(START, None, 5), [Due(NORTH, START)])
            self.assertEqual(reader.check(), [])

    def fill(self) -> None:
        self.accept(body=LARGE)
        self.finish(self.accept_leased(), outcomes=(outcome(),))

    def test_while_the_service_runs(self) -> None:
        self.fill()
        self.look()

    def test_while_it_is_stopped(self) -> None:
        self.fill()
        self.now(self.spool.close())
        self.look()
        self.spool = self.make_spool()
        self.claim_one()

    def test_where_there_is_none(self) -> None:
        with self.assertRaises(FileNotFoundError):
            SpoolReader("nowhere")

    def test_a_rare_match_is_found_in_a_long_queue(self) -> None:
        with mock.patch("mta.spool.narrow.SLICE", 10):
            self.accept(*[recipient(n) for n in range(95)])
            rare = self.accept(recipient(0, hold="x"))
            self.accept(*[recipient(n) for n in range(35)])
            self.assertEqual([row.id for row in self.page(reason="x")], [rare])
            self.assertEqual(len(self.page()), 131)


class Backup(SqliteCase, SynchronousTestCase):
    """A copy of one moment, whole."""

    def open_copy(self, target: str) -> None:
        self.now(self.spool.close())
        self.state = str(Path(target).absolute())
        self.spool = self.make_spool()
        self.assertEqual(self.now(self.spool.recover("queue")), [])

    def test_mail_goes_out_of_the_copy(self) -> None:
        small, large = self.accept(), self.accept_leased(body=LARGE).message.id
        self.assertEqual(self.now(self.spool.backup("copy")), 2)
        self.change_after()
        self.open_copy("copy")
        bodies = {lease.message.id: self.read(lease.message) for lease in self.claim()}
        self.assertEqual(bodies, {small: SMALL, large: LARGE})
        self.balanced()

    def change_after(self) -> None:
        """What happens later does not touch the copy."""
        self.finish(self.claim_one(), outcomes=(outcome(),))
        self.accept()

    def test_from_another_process_while_the_service_runs(self) -> None:
        id = self.accept(body=LARGE)
        self.assertEqual(backup(self.state, "copy"), 1)
        self.assertEqual(os.stat("copy").st_mode & 0o777, 0o700)
        self.open_copy("copy")
        self.assertEqual(self.numbers(self.claim()), [(id, [0])])

    def test_a_message_that_ends_meanwhile_is_in_it_whole_or_not_at_all(self) -> None:
        self.accept_leased(body=LARGE)
        numbers = BodyFolder.numbers

        def late(folder: BodyFolder) -> list[int]:
            """The list is made, then one more arrives and ends before it is copied."""
            found = numbers(folder)
            lease = self.accept_leased(body=LARGE)
            self.finish(lease, outcomes=(outcome(),))
            found.append(id_number(lease.message.id))
            return found

        with mock.patch.object(BodyFolder, "numbers", late):
            backup(self.state, "copy")
        self.open_copy("copy")
        self.assertEqual(self.now(self.spool.check()), [])
        self.assertEqual(len(self.claim()), 1)

    def test_where_links_cannot_be_made_it_copies(self) -> None:
        id = self.accept(body=LARGE)
        with mock.patch("os.link", side_effect=OSError("another file system")):
            backup(self.state, "copy")
        self.assertEqual(Path("copy", "spool", "0", "body", id).stat().st_nlink, 1)
        self.assertEqual(Path("copy", "spool", "0", "body", id).read_bytes(), LARGE)

    def test_a_target_in_use_is_refused(self) -> None:
        Path("copy").mkdir()
        Path("copy", "precious").touch()
        with self.assertRaises(SpoolUnusable):
            backup(self.state, "copy")
        self.failureResultOf(self.spool.backup("copy"), SpoolUnusable)
        self.assertEqual(os.listdir("copy"), ["precious"])
