"""All of it: ``python -m tests.crash.run [--kills N]``, or ``make crash``.

The spool before each step that reaches the disk (``spool_kill.py``, over six hundred kills), the daemon at each named
step (``points.py``, some forty), and at random under load (``kill9.py``) for the rest, at least twenty.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.crash import kill9, points, spool_kill

#: Of kills at random; and messages for each of them, so that every one meets the load.
LEAST: Final = 20
A_KILL: Final = 60


def main() -> int:
    parser = argparse.ArgumentParser(description="kill -9 wherever it may hurt.")
    parser.add_argument("--kills", type=int, default=700, help="in all (default 700; 1000 take half an hour)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the random ones")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="spool-kill-") as folder:
        kills, wrong = spool_kill.sweep(Path(folder), 1, show=True)
    steps = points.names()
    wrong += points.run_under_load(steps) + points.run_with_reports(points.REPORTED)
    kills += len(steps) + len(points.REPORTED)
    left = max(LEAST, chosen.kills - kills)
    print(f"{kills} kills at named steps; {left} at random, seed {chosen.seed}", flush=True)
    fit = kill9.run(max(5000, left * A_KILL), left, 30, chosen.seed)
    for line in wrong:
        print(f"WRONG: {line}")
    print(f"{kills + left} kills, {'all is as it must be' if fit and not wrong else 'something is WRONG'}")
    return 0 if fit and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
