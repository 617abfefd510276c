"""txmta and Postfix side by side: ``make bench``, or ``python -m benchmarks.bench``.  See README.rst here."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Final

from benchmarks import connections, figures, large, queue, report, scaling, tables, wire
from benchmarks.measure import Measured, System, idle, measure, prove, room_for, slug
from benchmarks.postfix import FOLDER, Postfix, Unavailable, fetch
from benchmarks.report import Document
from benchmarks.rows import GROWTH, GROWTH_SIZES, NAMES, ROWS, Need, Row
from benchmarks.sink import SPOOLS, Sink
from benchmarks.source import Load
from benchmarks.txmta import Txmta
from tests.certificates import Authority, put

#: What is measured beside the rows, of txmta alone, when ``--rows`` names it.
MORE: Final[dict[str, Callable[[], list[str]]]] = {
    "wire": wire.report,
    "large": large.report,
    "connections": connections.report,
    "tables": tables.report,
    "scaling": scaling.report,
}
#: Messages of each row that are let go to the sink before the runs: in the full and in the short form.
PROOFS: Final = (200, 30)
#: Octets of memory that a Postfix process takes.
PROCESS: Final = 1_400_000


class Bench:
    """All of a run."""

    def __init__(self, chosen: argparse.Namespace, tls: Path) -> None:
        self._begun = time.monotonic()
        self.chosen = chosen
        self.tls = tls
        self.rows = [row for row in ROWS if row.name in chosen.rows or any(row.name == r.like for r in self._named())]
        self.found = report.document(
            SPOOLS,
            runs=chosen.runs,
            messages=chosen.messages,
            quick=chosen.quick,
            settings=chosen.set,
            chosen=chosen.rows,
        )
        self.root: Path | None = None
        if not chosen.alone:
            try:
                self.root = fetch()
            except Unavailable as error:
                self.found["without"] = str(error)

    def _named(self) -> list[Row]:
        return [row for row in ROWS if row.name in self.chosen.rows]

    def run(self) -> None:
        for need, rows in groupby(self.rows, key=lambda row: row.need):
            self._group(need, [row for row in rows if not row.like])
        if GROWTH in self.chosen.rows:
            self._growth()
        for name, work in MORE.items():
            if name in self.chosen.rows:
                self.found["more"][name] = work()

    def _group(self, need: Need, rows: Sequence[Row]) -> None:
        """Rows that need the same servers: each run of each row, server after server."""
        with ExitStack() as stack:
            sink = stack.enter_context(closing(Sink(str(self.tls) if need.tls else "")))
            systems = self._start(stack, need, sink)
            loads = [(row, row.scaled(self.chosen.messages, self.chosen.quick)) for row in rows]
            mail = [(row, load) for row, load in loads if row.name != "idle"]
            self._say(f"started: {', '.join(system.name for system in systems)}")
            with ThreadPoolExecutor() as pool:
                proofs = PROOFS[self.chosen.quick]
                list(pool.map(lambda system: prove(system, mail, sink, proofs), systems))
            self._say("proven: what is accepted arrives, once and whole")
            for number in range(self.chosen.runs):
                first = number % len(systems)  # no place in the order is anybody's for good
                for row, load in loads:
                    for system in (*systems[first:], *systems[:first]):
                        self._one(row, load, system, sink, number)
            for system in systems:
                if wrong := system.faults():
                    raise SystemExit(f"{system.name}: {wrong}")

    def _start(self, stack: ExitStack, need: Need, sink: Sink) -> list[System]:
        """All at once; what has started is stopped by the stack, whatever became of the others."""
        makers: list[Callable[[], System]] = []
        # OpenDKIM signs once, with RSA.
        if self.root is not None and len(need.signed) < 2:
            makers += [partial(Postfix, self.root, need, sink.port, self.tls, tuned) for tuned in (False, True)]
        makers.append(partial(Txmta, need, sink.port, self.tls, tuple(self.chosen.set)))
        with ThreadPoolExecutor() as pool:
            started = [pool.submit(maker) for maker in makers]
        systems = [future.result() for future in started if future.exception() is None]
        stack.callback(_stop, systems)
        for error in filter(None, (future.exception() for future in started)):
            if not isinstance(error, Unavailable):
                raise error
            self.found["without"] = str(error)
        return systems

    def _one(self, row: Row, load: Load, system: System, sink: Sink, number: int) -> None:
        if row.name == "idle":
            found = self._idle(row, system, number)
        else:
            found = measure(system, row, load, sink, f"{row.name}-{slug(system)}-{number}")
        if found is None:
            return
        servers = self.found["rows"].setdefault(row.name, {})
        runs = servers.setdefault(system.name, {"figures": [], "cpu_ms": []})
        runs["figures"].append(found.figure)
        runs["cpu_ms"].append(found.cpu_ms)
        self._say(f"run {number + 1}: {row.text}: {system.name}: {report.short(found.figure)} {row.unit}")

    def _idle(self, row: Row, system: System, number: int) -> Measured | None:
        """Postfix has a process for each: once, and as many as there is memory for."""
        count = row.count(self.chosen.quick)
        if isinstance(system, Txmta):
            return idle(system, count)
        count = room_for(count // 10 if self.chosen.quick else count, PROCESS)
        if number or "tuned" in system.name:
            return None
        self.found["notes"].append(f"{row.text}: {row.count(self.chosen.quick)} of txmta, {count} of {system.name}")
        return idle(system, count)

    def _growth(self) -> None:
        messages = max(self.chosen.messages // queue.SESSIONS, 1) * queue.SESSIONS
        points: list[Document] = [{"waiting": waiting} for waiting in GROWTH_SIZES[self.chosen.quick]]
        for number in range(self.chosen.runs):
            for point in points:
                one = queue.figures(point["waiting"], messages, SPOOLS)
                for name, value in one.items():
                    point.setdefault(name, []).append(value)
                rate = report.short(one["delivered"])
                self._say(f"run {number + 1}: {point['waiting']:,} waiting: {rate} messages/s")
        self.found["growth"] = points

    def _say(self, text: str) -> None:
        print(f"{time.monotonic() - self._begun:5.0f}s {text}", file=sys.stderr, flush=True)


def _stop(systems: Sequence[System]) -> None:
    with ThreadPoolExecutor() as pool:
        for system in systems:
            pool.submit(system.stop)


def main() -> None:
    parser = argparse.ArgumentParser(description="txmta and Postfix side by side.")
    parser.add_argument("--runs", type=int, default=5, help="runs of each row and server (default 5)")
    parser.add_argument("--messages", type=int, default=6000, help="messages a run (default 6000)")
    parser.add_argument("--rows", help=f"some of {', '.join([*NAMES, *MORE])}; left out: all up to {GROWTH}")
    parser.add_argument("--quick", action="store_true", help="one run of 400 messages each: under two minutes")
    parser.add_argument("--alone", action="store_true", help="txmta without Postfix")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="an option of txmta")
    parser.add_argument("--record", action="store_true", help="add to the history, as a whole run does")
    chosen = parser.parse_args()
    record = chosen.record or not (chosen.quick or chosen.rows)
    chosen.rows = chosen.rows.split(",") if chosen.rows else list(NAMES)
    if unknown := set(chosen.rows) - {*NAMES, *MORE}:
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    if chosen.quick:
        chosen.runs, chosen.messages = 1, 400
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    tempfile.tempdir = SPOOLS
    connections.many_files()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        tls = put(Path(folder) / "tls.pem", Authority().issue("localhost").both)
        bench = Bench(chosen, tls)
        bench.run()
    print(report.show(bench.found))
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "last.json").write_text(json.dumps(bench.found, indent=1))
    figures.draw(bench.found, figures.FOLDER if record and {*NAMES} <= {*chosen.rows} else FOLDER)
    if record:
        report.record(bench.found)
    print(f"written: {FOLDER / 'last.json'}")


if __name__ == "__main__":
    main()
