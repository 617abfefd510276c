"""A disk that fails under the running daemon: writes, syncs, no room, no inodes, read-only.

Each time: what cannot be kept is refused with 4yz, an outcome that cannot be written waits in memory and goes first,
and when the disk works again the daemon goes on by itself, with nothing lost and nothing sent twice.
"""

from __future__ import annotations

import errno
import shutil
import tempfile
import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.integration.tools import MESSAGE, Daemon, Dialogue, Sink, failing_disk, mounted, wait_for

MORE = '[relay]\nnetworks = ["127.0.0.0/8"]\n[queue]\nretry = ["1s"]\nreserve = "1MiB"\n'
LARGE = b"Subject: large\r\n\r\n" + (b"x" * 78 + b"\r\n") * 2000


class Case(unittest.TestCase):
    def survives(
        self, daemon: Daemon, sink: Sink, fail: Callable[[], None], mend: Callable[[], None], at_once: bool = True
    ) -> None:
        """The disk fails while a message is at its final dot; then more is offered; then it works again.  ``at_once``:
        nothing can be kept from then on, whether it was noticed or not."""
        failed: list[bool] = []

        def dot(line: str) -> None:
            if not failed:
                failed.append(True)
                fail()

        sink.script["dot"] = dot
        daemon.take("first@far.example")
        sink.wait_for(1)
        for octets in (MESSAGE, LARGE) if at_once else ():
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

    @contextmanager
    def running(self) -> Iterator[tuple[Daemon, Sink, Path]]:
        """A daemon, its far end, and the file that tells its disk what to do."""
        with tempfile.TemporaryDirectory() as folder, Sink() as sink:
            library, control = failing_disk(Path(folder)), Path(folder, "control")
            wrap = ("env", f"LD_PRELOAD={library}", f"FAILING_DISK={control}")
            with Daemon(MORE, internet=sink.delivery(), wrap=wrap) as daemon:
                yield daemon, sink, control

    def breaks(self, told: str) -> None:
        with self.running() as (daemon, sink, control):
            self.survives(daemon, sink, lambda: _write(control, told), control.unlink)

    def test_no_room_in_the_middle_of_a_large_body(self) -> None:
        """And a sync of it that fails: refused, nothing of it is left, and the next one is taken."""
        for told in (f"write {errno.ENOSPC} 3", f"write {errno.EIO} 3", f"sync {errno.EIO} 0"):
            with self.subTest(told), self.running() as (daemon, sink, control), Dialogue(daemon.port) as client:
                client.greet()
                for line in ("MAIL FROM:<ann@ours.example>", "RCPT TO:<more@far.example>", "DATA"):
                    self.assertRegex(client.say(line), "^[23]")
                _write(control, told)
                for _ in range(40):
                    client.sock.sendall(LARGE)
                self.assertRegex(client.say(b"."), r"^45[12] 4\.3\.[01] ")
                control.unlink()
                wait_for(lambda: self.offer(daemon, LARGE).startswith("250"), lambda: f"no mail:\n{daemon.log()}")
                daemon.drained()
                self.assertEqual(daemon.audit()["unaccounted"], 0)
                self.assertEqual([octets for _, octets in sink.messages if not octets.endswith(LARGE)], [])
                self.assertEqual(list((daemon.state / "spool" / "0" / "body").iterdir()), [])

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

            # What needs no file of its own is kept, rightly, until somebody looks.
            self.survives(daemon, sink, fail, lambda: shutil.rmtree(filler), at_once=False)
