"""Who is told: the sender, the postmaster, nobody; and never a loop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.bounce.decide import NOBODY_LEFT, NOT_KNOWN, Kind, Plan, concerns, decide, is_late
from mta.envelope import Destination, Envelope, Origin, Outcome, Recipient, Right, Status
from mta.reply import Reply

ANN = Address("ann", "a.example")
BOB = Address("bob", "b.example")
POSTMASTER = Address("postmaster", "example.org")
NOW = 1_700_000_000_000


def envelope(sender: Address | None, *rights: Right, **more: Any) -> Envelope:
    return Envelope(
        origin=Origin(listener="mx", protocol="ESMTP"),
        reverse_path=sender,
        arrived=NOW,
        rights=frozenset(rights),
        **more,
    )


def failed(
    number: int, address: Address, *, original: Address | None = None, notify: str = ""
) -> tuple[Recipient, Outcome]:
    recipient = Recipient(
        id=number,
        address=address,
        original=original or address,
        destination=Destination("internet", "b.example"),
        due=NOW,
        notify=notify,
    )
    return recipient, Outcome(recipient=number, status=Status.FAILED, reply=Reply.of(550, "5.1.1", "unknown"))


def ended(
    status: Status, notify: str = "", taken_over: bool = False, time_dropped: bool = False, **progress: Any
) -> tuple[Recipient, Outcome]:
    recipient, outcome = failed(0, BOB, notify=notify)
    code = 451 if status is Status.DEFERRED else 250
    return replace(recipient, progress=progress), replace(
        outcome, status=status, reply=Reply.of(code, "", "x"), dsn_taken_over=taken_over, time_dropped=time_dropped
    )


class Good(SynchronousTestCase):
    """Success and delay."""

    def kinds(
        self, pair: tuple[Recipient, Outcome], *rights: Right, sender: Address | None = ANN, **more: Any
    ) -> list[Kind]:
        message = replace(envelope(sender, *(rights or (Right.AUTHENTICATED,))), **more)
        plan = decide(message, [pair], POSTMASTER, NOW)
        self.assertEqual(plan.hold, "")
        if plan.notices and pair[1].status is not Status.DEFERRED:
            self.assertTrue(concerns(message, *pair, NOW))
        return [notice.kind for notice in plan.notices]

    def test_success_only_where_it_is_asked_for(self) -> None:
        # RFC 3461 4.1
        for status in (Status.DELIVERED, Status.RELAYED, Status.EXPANDED):
            self.assertEqual(self.kinds(ended(status, "SUCCESS,FAILURE")), [Kind.SUCCESS])
            for notify in ("", "NEVER", "FAILURE,DELAY"):
                self.assertEqual(self.kinds(ended(status, notify)), [])
        self.assertEqual(self.kinds(ended(Status.DISCARDED, "SUCCESS")), [])

    def test_a_host_that_was_given_the_wish_tells_itself(self) -> None:
        # RFC 3461 5.2.2
        self.assertEqual(self.kinds(ended(Status.RELAYED, "SUCCESS", taken_over=True)), [])

    def test_only_those_whom_we_know(self) -> None:
        pair = ended(Status.DELIVERED, "SUCCESS")
        self.assertEqual(self.kinds(pair, Right.NETWORK), [Kind.SUCCESS])
        plan = decide(envelope(ANN), [pair], POSTMASTER, NOW)
        self.assertEqual(plan.notices, ())
        self.assertIn(NOT_KNOWN, str(plan.events[0]))
        plan = decide(envelope(ANN), [pair], POSTMASTER, NOW, strangers=True)
        self.assertEqual([notice.kind for notice in plan.notices], [Kind.SUCCESS])

    def test_nothing_to_the_null_sender(self) -> None:
        # RFC 5321 4.5.5
        self.assertEqual(self.kinds(ended(Status.DELIVERED, "SUCCESS"), sender=None), [])

    def test_trace_and_a_host_that_keeps_no_time(self) -> None:
        # RFC 2852 4.1.4, 4.1.4.2; RFC 3461 5.2.2 (e)
        told = [Kind.SUCCESS]
        for notify, taken_over, dropped, mode, left, kinds in (
            ("", True, False, "NT", 1000, told),
            ("FAILURE", True, False, "RT", 1000, told),
            ("NEVER", True, True, "NT", 1000, []),
            ("", False, True, "N", 1000, told),
            ("", True, True, "N", 1000, told),
            ("", True, True, "N", 0, []),
            ("NEVER", False, True, "N", 1000, []),
            ("", False, False, "N", 1000, []),
            ("", False, False, "R", 1000, []),
        ):
            pair = ended(Status.RELAYED, notify, taken_over, dropped)
            found = self.kinds(pair, by_mode=mode, deliver_by=NOW + left)
            self.assertEqual(found, kinds, (notify, taken_over, dropped, mode, left))

    def test_late_once_and_only_in_mode_n(self) -> None:
        # RFC 2852 4.1.3; RFC 3461 4.1
        late = {"by_mode": "N", "deliver_by": NOW}
        self.assertTrue(is_late(envelope(ANN, **late), ended(Status.DEFERRED)[0], NOW))
        self.assertEqual(self.kinds(ended(Status.DEFERRED), **late), [Kind.DELAY])
        self.assertEqual(self.kinds(ended(Status.DEFERRED, "DELAY"), **late), [Kind.DELAY])
        for notify in ("NEVER", "SUCCESS,FAILURE"):
            self.assertEqual(self.kinds(ended(Status.DEFERRED, notify), **late), [])
        for mode, by, told in (("N", NOW, True), ("N", NOW + 1, False), ("R", NOW, False), ("", 0, False)):
            recipient, _ = ended(Status.DEFERRED, late=told)
            self.assertFalse(is_late(envelope(ANN, by_mode=mode, deliver_by=by), recipient, NOW), (mode, by, told))

    def test_what_is_set_aside_is_told_to_the_postmaster(self) -> None:
        pair = ended(Status.DEFERRED)
        aside = (replace(pair[0], progress={"aside": True}), pair[1])
        plan = decide(envelope(ANN, Right.NETWORK), [aside], POSTMASTER, NOW)
        self.assertEqual([(notice.to, notice.kind) for notice in plan.notices], [(POSTMASTER, Kind.SET_ASIDE)])
        self.assertEqual(decide(envelope(None), [aside], POSTMASTER, NOW).notices, ())  # as such a notice is itself

    def test_what_nearly_all_mail_is_concerns_nobody(self) -> None:
        message = envelope(ANN, Right.NETWORK)
        for status in (Status.DELIVERED, Status.RELAYED, Status.DEFERRED):
            self.assertFalse(concerns(message, *ended(status), NOW))
        self.assertTrue(concerns(message, *failed(0, BOB), NOW))

    def test_several_kinds_at_once(self) -> None:
        pairs = [failed(1, BOB), ended(Status.DELIVERED, "SUCCESS")]
        plan = decide(envelope(ANN, Right.NETWORK), pairs, POSTMASTER, NOW)
        self.assertEqual([(n.kind, len(n.ended)) for n in plan.notices], [(Kind.FAILURE, 1), (Kind.SUCCESS, 1)])


class Decide(SynchronousTestCase):
    def plan(self, sender: Address | None, *pairs: tuple[Recipient, Outcome]) -> Plan:
        return decide(envelope(sender), pairs, POSTMASTER, NOW)

    def test_the_sender_is_told_of_all_in_one_report(self) -> None:
        # RFC 3461 6
        plan = self.plan(ANN, failed(0, BOB), failed(1, Address("eve", "b.example")))
        (notice,) = plan.notices
        self.assertEqual((notice.to, notice.kind), (ANN, Kind.FAILURE))
        self.assertEqual([recipient.id for recipient, _ in notice.ended], [0, 1])

    def test_a_sender_who_wants_no_report_gets_none(self) -> None:
        # RFC 3461 4.1
        for notify in ("NEVER", "SUCCESS", "DELAY", "success,delay"):
            plan = self.plan(ANN, failed(0, BOB, notify=notify))
            self.assertEqual(plan.notices, ())
            self.assertEqual(plan.hold, "")
            self.assertIn(f"NOTIFY={notify}", str(plan.events[0]))

    def test_each_recipient_has_its_own_wish(self) -> None:
        plan = self.plan(ANN, failed(0, BOB, notify="NEVER"), failed(1, BOB, notify="SUCCESS,FAILURE"))
        (notice,) = plan.notices
        self.assertEqual([recipient.id for recipient, _ in notice.ended], [1])
        self.assertEqual([event.recipient for event in plan.events], [0])

    def test_the_null_sender_is_never_told_but_the_postmaster(self) -> None:
        # RFC 5321 4.5.5, 6.1
        plan = self.plan(None, failed(0, BOB))
        (notice,) = plan.notices
        self.assertEqual((notice.to, notice.kind), (POSTMASTER, Kind.DOUBLE_BOUNCE))

    def test_when_the_postmasters_own_copy_fails_it_is_held(self) -> None:
        for pair in (
            failed(0, POSTMASTER),
            failed(0, Address("PostMaster", "example.org")),
            failed(0, BOB, original=POSTMASTER),
            failed(0, BOB, original=Address("postmaster", "")),  # RFC 5321 4.5.1
        ):
            plan = self.plan(None, pair)
            self.assertEqual((plan.notices, plan.hold), ((), NOBODY_LEFT))

    def test_a_postmaster_elsewhere_is_anybody(self) -> None:
        self.assertEqual(len(self.plan(None, failed(0, Address("postmaster", "b.example"))).notices), 1)

    def test_mail_to_the_postmaster_that_has_a_sender_is_reported(self) -> None:
        plan = self.plan(ANN, failed(0, POSTMASTER))
        (notice,) = plan.notices
        self.assertEqual(notice.to, ANN)

    @given(st.sampled_from([None, ANN, POSTMASTER]), st.sampled_from([BOB, ANN, POSTMASTER]))
    def test_no_chain_is_longer_than_two_reports(self, sender: Address | None, recipient: Address) -> None:
        reports = 0
        plan = self.plan(sender, failed(0, recipient))
        while plan.notices:
            reports += 1
            plan = self.plan(None, failed(0, plan.notices[0].to))
        self.assertLessEqual(reports, 2)
        self.assertEqual(plan.hold, NOBODY_LEFT)
