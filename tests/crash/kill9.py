"""``kill -9`` in the middle of a load, a restart, and a comparison of sets of identities.

``python -m tests.crash.kill9 [--kills N] [--messages N] [--sessions N] [--seed N]``, or ``make crash``.

Clients of our own (``load.py``), half of them with a new connection for each message, send messages that bear an
identity in their X-Id field, and remember what they were told.  A quarter goes into a Maildir, a quarter into the
Maildir and to a far end, the rest to the far end alone; that one takes its time at the final dot and defers every
tenth once.  Some are too large for the spool's body table.  The daemon is killed at random moments; what lies in
its spool then is read with nobody running, and it is started again.  A copy is one message at one of its places.
It must be so that

- each copy of a message that had its 250 arrives, with the octets that were sent, and at each kill has arrived or
  is in the spool;
- a copy comes once more only for each kill that found it in flight: arrived not over ``WINDOW`` seconds before, and
  still in the spool, because the commit of its outcome was yet to come;
- nothing arrives whose final dot was never sent;
- ``mta audit`` is clean at each kill, after each restart and at the end, when nothing is queued or held.

Exit status 0 if all that is so, 1 if not.
Limits: what a killed process has written stays with the kernel, so this does not show that it was synced as well,
which only a power cut asks for.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from click.testing import CliRunner

from mta.admin.control import request
from mta.admin.main import main as main_command
from tests.crash.load import BOX, FAR, Copy, Load, content, copies
from tests.integration.tools import Daemon, Sink, wait_for

#: Between a copy's arrival and the kill, in seconds, if its outcome was not committed meanwhile.
WINDOW: Final = 2.0
#: Seconds for the queue to become empty at the end.
DRAIN: Final = 120.0

MORE = """\
[relay]
networks = ["127.0.0.0/8"]
[limits]
connections_per_client = 200
[queue]
retry = ["1s"]
"""

_IDENTITY = re.compile(rb"(?m)^X-Id: m(\d+)\r?$")


class Arrivals:
    """When each copy came, and those that came other than they were sent."""

    def __init__(self) -> None:
        self.times: dict[Copy, list[float]] = {}
        self.changed: list[str] = []
        self._lock = threading.Lock()

    def add(self, place: str, octets: bytes, at: float) -> None:
        found = _IDENTITY.search(octets)
        number = int(found[1]) if found else -1
        with self._lock:
            self.times.setdefault((number, place), []).append(at)
            if not octets.endswith(content(number)):
                self.changed.append(f"{place}: {octets[:1000]!r}")


class FarEnd(Sink):
    """Slow at the final dot, so that a kill finds many in flight; every tenth recipient is deferred once."""

    def __init__(self, arrivals: Arrivals) -> None:
        self.open = 0
        self._arrivals = arrivals
        self._deferred: set[str] = set()
        self._lock = threading.Lock()
        super().__init__({"RCPT": self._recipient, "dot": self._dot})

    def taken(self, envelope: list[str], octets: bytes) -> None:
        self._arrivals.add(FAR, octets, time.time())

    def _recipient(self, line: str) -> str | None:
        local_part = line.partition("@")[0]
        with self._lock:
            if not local_part.endswith("1") or local_part in self._deferred:
                return None
            self._deferred.add(local_part)
            return "451 4.3.0 not now"

    def _dot(self, line: str) -> None:
        time.sleep(random.random() * 0.05)

    def _serve(self, sock: Any) -> None:
        with self._lock:
            self.open += 1
        try:
            super()._serve(sock)
        finally:
            with self._lock:
                self.open -= 1


@dataclass
class Trial:
    """One run: the load, where it goes, and what is wrong."""

    load: Load
    daemon: Daemon
    far: FarEnd
    arrivals: Arrivals
    started: float = 0.0
    in_flight: Counter[Copy] = field(default_factory=Counter)  # at how many kills
    oldest: float = 0.0  # of what was in flight: seconds from its arrival to the kill
    wrong: list[str] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    def about_to_start(self) -> None:
        """From now on something may arrive."""
        self.started = time.time()

    def start(self) -> None:
        self.about_to_start()
        self.daemon.start()
        self.audit("after a start")

    def kill(self, number: int, when: str = "") -> None:
        """Kill it, if it did not die by itself; with nobody running, is each copy in one of the two places?"""
        at = time.time()
        self.daemon.kill()
        taken = copies(self.load.taken)
        wait_for(lambda: not self.far.open, "the far end to see its connections end")
        self.read_mailbox()
        arrived = self.arrivals.times
        waiting = self.waiting()
        both = waiting & arrived.keys()
        for copy in both:
            last = arrived[copy][-1]
            if last > self.started:  # else it was in flight at an earlier kill, and has not been tried since
                self.oldest = max(self.oldest, at - last)
                self.in_flight[copy] += at - last <= WINDOW
        counts = f"{len(taken):,} taken, {len(waiting):,} in the spool, {len(both):,} in flight"
        print(f"kill {number}: {counts}  {when}", flush=True)
        self.note(f"lost at kill {number}", taken - arrived.keys() - waiting)
        self.audit(f"at kill {number}")

    def waiting(self) -> set[Copy]:
        """What the spool has."""
        rows = self.daemon.queue()
        return {(int(row["sender"][1:7]), row["recipient"].partition("@")[2]) for row in rows}

    def read_mailbox(self) -> None:
        """What came into the Maildir since it was last read."""
        for path in (self.daemon.mail / BOX / "bob" / "new").glob("*"):
            if path.name not in self._seen:
                self._seen.add(path.name)
                self.arrivals.add(BOX, path.read_bytes().replace(b"\n", b"\r\n"), path.stat().st_mtime)

    def audit(self, when: str) -> None:
        # In this process: that of a command takes longer to start than all the rest of a kill.
        done = CliRunner().invoke(main_command, ["--config", str(self.daemon.configuration), "audit"])
        if done.exit_code:
            self.wrong.append(f"mta audit {when}:\n{done.output}")

    def note(self, what: str, found: Iterable[Copy]) -> None:
        self.wrong += [f"{what}: m{number:06} to {place}" for number, place in sorted(found)]

    def finish(self) -> None:
        """Let everything arrive, stop, compare the sets."""
        wait_for(lambda: not self.load.running, "the load to end", DRAIN)
        state = str(self.daemon.state)
        wait_for(lambda: not request(state, "status")["queued"], "the queue to be empty", DRAIN)
        if (status := self.daemon.stop()) not in (0, -signal.SIGTERM):  # twistd ends by the signal that stopped it
            self.wrong.append(f"the daemon ended with {status}")
        self.audit("at the end")
        self.wrong += [f"left at the end: {json.dumps(row)}" for row in self.daemon.queue()]
        self.read_mailbox()
        load, times = self.load, self.arrivals.times
        self.wrong += [f"refused: {line}" for line in load.refused]
        self.wrong += [f"changed: {line}" for line in self.arrivals.changed]
        self.note("had its 250 and is lost", copies(load.taken) - times.keys())
        self.note("never sent, and arrived", times.keys() - copies(load.taken | load.unknown))
        self.note(
            "arrived more often than it was in flight",
            (copy for copy, at in times.items() if len(at) > 1 + self.in_flight[copy]),
        )

    def show(self) -> None:
        """The counts."""
        load, times = self.load, self.arrivals.times
        unknown = copies(load.unknown)
        lines = (
            ("messages had their 250", len(load.taken)),
            ("had no reply to their final dot", len(load.unknown)),
            ("were not sent whole", len(load.unsent)),
            ("copies of those with a 250 had to arrive", len(copies(load.taken))),
            ("of them are lost", len(copies(load.taken) - times.keys())),
            ("copies of those without a reply arrived", len(unknown & times.keys())),
            ("copies were in flight at a kill", len(self.in_flight)),
            ("copies arrived more than once", sum(len(at) > 1 for at in times.values())),
        )
        for what, count in lines:
            print(f"{count:>7,}  {what}")
        print(f"{self.oldest:>7.3f}  seconds before a kill the oldest of what was in flight had arrived")
        for line in self.wrong:
            print(f"WRONG: {line}")


def run(messages: int, kills: int, sessions: int, seed: int) -> bool:
    """The whole of it; prints counts.  Is all as it must be?"""
    chance = random.Random(seed)
    arrivals = Arrivals()
    far = FarEnd(arrivals)
    with far, Daemon(MORE, internet=far.delivery(), start=False) as daemon:
        load = Load(daemon.port, messages, sessions)
        trial = Trial(load, daemon, far, arrivals)
        load.start()
        for number in range(1, kills + 1):
            # A part comes as soon as it listens; more of it when the audit is over, so that the kill meets the load.
            begun = number * messages // (kills + 1)
            load.allow(begun)
            trial.start()
            load.allow(begun + 2 * sessions)
            load.wait_until_begun(begun + chance.randrange(sessions))
            trial.kill(number)
        load.allow(messages)
        trial.start()
        trial.finish()
    trial.show()
    return not trial.wrong


def main() -> int:
    parser = argparse.ArgumentParser(description="kill -9 in the middle of a load, restart, comparison of sets.")
    parser.add_argument("--messages", type=int, default=5000, help="default 5000")
    parser.add_argument("--kills", type=int, default=20, help="default 20")
    parser.add_argument("--sessions", type=int, default=30, help="connections at once (default 30)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="for the same moments once more")
    chosen = parser.parse_args()
    print(f"{chosen.messages:,} messages, {chosen.kills} kills, seed {chosen.seed}", flush=True)
    return 0 if run(chosen.messages, chosen.kills, chosen.sessions, chosen.seed) else 1


if __name__ == "__main__":
    sys.exit(main())
