"""Many connections at once: ``python -m benchmarks.connections``.

What an idle connection costs in memory, in clear and over TLS; and what becomes of normal mail while 5,000 clients are
idle and 500 send an octet every few seconds.
"""

from __future__ import annotations

import resource
import socket
import ssl
import tempfile
import threading
import time
from contextlib import closing
from types import TracebackType

from benchmarks.processes import memory
from benchmarks.sink import SPOOLS, Sink
from benchmarks.source import Load, send
from tests.integration.tools import Daemon, wait_for

IDLE = 5000
SLOW = 500
#: Seconds in which each slow client sends one octet.
PACE = 4.0
LOAD = Load(messages=8000)
CONFIGURATION = """\
[relay]
networks = ["127.0.0.0/8"]

[limits]
connections = 7000
connections_per_client = 7000
"""


class Clients:
    """So many connections that have been greeted and said EHLO; ``tls``: after STARTTLS."""

    def __init__(self, port: int, count: int, tls: bool = False) -> None:
        many_files()
        self.sockets: list[socket.socket] = []
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", port), timeout=60)
            connection.recv(1000)
            if tls:
                for line in (b"EHLO client.example\r\n", b"STARTTLS\r\n"):
                    connection.sendall(line)
                    connection.recv(4000)
                connection = context.wrap_socket(connection)
            connection.sendall(b"EHLO client.example\r\n")
            if not connection.recv(4000).startswith(b"250"):
                raise SystemExit(f"connection {len(self.sockets) + 1} of {count} is not served")
            self.sockets.append(connection)

    def __enter__(self) -> Clients:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self.sockets:
            connection.close()


class Slow(Clients):
    """They send a command octet by octet, each one every ``PACE`` seconds."""

    def __init__(self, port: int, count: int) -> None:
        super().__init__(port, count)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._drip, daemon=True)

    def __enter__(self) -> Slow:
        self._thread.start()
        return self

    def _drip(self) -> None:
        command = b"NOOP " + b"x" * 200
        for octet in command:
            for connection in self.sockets:
                connection.sendall(bytes((octet,)))
                if self._stop.wait(PACE / len(self.sockets)):
                    return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        super().__exit__(kind, error, trace)


def many_files() -> None:
    """As many open files as the system lets us have: each connection is one."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def per_connection(pid: int, port: int, count: int, tls: bool = False) -> float:
    """KiB of memory that each of ``count`` idle connections adds."""
    with Clients(port, 20, tls):  # what is made once
        time.sleep(0.5)
        before = memory(pid)
        with Clients(port, count, tls):
            time.sleep(1.0)
            return (memory(pid) - before) / count / 1024


def rate(port: int, sink: Sink, run: str) -> float:
    """Messages a second from the source to the sink."""
    sent = send(port, run, LOAD)
    wait_for(lambda: sink.told(run)["distinct"] >= LOAD.messages, "all messages at the sink", 300)
    return LOAD.messages / (float(sink.told(run)["last"]) - sent.start)


def report() -> list[str]:
    lines = []
    with closing(Sink()) as sink:
        internet = f'[delivery.internet]\ntype = "smtp"\nhost = "127.0.0.1"\nport = {sink.port}\n'
        with Daemon(CONFIGURATION, internet=internet) as daemon:
            assert daemon.process is not None
            pid, port = daemon.process.pid, daemon.port
            rate(port, sink, "warm")
            clear = per_connection(pid, port, IDLE)
            encrypted = per_connection(pid, port, IDLE // 5, tls=True)
            lines.append(f"an idle connection: {clear:.1f} KiB ({IDLE} of them), with TLS {encrypted:.1f} KiB")
            alone, crowded = [], []
            for number in range(3):
                alone.append(rate(port, sink, f"alone-{number}"))
                with Clients(port, IDLE), Slow(port, SLOW):
                    crowded.append(rate(port, sink, f"crowded-{number}"))
    without, beside = sorted(alone)[1], sorted(crowded)[1]
    lines.append(
        f"relaying beside {IDLE} idle and {SLOW} slow connections: {beside:.0f}/s, "
        f"{beside / without:.0%} of the {without:.0f}/s without them"
    )
    return lines


if __name__ == "__main__":
    tempfile.tempdir = SPOOLS
    print("\n".join(report()))
