"""One large message in and out: ``python -m benchmarks.large``.

The peak of the daemon's memory must not depend on the message's size.
"""

from __future__ import annotations

import tempfile
from contextlib import closing
from typing import NamedTuple

from benchmarks.processes import Peak, memory
from benchmarks.sink import SPOOLS, Sink
from benchmarks.source import Load, send
from tests.integration.tools import Daemon, wait_for

MIB = 1 << 20


class Passed(NamedTuple):
    """How a message of ``octets`` went through: MB/s until its 250 and until the sink had it; memory in octets."""

    octets: int
    accepted: float
    relayed: float
    growth: int


def measure(daemon: Daemon, sink: Sink, size: int) -> Passed:
    assert daemon.process is not None
    pid, run = daemon.process.pid, f"large-{size}"
    idle = memory(pid)
    with Peak(pid, every=0.02) as peak:
        sent = send(daemon.port, run, Load(messages=1, sessions=1, size=size))
        wait_for(lambda: sink.told(run)["copies"], "the message at the sink", 300)
    told = sink.told(run)
    if told["damaged"]:
        raise SystemExit(f"a message of {size} octets did not arrive whole")
    wait_for(lambda: daemon.audit()["queued"] == 0, "the queue to be empty", 60)
    relayed = float(told["last"]) - sent.start
    return Passed(size, size / 1e6 / sent.seconds, size / 1e6 / relayed, peak.octets - idle)


def report() -> list[str]:
    relay = '[relay]\nnetworks = ["127.0.0.0/8"]\n[limits]\nmessage_size = "200MiB"\n'
    lines = ["one large message, relayed; MB/s until its 250, until it is out; memory above idle in MiB"]
    with closing(Sink()) as sink:
        internet = f'[delivery.internet]\ntype = "smtp"\nhost = "127.0.0.1"\nport = {sink.port}\n'
        with Daemon(relay, internet=internet) as daemon:
            measure(daemon, sink, MIB // 2)
            for size in (MIB, 10 * MIB, 100 * MIB):
                passed = measure(daemon, sink, size)
                lines.append(
                    f"{passed.octets / MIB:6.0f} MiB{passed.accepted:>10.0f}{passed.relayed:>8.0f}"
                    f"{passed.growth / MIB:>10.1f}"
                )
    return lines


if __name__ == "__main__":
    tempfile.tempdir = SPOOLS
    print("\n".join(report()))
