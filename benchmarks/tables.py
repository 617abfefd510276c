"""A million aliases in a table file: ``python -m benchmarks.tables``, or ``make bench ARGS="--rows tables"``.

What it costs to read them at the start, to keep them, to ask, and to read them again while the service runs: what
counts there is how late the reactor's timers are, which fire each millisecond.  The goal: a look-up under 20
microseconds, nothing later than 50 ms.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, Final

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool

from mta.config.option import Path as OptionPath
from mta.routing.tables import FileTable, FileTableOptions

MILLION: Final = 1_000_000
TICK: Final = 0.001
#: Look-ups that are timed: half of them of what is there.
LOOKS: Final = 200_000


def write(path: Path, entries: int, domain: str = "example.org") -> None:
    """An aliases file."""
    with open(path, "w", encoding="ascii") as file:
        for number in range(entries):
            file.write(f"user{number:07}@{domain}: target{number:07}@mail.example.net\n")


def memory() -> int:
    """Octets of this process in memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def look_time(table: FileTable, entries: int) -> float:
    """Seconds a look-up."""
    random = Random(1)
    keys = [f"User{random.randrange(2 * entries):07}@Example.org" for _ in range(LOOKS)]
    begin = time.perf_counter()
    for key in keys:
        table.lookup(key)
    return (time.perf_counter() - begin) / LOOKS


class Beside:
    """A reactor that does nothing but look at its clock, while the table is read again."""

    def __init__(self) -> None:
        self.reactor: Any = EPollReactor()
        self.read_again = 0.0
        self.late: list[float] = []
        self._last = 0.0
        self._begun = 0.0

    def services(self) -> Any:
        return SimpleNamespace(
            name="aliases",
            reactor=SimpleNamespace(seconds=time.monotonic),
            now=lambda: time.time_ns() // 1_000_000 + 10_000,  # nobody is in the middle of writing it
            in_thread=lambda work, *args: deferToThreadPool(self.reactor, self.reactor.getThreadPool(), work, *args),
            emit=self._read,
        )

    def run(self, table: FileTable) -> None:
        self._begun = self._last = time.perf_counter()
        self._ticking = LoopingCall(self._tick, table)
        self._ticking.clock = self.reactor
        self._ticking.start(TICK)
        self.reactor.run(installSignalHandlers=False)

    def _tick(self, table: FileTable) -> None:
        now = time.perf_counter()
        self.late.append(now - self._last - TICK)
        table.lookup("user0000001@example.org")
        self._last = time.perf_counter()

    def _read(self, event: Any, id: str) -> None:
        self.read_again = time.perf_counter() - self._begun
        self._ticking.stop()
        self.reactor.stop()


def report(entries: int = MILLION) -> list[str]:
    """The figures, in lines."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path = Path(folder) / "aliases"
        write(path, entries)
        beside = Beside()
        before, begin = memory(), time.perf_counter()
        table = FileTable(FileTableOptions(path=OptionPath(str(path))), beside.services())
        start, kept = time.perf_counter() - begin, memory() - before
        look = look_time(table, entries)
        write(path.with_suffix(".new"), entries)
        os.replace(path.with_suffix(".new"), path)
        beside.run(table)
        size = path.stat().st_size
    late = sorted(beside.late)
    return [
        f"a table file of {entries:,} aliases, {size / 2**20:.0f} MiB",
        f"  read at the start           {start:8.2f} s",
        f"  memory                      {kept / 2**20:8.1f} MiB, {kept / entries:.0f} octets an entry",
        f"  a look-up                   {look * 1e6:8.2f} microseconds (goal: under 20)",
        f"  read again when it changed  {beside.read_again:8.2f} s, beside the reactor",
        f"  the reactor meanwhile       {late[-1] * 1e3:8.1f} ms late at most (goal: 50), "
        f"{late[len(late) // 2] * 1e3:.1f} ms in the median",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=MILLION, help="aliases (default 1,000,000)")
    print("\n".join(report(parser.parse_args().entries)))


if __name__ == "__main__":
    main()
