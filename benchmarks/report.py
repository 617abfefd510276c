"""What came out of a run: the table, the JSON, and the history.

All of it is read from one document, a ``dict`` as it stands in ``.bench/last.json`` (``document`` says what is in it),
so that a table or a drawing can be made again from the file: ``python -m benchmarks.report [FILE]``.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from benchmarks.postfix import FOLDER
from benchmarks.postfix import NAMES as POSTFIX
from benchmarks.rows import GROWTH, GROWTH_LEAST, ROWS
from benchmarks.txmta import NAME

Document = dict[str, Any]
HISTORY: Final = Path(__file__).parent / "history.csv"
COLUMNS: Final = ("date", "commit", "machine", "settings", "row", "unit", NAME, *POSTFIX, "times", "least", "aim")
#: A ratio that fell below so much of what stands in the history is called a loss.
LOSS: Final = 0.85


@dataclass(frozen=True, kw_only=True)
class Result:
    """One line of the table.

    ``best`` is the better Postfix (of ``growth`` our own rate beside an empty queue), ``times`` how many times better
    than that we are; both ``None`` without one.  ``bound`` says what else the goal is.
    """

    name: str
    text: str
    unit: str
    ours: float
    theirs: dict[str, float]
    best: float | None
    times: float | None
    least: float
    aim: float
    met: bool | None
    aimed: bool | None
    bound: str = ""


def file_system(path: str) -> str:
    """Kind of the file system that holds the path."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    holding = [m for m in mounts if os.path.commonpath([m[1], os.path.realpath(path)]) == m[1]]
    return max(holding, key=lambda m: len(m[1]))[2]


def machine(spools: str) -> dict[str, Any]:
    """What the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = (line.partition(":")[2].strip() for line in lines if "model name" in line)
    return {
        "cpu": next(models, platform.machine()),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "file_system": file_system(spools),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "python": platform.python_version(),
        "twisted": version("Twisted"),
    }


def commit() -> str:
    """The commit that was measured; with a plus sign, more than that."""
    try:
        folder = Path(__file__).parent
        head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=folder, capture_output=True, text=True)
        changed = subprocess.run(["git", "status", "--porcelain"], cwd=folder, capture_output=True, text=True)
    except OSError:
        return "unknown"
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "") or "unknown"


def document(spools: str, **more: Any) -> Document:
    """An empty one.

    ``rows``: by row and server, ``figures`` and ``cpu_ms``, one for each run.  ``growth``: by size of the queue, in
    rising order, ``waiting`` and for each run ``delivered``, ``accepted``, ``memory`` and ``start``.  ``more``: lines
    of text by the name of what printed them.  ``without``: why there is no Postfix.
    """
    now = datetime.now(UTC).isoformat(timespec="minutes").replace("+00:00", "Z")
    empty: Document = {"date": now, "commit": commit(), "machine": machine(spools), "without": "", "notes": []}
    return {**empty, **more, "rows": {}, "growth": [], "more": {}}


# --- reading it ------------------------------------------------------------------------------------------------


def results(found: Document) -> Iterator[Result]:
    """One for each row that was measured."""
    for row in ROWS:
        source = found["rows"].get(row.like or row.name)
        if not source or NAME not in source or row.name not in found["chosen"]:
            continue
        key = "cpu_ms" if row.like else "figures"
        medians = {name: statistics.median(runs[key]) for name, runs in source.items()}
        ours = medians.pop(NAME)
        best = (min if row.costs else max)(medians.values()) if medians else None
        times = None if best is None else row.better(ours, best)
        yield Result(
            name=row.name,
            text=row.text,
            unit=row.unit,
            ours=ours,
            theirs=medians,
            best=best,
            times=times,
            least=row.least,
            aim=row.aim,
            met=row.met(ours, times),
            aimed=None if times is None else times >= row.aim and (row.aim_under is None or ours < row.aim_under),
            bound=f"(and under {row.under:g} {row.unit}, aim {row.aim_under:g})" if row.under else "",
        )
    if len(found["growth"]) > 1:
        yield _growth(found["growth"])


def _growth(points: list[dict[str, Any]]) -> Result:
    first, last = (statistics.median(points[place]["delivered"]) for place in (0, -1))
    times = last / first
    text = f"rate beside {points[-1]['waiting']:,} waiting"
    kept, least = times >= GROWTH_LEAST, GROWTH_LEAST
    return Result(
        name=GROWTH,
        text=text,
        unit="messages/s",
        bound=f"(of {short(first)} beside {points[0]['waiting'] or 'none'})",
        ours=last,
        theirs={},
        best=first,
        times=times,
        least=least,
        aim=1.0,
        met=kept,
        aimed=times >= 0.99,
    )


def short(value: float | None) -> str:
    """Three digits that count."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def judged(result: Result) -> str:
    if result.met is None:
        return ""
    return "aim met" if result.aimed else "met" if result.met else "NOT MET"


