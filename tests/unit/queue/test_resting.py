"""What waits for a destination that rests: it is left alone, probed with one, and goes when the destination is back."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from whole_queue import DAY, DOWN, HOUR, OK, WholeQueue

from mta.envelope import Recipient
from mta.queue.destination import LONGEST_REST
from mta.queue.progress import put_off
from mta.queue.resting import AGAIN
from mta.reply import MailFailure, Reply, TemporaryFailure
from mta.spool.values import ChangeKind, Lease, Result

GREY = Reply.of(451, "4.7.1", "Greylisted")
COUNT = 300


class Resting(WholeQueue):
    def setUp(self) -> None:
        super().setUp()
        self.down = True
        self.far.answer = lambda recipient: DOWN if self.down else OK
        self.written = 0
        finish = self.spool.finish

        def counted(results: Sequence[Result]) -> Deferred[list[Lease]]:
            self.written += sum(len(result.lease.recipients) for result in results)
            return finish(results)

        self.patch(self.spool, "finish", counted)

    def fill(self, count: int = COUNT) -> None:
        for number in range(count):
            self.send(f"u{number}@b.example", claim=False)

    def recipients(self) -> list[Recipient]:
        return [row.recipient for row in self.rows()]

    def test_each_is_put_off_once_however_long_it_rests(self) -> None:
        self.fill()
        begun = self.now()
        self.pass_time(3 * HOUR)
        self.assertLess(self.written, COUNT + 5 * len(self.far.tried))
        self.assertLess(len(self.far.tried), 30, "a dead host is probed, not tried with each message")
        waiting = [one for one in self.recipients() if put_off(one)]
        untried = [one for one in waiting if not one.attempts]
        self.assertGreater(len(untried), COUNT - 30)
        self.assertEqual({one.progress["try"] for one in untried}, {begun}, "its own due time is kept")

    def test_all_of_it_goes_when_it_is_back(self) -> None:
        self.fill()
        self.pass_time(6 * HOUR)
        self.down = False
        self.pass_time(LONGEST_REST + 120, 10)
        self.assertEqual(self.rows(), [])
        self.assert_accounted()
        self.assertNotIn("wake", "\n".join(str(event) for _, event in self.events))

    def test_a_new_message_that_gets_through_wakes_them(self) -> None:
        self.fill()
        self.pass_time(6 * HOUR)
        self.down = False
        for lane in self.manager.schedule.lanes.values():
            self.manager.schedule.end_rest(lane)
        self.send("new@b.example")
        self.pass_time(60, 1)
        self.assertEqual([one for one in self.recipients() if not one.attempts], [], "who was tried has his own time")

    def test_what_has_its_own_time_keeps_it(self) -> None:
        self.far.answer = lambda recipient: GREY if recipient.address.local == "grey" else DOWN if self.down else OK
        self.down = False
        self.send("grey@b.example")
        self.pass_time(HOUR + 600)
        (grey,) = self.recipients()
        self.down = True
        self.fill(20)
        self.pass_time(10 * 60)
        self.down = False
        self.pass_time(20 * 60, 10)
        self.assertEqual(self.recipients(), [grey], "woken with the others, it was not its time")

    def test_a_process_that_knows_nothing_of_it_finds_it(self) -> None:
        self.fill()
        self.pass_time(6 * HOUR)
        self.end()
        self.down = False
        self.begin()
        self.pass_time(LONGEST_REST + 120, 10)
        self.assertEqual(self.rows(), [])

    def test_and_goes_on_probing_while_it_is_down(self) -> None:
        self.fill()
        self.pass_time(6 * HOUR)
        self.end()
        self.begin()
        self.pass_time(6 * HOUR)
        tried = len(self.far.tried)
        self.pass_time(2 * HOUR)
        self.assertGreaterEqual(len(self.far.tried) - tried, 3, "every half hour")
        self.down = False
        self.pass_time(LONGEST_REST + 120, 10)
        self.assertEqual(self.rows(), [])

    def test_the_one_that_was_to_probe_is_gone(self) -> None:
        self.fill()
        self.pass_time(6 * HOUR)
        soonest = min((one for one in self.rows()), key=lambda row: row.recipient.due)
        self.change(ChangeKind.DELETE, ids=(soonest.id,))
        self.down = False
        self.pass_time(LONGEST_REST + AGAIN + 120, 10)
        self.assertEqual(self.rows(), [])

    def test_a_wake_that_fails_is_made_up_for(self) -> None:
        self.fill()
        self.pass_time(6 * HOUR)
        self.down = False
        self.spool.fail_next("change", TemporaryFailure(Reply.of(451, "4.3.0", "no disk"), "for once"))
        self.pass_time(LONGEST_REST + 2 * AGAIN + 120, 10)
        self.assertEqual(len(self.flushLoggedErrors(MailFailure)), 1)
        self.assertEqual(self.rows(), [])

    def test_a_new_configuration_counts_for_them_too(self) -> None:
        self.fill()
        self.pass_time(6 * HOUR)
        self.manager.configure(self.setup(retry=type(self).retry.rule("", "")))
        self.pass_time(60, 1)
        self.assertEqual([one.progress.get("warned") for one in self.recipients()].count(1), COUNT)
        self.pass_time(5 * DAY - 6 * HOUR)
        self.pass_time(HOUR)
        self.assertEqual(self.rows(), [], "all have expired")
        self.assert_accounted()
