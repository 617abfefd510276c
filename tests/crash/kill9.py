"""``kill -9`` in the middle of a load, a restart, and a comparison of sets of identities.

``python -m tests.crash.kill9 [--kills N] [--messages N] [--sessions N] [--seed N]``.

Clients of our own (``load.py``), half of them with a new connection for each message, send messages that bear an
identity in their X-Id field, and remember what they were told.  A quarter goes into a Maildir, a quarter into the
Maildir and to a far end, the rest to the far end alone, some to a list of 2,100 there; that one takes its time at the
final dot and defers every tenth once.  Some are too large for the spool's body table.  What has ended is purged at
once.  The daemon is killed at random: at a moment of the load, while it starts, or before or after one of its writes
and syncs, SQLite's own among them (``failing_disk.c``, if there is a C compiler).  What lies in its spool then is read
with nobody running, and it is started again.  What must be so: see ``trial.py``.

Exit status 0 if all that is so, 1 if not.
Limits: what a killed process has written stays with the kernel, so this does not show that it was synced as well,
which only a power cut asks for.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import unittest
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.crash.load import ALIASES, Load
from tests.crash.nursery import ForkedDaemon, Nursery
from tests.crash.tally import Tally
from tests.crash.trial import MORE, SETTINGS, Arrivals, FarEnd, Trial
from tests.integration.tools import failing_disk, wait_for

#: A message in so many goes to the list.
LISTS: Final = 600
#: So many copies in the spool are delivered before the next kill, but for a few; else it would only grow.
MOST: Final = 5000
FEW: Final = 200
#: So many writes and syncs come first, at most; few more often than many.  A start makes some twenty and five.
DEEPEST: Final = {"write": 500, "sync": 100}
#: Seconds within which a daemon is up, and past it.
STARTING: Final = 0.3

MOMENT: Final = "at a moment of the load"
START: Final = "while it starts"
DISK: Final = tuple(f"{when} a {call}" for call in DEEPEST for when in ("before", "after"))


def _kill_once(trial: Trial, chance: random.Random, kind: str, begun: int, room: int) -> None:
    """Start it, let the load run, kill it."""
    load, daemon = trial.load, trial.daemon
    daemon.disk = ""
    if trial.left > MOST:
        trial.start()
        trial.drain(FEW)
        trial.kill(MOMENT)
    elif kind == MOMENT:
        trial.start()
        # More of it when the audit is over, so that the kill meets the load.
        load.allow(begun + 2 * room)
        load.wait_until_begun(begun + chance.randrange(room))
        trial.kill(kind)
    elif kind == START:
        trial.launch()
        time.sleep(chance.random() * STARTING)
        trial.kill(kind)
    else:
        when, _, call = kind.split()
        daemon.disk = f"{call} {when} {round(DEEPEST[call] ** chance.random()) - 1}"
        trial.launch()
        process = daemon.process
        assert process is not None
        wait_for(lambda: load.begun >= begun or process.poll() is not None, "the load, or it to die")
        load.allow(begun + 2 * room)
        wait_for(lambda: load.begun >= begun + room or process.poll() is not None, "the load, or it to die")
        # A moment, if it did not do that so often.
        trial.kill(MOMENT if process.poll() is None else kind)


def run(messages: int, kills: int, sessions: int, seed: int) -> Tally:
    """The whole of it; prints each kill."""
    chance = random.Random(seed)
    arrivals = Arrivals()
    far = FarEnd(arrivals)
    with ExitStack() as stack:
        kinds: tuple[str, ...] = (MOMENT, START, *DISK)
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="kill9-"))
        try:
            nursery = stack.enter_context(Nursery(failing_disk(Path(folder))))
        except unittest.SkipTest as reason:
            print(f"at moments alone: {reason}")
            nursery, kinds = stack.enter_context(Nursery()), (MOMENT, START)
        stack.enter_context(far)
        daemon = stack.enter_context(ForkedDaemon(nursery, MORE, internet=far.delivery()))
        daemon.settings = SETTINGS
        (daemon.folder / "aliases").write_text(ALIASES)
        trial = Trial(Load(daemon.where, messages, sessions, LISTS), daemon, far, arrivals)
        trial.start()  # so that there is a spool to be read, whatever kill is the first
        daemon.stop()
        trial.load.start()
        for number in range(1, kills + 1):
            # A part of the load comes as soon as it listens.
            begun = number * messages // (kills + 1)
            trial.load.allow(begun)
            _kill_once(trial, chance, chance.choices(kinds, (3, 1, *[1] * (len(kinds) - 2)))[0], begun, sessions)
        trial.load.allow(messages)
        trial.start()
        return trial.finish()


def main() -> int:
    parser = argparse.ArgumentParser(description="kill -9 in the middle of a load, restart, comparison of sets.")
    parser.add_argument("--messages", type=int, default=5000, help="default 5000")
    parser.add_argument("--kills", type=int, default=100, help="default 100")
    parser.add_argument("--sessions", type=int, default=30, help="connections at once (default 30)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="for the same moments once more")
    chosen = parser.parse_args()
    print(f"{chosen.messages:,} messages, {chosen.kills} kills, seed {chosen.seed}", flush=True)
    tally = run(chosen.messages, chosen.kills, chosen.sessions, chosen.seed)
    tally.show()
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
