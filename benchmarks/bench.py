"""txmta and Postfix side by side: ``make bench``, or ``python -m benchmarks.bench``.  See README.rst here."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from benchmarks import connections, large, wire
from benchmarks.postfix import FOLDER, Postfix, Unavailable, environment, fetch
from benchmarks.processes import Peak, cpu_seconds
from benchmarks.sink import SESSIONS, SPOOLS, Sink
from tests.integration.tools import Daemon, wait_for

#: What is measured beside the rows, by its name in ``--rows``.
MORE: Final[dict[str, Callable[[Path], list[str]]]] = {
    "wire": wire.report,
    "large": large.report,
    "connections": connections.report,
}


@dataclass(frozen=True)
class Row:
    """One thing that is measured; ``goal`` is the ratio to the better Postfix that it should reach."""

    name: str
    text: str
    relay: bool
    kept: bool
    goal: float


ROWS = (
    Row("accept-kept", "accept, 1 KiB, 50 sessions, kept", relay=False, kept=True, goal=2),
    Row("accept-new", "accept, 1 KiB, 50 sessions, new", relay=False, kept=False, goal=0),
    Row("relay-kept", "relay, 1 KiB, 50 sessions, kept", relay=True, kept=True, goal=3),
    Row("relay-new", "relay, 1 KiB, 50 sessions, new", relay=True, kept=False, goal=0),
)


@dataclass
class Figures:
    """All runs of one system in one row."""

    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    @property
    def cpu_ms(self) -> float:
        return statistics.median(self.cpu)


class Txmta:
    """Two daemons: one relays to the sink, one only takes mail in (an active set of nothing)."""

    name = "txmta"

    def __init__(self, sink: int) -> None:
        relay = '[relay]\nnetworks = ["127.0.0.0/8"]\n'
        internet = f'[delivery.internet]\ntype = "smtp"\nhost = "127.0.0.1"\nport = {sink}\n'
        limits = "[limits]\nconnections_per_client = 1000\n"
        self._relay = Daemon(relay + limits, internet=internet)
        self._accept = Daemon(relay + limits + "[queue]\nactive = 0\n", internet=internet)
        for daemon in (self._relay, self._accept):
            daemon.start()
        self.relay_port, self.accept_port = self._relay.port, self._accept.port

    def pid_of(self, row: Row) -> int:
        process = (self._relay if row.relay else self._accept).process
        assert process is not None
        return process.pid

    def waiting(self) -> int:
        return 0 if self._relay.audit()["queued"] == 0 else 1

    def kept(self) -> int:
        """What the "accept" rows took in."""
        return int(self._accept.audit()["queued"])

    def audit(self) -> int:
        """Recipients that nobody can account for."""
        return sum(abs(daemon.audit()["unaccounted"]) for daemon in (self._relay, self._accept))

    def stop(self) -> None:
        for daemon in (self._relay, self._accept):
            daemon.__exit__()


def pid_of(system: Any, row: Row) -> int:
    return system.pid_of(row) if isinstance(system, Txmta) else system.pid


def measure(system: Any, row: Row, root: Path, sink: Sink, messages: int, figures: Figures) -> None:
    """One run."""
    pid = pid_of(system, row)
    port = system.relay_port if row.relay else system.accept_port
    command = [str(root / "usr/sbin/smtp-source"), "-s", str(SESSIONS), "-m", str(messages), "-l", "1024"]
    command += [
        *(["-d"] if row.kept else []),
        "-f",
        "from@sender.example",
        "-t",
        "to@far.example",
        f"127.0.0.1:{port}",
    ]
    before = sink.count if row.relay else system.kept()
    cpu = cpu_seconds(pid)
    with Peak(pid) as peak:
        start = time.monotonic()
        done = subprocess.run(command, env=environment(root), capture_output=True)
        if done.returncode:
            raise SystemExit(f"smtp-source: {done.stderr.decode(errors='replace')}")
        if row.relay:
            wait_for(lambda: sink.count >= before + messages, f"{messages} messages at the sink", 300)
        seconds = time.monotonic() - start
    if row.relay:
        wait_for(lambda: system.waiting() == 0, f"{system.name} to have nothing left", 60)
    arrived = (sink.count if row.relay else system.kept()) - before
    if arrived != messages:
        raise SystemExit(f"{system.name}, {row.text}: {messages} accepted, {arrived} arrived")
    figures.rates.append(messages / seconds)
    figures.cpu.append((cpu_seconds(pid) - cpu) / messages * 1000)
    figures.memory.append(peak.octets)


def file_system(path: str) -> str:
    """Kind of the file system that holds the path."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    holding = [m for m in mounts if os.path.commonpath([m[1], os.path.realpath(path)]) == m[1]]
    return max(holding, key=lambda m: len(m[1]))[2]


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "file_system": file_system(SPOOLS),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "python": platform.python_version(),
        "twisted": version("Twisted"),
    }


