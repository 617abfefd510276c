"""What a running server costs: CPU and memory of a process with all its children, read from /proc."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    # The name stands in parentheses and may hold anything; what we want comes after it.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def tree(pid: int) -> Iterator[int]:
    """The process and its descendants that live, without a look at all the others of the machine."""
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        yield one
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                waiting += [int(child) for child in children.read_text().split()]
            except OSError:
                continue  # it has ended meanwhile


def cpu_seconds(pid: int) -> float:
    """Of the process and its descendants, those that have ended and been waited for included."""
    total = 0
    for one in tree(pid):
        try:
            total += sum(int(field) for field in _stat(one)[11:15])
        except (OSError, IndexError):
            continue
    return total / TICKS


def memory(pid: int) -> int:
    """Octets of memory in use, each shared page counted in parts (PSS)."""
    total = 0
    for one in tree(pid):
        try:
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        except (OSError, IndexError):
            continue
    return total


class Peak:
    """The most memory that a process tree had while this runs; it looks ``every`` so many seconds."""

    def __init__(self, pid: int, every: float = 0.5) -> None:
        self.octets = 0
        self._pid = pid
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.octets = max(self.octets, memory(self._pid))
            if self._stop.wait(self._every):
                return
