"""The contract of ``ISpool``: what results and operators make of recipients."""

from __future__ import annotations

from spool_case import (
    ANN,
    BOB,
    CAROL,
    LARGE,
    LATER,
    MINUTE,
    NEVER,
    NORTH,
    SMALL,
    SOUTH,
    START,
    SpoolCase,
    envelope,
    outcome,
    recipient,
)

from mta.envelope import Destination, Status
from mta.events import ATTEMPT
from mta.spool.values import (
    Change,
    ChangeKind,
    Due,
    Lease,
    Next,
    PageKey,
    Result,
    Row,
    Selection,
    id_number,
)


class FinishContract(SpoolCase):
    """What results make of recipients."""

    def test_an_ended_message_is_history(self) -> None:
        lease = self.accept_leased(recipient(0), recipient(1, CAROL, SOUTH))
        self.clock.at += 5
        event = ATTEMPT(self.clock.at, 0, attempt=1, status="relayed")
        whole = ATTEMPT(0, attempt=2)
        done = (outcome(0), outcome(1, Status.FAILED, NEVER))
        self.assertEqual(self.finish(lease, outcomes=done, events=(event, whole)), [])
        self.assertEqual(self.page(), [])
        first, second = self.page(history=True)
        self.assertEqual((first.status, first.ended, first.reply), ("relayed", self.clock.at, "250 2.0.0 Ok: queued"))
        self.assertEqual((second.status, second.recipient.address), ("failed", CAROL))
        self.assertEqual((second.recipient.destination, second.recipient.attempts), (SOUTH, 1))
        self.assertEqual(second.recipient.progress["status"], "failed")
        self.assertEqual(self.now(self.spool.story(lease.message.id)), [event, whole._replace(at=self.clock.at)])
        self.failureResultOf(self.spool.get(lease.message.id), KeyError)
        totals = self.balanced()
        self.assertEqual((totals.accepted, totals.ended), (2, {"relayed": 1, "failed": 1}))
        self.assertEqual((totals.queued, totals.held), (0, 0))

    def test_a_large_message_ends_too(self) -> None:
        lease = self.accept_leased(recipient(0), recipient(1), body=LARGE)
        parts = [Lease(lease.token, lease.message, (one,), lease.until) for one in lease.recipients]
        self.finish(parts[0], outcomes=(outcome(0),))
        self.assertEqual(self.read(lease.message), LARGE)
        self.finish(parts[1], outcomes=(outcome(1),))
        self.failureResultOf(self.spool.get(lease.message.id), KeyError)

    def test_a_deferred_recipient_waits_with_what_was_learnt(self) -> None:
        lease = self.accept_leased(recipient(0), recipient(1))
        due = START + 6 * MINUTE
        event = ATTEMPT(START, 0, attempt=1, status="deferred", reply="451")
        after = Next(due, SOUTH, progress={"last": "451 4.7.1 Greylisted"})
        self.finish(
            lease,
            outcomes=(outcome(0, Status.DEFERRED, LATER), outcome(1)),
            next={0: after},
            events=(event, event._replace(recipient=1)),
        )
        self.assertEqual(self.now(self.spool.due(START, None, 9)), [Due(SOUTH, due)])
        self.clock.at = due
        again = self.claim_one(SOUTH)
        (one,) = again.recipients
        self.assertEqual((one.id, one.attempts, one.due), (0, 1, due))
        self.assertEqual(one.progress, {"last": "451 4.7.1 Greylisted"})
        self.assertEqual(self.codes(lease.message.id), ["attempt", "attempt"])
        self.assertEqual(self.read(again.message), SMALL)
        self.finish(again, outcomes=(outcome(0),))
        self.assertEqual(self.page(history=True)[0].recipient.attempts, 2)
        self.balanced()

    def test_next_without_outcome_counts_no_attempt(self) -> None:
        lease = self.accept_leased(recipient(0), recipient(1))
        held = Next(START, NORTH, hold="no such service")
        self.finish(lease, next={0: held, 1: Next(START, SOUTH)})
        (row,) = self.page(held=True)
        self.assertEqual((row.recipient.hold, row.recipient.attempts), ("no such service", 0))
        self.assertEqual(self.claim(NORTH), [])
        self.assertEqual(self.claim_one(SOUTH).recipients[0].attempts, 0)
        self.assertEqual((self.balanced().held, self.balanced().queued), (1, 1))

    def test_what_is_not_mentioned_goes_back_untried(self) -> None:
        lease = self.accept_leased(recipient(0), recipient(1))
        before = self.notified
        self.finish(lease, outcomes=(outcome(0),))
        self.assertGreater(self.notified, before)
        self.assertEqual(self.claim_one().recipients, (recipient(1),))

    def test_a_deferral_without_next_keeps_its_place(self) -> None:
        lease = self.accept_leased()
        self.finish(lease, outcomes=(outcome(0, Status.DEFERRED, LATER),))
        self.assertEqual(self.claim_one().recipients, (recipient(attempts=1),))

    def test_spawned_messages_come_with_the_outcome(self) -> None:
        lease = self.accept_leased()
        report = self.write(b"Subject: failed\r\n\r\n", recipient(0, ANN, SOUTH), envelope=envelope(None))
        self.finish(lease, outcomes=(outcome(0, Status.FAILED, NEVER),), spawned=(report,))
        self.assertEqual(self.numbers(self.claim(SOUTH)), [(report.id, [0])])
        totals = self.balanced()
        self.assertEqual((totals.accepted, totals.ended, totals.queued), (2, {"failed": 1}, 1))

    def test_nothing_of_a_lost_lease_is_written(self) -> None:
        lease = self.accept_leased()
        self.now(self.spool.release([lease]))
        report = self.write(SMALL, recipient(0, ANN, SOUTH))
        self.assertEqual(self.finish(lease, outcomes=(outcome(),), owed=(0,), spawned=(report,)), [lease])
        self.assertEqual(self.claim(SOUTH), [])
        self.assertEqual(self.claim_notices(), [])
        self.assertEqual(self.balanced().ended, {})

    def test_several_results_in_one_call(self) -> None:
        leases = [self.accept_leased() for _ in range(3)]
        self.now(self.spool.release([leases[1]]))
        results = [Result(lease=lease, outcomes=(outcome(),)) for lease in [*leases, leases[0]]]
        self.assertEqual(self.now(self.spool.finish(results)), [leases[1], leases[0]])
        self.assertEqual(self.balanced().ended, {"relayed": 2})

    def test_a_stranger_in_a_result_is_refused_whole(self) -> None:
        lease = self.accept_leased()
        for wrong in ({"outcomes": (outcome(5),)}, {"next": {5: Next(1, NORTH)}}, {"owed": (5,)}):
            self.failureResultOf(self.spool.finish((Result(lease=lease, **wrong),)), KeyError)
        self.assertEqual(self.finish(lease, outcomes=(outcome(),)), [])

    def test_an_owed_report_keeps_the_message_until_it_is_written(self) -> None:
        lease = self.accept_leased(recipient(0, notify="FAILURE", orcpt="rfc822;x@b.example"), recipient(1))
        self.finish(lease, outcomes=(outcome(0, Status.FAILED, NEVER), outcome(1)), owed=(0,))
        self.assertEqual(self.page(), [])
        (notice,) = self.claim_notices()
        (one,) = notice.recipients
        self.assertEqual((one.id, one.address, one.orcpt, one.notify), (0, BOB, "rfc822;x@b.example", "FAILURE"))
        self.assertEqual((one.progress["status"], one.progress["reply"]), ("failed", "550 5.1.1 No such user"))
        self.assertEqual(self.read(notice.message), SMALL)
        self.assertEqual(self.claim_notices(), [])
        self.finish(notice)  # it could not be written: it stays owed
        (notice,) = self.claim_notices()
        self.now(self.spool.release([notice]))
        (notice,) = self.claim_notices()
        report = self.write(SMALL, recipient(0, ANN, SOUTH), envelope=envelope(None))
        self.finish(notice, notices_done=(0,), spawned=(report,))
        self.assertEqual(self.claim_notices(), [])
        self.failureResultOf(self.spool.get(lease.message.id), KeyError)
        self.assertEqual(len(self.claim(SOUTH)), 1)
        self.balanced()

    def test_a_warning_may_be_owed_while_it_waits(self) -> None:
        lease = self.accept_leased()
        after = {0: Next(START, NORTH)}
        self.finish(lease, outcomes=(outcome(0, Status.DEFERRED, LATER),), next=after, owed=(0,))
        (notice,) = self.claim_notices()
        self.assertEqual(notice.recipients[0].attempts, 1)
        self.finish(notice, notices_done=(0,))
        self.assertEqual(len(self.claim()), 1)

    def test_what_an_owed_report_must_know_is_kept_with_it(self) -> None:
        lease = self.accept_leased(recipient(0), recipient(1))
        notes = {0: {"host": "mx.b.example", "owed": "failed"}}
        outcomes = (outcome(0, Status.FAILED, NEVER), outcome(1))
        self.finish(lease, outcomes=outcomes, owed=(0,), notes=notes)
        (notice,) = self.claim_notices()
        progress = notice.recipients[0].progress
        self.assertEqual((progress["host"], progress["owed"], progress["status"]), ("mx.b.example", "failed", "failed"))

    def test_where_a_report_cannot_be_written_the_end_is_taken_back(self) -> None:
        lease = self.accept_leased(recipient(0, notify="FAILURE"), recipient(1))
        self.finish(lease, outcomes=(outcome(0, Status.FAILED, NEVER), outcome(1)), owed=(0,))
        self.assertEqual(self.balanced().ended, {"failed": 1, "relayed": 1})
        (notice,) = self.claim_notices()
        back = {0: Next(START, NORTH, "no report", {"host": "x"})}
        self.finish(notice, next=back, notices_done=(0,))
        totals = self.balanced()
        self.assertEqual((totals.ended.get("failed", 0), totals.ended["relayed"], totals.held), (0, 1, 1))
        (row,) = self.page()
        self.assertEqual((row.recipient.hold, row.recipient.notify), ("no report", "FAILURE"))
        self.assertEqual(row.recipient.progress, {"host": "x"})
        history = self.now(self.spool.page(Selection(), None, 10, history=True))
        self.assertEqual([row.recipient.id for row in history], [1])
        self.assertEqual(self.claim_notices(), [])
        self.now(self.spool.change(Selection(), Change(ChangeKind.RELEASE), "root"))
        (again,) = self.claim()
        self.assertEqual(self.read(again.message), SMALL)

    def test_only_an_end_can_be_taken_back_and_only_to_be_held(self) -> None:
        lease = self.accept_leased()
        after = {0: Next(START, NORTH)}
        self.finish(lease, outcomes=(outcome(0, Status.DEFERRED, LATER),), next=after, owed=(0,))
        (notice,) = self.claim_notices()
        for step in (Next(START, NORTH), Next(START, NORTH, "it waits as it is")):
            self.failureResultOf(self.spool.finish((Result(lease=notice, next={0: step}),)), KeyError)
        self.finish(notice, notices_done=(0,))
        self.balanced()

    def test_an_owed_report_survives_a_crash(self) -> None:
        self.finish(self.accept_leased(), outcomes=(outcome(0, Status.FAILED, NEVER),), owed=(0,))
        self.assertEqual(len(self.claim_notices()), 1)
        self.spool = self.crash()
        self.now(self.spool.recover("queue"))
        self.assertEqual(len(self.claim_notices()), 1)


