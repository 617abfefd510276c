"""One run of a row against one server, and the proof that what was accepted has arrived: once, and whole.

Every run is proven.  Relayed mail is looked at by the sink, octet by octet (``marked.py``), and again after the queue
is empty, so that a second copy is seen; mail in Maildirs is read.  What the "accept" rows take in is counted after each
run, and ``prove`` has some of each row let go to the sink beforehand: what was kept is what was sent.  A run that is
not proven ends the benchmark.

The clocks are those of the far ends: from the source's first connection to its last 250, or to the last message in the
sink or the Maildirs; how often the benchmark looks has no part in the figure.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from benchmarks.connections import per_connection
from benchmarks.marked import look
from benchmarks.processes import cpu_seconds
from benchmarks.rows import MIB, Row
from benchmarks.sink import Sink
from benchmarks.source import Load, send
from tests.integration.surroundings import wait_for

#: Seconds that only a broken server needs.
PATIENCE: Final = 600.0
#: What is kept beyond this is thrown away before the next run.
_ENOUGH: Final = 200 * MIB


class System(Protocol):
    """A server under test; see ``txmta.py``."""

    @property
    def name(self) -> str: ...
    @property
    def pid(self) -> int: ...
    @property
    def port(self) -> int: ...
    @property
    def mail(self) -> Path: ...

    def waiting(self) -> int: ...
    def kept(self) -> int: ...
    def release(self) -> None: ...
    def keep(self) -> None: ...
    def forget(self) -> None: ...
    def faults(self) -> str: ...
    def stop(self) -> None: ...


class Measured(NamedTuple):
    """One run: in the row's unit, and the CPU of all processes of the server, in ms a message."""

    figure: float
    cpu_ms: float


class Lost(SystemExit):
    """Mail that was accepted is missing, came twice, or is not what was sent."""

    def __init__(self, system: System, run: str, why: str) -> None:
        super().__init__(f"{system.name}, {run}: {why}")


def measure(system: System, row: Row, load: Load, sink: Sink, run: str) -> Measured:
    """One run; raises ``Lost``."""
    kept = system.kept() if row.need.way == "accept" else 0
    cpu = cpu_seconds(system.pid)
    sent = send(system.port, run, load)
    match row.need.way:
        case "accept":
            end = sent.end
            _kept(system, load, run, kept)
        case "maildir":
            end = _stored(system, load, run)
        case "relay":
            end = _relayed(system, load, sink, run)
    cpu = cpu_seconds(system.pid) - cpu
    if row.need.way == "accept" and load.messages * load.size > _ENOUGH:
        system.forget()
    seconds, copies = end - sent.start, load.messages * load.recipients
    figure = load.messages * load.size / 1e6 / seconds if row.unit == "MB/s" else copies / seconds
    return Measured(figure, cpu / copies * 1000)


def _kept(system: System, load: Load, run: str, before: int) -> None:
    kept = system.kept() - before
    if kept != load.messages:
        raise Lost(system, run, f"{load.messages} accepted, {kept} kept")


def _relayed(system: System, load: Load, sink: Sink, run: str) -> float:
    expected = load.messages * load.recipients
    wait_for(lambda: _slowly(sink.told(run)["copies"] >= expected), f"{run}: {expected} at the sink", PATIENCE)
    wait_for(lambda: _slowly(system.waiting() == 0), f"{system.name} to have nothing left", PATIENCE)
    told = sink.told(run)
    if told["damaged"] or not expected == told["copies"] == told["distinct"]:
        raise Lost(system, run, f"{expected} accepted; the sink says {told}")
    return float(told["last"])


def _slowly(answer: bool) -> bool:
    if not answer:
        time.sleep(0.1)
    return answer


def _stored(system: System, load: Load, run: str) -> float:
    """Reads all Maildirs, and empties them."""
    folders = [system.mail / f"to{number}" / "new" for number in range(load.mailboxes)]

    def count() -> int:
        return sum(len(list(folder.iterdir())) for folder in folders if folder.is_dir())

    wait_for(lambda: _slowly(count() >= load.messages), f"{run}: {load.messages} in Maildirs", PATIENCE)
    wait_for(lambda: _slowly(system.waiting() == 0), f"{system.name} to have nothing left", PATIENCE)
    # A folder's time is that of the last message that was renamed into it, by the clock of the wall.
    end = max(folder.stat().st_mtime for folder in folders if folder.is_dir()) - (time.time() - time.monotonic())
    seen: list[tuple[int, int]] = []
    for mailbox, folder in enumerate(folders):
        for octets in _emptied(folder):
            found = look(octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
            if found is None or not found.whole or found.run != run:
                raise Lost(system, run, f"a message in mailbox {mailbox} is not what was sent")
            seen.append((found.number, mailbox))
    if sorted(seen) != [(number, number % load.mailboxes) for number in range(load.messages)]:
        raise Lost(
            system, run, f"{load.messages} accepted, {len(seen)} in Maildirs, {len(set(seen))} of them different"
        )
    return end


def _emptied(folder: Path) -> Iterator[bytes]:
    for path in list(folder.iterdir()) if folder.is_dir() else ():
        yield path.read_bytes()
        path.unlink()


def prove(system: System, rows: Sequence[tuple[Row, Load]], sink: Sink, messages: int) -> None:
    """Some messages of each "accept" row (one large one) are kept, let go to the sink, and looked at; raises ``Lost``.

    For the other ways every run is a proof, and this sends as many to warm the server up.
    """
    runs = []
    for row, load in rows:
        few = replace(load, messages=min(load.messages, messages if load.size < MIB else 1), recipients=1)
        run = f"proof-{row.name}-{slug(system)}"
        runs.append((run, few))
        if row.need.way == "accept":
            before = system.kept()
            send(system.port, run, few)
            _kept(system, few, run, before)
        else:
            measure(system, row, few, sink, run)
    if rows and rows[0][0].need.way == "accept":
        system.release()
        for run, few in runs:
            _relayed(system, few, sink, run)
        system.keep()


def slug(system: System) -> str:
    """Its name in one word."""
    return system.name.lower().replace(", ", "-")


def idle(system: System, count: int) -> Measured:
    """KiB of memory, of all processes, that each of so many idle connections adds."""
    return Measured(per_connection(system.pid, system.port, count), 0.0)


def room_for(count: int, each: int) -> int:
    """As many processes of so many octets as half of the machine's free memory has room for, up to ``count``."""
    line = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable"))
    return min(count, int(line.split()[1]) * 1024 // 2 // each)
