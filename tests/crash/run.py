"""All of it: ``python -m tests.crash.run [--kills N] [--seed N]``, or ``make crash``.

The spool before each step that reaches the disk (``spool_kill.py``, over six hundred kills, beside the rest); then
``--kills`` of the daemon: at each named step (``points.py``), while it is copied and migrated (``upkeep.py``), and at
random under load (``kill9.py``) for the rest, at least fifty.  A report ends it: the kills by where they were, what had
its 250, what is lost of that, what came twice, and what is wrong.  A thousand take some ten minutes on two cores.

Exit status 0 if all is as it must be.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final

from tests.crash import kill9, points, spool_kill, upkeep
from tests.crash.tally import Tally

#: Of kills at random; and messages for each of them, so that every one meets the load.
LEAST: Final = 50
A_KILL: Final = 60
SESSIONS: Final = 30
#: A migration dies at each of so many writes and syncs.
MIGRATIONS: Final = 3


def main() -> int:
    parser = argparse.ArgumentParser(description="kill -9 wherever it may hurt.")
    parser.add_argument("--kills", type=int, default=1000, help="of the daemon (default 1000)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the random ones")
    chosen = parser.parse_args()
    begun = time.monotonic()
    tally = Tally()
    # Forked before there is any thread, since it forks itself.
    beside = ProcessPoolExecutor(1, multiprocessing.get_context("fork"))
    with tempfile.TemporaryDirectory(prefix="spool-kill-") as folder, beside:
        spool = beside.submit(spool_kill.sweep, Path(folder), 1)
        for part in (
            lambda: points.run_under_load(points.names()),
            lambda: points.run_under_load(points.LISTED, points.LISTS),
            lambda: points.run_with_reports(points.REPORTED),
            lambda: upkeep.run_copies(upkeep.COPIES),
            lambda: upkeep.run_migration(MIGRATIONS),
        ):
            tally.add(part())
            print(f"{tally.kills.total()} kills, {len(tally.wrong)} wrong", flush=True)
        left = max(LEAST, chosen.kills - tally.kills.total())
        print(f"{tally.kills.total()} kills at named steps; {left} at random, seed {chosen.seed}", flush=True)
        tally.add(kill9.run(left * A_KILL, left, SESSIONS, chosen.seed))
        tally.add(spool.result())
    tally.show()
    print(f"{time.monotonic() - begun:.0f} seconds")
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
