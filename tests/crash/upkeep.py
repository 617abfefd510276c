"""The daemon is killed while a copy of its spool is made, the copying is killed, and a spool of old is migrated.

``python -m tests.crash.upkeep``.  Under a load of ``load.py``; what must be so at each kill and at the end is what
``trial.py`` says, and

- a copy that was told as made is whole, whatever becomes of the daemon meanwhile: ``mta audit`` and ``mta spool check``
  are clean on it, and it has all that had its 250 before it was begun;
- one that died before one of its own writes or syncs is whole, or there is no spool in it, and the daemon goes on;
- a daemon that dies before or after any write or sync of its start on a spool of the first version can be started
  again, and then has its mail.

Exit status 0 if all is so.  Without a C compiler it dies at named steps alone.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
import tempfile
import unittest
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count, product
from pathlib import Path
from typing import Final

from click.testing import CliRunner

from mta.admin.main import main as main_command
from tests.crash.load import Load
from tests.crash.nursery import Birth, Child, ForkedDaemon, Nursery
from tests.crash.points import dies
from tests.crash.tally import Tally
from tests.crash.trial import MORE, Arrivals, FarEnd, Trial
from tests.integration.tools import Sink, failing_disk, wait_for

VERSION_0: Final = Path(__file__).parents[1] / "unit" / "spool" / "version0.sql"
#: Messages that come between two kills, and how many clients bring them.
MESSAGES: Final = 60
SESSIONS: Final = 6
#: At which the daemon dies while a copy is made.
MEANWHILE: Final = (
    "after the sync of a file",
    "before the commit",
    "after the commit",
    "before the outcome",
    "after the outcome",
    "before the removal of a file",
    "after the removal of a file",
)
#: Copies that die.
COPIES: Final = 100
#: Of the start on a spool of old.
STEPPED: Final = ("before the migration", "after the migration", "after the opening of the database")


@contextmanager
def nursery_with_a_disk() -> Iterator[tuple[Nursery, bool]]:
    """And whether the disk can be told anything."""
    with tempfile.TemporaryDirectory(prefix="disk-") as folder:
        try:
            library: Path | None = failing_disk(Path(folder))
        except unittest.SkipTest:
            library = None
        with Nursery(library) as nursery:
            yield nursery, library is not None


def asked(daemon: ForkedDaemon, state: Path, *arguments: str) -> str:
    """A question about a copy; what is wrong."""
    done = CliRunner().invoke(
        main_command, ["--config", str(daemon.configuration), "--set", f'state="{state}"', *arguments]
    )
    return f"mta {' '.join(arguments)} on a copy:\n{done.output}" if done.exit_code else ""


def in_copy(state: Path) -> set[int]:
    """The numbers of the messages in it, ended or not."""
    db = sqlite3.connect(state / "spool" / "0" / "spool.db")
    try:
        senders = db.execute("SELECT sender FROM message WHERE sender IS NOT NULL").fetchall()
    finally:
        db.close()
    return {int(sender[1:7]) for (sender,) in senders}


class Copies:
    """Copies of a daemon's spool, one after the other."""

    def __init__(self, trial: Trial, nursery: Nursery) -> None:
        """``nursery``: not that of the daemon, which is to live on."""
        self._trial = trial
        self._nursery = nursery
        self._count = 0

    @property
    def path(self) -> Path:
        return self._trial.daemon.folder / f"copy-{self._count}"

    def begin(self, disk: str = "") -> tuple[Child, set[int]]:
        """One more, which may die as ``disk`` says; and what it must have."""
        self._count += 1
        daemon, taken = self._trial.daemon, set(self._trial.load.taken)
        self._nursery.control.write_text(disk)
        line = ["mta", "--config", str(daemon.configuration), "spool", "backup", str(self.path)]
        return self._nursery.start(Birth(line, str(daemon.folder), str(daemon.folder / "mta.log"))), taken

    def judge(self, name: str, status: int, taken: set[int]) -> None:
        """A whole one, or none at all."""
        tally = self._trial.tally
        if not (self.path / "spool" / "0" / "spool.db").exists():
            if not status:
                tally.wrong.append(f"{name}: a copy was told as made, and is not")
        elif missing := taken - in_copy(self.path):
            tally.wrong.append(f"{name}: {len(missing)} messages are not in the copy: {sorted(missing)[:5]}")
        else:
            tally.audits += 1
            for what in (("audit",), ("spool", "check")):
                if wrong := asked(self._trial.daemon, self.path, *what):
                    tally.wrong.append(f"{name}: {wrong}")
        shutil.rmtree(self.path, ignore_errors=True)


