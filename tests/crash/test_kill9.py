"""The quick form of ``kill9.py``: nothing that had its 250 is lost by a ``kill -9``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parents[2]


class KillNine(SynchronousTestCase):
    def test_two_kills(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "tests.crash.kill9", "--kills", "2", "--messages", "300", "--sessions", "15"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("      0  of them are lost", done.stdout)
