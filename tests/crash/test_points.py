"""The quick form of ``spool_kill.py`` and ``points.py``: some of the steps; ``make crash`` takes them all."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.crash.points import REPORTED, names, run_under_load, run_with_reports
from tests.crash.spool_kill import sweep_apart

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
)


class Points(SynchronousTestCase):
    """RFC 5321 6.1: what had its 250 is not lost for frivolous reasons."""

    def test_the_spool_before_every_twentieth_step(self) -> None:
        kills, wrong = sweep_apart(Path.cwd(), 20)
        self.assertEqual(wrong, [])
        self.assertGreater(kills, 30)

    def test_the_daemon_at_some_steps(self) -> None:
        self.assertLess(set(STEPS), set(names()))
        self.assertEqual(run_under_load(STEPS), [])

    def test_a_failure_and_its_report(self) -> None:
        self.assertEqual(run_with_reports(REPORTED[2:4]), [])
