"""What several worker processes bring: ``python -m benchmarks.scaling``.

Relaying and accepting, 1 KiB, 50 sessions, connections kept, with one worker and up to as many as there are cores.
Source and sink take their share of the same cores: what is left for the workers stands beside each figure as the CPU
that all processes of the service took, of all that there was.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from benchmarks.measure import measure
from benchmarks.processes import cpu_seconds
from benchmarks.rows import ROWS, Row
from benchmarks.sink import SPOOLS, Sink
from benchmarks.txmta import Txmta

MESSAGES: Final = 6000
RUNS: Final = 3
_ROWS: Final = ("accept-kept", "relay-kept")


def report() -> list[str]:
    cores = os.cpu_count() or 1
    lines = [f"worker processes on {cores} cores; messages/s, CPU in ms a message, share of the cores"]
    for row in (known for known in ROWS if known.name in _ROWS):
        lines += [f"{row.text:<36}{workers:>3}{_figures(row, workers, cores)}" for workers in range(1, cores + 1)]
    return lines


def _figures(row: Row, workers: int, cores: int) -> str:
    rates, costs, shares = [], [], []
    with closing(Sink()) as sink:
        system = Txmta(row.need, sink.port, Path(), (f"workers={workers}",))
        try:
            measure(system, row, row.scaled(MESSAGES // 10, quick=False), sink, f"{row.name}-{workers}-warm")
            for number in range(RUNS):
                begun, cpu = time.monotonic(), cpu_seconds(system.pid)
                found = measure(system, row, row.scaled(MESSAGES, quick=False), sink, f"{row.name}-{workers}-{number}")
                rates.append(found.figure)
                costs.append(found.cpu_ms)
                shares.append((cpu_seconds(system.pid) - cpu) / (time.monotonic() - begun) / cores)
        finally:
            system.stop()
    rate, cost, share = (statistics.median(some) for some in (rates, costs, shares))
    return f"{rate:>9,.0f}{cost:>8.3f}{share:>7.0%}"


if __name__ == "__main__":
    tempfile.tempdir = SPOOLS
    print("\n".join(report()))
