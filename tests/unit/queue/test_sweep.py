"""Warnings and the end come on time wherever mail waits, after a changed configuration, and whatever the clock does."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from whole_queue import ANN, DAY, DOWN, HOUR, LATER, OK, WholeQueue

from mta.queue.pace import PaceRule
from mta.queue.retry import RetryRule
from mta.queue.sweep import PATIENCE, PERIOD, SLACK
from mta.spool.values import ChangeKind

MINUTE = 60
#: By then what is to be said has been said, and the report has gone out.
SOON = SLACK / 1000 + 2 * PERIOD + 40


class Everywhere(WholeQueue):
    """``warn_after`` is four hours, ``expire_after`` five days."""

    def warned_and_ended(self) -> None:
        self.pass_time(4 * HOUR - 10 * MINUTE)
        self.assertEqual(self.reports(), [])
        self.pass_time(10 * MINUTE + SOON, 10)
        self.assertEqual(len(self.reports()), 1)
        self.pass_time(5 * DAY - 4 * HOUR - HOUR)
        self.assertEqual(len(self.reports()), 1)
        self.pass_time(HOUR + SOON, 10)
        self.assertEqual(len(self.reports()), 2)
        self.assertEqual(self.rows(recipient="x@b.example"), [])
        self.assert_accounted()

    def test_where_it_is_paused(self) -> None:
        self.manager.schedule.paused = lambda destination: destination.next_hop == "b.example"
        self.send("x@b.example", claim=False)
        self.warned_and_ended()
        self.assertEqual(self.far.tried, [])

    def test_behind_others_at_a_destination_that_works(self) -> None:
        rule = PaceRule(name="slow", to=("b.example",), messages_per_minute=1)
        self.manager.configure(self.setup(pace=(rule,)))
        for n in range(400):
            self.send(f"{n}@b.example", claim=False)
        self.pass_time(4 * HOUR - 10 * MINUTE)
        self.assertEqual(self.reports(), [])
        self.pass_time(10 * MINUTE + SOON, 30)
        warned = sum(1 for row in self.rows() if row.recipient.progress.get("warned"))
        self.assertGreater(warned, 100)  # in memory and in the spool
        self.assertEqual(len(self.rows()), warned)

    def test_with_no_room_in_memory_at_all(self) -> None:
        self.manager.configure(self.setup(active=0))
        id = self.send("x@b.example", claim=False)
        self.pass_time(4 * HOUR + SOON, 30)
        self.assertEqual(self.rows(ids=(id,))[0].recipient.progress["warned"], 1)
        self.pass_time(5 * DAY - 4 * HOUR)
        self.assertEqual(self.rows(ids=(id,)), [])
        self.assertEqual(self.successResultOf(self.spool.totals()).ended["expired"], 1)

    def test_what_waits_in_memory_behind_a_gate(self) -> None:
        started: list[Deferred[None]] = []

        def wait() -> Deferred[None]:
            started.append(Deferred())
            return started[-1]

        self.far.wait, self.far.most = wait, 1
        self.manager.configure(self.setup(attempts=1, attempt_time=30 * DAY))
        self.send("first@b.example", sender=None)
        self.send("x@b.example")
        self.pass_time(5 * DAY + SOON, 30)
        self.assertEqual(self.rows(recipient="x@b.example"), [])

    def test_what_is_held_is_not_touched(self) -> None:
        id = self.send("x@b.example", claim=False, due=self.now() + HOUR * 1000)
        self.change(ChangeKind.HOLD, ids=(id,))
        self.pass_time(6 * DAY, 600)
        self.assertEqual((len(self.rows(held=True)), self.reports()), (1, []))

    def test_nothing_is_written_of_what_waits_for_a_pause(self) -> None:
        self.manager.schedule.paused = lambda destination: True
        for n in range(50):
            self.send(f"{n}@b.example", claim=False)
        before = self.rows()
        self.patch(self.spool, "finish", None)
        self.patch(self.spool, "release", None)
        self.pass_time(3 * HOUR)
        self.assertEqual(self.rows(), before)

    def test_it_goes_within_a_second_when_the_pause_ends(self) -> None:
        paused = [True]
        self.manager.schedule.paused = lambda destination: paused[0]
        for n in range(50):
            self.send(f"{n}@b.example", claim=False)
        self.pass_time(3 * HOUR)
        paused[0] = False
        self.manager.poke()
        self.pass_time(1, 0.5)
        self.assertEqual(len(self.far.tried), 50)

    def test_and_where_it_ended_while_nothing_ran(self) -> None:
        self.manager.schedule.paused = lambda destination: True
        self.send("x@b.example", claim=False)
        self.pass_time(3 * HOUR)
        self.end()
        self.begin()
        self.pass_time(1, 0.5)
        self.assertEqual(self.far.tried, ["x@b.example"])


class Changed(WholeQueue):
    retry = RetryRule(after=(HOUR, 4 * HOUR), jitter=0.0, expire_after=5 * DAY)

    def test_a_shorter_time_is_in_force_within_a_minute(self) -> None:
        self.far.answer = lambda recipient: LATER
        self.send("x@b.example")
        self.pass_time(2 * DAY)
        tried = len(self.far.tried)
        self.manager.configure(self.setup(retry=RetryRule(after=(HOUR,), jitter=0.0, expire_after=DAY)))
        self.pass_time(60, 5)
        self.assertEqual((self.rows(recipient="x@b.example"), len(self.far.tried)), ([], tried))
        self.assertEqual(len(self.reports()), 1)

    def test_a_longer_time_too(self) -> None:
        self.far.answer = lambda recipient: DOWN
        self.send("x@b.example")
        self.pass_time(4 * DAY)
        self.manager.configure(self.setup(retry=RetryRule(after=(HOUR,), jitter=0.0, expire_after=9 * DAY)))
        self.pass_time(4 * DAY)
        self.assertEqual(len(self.rows(recipient="x@b.example")), 1)
        self.pass_time(2 * DAY)
        self.assertEqual(self.rows(recipient="x@b.example"), [])

    def test_a_clock_set_forward_ends_what_is_over_but_not_before_its_last_try(self) -> None:
        before = self.wall
        self.far.answer = lambda recipient: DOWN if self.wall == before else OK
        self.manager.schedule.paused = lambda destination: destination.next_hop == "c.example"
        self.send("x@b.example")
        self.send("y@c.example", claim=False)
        self.pass_time(2 * HOUR)
        self.wall += 6 * DAY * 1000
        self.pass_time(PATIENCE - 2 * PERIOD, 10)
        self.assertEqual(self.rows(recipient="x@b.example"), [])
        self.assertEqual(len(self.rows(recipient="y@c.example")), 1)
        self.pass_time(SOON + 3 * PERIOD, 10)
        self.assertEqual(self.rows(recipient="y@c.example"), [])

    def test_a_clock_set_back_delays_nothing(self) -> None:
        self.manager.schedule.paused = lambda destination: destination.next_hop == "b.example"
        self.send("x@b.example", claim=False)
        self.pass_time(DAY)
        self.wall -= 10 * DAY * 1000
        self.pass_time(DAY)
        self.assertEqual(len(self.rows()), 1)
        self.wall += 10 * DAY * 1000
        self.pass_time(3 * DAY + HOUR)
        self.assertEqual(self.rows(recipient="x@b.example"), [])


class OwnTimes(WholeQueue):
    def test_by_time_while_it_is_paused(self) -> None:  # RFC 2852 4.1.4
        self.manager.schedule.paused = lambda destination: destination.next_hop == "b.example"
        self.pass_time(PATIENCE + 60)
        due = self.now() + HOUR * 1000
        self.send("x@b.example", claim=False, deliver_by=due, by_mode="R")
        self.pass_time(HOUR - 2 * MINUTE)
        self.assertEqual(len(self.rows(recipient="x@b.example")), 1)
        self.pass_time(2 * MINUTE + SOON, 10)
        self.assertEqual(self.rows(recipient="x@b.example"), [])

    def test_held_until_counts_from_then(self) -> None:  # RFC 4865
        self.manager.schedule.paused = lambda destination: destination.next_hop == "b.example"
        self.send("x@b.example", claim=False, hold_until=self.now() + DAY * 1000)
        self.pass_time(DAY + 4 * HOUR - 10 * MINUTE)
        self.assertEqual(self.reports(), [])
        self.pass_time(10 * MINUTE + SOON, 10)
        self.assertEqual(len(self.reports(ANN)), 1)
