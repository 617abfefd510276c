"""The sender of what waits is told that it is late: once at each step, whatever the retry rule and the far end do."""

from __future__ import annotations

from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any

from twisted.internet.defer import Deferred
from whole_queue import ANN, DAY, DOWN, HOUR, LATER, NEVER, OK, WholeQueue

from mta.envelope import Right
from mta.queue.retry import RetryRule
from mta.spool.values import ChangeKind

BOB = "bob@b.example"


class Warnings(WholeQueue):
    def setUp(self) -> None:
        super().setUp()
        self.far.answer = lambda recipient: LATER

    def test_once_at_each_step_with_the_time_of_the_end(self) -> None:
        # RFC 3464 2.3.3, 2.3.9
        rule = RetryRule(after=(10 * HOUR,), jitter=0.0, expire_after=5 * DAY, warn_after=(4 * HOUR, 2 * DAY))
        self.manager.configure(self.setup(retry=rule))
        arrived = self.now()
        id = self.send(BOB)
        self.pass_time(4 * HOUR - 60)
        self.assertEqual(self.reports(), [])
        self.pass_time(180)
        (report,) = self.reports()
        self.assertEqual(self.found(report), ({BOB}, set()))
        text = report.as_string()
        self.assertIn("Action: delayed\nStatus: 4.4.7\n", text)
        until = next(line for line in text.splitlines() if line.startswith("Will-Retry-Until: "))
        seconds = parsedate_to_datetime(until.partition(": ")[2]).timestamp()
        self.assertEqual(round(seconds), arrived // 1000 + 5 * DAY)
        last = next(line for line in text.splitlines() if line.startswith("Last-Attempt-Date: "))
        self.assertEqual(round(parsedate_to_datetime(last.partition(": ")[2]).timestamp()), arrived // 1000)
        # No attempt was needed for it, and none was made.
        self.assertEqual(self.far.tried, [BOB])
        self.pass_time(2 * DAY)
        self.assertEqual(len(self.reports()), 2)
        self.assertEqual(len(self.far.tried), 6)
        self.pass_time(4 * DAY)
        self.assertEqual(self.found(self.reports()[2]), (set(), {BOB}))
        self.assertEqual(len(self.reports()), 3)
        self.assertIn("expired", [event.code for of, event in self.events if of == id])
        self.assert_accounted()

    def test_only_those_whom_we_know_and_who_do_not_mind(self) -> None:
        # RFC 3461 4.1
        for notify, rights, told in (
            ("", Right.AUTHENTICATED, 1),
            ("DELAY", Right.NETWORK, 1),
            ("NEVER", Right.NETWORK, 0),
            ("FAILURE,SUCCESS", Right.NETWORK, 0),
            ("DELAY", None, 0),
        ):
            self.far.taken.clear()
            self.send(BOB, notify=notify, rights=frozenset({rights} if rights else ()))
            self.pass_time(5 * HOUR)
            self.assertEqual(len(self.reports()), told, (notify, rights))
            self.change(ChangeKind.DELETE)

    def test_nobody_is_warned_who_has_no_sender(self) -> None:
        # RFC 5321 4.5.5
        self.send(BOB, sender=None)
        self.pass_time(5 * HOUR)
        self.assertEqual(self.far.taken, [])

    def test_one_warning_for_all_recipients_that_are_late(self) -> None:
        several = tuple(f"u{number}@{domain}.example" for domain in "bcd" for number in range(5))
        self.far.most = 2
        self.send(*several)
        self.pass_time(5 * HOUR)
        (report,) = self.reports()
        self.assertEqual(self.found(report), (set(several), set()))

    def test_a_destination_that_rests_keeps_nobody_from_being_warned_and_from_coming_back(self) -> None:
        self.far.answer = lambda recipient: DOWN
        several = [f"u{number}@b.example" for number in range(30)]
        for one in several:
            self.send(one)
        self.pass_time(4 * HOUR + 600)
        self.assertEqual({one for report in self.reports() for one in self.found(report)[0]}, set(several))
        self.assertEqual(len(self.reports()), 30)
        self.far.taken.clear()
        self.pass_time(5 * DAY)
        self.assertEqual({one for report in self.reports() for one in self.found(report)[1]}, set(several))
        self.assertEqual(self.rows(), [])
        self.assert_accounted()

    def test_what_is_held_is_neither_warned_of_nor_expires(self) -> None:
        self.send(BOB)
        self.change(ChangeKind.HOLD, "wait")
        self.pass_time(8 * DAY, 600)
        self.assertEqual(self.reports(), [])
        self.change(ChangeKind.RELEASE)
        self.pass_time(600)
        (report,) = self.reports()  # tried once more, then it is over
        self.assertEqual(self.found(report), (set(), {BOB}))

    def test_the_rule_in_force_counts_whatever_was_in_force_before(self) -> None:
        id = self.send(BOB)
        self.pass_time(5 * HOUR)
        self.assertEqual(len(self.reports()), 1)
        self.reconfigure(expire_after=2 * DAY)
        self.pass_time(DAY)
        self.assertEqual(len(self.rows()), 1)
        self.reconfigure(expire_after=9 * DAY, warn_after=(4 * HOUR, 3 * DAY))
        self.pass_time(7 * DAY, 300)
        self.assertEqual([bool(self.found(report)[1]) for report in self.reports()], [False, False])
        self.reconfigure(expire_after=DAY)
        self.pass_time(6 * HOUR + 120)
        self.assertEqual(self.rows(), [])
        self.assertIn("expired", [event.code for of, event in self.events if of == id])

    def reconfigure(self, **more: Any) -> None:
        assert isinstance(self.retry, RetryRule)
        self.manager.configure(self.setup(retry=replace(self.retry, **more)))


class Clocks(WholeQueue):
    """The wall clock jumps; delays are by the other one."""

    def setUp(self) -> None:
        super().setUp()
        self.far.answer = lambda recipient: LATER

    def test_forward(self) -> None:
        self.send(BOB)
        self.pass_time(600)
        self.wall += 6 * DAY * 1000
        self.pass_time(180)
        (report,) = self.reports()
        self.assertEqual(self.found(report), (set(), {BOB}))

    def test_back(self) -> None:
        self.send(BOB)
        self.pass_time(600)
        tried = len(self.far.tried)
        self.wall -= 3 * DAY * 1000
        self.pass_time(2 * HOUR)
        self.assertGreater(len(self.far.tried), tried)
        self.pass_time(6 * DAY, 300)
        (failed,) = [report for report in self.reports() if self.found(report)[1]]
        self.assertEqual(self.found(failed), (set(), {BOB}))

    def test_back_while_we_were_not_there(self) -> None:
        self.wall += 3650 * DAY * 1000
        self.send(BOB)
        self.end()
        self.wall -= 3650 * DAY * 1000
        self.begin()
        self.pass_time(4 * HOUR + 600)
        (warned,) = self.reports()
        self.assertEqual(self.found(warned), ({BOB}, set()))
        self.pass_time(5 * DAY, 300)
        self.assertEqual(self.rows(), [])

    def test_nothing_goes_before_its_time_because_of_it(self) -> None:
        # RFC 4865
        until = self.now() + DAY * 1000
        self.send(BOB, hold_until=until)
        self.wall -= HOUR * 1000
        self.pass_time(20 * HOUR, 300)
        self.assertEqual(self.far.tried, [])
        self.pass_time(6 * HOUR, 300)
        self.assertIn(BOB, self.far.tried)

    def test_nor_because_somebody_asks(self) -> None:
        # RFC 1985, RFC 4865
        self.send(BOB, hold_until=self.now() + DAY * 1000)
        self.successResultOf(Deferred.fromCoroutine(self.manager.flush("b.example", False)))
        self.change(ChangeKind.RETRY)
        self.manager.poke()
        self.pass_time(HOUR)
        self.assertEqual(self.far.tried, [])


class Recovery(WholeQueue):
    def test_what_waited_for_a_host_goes_when_it_is_back(self) -> None:
        self.far.answer = lambda recipient: DOWN
        for number in range(50):
            self.send(f"u{number}@b.example")
        self.pass_time(3 * HOUR)
        self.far.answer = lambda recipient: OK
        self.pass_time(HOUR)
        self.assertEqual(self.rows(), [])

    def test_an_operator_who_gives_up_what_waits_for_a_dead_host_is_obeyed_at_once(self) -> None:
        self.far.answer = lambda recipient: DOWN
        for number in range(10):
            self.send(f"u{number}@b.example")
        self.pass_time(600)
        self.change(ChangeKind.BOUNCE, "because")
        self.manager.poke()
        self.pass_time(120)
        self.assertEqual(self.rows(), [])
        self.assertEqual(len(self.reports()), 10)

    def test_a_try_is_not_brought_forward_by_a_warning(self) -> None:
        self.far.answer = lambda recipient: LATER
        rule = RetryRule(after=(5 * HOUR,), jitter=0.0, expire_after=5 * DAY, warn_after=(HOUR, 2 * HOUR))
        self.manager.configure(self.setup(retry=rule))
        self.send(BOB)
        self.pass_time(3 * HOUR)
        self.assertEqual((len(self.reports()), self.far.tried), (2, [BOB]))
        # ... but by an operator.
        self.change(ChangeKind.RETRY)
        self.manager.poke()
        self.pass_time(60)
        self.assertEqual(self.far.tried, [BOB, BOB])

    def test_a_failure_ends_the_warnings(self) -> None:
        self.far.answer = lambda recipient: LATER
        self.send(BOB)
        self.pass_time(3 * HOUR)
        self.far.answer = lambda recipient: NEVER
        self.pass_time(2 * HOUR)
        self.assertEqual([self.found(report) for report in self.reports(ANN)], [(set(), {BOB})])
