"""A spool of an older txmta, with mail inside, is brought up to date and its mail goes out."""

from __future__ import annotations

import os
import sqlite3
from itertools import chain
from pathlib import Path
from typing import Any

from spool_contract import BOB, MINUTE, outcome
from sqlite_case import SqliteCase
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.envelope import Right, Status
from mta.spool import schema as schema_module
from mta.spool.reader import SpoolReader
from mta.spool.schema import MIGRATIONS, VERSION
from mta.spool.values import ChangeKind, SpoolUnusable

VERSION_0 = Path(__file__).with_name("version0.sql").read_text("utf-8")


def schema(path: Path) -> dict[str, Any]:
    """Tables, their columns and indexes, as the database has them."""
    db = sqlite3.connect(path)
    try:
        names = db.execute("SELECT type, name FROM sqlite_schema WHERE name NOT LIKE 'sqlite%'").fetchall()
        return {
            name: kind if kind == "index" else [row[1:] for row in db.execute(f"PRAGMA table_info({name})")]
            for kind, name in names
        }
    finally:
        db.close()


class FromVersion0(SqliteCase, SynchronousTestCase):
    """See the module's text."""

    version = 0

    def make_spool(self, **more: Any) -> Any:
        if not self.database.exists():
            for folder in (self.state, self.database.parent.parent, self.database.parent, self.body_folder):
                os.mkdir(folder, 0o700)
            db = sqlite3.connect(self.database)
            db.executescript(VERSION_0)
            for statement in chain.from_iterable(MIGRATIONS[: self.version]):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {self.version}")
            db.commit()
            db.close()
            self.database.chmod(0o600)
        return super().make_spool(**more)

    def test_its_mail_is_claimed_read_and_finished(self) -> None:
        lease = self.claim_one()
        (one,) = lease.recipients
        self.assertEqual((one.address, one.path, one.attempts, one.progress), (BOB, ("aliases:12",), 2, {}))
        self.assertEqual(self.read(lease.message), b"Received: x\r\nSubject: hello\r\n\r\nbody\r\n")
        self.assertEqual(lease.message.envelope.reverse_path, Address("ann", "a.example"))
        self.assertEqual(lease.message.envelope.rights, frozenset({Right.NETWORK}))
        self.finish(lease, outcomes=(outcome(0, Status.FAILED),), owed=(0,))
        self.assertEqual(len(self.claim_notices()), 1)
        self.assertEqual(self.page()[0].recipient.hold, "by hand")

    def test_its_history_and_sums_are_kept(self) -> None:
        (row,) = self.page(history=True)
        self.assertEqual((row.status, row.sender, row.recipient.address), ("relayed", None, BOB))
        totals = self.balanced()
        self.assertEqual((totals.accepted, totals.queued, totals.held), (3, 1, 1))

    def test_its_addresses_are_found_before_and_after_they_are_in_the_index(self) -> None:
        for names in (0, 2):
            self.assertEqual(len(self.page(history=True, recipient=str(BOB))), 1)
            self.assertEqual(len(self.page(sender="ann@a.example")), 2)
            self.assertEqual(self.sql("SELECT count(*) FROM named WHERE name = ?", str(BOB)), [(names,)])
            self.clock.at += 2 * MINUTE
            self.reactor.pump([2, 2])

    def test_what_was_held_is_counted_on(self) -> None:
        self.assertEqual(self.change(ChangeKind.RELEASE), 1)
        self.assertEqual(self.balanced().held, 0)

    def test_the_schema_is_that_of_a_new_one(self) -> None:
        self.now(self.spool.close())
        old = schema(self.database)
        self.state = str(Path("new").absolute())
        self.spool = self.make_new()
        self.assertEqual(old, schema(self.database))
        self.assertEqual(self.sql("PRAGMA user_version"), [(VERSION,)])

    def make_new(self) -> Any:
        return SqliteCase.make_spool(self)


class FromVersion1(FromVersion0):
    version = 1


class FromVersion2(FromVersion0):
    version = 2


class Broken(SynchronousTestCase):
    """A migration is whole or not at all."""

    def test_a_step_that_fails_changes_nothing(self) -> None:
        case = FromVersion0()
        self.patch(schema_module, "MIGRATIONS", (*MIGRATIONS[:-1], (*MIGRATIONS[-1], "CREATE TABLE message (id)")))
        with self.assertRaises(SpoolUnusable):
            case.setUp()
        found = schema(case.database)
        self.assertNotIn("notice", found)
        self.assertNotIn("waits_again", found)

    def test_a_reader_does_not_migrate(self) -> None:
        case = FromVersion0()
        case.setUp()
        self.successResultOf(case.spool.close())
        case.sql("PRAGMA user_version = 0")
        with self.assertRaises(SpoolUnusable) as raised:
            SpoolReader(case.state)
        self.assertIn("start the service", str(raised.exception))
