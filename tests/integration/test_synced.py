"""250 means durable: at the moment of a promise, all that it rests on has been synced.

A library between the daemon and the system notes each write, sync and reply in order.  What a kill cannot show, since
the kernel keeps what a killed process wrote, a power cut would.
"""

from __future__ import annotations

import tempfile
import threading
import unittest
from pathlib import Path

from tests.integration.tools import DEADLINE, MESSAGE, Daemon, Dialogue, Sink, failing_disk

MORE = '[relay]\nnetworks = ["127.0.0.0/8"]\n[queue]\nreserve = "1MiB"\n'
LARGE = b"Subject: large\r\n\r\n" + (b"x" * 78 + b"\r\n") * 4000


class Synced(unittest.TestCase):
    def test_before_each_promise(self) -> None:
        """RFC 5321 6.1"""
        over = threading.Event()
        # Nothing is delivered meanwhile: an outcome that is just being written is no promise to a client.
        far = Sink({"connect": lambda line: None if over.wait(DEADLINE) else "421 4.3.2 too late"})
        with tempfile.TemporaryDirectory() as folder, far as sink:
            trace = Path(folder, "trace")
            wrap = ("env", f"LD_PRELOAD={failing_disk(Path(folder))}", f"DISK_TRACE={trace}")
            with Daemon(MORE, internet=sink.delivery(), wrap=wrap) as daemon, Dialogue(daemon.port) as client:
                client.greet()
                for octets in (MESSAGE, LARGE):
                    reply = client.message("ann@ours.example", ["x@far.example"], octets)
                    self.assertEqual(reply[:3], "250", reply)
                over.set()
                daemon.drained()
            lines = trace.read_text().splitlines()
        promises, bodies = self.not_synced(lines)
        self.assertEqual(promises, [set(), set()])
        self.assertEqual(bodies, 1)

    def not_synced(self, lines: list[str]) -> tuple[list[set[str]], int]:
        """For each promise, the files and folders of what was written that had not been synced since; and how many
        body files there were."""
        dirty: set[str] = set()
        found: list[set[str]] = []
        bodies = 0
        for line in lines:
            what, _, path = line.partition(" ")
            body = "/body/" in path
            if what == "promise":
                found.append(set(dirty))
            elif what == "sync":
                dirty.discard(path)
            elif what == "write" and (body or path.endswith("-wal")):
                dirty.add(path)
            elif what == "make" and body:
                dirty.add(path.rpartition("/")[0])
                bodies += 1
        return found, bodies
