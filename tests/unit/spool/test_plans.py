"""A long queue makes nothing slow that is done for each message: no statement goes through a whole table."""

from __future__ import annotations

import sqlite3
from typing import Any

from spool_contract import ANN, CAROL, LARGE, LATER, MINUTE, NORTH, SOUTH, START, outcome, recipient
from sqlite_case import SqliteCase
from twisted.trial.unittest import SynchronousTestCase

from mta.envelope import Status
from mta.spool.reader import SpoolReader
from mta.spool.values import ChangeKind, Due, Next, PageKey, Selection

LATER_ON = START + 10 * MINUTE
LONG = {"message", "body", "recipient", "history", "event", "line", "r", "m"}


class Plans(SqliteCase, SynchronousTestCase):
    """SQLite says how it will find the rows of each statement that ran."""

    def setUp(self) -> None:
        self.seen: set[str] = set()
        super().setUp()
        self.now(self.spool.close())
        self.spool = self.make_spool(connect=self.trace)

    def trace(self, path: str) -> sqlite3.Connection:
        db = self.disk.connect(path)
        db.set_trace_callback(self.seen.add)
        return db

    def whole(self) -> list[str]:
        """Statements that would go through all rows of a long table."""
        db = sqlite3.connect(self.database, isolation_level=None)
        found = []
        for statement in self.seen:
            if statement.split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE"):
                for row in db.execute(f"EXPLAIN QUERY PLAN {statement}"):
                    words = row[3].split()
                    if words[0] == "SCAN" and words[1] in LONG:
                        found.append(f"{row[3]}: {statement[:200]}")
        db.close()
        return found

    def test_the_way_of_a_message(self) -> None:
        self.seen.clear()
        for body in (b"x", LARGE):
            for count in (1, 5, 1500):
                self.accept(*[recipient(n) for n in range(count)], body=body)
                lease = self.accept_leased(*[recipient(n) for n in range(count)], body=body)
                some = min(count, 100)
                self.finish(
                    lease,
                    outcomes=tuple(outcome(one.id, Status.DEFERRED, LATER) for one in lease.recipients[some:]),
                    next={one.id: Next(START + MINUTE, SOUTH) for one in lease.recipients[some:]},
                )
        for lease in self.claim(NORTH, 70):
            self.finish(lease, outcomes=tuple(outcome(one.id) for one in lease.recipients), owed=(0,))
        for lease in self.claim_notices():
            self.finish(lease, notices_done=(0,))
        self.now(self.spool.release(self.claim(NORTH, 70)))
        found, _ = self.now(self.spool.waiting(None, None, 30))
        keys = [PageKey(one.id, one.recipient.id) for one in found]
        self.now(self.spool.release(self.now(self.spool.claim_some("queue", keys, LATER_ON))))
        self.write_and_abort()
        self.assertEqual(self.whole(), [])
        self.balanced()

    def write_and_abort(self) -> None:
        self.write(b"x", *[recipient(n) for n in range(1500)]).abort()

    def test_what_an_operator_does(self) -> None:
        ids = [self.accept(recipient(0), recipient(1)) for _ in range(3)]
        self.seen.clear()
        for kind, argument in ((ChangeKind.HOLD, "x"), (ChangeKind.RELEASE, None), (ChangeKind.DELETE, None)):
            self.change(kind, argument, ids=(ids[0],))
            self.change(kind, argument, sender="ann@a.example")
        self.now(self.spool.purge(START + MINUTE, 100))
        self.assertEqual(self.whole(), [])

    def test_figures_and_addresses(self) -> None:
        """Neither counts what there is nor goes through it; what is past is found by who is named."""
        for n in range(3):
            self.accept(recipient(0), recipient(1, CAROL, SOUTH, hold="odd" if n else ""))
            self.finish(self.accept_leased(recipient(0, CAROL)), outcomes=(outcome(0),))
        self.clock.at = LATER_ON
        self.reactor.pump([2, 2])
        last = self.accept(recipient(0, CAROL))
        self.seen.clear()
        reader = SpoolReader(self.state)
        reader.db.set_trace_callback(self.seen.add)
        self.assertEqual((reader.totals().queued, reader.totals().held), (5, 2))
        selections = (Selection(recipient=str(CAROL)), Selection(recipient="@c.example"), Selection(sender=str(ANN)))
        for selection, counts in zip(selections, ((4, 3), (4, 3), (7, 3)), strict=True):
            pages = [reader.page(selection, None, 9, history) for history in (False, True)]
            self.assertEqual(tuple(map(len, pages)), counts)
        reader.close()
        self.assertEqual(self.change(ChangeKind.HOLD, "x", destination=SOUTH), 1)
        self.assertEqual(self.change(ChangeKind.RELEASE, held=True), 3)
        self.assertEqual(self.change(ChangeKind.PRIORITY, 3, recipient=str(CAROL)), 4)
        self.change(ChangeKind.DELETE, ids=(last,))
        self.assertEqual(self.now(self.spool.erase(str(CAROL), "")), 4)
        self.clock.at += 10 * MINUTE
        self.reactor.pump([2, 2])
        self.now(self.spool.purge(self.clock.at, 100))
        # Of what is held up to FEW are looked at, by an index that has nothing else.
        self.assertEqual([one for one in self.whole() if "USING INDEX aside" not in one], [])
        self.assertEqual(self.looked_through(), set())

    def looked_through(self) -> set[str]:
        """Ranges of a long table that begin at its first row, and how far they go."""
        begins = "(message, n) > (-1, -1)"
        return {one for one in self.seen if begins in one.replace("r.", "") and " IN (" not in one}

    def test_a_look_for_what_is_due(self) -> None:
        self.accept(recipient(0), recipient(1, destination=SOUTH, due=LATER_ON))
        plans = sqlite3.connect(self.database)
        reader = SpoolReader(self.state)
        reader.db.set_trace_callback(self.seen.add)
        self.seen.clear()
        first = reader.due(START, None, 1)
        self.assertEqual([*first, *reader.due(START, first[0], 9)], [Due(NORTH, START), Due(SOUTH, LATER_ON)])
        looks = [statement for statement in self.seen if "first_due" in statement]
        self.assertEqual(len(looks), 2)
        for statement in looks:
            rows = [row[3] for row in plans.execute(f"EXPLAIN QUERY PLAN {statement}")]
            # In order of the index: nothing is sorted, and it ends at the first that is later.
            self.assertTrue(all("USING" in row and "INDEX" in row for row in rows if "destination" in row), rows)
            self.assertFalse(any("TEMP B-TREE" in row for row in rows), rows)
        reader.close()
        plans.close()

    def test_the_test_would_notice(self) -> None:
        self.accept()
        self.seen.add("DELETE FROM recipient WHERE (message, n) IN (VALUES (1, 0), (2, 0))")
        found: Any = self.whole()
        self.assertIn("SCAN recipient", found[0])
