"""The quick form of ``kill9.py``: nothing that had its 250 is lost by a ``kill -9``."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.crash.kill9 import run


class KillNine(SynchronousTestCase):
    def test_at_random_under_load(self) -> None:
        """RFC 5321 6.1: what had its 250 is not lost for frivolous reasons."""
        tally = run(messages=600, kills=12, sessions=15, seed=1)
        self.assertEqual(tally.wrong, [])
        self.assertEqual((tally.kills.total(), tally.lost), (12, 0))
        self.assertGreater(tally.taken, 200)