class OperatorContract(SpoolCase):
    """Looking and changing."""

    def test_pages_by_key(self) -> None:
        ids = [self.accept(recipient(0), recipient(1)) for _ in range(3)]
        seen: list[Row] = []
        key = None
        while rows := self.now(self.spool.page(Selection(), key, 2)):
            seen += rows
            key = PageKey(rows[-1].id, rows[-1].recipient.id)
        self.assertEqual([(row.id, row.recipient.id) for row in seen], [(id, n) for id in ids for n in (0, 1)])
        row = seen[0]
        self.assertEqual((row.sender, row.size, row.arrived), ("ann@a.example", len(SMALL), START))
        self.assertEqual((row.claimed, row.status), (False, ""))

    def test_selections(self) -> None:
        plain = self.accept(recipient(0))
        null = self.accept(recipient(0, CAROL, SOUTH), envelope=envelope(None))
        held = self.accept(recipient(0, original=CAROL, hold="x"), envelope=envelope(BOB, START + 10))
        leased = self.accept_leased(recipient(0)).message.id
        for selection, expected in (
            ({"ids": (plain, null.lower())}, [plain, null]),
            ({"ids": ("nonsense",)}, []),
            ({"sender": ""}, [null]),
            ({"sender": "ann@A.example"}, [plain, leased]),
            ({"recipient": "carol@C.EXAMPLE"}, [null, held]),
            ({"destination": SOUTH}, [null]),
            ({"held": True}, [held]),
            ({"held": False}, [plain, null, leased]),
            ({"arrived_before": START + 1}, [plain, null, leased]),
            ({"sender": "ann@a.example", "held": False, "ids": (leased,)}, [leased]),
        ):
            self.assertEqual([row.id for row in self.page(**selection)], expected, selection)
        self.assertEqual([row.id for row in self.page() if row.claimed], [leased])

    def test_history_is_selected_the_same_way(self) -> None:
        for address, destination in ((BOB, NORTH), (CAROL, SOUTH)):
            self.finish(self.accept_leased(recipient(0, address, destination)), outcomes=(outcome(),))
        self.assertEqual(len(self.page(history=True)), 2)
        for selection in ({"recipient": "carol@c.example"}, {"destination": SOUTH}):
            (row,) = self.page(history=True, **selection)
            self.assertEqual(row.recipient.address, CAROL)
        self.assertEqual(self.page(history=True, held=True), [])

    def test_hold_and_release(self) -> None:
        id = self.accept(recipient(0), recipient(1, CAROL))
        self.assertEqual(self.change(ChangeKind.HOLD, "looks odd", recipient="carol@c.example"), 1)
        self.assertEqual(self.numbers(self.claim()), [(id, [0])])
        self.assertEqual(self.page(held=True)[0].recipient.hold, "looks odd")
        self.assertEqual(self.balanced().held, 1)
        before = self.notified
        self.assertEqual(self.change(ChangeKind.RELEASE), 1)
        self.assertGreater(self.notified, before)
        self.assertEqual(self.numbers(self.claim()), [(id, [1])])
        story = self.now(self.spool.story(id))
        self.assertEqual([str(event) for event in story], ["hold by root   looks odd", "release by root"])
        self.assertEqual([event.recipient for event in story], [1, 1])

    def test_retry_reroute_and_priority(self) -> None:
        id = self.accept(recipient(0, due=START + MINUTE), recipient(1, hold="x"))
        self.assertEqual(self.change(ChangeKind.RETRY), 1)
        self.assertEqual(self.change(ChangeKind.REROUTE, SOUTH), 2)
        self.assertEqual(self.change(ChangeKind.PRIORITY, 7, held=False), 1)
        self.assertEqual(self.now(self.spool.due(START, None, 9)), [Due(SOUTH, START)])
        self.assertEqual(self.claim_one(SOUTH).recipients[0].due, START)
        self.assertEqual(self.codes(id), ["changed"] * 3)

    def test_what_was_put_off_is_woken_and_the_rest_sleeps_on(self) -> None:
        later = START + 60 * MINUTE
        id = self.accept(
            recipient(0, due=later, progress={"try": START, "look": later, "reply": "451"}),
            recipient(1, due=later, progress={"try": later + MINUTE, "look": later}),
            recipient(2, due=later, progress={"try": START, "look": later - 1}),
            recipient(3, due=later),
            recipient(4, due=later, hold="x", progress={"try": START, "look": later}),
        )
        self.assertEqual(self.change(ChangeKind.WAKE), 1)
        self.assertEqual(self.codes(id), [])
        (woken,) = self.claim_one().recipients
        self.assertEqual((woken.id, woken.due, dict(woken.progress)), (0, START, {"reply": "451"}))

    def test_who_asks_for_what_will_be_due_ends_no_lease(self) -> None:
        self.accept(recipient(0))
        self.accept(recipient(0, due=START + 60 * MINUTE))
        held = self.claim_one()
        (ahead,) = self.now(self.spool.claim("me", NORTH, 2**62, START + MINUTE, 9))
        self.assertEqual(ahead.recipients[0].due, START + 60 * MINUTE)
        self.assertEqual(self.now(self.spool.renew([held, ahead], START + 2 * MINUTE)), [])

    def test_a_reroute_stays_until_it_is_taken_back(self) -> None:
        self.accept(recipient(0))
        self.assertEqual(self.change(ChangeKind.REROUTE, Destination("far", "")), 1)
        self.assertEqual(self.change(ChangeKind.REROUTE, Destination("far", "")), 0)
        (row,) = self.page()
        self.assertEqual(row.recipient.destination, Destination("far", "b.example"))
        self.assertEqual(row.recipient.progress["via"], ["far", "b.example"])
        self.assertEqual(self.change(ChangeKind.REROUTE, Destination("", "")), 1)
        self.assertNotIn("via", self.page()[0].recipient.progress)

    def test_selected_by_place_reason_and_domain(self) -> None:
        one = self.accept(recipient(0, hold="Looks odd"))
        two = self.accept(recipient(0, CAROL, SOUTH, progress={"reply": "451 4.7.1 Greylisted"}))
        for selection, expected in (
            ({"place": "internet"}, [one, two]),
            ({"place": "c.example"}, [two]),
            ({"place": "internet:b.example"}, [one]),
            ({"place": "example"}, []),
            ({"reason": "looks"}, [one]),
            ({"reason": "GREYL"}, [two]),
            ({"recipient": "@c.EXAMPLE"}, [two]),
            ({"recipient": "@example"}, []),
            ({"sender": "@a.example"}, [one, two]),
        ):
            self.assertEqual([row.id for row in self.page(**selection)], expected, selection)

    def test_bounce_makes_it_due_with_the_reason(self) -> None:
        self.accept(recipient(0, hold="x", due=START + MINUTE))
        self.assertEqual(self.change(ChangeKind.BOUNCE, "spam"), 1)
        (one,) = self.claim_one().recipients
        self.assertEqual((one.hold, one.progress["bounce"]), ("", "spam"))

    def test_delete_sends_nothing_and_is_counted(self) -> None:
        id = self.accept(recipient(0), recipient(1, hold="x"), body=LARGE)
        self.assertEqual(self.change(ChangeKind.DELETE, ids=(id,)), 2)
        self.assertEqual(self.page(), [])
        self.assertEqual([row.status for row in self.page(history=True)], ["deleted", "deleted"])
        self.assertEqual(self.balanced().ended, {"deleted": 2})
        self.failureResultOf(self.spool.get(id), KeyError)
        self.assertEqual(self.codes(id), ["changed", "changed"])

    def test_what_is_claimed_is_left_alone(self) -> None:
        lease = self.accept_leased()
        for kind, argument in ((ChangeKind.HOLD, None), (ChangeKind.DELETE, None), (ChangeKind.REROUTE, SOUTH)):
            self.assertEqual(self.change(kind, argument), 0)
        self.assertEqual(self.finish(lease, outcomes=(outcome(),)), [])

    def test_a_change_of_many(self) -> None:
        self.write_many(1300)
        self.assertEqual(self.change(ChangeKind.PRIORITY, 1), 1300)
        self.assertEqual({row.recipient.priority for row in self.page()}, {1})

    def write_many(self, count: int) -> None:
        for start in range(0, count, 650):
            self.accept(*[recipient(n) for n in range(min(650, count - start))])

    def test_a_change_needs_its_argument(self) -> None:
        self.accept()
        for kind in (ChangeKind.REROUTE, ChangeKind.PRIORITY):
            self.failureResultOf(self.spool.change(Selection(), Change(kind, "x"), "root"), ValueError)

    def test_purge_forgets_the_ended_and_keeps_the_sums(self) -> None:
        old = [self.accept_leased() for _ in range(3)]
        for lease in old[:2]:
            self.finish(lease, outcomes=(outcome(),))
        self.clock.at += MINUTE
        young = self.accept_leased(envelope=envelope(arrived=self.clock.at))
        self.finish(young, outcomes=(outcome(),))
        self.assertEqual(self.now(self.spool.purge(START + 1, 1)), 1)
        self.assertEqual(self.now(self.spool.purge(START + 1, 100)), 1)
        self.assertEqual(self.now(self.spool.purge(START + 1, 100)), 0)
        self.failureResultOf(self.spool.story(old[0].message.id), KeyError)
        self.assertEqual([row.id for row in self.page(history=True)], [young.message.id])
        totals = self.balanced()
        self.assertEqual((totals.accepted, totals.ended, totals.queued), (4, {"relayed": 3}, 1))

    def test_an_id_is_never_given_again(self) -> None:
        lease = self.accept_leased()
        self.finish(lease, outcomes=(outcome(),))
        self.now(self.spool.purge(START + 1, 100))
        self.spool = self.crash()
        self.clock.at -= MINUTE
        self.assertGreater(id_number(self.spool.begin(0).id), id_number(lease.message.id))

    def test_close_may_be_called_twice(self) -> None:
        self.now(self.spool.close())
        self.now(self.spool.close())
