"""One large message in and out: ``python -m benchmarks.large``.

It is relayed to Postfix's ``smtp-sink``; the peak of the daemon's memory must not depend on the message's size.
"""

from __future__ import annotations

import socket
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.postfix import fetch
from benchmarks.processes import Peak, memory
from benchmarks.sink import SPOOLS, Sink
from tests.integration.tools import Daemon, wait_for

MIB = 1 << 20
LINE = b"0123456789" * 7 + b"01234567\r\n"
PIECE = LINE * (MIB // len(LINE))


class Passed(NamedTuple):
    """How a message of ``octets`` went through: MB/s until its 250 and until the sink had it; memory in octets."""

    octets: int
    accepted: float
    relayed: float
    growth: int


def send(port: int, pieces: int) -> int:
    """Send a message of so many pieces; returns its octets.  It waits for the 250."""
    with socket.create_connection(("127.0.0.1", port), timeout=300) as connection:
        replies = connection.makefile("rb")

        def expect(code: bytes) -> None:
            while (line := replies.readline())[3:4] == b"-":
                pass
            if not line.startswith(code):
                raise SystemExit(f"the daemon said {line!r}")

        expect(b"220")
        for command, code in (
            (b"EHLO client.example", b"250"),
            (b"MAIL FROM:<from@sender.example>", b"250"),
            (b"RCPT TO:<to@far.example>", b"250"),
            (b"DATA", b"354"),
        ):
            connection.sendall(command + b"\r\n")
            expect(code)
        connection.sendall(b"Subject: large\r\n\r\n")
        for _ in range(pieces):
            connection.sendall(PIECE)
        connection.sendall(b".\r\n")
        expect(b"250")
    return pieces * len(PIECE)


def measure(daemon: Daemon, sink: Sink, pieces: int) -> Passed:
    assert daemon.process is not None
    pid, before = daemon.process.pid, sink.count
    idle = memory(pid)
    with Peak(pid, every=0.02) as peak:
        start = time.perf_counter()
        octets = send(daemon.port, pieces)
        accepted = time.perf_counter() - start
        wait_for(lambda: sink.count > before, "the message at the sink", 300)
        relayed = time.perf_counter() - start
    wait_for(lambda: daemon.audit()["queued"] == 0, "the queue to be empty", 60)
    return Passed(octets, octets / 1e6 / accepted, octets / 1e6 / relayed, peak.octets - idle)


def report(root: Path) -> list[str]:
    sink = Sink(root)
    relay = '[relay]\nnetworks = ["127.0.0.0/8"]\n[limits]\nmessage_size = "200MiB"\n'
    internet = f'[delivery.internet]\ntype = "smtp"\nhost = "127.0.0.1"\nport = {sink.port}\n'
    lines = ["one large message, relayed; MB/s until its 250, until it is out; memory above idle in MiB"]
    try:
        with Daemon(relay, internet=internet) as daemon:
            measure(daemon, sink, 1)
            for pieces in (1, 10, 100):
                passed = measure(daemon, sink, pieces)
                lines.append(
                    f"{passed.octets / MIB:6.0f} MiB{passed.accepted:>10.0f}{passed.relayed:>8.0f}"
                    f"{passed.growth / MIB:>10.1f}"
                )
    finally:
        sink.stop()
    return lines


if __name__ == "__main__":
    tempfile.tempdir = SPOOLS
    print("\n".join(report(fetch())))
