"""What operators read: one event, one line; what strangers sent is escaped; the queue id in each."""

from __future__ import annotations

import os

from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mta import events
from mta.admin import log as module
from mta.admin.log import DELAY, LogWriter, emit


class Lines(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()
        self.publisher = LogPublisher()
        self.patch(module, "_log", Logger(namespace="mta", observer=self.publisher))

    def observe(self, **options: bool) -> LogWriter:
        writer = LogWriter(self.path, **options)
        self.publisher.addObserver(writer)
        return writer

    def lines(self) -> list[str]:
        with open(self.path, encoding="utf-8") as file:
            return file.read().splitlines()

    def test_event_with_its_queue_id(self) -> None:
        self.observe()
        emit(events.HELD(address="a@b.example", reason="by hand"), "7K3QF9")
        (line,) = self.lines()
        self.assertRegex(line, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z 7K3QF9 held: a@b\.example: by hand$")

    def test_stranger_makes_no_line_of_its_own(self) -> None:
        self.observe()
        emit(events.COMMAND_REFUSED(client="192.0.2.7", command="X\r\n2026 forged", reply="500 \x1b[2J"), "")
        (line,) = self.lines()
        self.assertIn("X\\r\\n2026 forged", line)
        self.assertNotIn("\x1b", line)

    def test_quiet_events_only_at_level_debug(self) -> None:
        self.observe()
        emit(events.CONNECTED(client="192.0.2.7", listener="mx"), "")
        self.assertEqual(self.lines(), [])
        self.observe(debug=True)
        emit(events.CONNECTED(client="192.0.2.7", listener="mx"), "")
        self.assertEqual(len(self.lines()), 1)

    def test_failure_is_told_with_its_traceback(self) -> None:
        self.observe()
        try:
            raise ValueError("bad\nthing")
        except ValueError:
            Logger(namespace="mta.x", observer=self.publisher).failure("work {what}", what="a\nb")
        lines = self.lines()
        self.assertIn("mta.x: work a\\nb", lines[0])
        self.assertTrue(any("builtins.ValueError: bad" in line for line in lines))
        self.assertTrue(all(line.startswith("    ") for line in lines[1:]))

    def test_lines_are_written_together_and_errors_at_once(self) -> None:
        clock = Clock()
        writer = self.observe()
        writer.join_writes(clock.callLater)
        for _ in range(3):
            emit(events.HELD(address="a@b.example", reason="x"), "1")
        self.assertEqual(self.lines(), [])
        clock.advance(DELAY)
        self.assertEqual(len(self.lines()), 3)
        emit(events.HELD(address="a@b.example", reason="x"), "1")
        Logger(observer=self.publisher).emit(LogLevel.error, "trouble")
        self.assertEqual(len(self.lines()), 5)

    def test_moved_file_is_opened_again(self) -> None:
        writer = self.observe()
        emit(events.HELD(address="a@b.example", reason="x"), "1")
        os.rename(self.path, self.path + ".1")
        writer.reopen()
        emit(events.HELD(address="c@d.example", reason="x"), "2")
        (line,) = self.lines()
        self.assertIn("c@d.example", line)
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o640)

    def test_full_disk_does_not_stop_the_mail(self) -> None:
        if not os.path.exists("/dev/full"):
            return
        self.path = "/dev/full"
        writer = LogWriter()
        writer._file = open("/dev/full", "w")  # noqa: SIM115  # closed below
        self.publisher.addObserver(writer)
        emit(events.HELD(address="a@b.example", reason="x"), "1")
        emit(events.HELD(address="a@b.example", reason="x"), "2")