def table(found: Document, before: Mapping[str, float] | None = None) -> list[str]:
    """Goal, figure and ratio; ``before``: ratios of the last record on such a machine."""
    before = before or {}
    runs = f"{found['runs']} runs" if found["runs"] > 1 else "one run"
    lines = [
        f"medians of {runs}, {found['messages']} messages a run and its shares; txmta {found['commit']}"
        + (f" with {', '.join(found['settings'])}" if found["settings"] else ""),
        f"{'':40}{'unit':13}{'txmta':>9}{'Postfix':>9}{'tuned':>9}{'times':>8}{'before':>8}{'least':>7}{'aim':>6}",
    ]
    for result in results(found):
        theirs = "".join(f"{short(result.theirs.get(name)):>9}" for name in POSTFIX)
        lines.append(
            f"{result.text:40}{result.unit:13}{short(result.ours):>9}{theirs}{short(result.times):>8}"
            f"{short(before.get(result.name)):>8}{result.least:>7g}{result.aim:>6g}  {judged(result)} {result.bound}"
        )
    lines += found["notes"]
    if found["quick"]:
        lines.append("the short form: fewer of everything, to see that it works; its figures say little")
    if found["without"]:
        lines.append(f"without Postfix: {found['without']}")
    return [line.rstrip() for line in lines]


# --- keeping it ------------------------------------------------------------------------------------------------


def machine_line(found: Document) -> str:
    """The machine in one line, without commas."""
    it = found["machine"]
    return f"{it['cpu']} x{it['cores']} {it['memory_mib'] // 1024} GiB {it['file_system']} Python {it['python']}"


def record(found: Document, path: Path = HISTORY) -> None:
    """Append one line a row."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(COLUMNS)
        for result in results(found):
            figures = [_exact(value) for value in (result.ours, *(result.theirs.get(name) for name in POSTFIX))]
            head = [found["date"], found["commit"], machine_line(found), " ".join(found["settings"])]
            tail = [_exact(result.times), f"{result.least:g}", f"{result.aim:g}"]
            writer.writerow([*head, result.name, result.unit, *figures, *tail])


def _exact(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def last_ratios(found: Document, path: Path = HISTORY) -> dict[str, float]:
    """Of each row, the last in the history by a machine like this one with the same settings."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        return {
            line["row"]: float(line["times"])
            for line in csv.DictReader(file)
            if line["machine"] == machine_line(found) and line["settings"] == " ".join(found["settings"])
            if line["times"] and line["date"] < found["date"]
        }


def losses(found: Document, before: Mapping[str, float]) -> list[str]:
    """A line for each row that has become slower."""
    return [
        f"slower than before: {result.text}: {short(result.times)} times, was {short(before[result.name])}"
        for result in results(found)
        if result.times is not None and result.name in before and result.times < before[result.name] * LOSS
    ]


def show(found: Document) -> str:
    """All that is printed of it."""
    before = last_ratios(found)
    more = [line for lines in found["more"].values() for line in lines]
    return "\n".join([*table(found, before), *losses(found, before), *more])


if __name__ == "__main__":
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER / "last.json"
    print(show(json.loads(file.read_text())))
