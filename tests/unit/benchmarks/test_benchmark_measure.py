"""A run of the benchmark counts only if its mail is proven to have arrived."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import measure as module
from benchmarks.marked import Mark
from benchmarks.measure import Lost, Measured, measure
from benchmarks.rows import ROWS, Row
from benchmarks.sink import Sink
from benchmarks.source import Load, Sent

ROW = {row.name: row for row in ROWS}
LOAD = Load(messages=4, mailboxes=2)


class Server:
    """Has taken what the load sent, in its way."""

    name, pid, port = "Server, new", 1, 25

    def __init__(self, folder: str = "", kept: int = 4) -> None:
        self.mail = Path(folder)
        self._kept = [10, 10 + kept]
        self.forgotten = 0

    def kept(self) -> int:
        return self._kept.pop(0)

    def waiting(self) -> int:
        return 0

    def forget(self) -> None:
        self.forgotten += 1


class Told:
    """A sink that says what it is told to say."""

    def __init__(self, **figures: float) -> None:
        self.figures = {"copies": 4, "distinct": 4, "damaged": 0, "last": 102.0, **figures}

    def told(self, run: str) -> dict[str, float]:
        return self.figures


class Runs(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(module, "send", lambda port, run, load: Sent(100.0, 101.0))
        cpu = iter((5.0, 5.8))
        self.patch(module, "cpu_seconds", lambda pid: next(cpu))

    def run_of(self, row: Row, server: Server, sink: Told | None = None, load: Load = LOAD) -> Measured:
        return measure(cast(Any, server), row, load, cast(Sink, sink or Told()), "run")

    def lost(self, row: Row, server: Server, sink: Told | None = None) -> str:
        with self.assertRaises(Lost) as caught:
            self.run_of(row, server, sink)
        return str(caught.exception)


class Relayed(Runs):
    def test_the_clock_stops_at_the_last_message_in_the_sink(self) -> None:
        found = self.run_of(ROW["relay-kept"], Server())
        self.assertEqual((found.figure, round(found.cpu_ms)), (2.0, 200))

    def test_a_copy_too_many_ends_it(self) -> None:
        self.assertIn("Server, new, run: 4 accepted", self.lost(ROW["relay-kept"], Server(), Told(copies=5)))

    def test_one_twice_and_one_lost_ends_it(self) -> None:
        self.lost(ROW["relay-kept"], Server(), Told(distinct=3))

    def test_damage_ends_it(self) -> None:
        self.lost(ROW["relay-kept"], Server(), Told(damaged=1))

    def test_of_one_message_to_many_recipients_count(self) -> None:
        many = Load(messages=1, recipients=100)
        self.assertEqual(self.run_of(ROW["recipients"], Server(), Told(copies=100, distinct=100), many).figure, 50.0)


class Accepted(Runs):
    def test_the_clock_stops_at_the_last_250(self) -> None:
        self.assertEqual(self.run_of(ROW["accept-kept"], Server()).figure, 4.0)

    def test_large_ones_are_thrown_away_and_counted_in_octets(self) -> None:
        server = Server()
        large = Load(messages=4, size=60_000_000)
        self.assertAlmostEqual(self.run_of(ROW["accept-large"], server, load=large).figure, 240.0)
        self.assertEqual(server.forgotten, 1)

    def test_one_that_is_not_kept_ends_it(self) -> None:
        self.assertIn("4 accepted, 3 kept", self.lost(ROW["accept-kept"], Server(kept=3)))


class Stored(Runs):
    def stored(self, *numbers: int, octets: bytes = b"") -> Server:
        """A server whose two Maildirs hold these messages."""
        server = Server(self.mktemp())
        for place, number in enumerate(numbers):
            path = server.mail / f"to{number % 2}" / "new" / f"{place}.{number}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((octets or Mark("run", number, 1024).octets()).replace(b"\r\n", b"\n"))
        return server

    def test_all_files_are_read_and_gone(self) -> None:
        server = self.stored(0, 1, 2, 3)
        self.run_of(ROW["maildir-100"], server)
        self.assertEqual(list(server.mail.glob("*/new/*")), [])

    def test_one_twice_ends_it(self) -> None:
        self.assertIn("4 in Maildirs, 3 of them different", self.lost(ROW["maildir-100"], self.stored(0, 1, 2, 2)))

    def test_a_message_in_the_wrong_mailbox_ends_it(self) -> None:
        server = self.stored(0, 1, 2, 3)
        wrong = next((server.mail / "to1/new").iterdir())
        wrong.rename(server.mail / "to0/new" / wrong.name)
        self.lost(ROW["maildir-100"], server)

    def test_damage_ends_it(self) -> None:
        server = self.stored(0, 1, 2, 3, octets=Mark("run", 1, 1024).octets()[:-3])
        self.assertIn("is not what was sent", self.lost(ROW["maildir-100"], server))
