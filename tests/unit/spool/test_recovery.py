"""Mail that comes in while the spool puts in order what a crash left: it is no leftover itself."""

from __future__ import annotations

from spool_contract import LARGE, START, recipient
from sqlite_case import SqliteCase
from twisted.trial.unittest import SynchronousTestCase

from mta.spool.values import id_text


class MailDuringRecovery(SqliteCase, SynchronousTestCase):
    """A listener answers from the first moment on, and the writer does many jobs in one batch."""

    def setUp(self) -> None:
        super().setUp()
        self.spool = self.crash()
        self.lanes.paused = True
        self.recovering = self.spool.recover("queue")

    def test_a_large_body_is_not_taken_for_an_orphan(self) -> None:
        incoming = self.spool.begin(0)
        for start in range(0, len(LARGE), 50_000):
            incoming.write(LARGE[start : start + 50_000])
        self.lanes.run()
        self.assertEqual(self.now(self.recovering), [])
        self.assertEqual(self.bodies(), [incoming.id])
        incoming.abort()

    def test_what_is_claimed_at_birth_stays_claimed(self) -> None:
        commit = self.spool.commit(self.write(), self.born())
        self.lanes.run()
        self.assertIsNotNone(self.now(commit))
        self.assertEqual(self.claim(), [])

    def test_staged_recipients_are_kept(self) -> None:
        incoming = self.spool.begin(0)
        staged = incoming.add_recipients([recipient(n, due=START) for n in range(1500)])
        self.lanes.run()
        self.now(staged)
        self.assertEqual(self.sql("SELECT count(*) FROM recipient"), [(1000,)])
        incoming.abort()

    def test_what_the_crash_left_is_removed_all_the_same(self) -> None:
        self.lanes.run()
        (self.body_folder / id_text(1)).write_bytes(LARGE)
        self.spool = self.crash()
        self.now(self.spool.recover("queue"))
        self.assertEqual(self.bodies(), [])
