"""The daemon is killed at each named step of ``faulty.py``, before it and after it, one after the other.

``python -m tests.crash.points [--step WORDS]``.  It runs under a small load of ``load.py``; what must be so at each
kill and at the end is what ``kill9.py`` says.  Then the same with messages whose recipient does not exist: for each
that had its 250 its sender must get one report, whatever step of it was the last.

Exit status 0 if all is so.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.crash.faulty import STEPS
from tests.crash.kill9 import DRAIN, MORE, Arrivals, FarEnd, Trial
from tests.crash.load import Load
from tests.integration.tools import Daemon, Dialogue, Sink, wait_for

FAULTY: Final = Path(__file__).with_name("faulty.py")
#: Messages that are sent until the step is met, at most; and by how many clients.
MESSAGES: Final = 24
SESSIONS: Final = 6
#: How often each kind of message goes by before the kill: the first may be of the round before.
HIT: Final = 2
#: Steps for messages that fail: all that is between the refusal and the report.
REPORTED: Final = (
    "before the conclusion",
    "before the report",
    "after the report",
    "before the outcome",
    "after the outcome",
    "after the conclusion",
)


def names() -> list[str]:
    """All steps of the first part."""
    return [f"{when} {what}" for what in STEPS if what != "the report" for when in ("before", "after")]


def arm(daemon: Daemon, usual: tuple[str, ...], name: str, hit: int) -> None:
    """The next start is one that dies at the step; without a name, one that lives."""
    daemon.starter = (sys.executable, str(FAULTY), name, str(hit), *usual[1:]) if name else usual


def _launch(daemon: Daemon) -> None:
    """Start it, though it may not live to say so."""
    before = daemon.starts()
    process = daemon.launch()
    wait_for(lambda: daemon.starts() > before or process.poll() is not None, daemon.log)


def _dies(daemon: Daemon, name: str) -> str:
    """Wait for its death; what is wrong with it."""
    assert daemon.process is not None
    try:
        wait_for(lambda: daemon.process is None or daemon.process.poll() is not None, f"it to die {name}")
    except AssertionError:
        return f"it did not come to die {name}"
    if daemon.process.returncode != -9:
        return f"{name} it ended with {daemon.process.returncode}:\n{daemon.log()[-3000:]}"
    return ""


def run_under_load(steps: Sequence[str]) -> list[str]:
    """The first part; what is wrong."""
    arrivals = Arrivals()
    far = FarEnd(arrivals)
    with far, Daemon(MORE, internet=far.delivery(), start=False) as daemon:
        load = Load(daemon.port, MESSAGES * (len(steps) + 1), SESSIONS)
        trial = Trial(load, daemon, far, arrivals)
        usual = daemon.starter
        load.start()
        for number, name in enumerate(steps, 1):
            hit = 1 if name.endswith(("the recovery", "the claim")) else HIT
            arm(daemon, usual, name, hit)
            trial.about_to_start()
            _launch(daemon)
            load.allow(number * MESSAGES)
            if wrong := _dies(daemon, name):
                trial.wrong.append(wrong)
            trial.kill(number, name)
        arm(daemon, usual, "", 0)
        load.allow(MESSAGES * (len(steps) + 1))
        trial.start()
        trial.finish()
    trial.show()
    return trial.wrong


def run_with_reports(steps: Sequence[str]) -> list[str]:
    """The second part; what is wrong."""
    wrong: list[str] = []
    taken: set[str] = set()
    sent: list[str] = []
    with (
        Sink({"RCPT": "550 5.1.1 no such user"}) as sink,
        Daemon(MORE, internet=sink.delivery(), start=False) as daemon,
    ):
        usual = daemon.starter
        for number, name in enumerate(steps):
            arm(daemon, usual, name, 1)
            _launch(daemon)
            sent.append(f"x{number:03}")
            if _fails(daemon, sent[-1]):
                taken.add(sent[-1])
            if said := _dies(daemon, name):
                wrong.append(said)
            daemon.kill()
            if daemon.audit()["unaccounted"]:
                wrong.append(f"unaccounted for when killed {name}")
        arm(daemon, usual, "", 0)
        daemon.start()
        wait_for(lambda: not daemon.queue(), "the queue to be empty", DRAIN)
        # The same report twice is a mailbox that had it when the process died; two reports are one too many.
        reports = Counter(id for id, _ in {_report(mail.decode()) for mail in daemon.mails("ann")})
    wrong += [f"{id} was taken, failed, and nobody was told" for id in sorted(taken - reports.keys())]
    wrong += [f"{id} was reported {count} times" for id, count in reports.items() if count > 1]
    return wrong


def _report(mail: str) -> tuple[str, str]:
    """What a report is about, and its own name."""
    about, name = re.search(r"^X-Id: (x\d+)$", mail, re.M), re.search(r"^Message-ID: (.+)$", mail, re.M)
    assert about is not None, mail
    assert name is not None, mail
    return about[1], name[1]


def _fails(daemon: Daemon, id: str) -> bool:
    """Send a message that will fail; was it taken?"""
    try:
        with Dialogue(daemon.port) as client:
            octets = f"X-Id: {id}\r\n\r\nto nobody\r\n".encode()
            return client.greet().message("ann@ours.example", ["nobody@far.example"], octets).startswith("250")
    except (OSError, AssertionError):
        return False  # it died over what the round before had left


def main() -> int:
    parser = argparse.ArgumentParser(description="The daemon is killed at each named step.")
    parser.add_argument("--step", default="", help="only those with these words in their name")
    chosen = parser.parse_args()
    steps = [name for name in names() if chosen.step in name]
    wrong = run_under_load(steps) if steps else []
    reported = [name for name in REPORTED if chosen.step in name]
    if reported:
        wrong += run_with_reports(reported)
    print(f"{len(steps) + len(reported)} kills")
    for line in wrong:
        print(f"WRONG: {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
