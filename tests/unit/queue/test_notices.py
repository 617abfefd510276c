"""One report for all recipients of a message that end together; none lost, none twice."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from whole_queue import ANN, LATER, NEVER, OK, WholeQueue

from mta.bounce.decide import Ended
from mta.envelope import Recipient
from mta.interfaces import IMessage
from mta.queue.conclude import Report
from mta.queue.notices import PAGE, QUIET, ROUND, TRIES
from mta.reply import Reply, TemporaryFailure
from mta.spool.values import Change, ChangeKind, Selection

FULL = TemporaryFailure(Reply.of(451, "4.3.0", "out of order"))


class Rounds(WholeQueue):
    def setUp(self) -> None:
        super().setUp()
        self.far.most = 10
        self.far.answer = lambda recipient: NEVER if recipient.address.local.startswith("no") else OK

    def many(self, count: int, domains: str = "bcd") -> tuple[str, ...]:
        return tuple(f"no{number}@{domain}.example" for domain in domains for number in range(count))

    def test_one_for_all_batches_and_destinations(self) -> None:
        failing = self.many(35)
        id = self.send(*failing, "yes@b.example", "yes@c.example")
        self.pass_time(QUIET + 1, 1)
        (report,) = self.reports()
        self.assertEqual(self.found(report), (set(), set(failing)))
        self.assertEqual(self.story(id).count(f"to {ANN}: failed"), len(failing))
        self.pass_time(300)
        self.assertEqual(len(self.reports()), 1)
        self.assert_accounted()

    def test_at_once_where_nobody_else_is_on_the_way(self) -> None:
        self.send("no@b.example")
        self.clock.advance(0)
        (report,) = self.reports()
        self.assertEqual(self.found(report), (set(), {"no@b.example"}))
        self.send("no1@b.example", "no2@b.example")  # one batch, all of the message
        self.clock.advance(0)
        self.assertEqual(len(self.reports()), 2)

    def test_who_is_tried_again_does_not_hold_it_up_for_long(self) -> None:
        self.far.answer = lambda recipient: LATER if recipient.address.local == "late" else NEVER
        self.send("no@b.example", "late@b.example", "no@c.example")
        self.pass_time(QUIET + 1, 1)
        (report,) = self.reports()
        self.assertEqual(self.found(report), (set(), {"no@b.example", "no@c.example"}))

    def test_a_slow_destination_holds_it_up_for_a_round_at_most(self) -> None:
        slow: list[Deferred[None]] = []

        def answer(recipient: Recipient) -> Reply:
            if recipient.address.domain == "b.example":
                self.far.wait = None
            return NEVER

        def wait() -> Deferred[None]:
            slow.append(Deferred())
            return slow[-1]

        self.far.answer = answer
        self.far.wait = wait
        self.send("no@b.example", "no@c.example")
        self.assertEqual(len(slow), 2)
        self.far.wait = None
        slow[0].callback(None)
        self.pass_time(ROUND - 2, 1)
        self.assertEqual(self.reports(), [])
        self.pass_time(QUIET + 2, 1)
        self.assertEqual(len(self.reports()), 1)
        slow[1].callback(None)
        self.pass_time(QUIET + 1, 1)
        self.assertEqual([len(self.found(report)[1]) for report in self.reports()], [1, 1])

    def test_several_messages_each_have_theirs(self) -> None:
        ids = [self.send(*self.many(3)) for _ in range(20)]
        self.pass_time(QUIET + 1, 1)
        self.assertEqual(len(self.reports()), 20)
        for id in ids:
            self.assertEqual(self.story(id).count(f"to {ANN}: failed"), 9)

    def test_more_than_a_pass_can_take(self) -> None:
        self.far.most = 1000
        failing = self.many(1000)  # three destinations, in slices
        self.send(*failing, claim=False)
        self.pass_time(ROUND + 60, 1)
        told = [self.found(report)[1] for report in self.reports()]
        self.assertEqual(set().union(*told), set(failing))
        self.assertEqual(sum(map(len, told)), len(failing))
        self.assertLessEqual(len(told), 5)
        self.assertGreater(len(failing), PAGE)
        self.assert_accounted()

    def test_success_and_failure_of_one_message(self) -> None:
        # RFC 3461 4.1
        self.send("yes@b.example", "no@c.example", "yes@d.example", notify="SUCCESS,FAILURE")
        self.pass_time(QUIET + 1, 1)
        actions = sorted(
            line for report in self.reports() for line in report.as_string().splitlines() if line.startswith("Action:")
        )
        self.assertEqual(actions, ["Action: failed", "Action: relayed", "Action: relayed"])
        self.assertEqual(len(self.reports()), 2)

    def test_what_is_owed_outlives_the_process(self) -> None:
        failing = self.many(5)
        self.send(*failing)
        self.assertEqual(self.reports(), [])
        self.end()
        self.assertEqual(self.reports(), [])
        self.begin()
        self.pass_time(2, 1)
        (report,) = self.reports()
        self.assertEqual(self.found(report), (set(), set(failing)))
        self.begin()
        self.pass_time(QUIET + 60, 1)
        self.assertEqual(len(self.reports()), 1)
        self.assert_accounted()

    def test_the_report_says_what_was_said(self) -> None:
        # RFC 3464 2.3.5, 2.3.6
        self.send(*self.many(1))
        self.pass_time(QUIET + 1, 1)
        text = self.reports()[0].as_string()
        self.assertEqual(text.count("Remote-MTA: dns; mx.b.example"), 3)
        self.assertEqual(text.count("Diagnostic-Code: smtp; 550 5.1.1 No such user"), 3)

    def test_who_is_warned_too_late_is_not(self) -> None:
        """It was delivered between the moment of the warning and the report."""
        self.far.answer = lambda recipient: LATER
        self.send("one@b.example", "two@c.example")
        self.pass_time(4 * 3600 - 60)
        self.manager._endings.notices.stop()  # as if it were slow
        self.pass_time(120)
        self.far.answer = lambda recipient: OK
        self.successResultOf(self.spool.change(Selection(), Change(ChangeKind.RETRY), "root"))
        self.manager.poke()
        self.pass_time(60)
        self.assertEqual(self.rows(), [])
        self.manager._endings.notices.start()
        self.pass_time(60)
        self.assertEqual(self.reports(), [])


class Trouble(WholeQueue):
    """Reports that cannot be made."""

    def setUp(self) -> None:
        super().setUp()
        self.far.answer = lambda recipient: NEVER
        self.broken = 1000
        reporter = self.manager._endings._reporter
        right = reporter.report

        async def report(message: IMessage, ended: Sequence[Ended], now: int) -> Report:
            self.broken -= 1
            if self.broken >= 0:
                raise RuntimeError("a fault of our own")
            return await right(message, ended, now)

        self.patch(reporter, "report", report)

    def test_it_is_tried_again(self) -> None:
        self.broken = 2
        failing = ("one@b.example", "two@c.example")
        self.send(*failing)
        self.pass_time(600, 1)
        (report,) = self.reports()
        self.assertEqual(self.found(report), (set(), set(failing)))
        self.flushLoggedErrors(RuntimeError)
        self.assert_accounted()

    def test_in_the_end_its_recipients_are_held(self) -> None:
        id = self.send("one@b.example", "two@c.example")
        good = self.broken
        self.pass_time(7200)
        self.assertEqual(good - self.broken, TRIES)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), TRIES)
        rows = self.rows(held=True)
        self.assertEqual([str(row.recipient.address) for row in rows], ["one@b.example", "two@c.example"])
        self.assertIn("a fault of our own", rows[0].recipient.hold)
        self.assert_accounted()
        self.assertEqual(self.successResultOf(self.spool.totals()).ended.get("failed", 0), 0)
        self.broken = 0
        self.change(ChangeKind.RELEASE, ids=(id,))
        self.manager.poke()
        self.pass_time(60, 1)
        (report,) = self.reports()
        self.assertEqual(self.found(report)[1], {"one@b.example", "two@c.example"})
        self.assert_accounted()

    def test_others_are_told_meanwhile(self) -> None:
        self.broken = 1
        self.send("one@b.example", "two@c.example")
        self.send("three@b.example", "four@c.example")
        self.pass_time(QUIET + 2, 1)
        self.assertEqual(len(self.reports()), 1)
        self.pass_time(600)
        self.assertEqual(len(self.reports()), 2)
        self.flushLoggedErrors(RuntimeError)

    def test_a_spool_that_takes_nothing_loses_nothing(self) -> None:
        self.broken = 0
        self.send("one@b.example", "two@c.example")
        self.spool.fail_next("claim_notices", FULL)
        self.pass_time(QUIET + 1, 1)
        self.assertEqual(self.reports(), [])
        self.pass_time(60, 1)
        self.assertEqual(len(self.reports()), 1)
        self.assert_accounted()
