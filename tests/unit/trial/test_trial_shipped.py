"""The tests that are shipped with the demonstration hold."""

from __future__ import annotations

from pathlib import Path

from trial_cases import NOW, decide
from twisted.trial.unittest import SynchronousTestCase

from mta.config.load import load
from mta.trial.prove import prove

ROOT = Path(__file__).parents[3]


class Shipped(SynchronousTestCase):
    def test_they_hold(self) -> None:
        configuration = load(str(ROOT / "etc/mta.toml"), environ={})
        self.assertEqual(prove(decide(configuration), lambda: NOW, lambda: 0.0), (3, []))
