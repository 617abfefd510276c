"""A message at which a part of this program fails each time is set aside; the others go on."""

from __future__ import annotations

from whole_queue import ANN, DAY, HOUR, OK, POSTMASTER, WholeQueue

from mta.envelope import Recipient
from mta.queue.poison import FEW
from mta.queue.retry import RetryRule
from mta.reply import Reply
from mta.spool.values import ChangeKind

BAD = "bad@b.example"


class Delivery(WholeQueue):
    def setUp(self) -> None:
        super().setUp()
        self.far.answer = self.answer

    def answer(self, recipient: Recipient) -> Reply | Exception:
        return ZeroDivisionError("poison") if recipient.address.local == "bad" else OK

    def test_set_aside_after_some_tries_and_the_postmaster_is_told_once(self) -> None:
        id = self.send(BAD)
        self.pass_time(2 * HOUR)
        self.assertEqual(self.far.tried, [BAD] * 3)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)
        (row,) = self.rows(held=True)
        self.assertIn("set aside: internet failed at it 3 times: ZeroDivisionError: poison", row.recipient.hold)
        self.assertIn(row.recipient.hold, self.story(id))
        (notice,) = self.reports(str(POSTMASTER))
        self.assertIn("set aside", str(notice["Subject"]))
        self.assertEqual(self.reports(ANN), [])
        self.assertEqual(self.found(notice)[1], set())
        self.assert_accounted()
        # Released it has its tries again.
        self.change(ChangeKind.RELEASE)
        self.manager.poke()
        self.pass_time(3 * HOUR)
        self.assertEqual(self.far.tried, [BAD] * 6)
        self.flushLoggedErrors(ZeroDivisionError)

    def test_the_others_go_on_at_the_same_destination(self) -> None:
        self.send(BAD)
        for number in range(20):
            self.send(f"good{number}@b.example")
            self.pass_time(60)
        self.assertEqual([str(row.recipient.address) for row in self.rows()], [BAD])
        self.assertNotIn("suspended", [event.code for _, event in self.events])
        self.flushLoggedErrors(ZeroDivisionError)

    def test_a_part_that_fails_at_everything_sets_nothing_aside(self) -> None:
        self.far.answer = lambda recipient: ZeroDivisionError("broken")
        self.manager.configure(self.setup(retry=RetryRule(after=(60, 3600), jitter=0.0, expire_after=5 * DAY)))
        for number in range(FEW + 5):
            self.send(f"u{number}@b.example")
        self.pass_time(8 * HOUR)
        self.assertEqual(self.rows(held=True), [])
        self.far.answer = lambda recipient: OK
        self.pass_time(5 * HOUR)
        self.assertEqual(self.rows(), [])
        self.flushLoggedErrors(ZeroDivisionError)

    def test_trouble_in_between_begins_the_count_anew(self) -> None:
        answers = iter([ValueError(), ValueError(), Reply.of(451, "4.2.0", "Later"), ValueError(), ValueError(), OK])
        self.far.answer = lambda recipient: next(answers)
        self.send(BAD)
        self.pass_time(12 * HOUR)
        self.assertEqual(self.rows(), [])
        self.flushLoggedErrors(ValueError)

    def test_a_notice_of_it_that_is_poison_itself_makes_no_other(self) -> None:
        self.far.reports = frozenset()
        self.far.answer = lambda recipient: ZeroDivisionError("poison")
        self.send(BAD)
        self.pass_time(12 * HOUR)
        held = [str(row.recipient.address) for row in self.rows(held=True)]
        self.assertEqual(held, [BAD, str(POSTMASTER)])
        self.flushLoggedErrors(ZeroDivisionError)


class Routing(WholeQueue):
    def test_set_aside_as_well(self) -> None:
        right = self.router.route

        def route(address, *rest, **more):  # type: ignore[no-untyped-def]
            if address.local == "bad":
                raise KeyError("poison")
            return right(address, *rest, **more)

        self.patch(self.router, "route", route)
        self.send(BAD, "good@b.example")
        self.pass_time(2 * HOUR)
        self.assertEqual(self.far.tried, ["good@b.example"])
        (row,) = self.rows(held=True)
        self.assertIn("set aside: routing failed at it 3 times: KeyError: 'poison'", row.recipient.hold)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 3)
        self.assertEqual(len(self.reports(str(POSTMASTER))), 1)
        self.assert_accounted()


class Conclusion(WholeQueue):
    def test_what_cannot_be_concluded_is_held_in_the_end(self) -> None:
        self.far.answer = lambda recipient: Reply.of(550, "5.1.1", "no")
        self.patch(self.manager._endings, "_reporter", None)  # whatever it is asked
        self.send(BAD)
        self.pass_time(2 * HOUR)
        (row,) = self.rows(held=True)
        self.assertIn("could not be concluded 3 times", row.recipient.hold)
        self.flushLoggedErrors(AttributeError)
        self.assert_accounted()
