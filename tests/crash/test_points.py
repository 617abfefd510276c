"""The quick form of ``spool_kill.py``, ``points.py`` and ``upkeep.py``: some of the steps; ``make crash`` takes all."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.crash.points import LISTED, REPORTED, names, run_under_load, run_with_reports
from tests.crash.sending_on import STEPS as SENT_ON
from tests.crash.sending_on import run_lists
from tests.crash.spool_kill import sweep_apart
from tests.crash.upkeep import MEANWHILE, run_copies, run_migration

#: Where a process that dies hurts most.
STEPS = (
    "after the sync of a file",
    "before the commit",
    "after the commit",
    "before the reply",
    "after the octets and the dot",
    "after the reply to the dot",
    "after the name in the mailbox",
    "before the outcome",
    "after the outcome",
    "before the recovery",
    "after the purge",
)


class Points(SynchronousTestCase):
    """RFC 5321 6.1: what had its 250 is not lost for frivolous reasons."""

    def test_the_spool_before_every_twentieth_step(self) -> None:
        kills, wrong = sweep_apart(Path.cwd(), 20)
        self.assertEqual(wrong, [])
        self.assertGreater(kills, 30)

    def test_the_daemon_at_some_steps(self) -> None:
        self.assertLess(set(STEPS), set(names()))
        self.assertEqual(run_under_load(STEPS).wrong, [])

    def test_a_list_while_it_is_staged_and_made_visible(self) -> None:
        self.assertEqual(run_under_load(LISTED[2:9:2], 12).wrong, [])

    def test_a_failure_and_its_report(self) -> None:
        self.assertEqual(run_with_reports(REPORTED[2:4]).wrong, [])

    def test_a_mailing_list_while_it_is_sent_on(self) -> None:
        self.assertEqual(run_lists(SENT_ON[2:6:3]).wrong, [])

    def test_while_it_is_copied(self) -> None:
        self.assertEqual(run_copies(8, MEANWHILE[2:3]).wrong, [])

    def test_a_spool_of_old_that_is_migrated(self) -> None:
        self.assertEqual(run_migration(every=24).wrong, [])
