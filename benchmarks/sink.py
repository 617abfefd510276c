"""Where the mail of a benchmark goes to, and where its spools lie."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.postfix import environment
from tests.integration.tools import free_port

SESSIONS = 50
#: Where all servers keep their mail: on a disk, where /tmp often is memory, in which a sync costs nothing.
SPOOLS = "/var/tmp"


class Sink:
    """Postfix's smtp-sink, counting what arrives."""

    def __init__(self, root: Path) -> None:
        self.port = free_port()
        self._out = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the sink
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        self._process = subprocess.Popen(
            [str(root / "usr/sbin/smtp-sink"), "-c", *user, f"127.0.0.1:{self.port}", "1000"],
            env=environment(root),
            stdout=self._out,
            stderr=subprocess.STDOUT,
        )
        time.sleep(0.3)
        if self._process.poll() is not None:
            raise SystemExit("smtp-sink does not start")

    @property
    def count(self) -> int:
        """Messages so far."""
        size = os.fstat(self._out.fileno()).st_size
        tail = os.pread(self._out.fileno(), 200, max(0, size - 200)).decode("ascii", "replace")
        found = re.findall(r"mesg=(\d+)", tail)
        return int(found[-1]) if found else 0

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
