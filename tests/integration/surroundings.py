"""What a test needs of the machine: ports, small file systems, and patience with a limit."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import time
import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Seconds that only a broken program needs.
DEADLINE = 30.0

#: Which of the processes that share the tests this is, by pytest-xdist.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
#: Ports that no system gives to a client on its own, so that what is free now is free in a moment too; each process of
#: the tests has a sixteenth of its own.
PORTS = range(12_000 + WORKER % 16, 32_000, 16)


def free_port() -> int:
    """A port that nobody has just now."""
    while True:
        port = random.SystemRandom().choice(PORTS)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue


@contextmanager
def deaf_port() -> Iterator[int]:
    """A port where nobody listens, kept so."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@contextmanager
def deaf_udp_port() -> Iterator[int]:
    """A UDP port that is closed to everybody (a socket that is connected hears its peer alone), kept so."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.connect(("127.0.0.1", 9))
        yield sock.getsockname()[1]


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A small file system in memory on the folder, which is made.  A named skip where that is not allowed."""
    folder.mkdir(mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise unittest.SkipTest("mount is not installed") from None
    if done.returncode:
        raise unittest.SkipTest(f"a tmpfs cannot be mounted: {done.stderr.partition(chr(10))[0]}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def failing_disk(folder: Path) -> Path:
    """A library that lets a program's disk fail, or kills it there: see failing_disk.c.  A named skip without a
    compiler."""
    library = folder / "failing_disk.so"
    source = Path(__file__).with_name("failing_disk.c")
    # Some compilers make calls of their own of those that it defines, to check their arguments.
    command = ["cc", "-shared", "-fPIC", "-O1", "-U_FORTIFY_SOURCE", "-o", str(library), str(source), "-ldl"]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        raise unittest.SkipTest("there is no C compiler") from None
    return library


def wait_for(what: Callable[[], Any], why: str | Callable[[], str] = "it", deadline: float = DEADLINE) -> Any:
    """Ask until the answer is true; fails with ``why``, which may be a function, after the deadline."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        answer = what()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"waited {deadline} s for {why if isinstance(why, str) else why()}")
