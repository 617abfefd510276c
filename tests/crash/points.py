"""The daemon is killed at each named step of ``faulty.py``, before it and after it, one after the other.

``python -m tests.crash.points [--step WORDS]``.  It runs under a small load of ``load.py``; what must be so at each
kill and at the end is what ``trial.py`` says.  Then the same with messages whose recipient does not exist: for each
that had its 250 its sender must get one report, whatever step of it was the last.  Then a mailing list
(``sending_on.py``).

Exit status 0 if all is so.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Final

from tests.crash.faulty import STEPS
from tests.crash.load import ALIASES, Load
from tests.crash.nursery import ForkedDaemon, Nursery
from tests.crash.sending_on import STEPS as SENT_ON
from tests.crash.sending_on import run_lists
from tests.crash.tally import Tally
from tests.crash.trial import DRAIN, MORE, SETTINGS, Arrivals, FarEnd, Trial
from tests.integration.tools import Dialogue, Sink, wait_for

#: Messages that are sent until the step is met, at most; and by how many clients.
MESSAGES: Final = 24
SESSIONS: Final = 6
#: A message in so many goes to the list where its steps are meant.
LISTS: Final = 8
#: How often each kind of message goes by before the kill: the first may be of the round before.
HIT: Final = 2
#: Those that come once a start, or after a crash.
ONCE: Final = ("the recovery", "the claim", "forgetting a slice", "the opening of the database")
#: Comes when there is nothing to do, not even to forget something.
IDLE: Final = "bringing the log into the database"
#: Steps for messages to a list; what is staged when it dies is forgotten at the next start.
LISTED: Final = (
    "before the expansion",
    "before a slice of recipients",
    "after a slice of recipients",
    "before forgetting a slice",
    "after forgetting a slice",
    "before the commit",
    "after the commit",
    "before making a slice visible",
    "after making a slice visible",
    "before the recovery",
    "after the recovery",
)
#: Steps for messages that fail: all that is between the refusal and the report.
REPORTED: Final = (
    "before the conclusion",
    "before the report",
    "after the report",
    "before the outcome",
    "after the outcome",
    "after the conclusion",
)
_ELSEWHERE: Final = ("a slice", "the report", "the migration", "sending on")


def names() -> list[str]:
    """All steps of the first part."""
    return [
        f"{when} {what}" for what in STEPS if not any(w in what for w in _ELSEWHERE) for when in ("before", "after")
    ]


def dies(daemon: ForkedDaemon, name: str) -> str:
    """Wait for its death; what is wrong with it."""
    process = daemon.process
    assert process is not None
    try:
        wait_for(lambda: process.poll() is not None, f"it to die {name}")
    except AssertionError:
        return f"it did not come to die {name}"
    if process.returncode != -9:
        return f"{name} it ended with {process.returncode}:\n{daemon.log()[-3000:]}"
    return ""


def run_under_load(steps: Sequence[str], lists: int = 0) -> Tally:
    """The first part."""
    arrivals = Arrivals()
    far = FarEnd(arrivals)
    with Nursery() as nursery, far, ForkedDaemon(nursery, MORE, internet=far.delivery()) as daemon:
        (daemon.folder / "aliases").write_text(ALIASES)
        load = Load(daemon.where, MESSAGES * (len(steps) + 1), SESSIONS, lists)
        trial = Trial(load, daemon, far, arrivals)
        load.start()
        for number, name in enumerate(steps, 1):
            daemon.step, daemon.hit = name, 1 if name.endswith(ONCE) else HIT
            daemon.settings = {} if name.endswith(IDLE) else SETTINGS
            trial.launch()
            load.allow(number * MESSAGES)
            if wrong := dies(daemon, name):
                trial.tally.wrong.append(wrong)
            trial.kill(f"{name}{' of a list' if lists else ''}")
        daemon.settings = SETTINGS
        trial.start()
        load.allow(MESSAGES * (len(steps) + 1))
        return trial.finish()


def run_with_reports(steps: Sequence[str]) -> Tally:
    """The second part."""
    tally = Tally()
    taken: set[str] = set()
    with (
        Nursery() as nursery,
        Sink({"RCPT": "550 5.1.1 no such user"}) as sink,
        ForkedDaemon(nursery, MORE, internet=sink.delivery()) as daemon,
    ):
        for number, name in enumerate(steps):
            daemon.step = name
            daemon.launch_until_up()
            id = f"x{number:03}"
            if _fails(daemon, id):
                taken.add(id)
            if said := dies(daemon, name):
                tally.wrong.append(said)
            daemon.kill()
            tally.kills[f"{name}, of a failure"] += 1
            tally.audits += 1
            if daemon.audit()["unaccounted"]:
                tally.wrong.append(f"unaccounted for when killed {name}")
        daemon.step = ""
        daemon.start()
        wait_for(lambda: not daemon.queue(), "the queue to be empty", DRAIN)
        # The same report twice is a mailbox that had it when the process died; two reports are one too many.
        reports = Counter(id for id, _ in {_report(mail.decode()) for mail in daemon.mails("ann")})
    untold = sorted(taken - reports.keys())
    tally.taken = tally.copies = len(taken)
    tally.lost = len(untold)
    tally.wrong += [f"{id} was taken, failed, and nobody was told" for id in untold]
    tally.wrong += [f"{id} was reported {count} times" for id, count in reports.items() if count > 1]
    return tally


def _report(mail: str) -> tuple[str, str]:
    """What a report is about, and its own name."""
    about, name = re.search(r"^X-Id: (x\d+)$", mail, re.M), re.search(r"^Message-ID: (.+)$", mail, re.M)
    assert about is not None, mail
    assert name is not None, mail
    return about[1], name[1]


def _fails(daemon: ForkedDaemon, id: str) -> bool:
    """Send a message that will fail; was it taken?"""
    try:
        with Dialogue(daemon.port, daemon.host) as client:
            octets = f"X-Id: {id}\r\n\r\nto nobody\r\n".encode()
            return client.greet().message("ann@ours.example", ["nobody@far.example"], octets).startswith("250")
    except (OSError, AssertionError):
        return False  # it died over what the round before had left


def main() -> int:
    parser = argparse.ArgumentParser(description="The daemon is killed at each named step.")
    parser.add_argument("--step", default="", help="only those with these words in their name")
    chosen = parser.parse_args()
    tally = Tally()
    for steps, work in (
        (names(), run_under_load),
        (LISTED, lambda steps: run_under_load(steps, LISTS)),
        (REPORTED, run_with_reports),
        (SENT_ON, run_lists),
    ):
        if wanted := [name for name in steps if chosen.step in name]:
            tally.add(work(wanted))
    tally.show()
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