def table(results: dict[str, dict[str, Figures]], rows: list[Row], runs: int, messages: int) -> list[str]:
    """Messages a second, CPU a message and memory; the ratio to the better Postfix."""
    lines = [
        f"medians of {runs} runs of {messages} messages; rates in messages/s, CPU in ms a message, memory in MiB",
        f"{'':36}{'system':16}{'rate':>8}{'CPU':>8}{'memory':>8}{'ratio':>8}  goal",
    ]
    for row in rows:
        figures = results[row.name]
        others = [f.rate for name, f in figures.items() if name != Txmta.name]
        for index, (name, f) in enumerate(figures.items()):
            ratio = goal = ""
            if name == Txmta.name and others:
                ratio = f"{f.rate / max(others):.1f}"
                goal = f"over {row.goal:g}" if row.goal else ""
            memory = max(f.memory) / 2**20
            text = row.text if index == 0 else ""
            lines.append(f"{text:36}{name:16}{f.rate:>8.0f}{f.cpu_ms:>8.2f}{memory:>8.0f}{ratio:>8}  {goal}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="runs of each row and system (default 3)")
    parser.add_argument("--messages", type=int, default=4000, help="messages a run (default 4000)")
    parser.add_argument("--rows", default="", help=f"some of {', '.join([*(row.name for row in ROWS), *MORE])}")
    parser.add_argument("--quick", action="store_true", help="one run of 1000 messages each: under two minutes")
    parser.add_argument("--alone", action="store_true", help="txmta without Postfix")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.runs, chosen.messages = 1, 1000
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    tempfile.tempdir = SPOOLS
    names = chosen.rows.split(",") if chosen.rows else [*(row.name for row in ROWS), *MORE]
    rows = [row for row in ROWS if row.name in names]
    try:
        root = fetch()
    except Unavailable as error:
        raise SystemExit(f"no load generator: {error}") from None
    stops: list[Callable[[], None]] = []
    results: dict[str, dict[str, Figures]] = {row.name: {} for row in rows}
    try:
        sink = Sink(root)
        stops.append(sink.stop)
        systems: list[Any] = []
        for make in (*(() if chosen.alone else (False, True)), None):
            try:
                system: Any = Txmta(sink.port) if make is None else Postfix(root, sink.port, tuned=make)
            except Unavailable as error:
                print(f"without Postfix: {error}", file=sys.stderr)
                continue
            systems.append(system)
            stops.append(system.stop)
        for number in range(chosen.runs):
            for row in rows:
                for system in systems:
                    figures = results[row.name].setdefault(system.name, Figures())
                    measure(system, row, root, sink, chosen.messages, figures)
                    print(f"run {number + 1}: {row.text}: {system.name}: {figures.rates[-1]:.0f}/s", file=sys.stderr)
        lost = next(system.audit() for system in systems if isinstance(system, Txmta))
        if lost:
            raise SystemExit(f"mta audit: {lost} recipients unaccounted for")
    finally:
        for stop in reversed(stops):
            stop()
    if rows:
        print("\n".join(table(results, rows, chosen.runs, chosen.messages)))
    more = {name: work(root) for name, work in MORE.items() if name in names}
    for lines in more.values():
        print("\n".join(lines))
    FOLDER.mkdir(exist_ok=True)
    report = {
        "machine": machine(),
        "runs": chosen.runs,
        "messages": chosen.messages,
        "rows": {name: {system: vars(f) for system, f in figures.items()} for name, figures in results.items()},
        **more,
    }
    (FOLDER / "last.json").write_text(json.dumps(report, indent=1))
    print(f"written: {FOLDER / 'last.json'}")


if __name__ == "__main__":
    main()
