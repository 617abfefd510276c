"""A disk that fails under the running daemon: writes, syncs, no inodes, read-only.

Each time: what cannot be kept is refused with 4yz, an outcome that cannot be written waits in memory and goes first,
and when the disk works again the daemon goes on by itself, with nothing lost and nothing sent twice.
"""

from __future__ import annotations

import errno
import shutil
import subprocess
import tempfile
import unittest
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.integration.tools import MESSAGE, Daemon, Dialogue, Sink, mounted, wait_for

MORE = '[relay]\nnetworks = ["127.0.0.0/8"]\n[queue]\nretry = ["1s"]\nreserve = "1MiB"\n'
SOURCE = Path(__file__).with_name("failing_disk.c")
LARGE = b"Subject: large\r\n\r\n" + (b"x" * 78 + b"\r\n") * 2000


class Case(unittest.TestCase):
    def survives(self, daemon: Daemon, sink: Sink, fail: Callable[[], None], mend: Callable[[], None]) -> None:
        """The disk fails while a message is at its final dot; then more is offered; then it works again."""
        failed: list[bool] = []

        def dot(line: str) -> None:
            if not failed:
                failed.append(True)
                fail()

        sink.script["dot"] = dot
        daemon.take("first@far.example")
        sink.wait_for(1)
        for octets in (MESSAGE, LARGE):
            self.assertRegex(self.offer(daemon, octets), r"^45[12] 4\.3\.[01] ")
        wait_for(lambda: self.offer(daemon, MESSAGE).startswith("452 4.3.1"), "MAIL to be refused")
        mend()
        wait_for(lambda: self.offer(daemon, LARGE).startswith("250"), lambda: f"mail to be taken:\n{daemon.log()}")
        daemon.drained()
        figures = daemon.audit()
        self.assertEqual((figures["unaccounted"], figures["ended"]), (0, {"relayed": figures["accepted"]}))
        self.assertEqual(len(sink.messages), figures["accepted"], "nothing twice")

    def offer(self, daemon: Daemon, octets: bytes) -> str:
        with Dialogue(daemon.port) as client:
            return client.greet().message("ann@ours.example", ["more@far.example"], octets)


class Injected(Case):
    """By a library between the daemon and the system."""

    def breaks(self, told: str) -> None:
        with tempfile.TemporaryDirectory() as folder, Sink() as sink:
            library, control = Path(folder, "failing_disk.so"), Path(folder, "control")
            try:
                command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
                subprocess.run(command, check=True, capture_output=True)
            except FileNotFoundError:
                raise unittest.SkipTest("there is no C compiler") from None
            wrap = ("env", f"LD_PRELOAD={library}", f"FAILING_DISK={control}")
            with Daemon(MORE, internet=sink.delivery(), wrap=wrap) as daemon:
                self.survives(daemon, sink, lambda: _write(control, told), control.unlink)

    def test_syncs_that_fail(self) -> None:
        self.breaks(f"sync {errno.EIO}")

    def test_writes_that_fail(self) -> None:
        self.breaks(f"write {errno.EIO}")

    def test_no_room(self) -> None:
        self.breaks(f"write {errno.ENOSPC}")

    def test_read_only(self) -> None:
        self.breaks(f"write {errno.EROFS}")


def _write(control: Path, told: str) -> None:
    control.write_text(told)


class Inodes(Case):
    """There is room, and no file can be made."""

    def test_none_left(self) -> None:
        with (
            Sink() as sink,
            Daemon(MORE, internet=sink.delivery(), start=False) as daemon,
            mounted(daemon.state, "size=40m,nr_inodes=11000,mode=700"),
        ):
            daemon.start()
            filler = daemon.state / "filler"
            filler.mkdir()

            def fail() -> None:
                with suppress(OSError):
                    for number in range(11_000):
                        (filler / str(number)).touch()

            self.survives(daemon, sink, fail, lambda: shutil.rmtree(filler))