def run_copies(copies_that_die: int, steps: Sequence[str] = MEANWHILE) -> Tally:
    """The daemon dies at each of the steps while it is copied, then copies die before or after a write or a sync."""
    arrivals = Arrivals()
    far = FarEnd(arrivals)
    more = MORE.replace('history = "0s"', 'history = "1d"')  # so that a copy can be compared with what was taken
    with (
        nursery_with_a_disk() as (copying, told),
        Nursery() as nursery,
        far,
        ForkedDaemon(nursery, more, internet=far.delivery()) as daemon,
    ):
        load = Load(daemon.where, MESSAGES * (len(steps) + 2), SESSIONS)
        trial = Trial(load, daemon, far, arrivals)
        copies = Copies(trial, copying)
        load.start()
        for number, name in enumerate(steps, 1):
            daemon.step, daemon.hit = name, 2
            trial.launch()
            load.allow(number * MESSAGES - MESSAGES // 2)
            wait_for((daemon.state / "spool" / "0" / "spool.db").exists, daemon.log)
            wait_for(lambda: daemon.starts() or (daemon.process and daemon.process.poll() is not None), daemon.log)
            copy, taken = copies.begin()
            load.allow(number * MESSAGES)
            if wrong := dies(daemon, name):
                trial.tally.wrong.append(wrong)
            status = copy.wait()
            if status:
                trial.tally.wrong.append(f"{name}: a copy ended with {status}")
            trial.kill(f"{name} while it is copied")
            copies.judge(name, status, taken)
        trial.start()
        load.allow(MESSAGES * (len(steps) + 1))
        for number in range(copies_that_die if told else 0):
            disk = f"{('write', 'sync')[number % 2]} {('before', 'after')[number // 2 % 2]} {number // 4}"
            copy, taken = copies.begin(disk)
            status = copy.wait()
            if status == -9:
                trial.tally.kills["of the process that copies"] += 1
            elif status:
                trial.tally.wrong.append(f"a copy, {disk}, ended with {status}")
            copies.judge(f"a copy, {disk}", status, taken)
        load.allow(MESSAGES * (len(steps) + 2))
        return trial.finish()


def _old_spool(daemon: ForkedDaemon) -> None:
    """A state folder of the first version, in place of what is there."""
    shutil.rmtree(daemon.state, ignore_errors=True)
    root = daemon.state / "spool" / "0"
    (root / "body").mkdir(0o700, parents=True)
    db = sqlite3.connect(root / "spool.db")
    db.executescript(VERSION_0.read_text("utf-8"))
    db.close()
    for path in (root / "spool.db", root, root.parent, daemon.state):
        path.chmod(0o600 if path.is_file() else 0o700)


def run_migration(every: int = 1) -> Tally:
    """The daemon dies at the migration's steps, then before and after every so many of its writes and syncs."""
    tally = Tally()
    more = MORE.replace("[queue]", '[queue]\nexpire_after = "10000d"')  # its mail is of the year 2023
    with (
        nursery_with_a_disk() as (nursery, told),
        Sink({"RCPT": "450 4.2.1 later"}) as sink,
        ForkedDaemon(nursery, more, internet=sink.delivery()) as daemon,
    ):
        for step in STEPPED:
            daemon.step = step
            _migrates(daemon, step, tally)
        for when, call in product(("before", "after"), ("write", "sync")) if told else ():
            for number in count(0, every):
                daemon.disk = f"{call} {when} {number}"
                if not _migrates(daemon, f"{when} a {call} of a migration", tally):
                    break  # it does not do it that often
    return tally


def _migrates(daemon: ForkedDaemon, name: str, tally: Tally) -> bool:
    """On a spool of old; did it die?  What is there then is judged."""
    _old_spool(daemon)
    died = not daemon.launch_until_up()
    step, disk, daemon.step, daemon.disk = daemon.step, daemon.disk, "", ""
    if died:
        tally.kills[name] += 1
        daemon.start()
    elif step:
        tally.wrong.append(f"it did not come to die {step}")
    # Its sender may have been told by then that it is late: that is new mail.
    found = sorted((row["recipient"], row["hold"]) for row in daemon.queue() if row["recipient"] != "ann@a.example")
    expected = [("bob@b.example", ""), ("carol@b.example", "by hand")]
    if found != expected:
        tally.wrong.append(f"{name} ({disk}): its mail is not there: {found}")
        tally.lost += 1
    tally.copies += len(expected)
    tally.audits += 1
    if daemon.audit()["unaccounted"]:
        tally.wrong.append(f"{name} ({disk}): unaccounted for")
    daemon.kill()
    return died


def main() -> int:
    tally = run_copies(COPIES)
    tally.add(run_migration())
    tally.show()
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
