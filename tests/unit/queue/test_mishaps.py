"""What must not be forgotten when things happen at the same moment, or fail in between."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from whole_queue import DAY, DOWN, HOUR, OK, WholeQueue

from mta.queue.progress import put_off
from mta.reply import Reply, TemporaryFailure
from mta.spool.values import ChangeKind

NO_DISK = TemporaryFailure(Reply.of(451, "4.3.0", "no disk"), "once")


class Mishaps(WholeQueue):
    def setUp(self) -> None:
        super().setUp()
        self.down = True
        self.far.answer = lambda recipient: DOWN if self.down else OK

    def put_off(self) -> int:
        return sum(put_off(row.recipient) for row in self.rows())

    def finish_slowly(self) -> None:
        finish = self.spool.finish

        def slowly(results: Any) -> Any:
            done: Deferred[Any] = Deferred()
            self.clock.callLater(0.01, lambda: finish(results).chainDeferred(done))
            return done

        self.patch(self.spool, "finish", slowly)

    def test_what_was_claimed_while_its_destination_was_woken(self) -> None:
        """It falls due half a second before the rest ends, and is written back after the others were woken."""
        self.finish_slowly()
        for number in range(3):
            self.send(f"first{number}@b.example")
            self.pass_time(2, 0.1)
        (lane,) = self.manager.schedule.lanes.values()
        end = lane.window.rests_until
        for number in range(150):
            due = self.wall + round((end - 0.5) * 1000)
            self.send(f"u{number}@b.example", claim=False, due=due)
        while self.clock.seconds() < end + 0.2:
            self.pass_time(0.05, 0.05)
        self.down = False
        self.send("new@b.example")
        self.pass_time(6 * HOUR, 10)
        self.send("newer@b.example")
        self.pass_time(HOUR)
        self.assertEqual(self.rows(), [])

    def test_a_restart_after_the_probe_was_held(self) -> None:
        for number in range(50):
            self.send(f"u{number}@b.example", claim=False)
        self.pass_time(6 * HOUR)
        probes = [row for row in self.rows() if row.recipient.due - self.now() < HOUR * 1000]
        self.assertLess(len(probes), 5)
        for probe in probes:
            self.change(ChangeKind.HOLD, ids=(probe.id,))
        self.end()
        self.down = False
        self.begin()
        self.pass_time(3 * HOUR)
        self.assertEqual(len(self.rows()), len(probes))
        self.assertEqual({bool(row.recipient.hold) for row in self.rows()}, {True})

    def test_a_clock_that_jumped_ends_no_lease_of_ours(self) -> None:
        held: Deferred[None] = Deferred()
        self.down = False
        self.far.wait = lambda: succeed(None) if held.called else held
        self.send("slow@b.example")
        self.wall += 2 * HOUR * 1000  # a virtual machine that slept
        flushed = Deferred.fromCoroutine(self.manager.flush("b.example", False))
        self.pass_time(10, 1)
        held.callback(None)
        self.pass_time(100, 1)
        self.successResultOf(flushed)
        self.assertEqual(self.far.tried, ["slow@b.example"])

    def test_a_clock_that_was_set_back_while_the_spool_could_not_be_asked(self) -> None:
        self.send("u@b.example", claim=False)
        self.pass_time(6 * HOUR)
        self.wall -= 400 * DAY * 1000
        self.spool.fail_next("change", NO_DISK)
        self.down = False
        self.pass_time(2 * HOUR)
        self.assertEqual(self.rows(), [])
        self.flushLoggedErrors()

    def test_a_limit_of_its_own_outlives_a_read_that_fails(self) -> None:
        self.patch(self.manager.schedule, "paused", lambda place: place.next_hop == "b.example")
        self.send("u@b.example", by_mode="R", deliver_by=self.now() + 5 * HOUR * 1000, claim=False)
        self.pass_time(5 * HOUR - 60)
        waiting, failures = self.spool.waiting, [NO_DISK]

        def once(after: Any, before: Any, limit: int) -> Any:
            if after is not None and after.recipient == -1 and failures:
                return fail(failures.pop())
            return waiting(after, before, limit)

        self.patch(self.spool, "waiting", once)
        self.pass_time(HOUR)
        self.assertEqual((failures, self.rows(place="b.example")), ([], []))
