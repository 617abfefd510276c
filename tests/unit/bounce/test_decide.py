"""Who is told: the sender, the postmaster, nobody; and never a loop."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.bounce.decide import NOBODY_LEFT, Kind, Plan, decide
from mta.envelope import Destination, Envelope, Origin, Outcome, Recipient, Right, Status
from mta.reply import Reply

ANN = Address("ann", "a.example")
BOB = Address("bob", "b.example")
POSTMASTER = Address("postmaster", "example.org")
NOW = 1_700_000_000_000


def envelope(sender: Address | None, *rights: Right) -> Envelope:
    return Envelope(
        origin=Origin(listener="mx", protocol="ESMTP"), reverse_path=sender, arrived=NOW, rights=frozenset(rights)
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


class Decide(SynchronousTestCase):
    def plan(self, sender: Address | None, *pairs: tuple[Recipient, Outcome]) -> Plan:
        return decide(envelope(sender), pairs, POSTMASTER, NOW)

    def test_the_sender_is_told_of_all_in_one_report(self) -> None:
        plan = self.plan(ANN, failed(0, BOB), failed(1, Address("eve", "b.example")))
        assert plan.notice is not None
        self.assertEqual((plan.notice.to, plan.notice.kind), (ANN, Kind.FAILURE))
        self.assertEqual([recipient.id for recipient, _ in plan.notice.failed], [0, 1])

    def test_a_sender_who_wants_no_report_gets_none(self) -> None:
        # RFC 3461 4.1
        for notify in ("NEVER", "SUCCESS", "DELAY", "success,delay"):
            plan = self.plan(ANN, failed(0, BOB, notify=notify))
            self.assertIsNone(plan.notice)
            self.assertEqual(plan.hold, "")
            self.assertIn(f"NOTIFY={notify}", str(plan.events[0]))

    def test_each_recipient_has_its_own_wish(self) -> None:
        plan = self.plan(ANN, failed(0, BOB, notify="NEVER"), failed(1, BOB, notify="SUCCESS,FAILURE"))
        assert plan.notice is not None
        self.assertEqual([recipient.id for recipient, _ in plan.notice.failed], [1])
        self.assertEqual([event.recipient for event in plan.events], [0])

    def test_the_null_sender_is_never_told_but_the_postmaster(self) -> None:
        # RFC 5321 4.5.5, 6.1
        plan = self.plan(None, failed(0, BOB))
        assert plan.notice is not None
        self.assertEqual((plan.notice.to, plan.notice.kind), (POSTMASTER, Kind.DOUBLE_BOUNCE))

    def test_when_the_postmasters_own_copy_fails_it_is_held(self) -> None:
        for pair in (
            failed(0, POSTMASTER),
            failed(0, Address("PostMaster", "example.org")),
            failed(0, BOB, original=POSTMASTER),
            failed(0, BOB, original=Address("postmaster", "")),  # RFC 5321 4.5.1
        ):
            plan = self.plan(None, pair)
            self.assertEqual((plan.notice, plan.hold), (None, NOBODY_LEFT))

    def test_a_postmaster_elsewhere_is_anybody(self) -> None:
        self.assertIsNotNone(self.plan(None, failed(0, Address("postmaster", "b.example"))).notice)

    def test_mail_to_the_postmaster_that_has_a_sender_is_reported(self) -> None:
        plan = self.plan(ANN, failed(0, POSTMASTER))
        assert plan.notice is not None
        self.assertEqual(plan.notice.to, ANN)

    @given(st.sampled_from([None, ANN, POSTMASTER]), st.sampled_from([BOB, ANN, POSTMASTER]))
    def test_no_chain_is_longer_than_two_reports(self, sender: Address | None, recipient: Address) -> None:
        reports = 0
        plan = self.plan(sender, failed(0, recipient))
        while plan.notice is not None:
            reports += 1
            plan = self.plan(None, failed(0, plan.notice.to))
        self.assertLessEqual(reports, 2)
        self.assertEqual(plan.hold, NOBODY_LEFT)
