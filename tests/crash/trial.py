"""One daemon under load that is killed again and again, and what must be so at each kill and at the end.

- each copy of a message that had its 250 arrives, with the octets that were sent, and at each kill has arrived or
  is in the spool;
- a copy comes once more only for each kill that found it in flight: arrived not over ``WINDOW`` seconds before, and
  still in the spool, because the commit of its outcome was yet to come;
- nothing arrives whose final dot was never sent;
- ``mta audit`` is clean at each kill, after each restart and at the end, when nothing is queued or held.
"""

from __future__ import annotations

import json
import random
import re
import signal
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from click.testing import CliRunner

from mta.admin.control import request
from mta.admin.main import main as main_command
from tests.crash.load import BOB, BOX, Copy, Load, content
from tests.crash.nursery import ForkedDaemon
from tests.crash.tally import Tally
from tests.integration.tools import Sink, wait_for

#: Between a copy's arrival and the kill, in seconds, if its outcome was not committed meanwhile.
WINDOW: Final = 2.0
#: Seconds for the queue to become empty at the end.
DRAIN: Final = 120.0

MORE: Final = """\
[relay]
networks = ["127.0.0.0/8"]
[limits]
connections_per_client = 200
[queue]
retry = ["1s"]
reserve = "2MiB"
[privacy]
history = "0s"
"""
#: What has ended is forgotten at once, again and again, so that kills meet that too.
SETTINGS: Final = {"mta.service.PURGE_EVERY": 0.1}

_IDENTITY = re.compile(rb"(?m)^X-Id: m(\d+)\r?$")


class Arrivals:
    """When each copy came, and those that came other than they were sent."""

    def __init__(self) -> None:
        self.times: dict[Copy, list[float]] = {}
        self.changed: list[str] = []
        self._lock = threading.Lock()

    def add(self, recipients: Iterable[str], octets: bytes, at: float) -> None:
        found = _IDENTITY.search(octets)
        number = int(found[1]) if found else -1
        whole = octets.endswith(content(number))
        with self._lock:
            for recipient in recipients:
                self.times.setdefault((number, recipient), []).append(at)
            if not whole:
                self.changed.append(f"{recipients}: {octets[:1000]!r}")


class FarEnd(Sink):
    """Slow at the final dot, so that a kill finds many in flight; every tenth recipient is deferred once."""

    def __init__(self, arrivals: Arrivals) -> None:
        self.open = 0
        self._arrivals = arrivals
        self._deferred: set[str] = set()
        self._lock = threading.Lock()
        super().__init__({"RCPT": self._recipient, "dot": self._dot})

    def taken(self, envelope: list[str], octets: bytes) -> None:
        recipients = [line.removeprefix("RCPT TO:<").partition(">")[0] for line in envelope[1:]]
        self._arrivals.add(recipients, octets, time.time())

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
    """One run: the load, where it goes, and what came of it."""

    load: Load
    daemon: ForkedDaemon
    far: FarEnd
    arrivals: Arrivals
    started: float = 0.0
    in_flight: dict[Copy, list[str]] = field(default_factory=dict)  # the kills that found it so, by their names
    left: int = 0  # copies in the spool at the last kill
    oldest: float = 0.0  # of what was in flight: seconds from its arrival to the kill
    tally: Tally = field(default_factory=Tally)

    def launch(self) -> None:
        """Start it without waiting; from now on something may arrive."""
        self.started = time.time()
        self.daemon.launch()

    def start(self) -> None:
        """Start one that lives."""
        self.daemon.step = self.daemon.disk = ""
        self.started = time.time()
        self.daemon.start()
        self.audit("after a start")

    def kill(self, name: str) -> None:
        """Kill it, if it did not die by itself; with nobody running, is each copy in one of the two places?"""
        at = time.time()
        self.daemon.kill()
        tally, mix = self.tally, self.load.mix
        tally.kills[name] += 1
        taken = mix.copies(self.load.taken)
        wait_for(lambda: not self.far.open, "the far end to see its connections end")
        self.read_mailbox()
        arrived = self.arrivals.times
        waiting = self.waiting()
        both = waiting & arrived.keys()
        self.left = len(waiting)
        for copy in both:
            last = arrived[copy][-1]
            if last > self.started:  # else it was in flight at an earlier kill, and has not been tried since
                self.oldest = max(self.oldest, at - last)
                if at - last <= WINDOW:
                    self.in_flight.setdefault(copy, []).append(name)
        counts = f"{len(self.load.taken):,} taken, {len(waiting):,} copies in the spool, {len(both):,} in flight"
        print(f"kill {tally.kills.total()} {name}: {counts}", flush=True)
        self.note(f"lost at kill {tally.kills.total()} {name}", taken - arrived.keys() - waiting)
        self.audit(f"at kill {tally.kills.total()} {name}")

    def waiting(self) -> set[Copy]:
        """What the spool has."""
        return {(int(row["sender"][1:7]), row["recipient"]) for row in self.daemon.queue()}

    def read_mailbox(self) -> None:
        """What came into the Maildir since it was last read; it is taken out, as its owner would."""
        for path in (self.daemon.mail / BOX / "bob" / "new").glob("*"):
            self.arrivals.add([BOB], path.read_bytes().replace(b"\n", b"\r\n"), path.stat().st_mtime)
            path.unlink()

    def audit(self, when: str) -> None:
        # In this process: that of a command takes longer to start than all the rest of a kill.
        done = CliRunner().invoke(main_command, ["--config", str(self.daemon.configuration), "audit"])
        self.tally.audits += 1
        if done.exit_code:
            self.tally.wrong.append(f"mta audit {when}:\n{done.output}")

    def drain(self, rest: int = 0) -> None:
        """Let it deliver until no more than so many wait."""
        state = str(self.daemon.state)
        wait_for(lambda: request(state, "status")["queued"] <= rest, "the queue to be empty", DRAIN)

    def note(self, what: str, found: Iterable[Copy]) -> None:
        self.tally.wrong += [f"{what}: m{number:06} to {place}" for number, place in sorted(found)]

    def finish(self) -> Tally:
        """Let everything arrive, stop, compare the sets."""
        wait_for(lambda: not self.load.running, "the load to end", DRAIN)
        self.drain()
        tally, load, times = self.tally, self.load, self.arrivals.times
        if (status := self.daemon.stop()) not in (0, -signal.SIGTERM):  # twistd ends by the signal that stopped it
            tally.wrong.append(f"the daemon ended with {status}")
        self.audit("at the end")
        tally.wrong += [f"left at the end: {json.dumps(row)}" for row in self.daemon.queue()]
        self.read_mailbox()
        tally.wrong += [f"refused: {line}" for line in load.refused]
        tally.wrong += [f"changed: {line}" for line in self.arrivals.changed]
        copies = load.mix.copies
        lost = copies(load.taken) - times.keys()
        tally.lost += len(lost)
        self.note("lost though it had its 250", lost)
        self.note("never sent, and arrived", times.keys() - copies(load.taken | load.unknown))
        self.note(
            "arrived more often than it was in flight",
            (copy for copy, at in times.items() if len(at) > 1 + len(self.in_flight.get(copy, ()))),
        )
        for copy, at in times.items():
            tally.twice.update(self.in_flight.get(copy, ())[: len(at) - 1])
        tally.taken += len(load.taken)
        tally.unknown += len(load.unknown)
        tally.came_unknown += len(copies(load.unknown) & times.keys())
        tally.copies += len(copies(load.taken))
        tally.oldest = max(tally.oldest, self.oldest)
        return tally
