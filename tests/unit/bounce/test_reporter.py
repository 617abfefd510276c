"""From a failure to a message in the spool that a sender will get."""

from __future__ import annotations

import os
from dataclasses import replace
from email import message_from_bytes
from typing import Any

from delivery_contract import BOB, NOW, recipient
from dkim_signer import signer, verified
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.bounce.catalog import CatalogError
from mta.bounce.decide import NOBODY_LEFT
from mta.bounce.reporter import MAX_LISTED, RETURN_SIZE, Reports
from mta.envelope import Destination, Envelope, Origin, Outcome, Recipient, Right, Status
from mta.message.reading import read_whole
from mta.queue.conclude import Report
from mta.reply import PermanentFailure, Reply, TemporaryFailure
from mta.routing.recipients import Leads
from mta.spool.memory import MemorySpool
from mta.spool.values import Claim, Damaged, Lease, Result

ANN = Address("ann", "a.example")
ADMIN = Address("admin", "example.org")
POSTMASTER = Address("postmaster", "example.org")
DOWN = TemporaryFailure(Reply.of(451, "4.3.0", "table out of order"))


class ReporterCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.spool = MemorySpool(lambda: NOW)
        self.trouble: Exception | None = None
        self.leads: Leads | None = None
        self.reports = Reports(self.spool, self.lead, "mx.example.org", POSTMASTER)

    async def lead(self, address: Address) -> Leads:
        if self.trouble is not None:
            raise self.trouble
        return self.leads if self.leads is not None else Leads((recipient(0, address),), ())

    def accept(self, sender: Address | None, octets: bytes = b"Subject: x\r\n\r\nbody\r\n", **more: Any) -> Lease:
        incoming = self.spool.begin(0)
        incoming.write(octets)
        incoming.add_recipients([recipient(0, BOB)])
        origin = Origin(listener="mx", protocol="ESMTP")
        incoming.seal(Envelope(origin=origin, reverse_path=sender, arrived=NOW, **more), (), ())
        lease = self.successResultOf(self.spool.commit(incoming, Claim("test", NOW + 1000)))
        assert lease is not None
        return lease

    def report(self, lease: Lease, failing: Recipient | None = None) -> tuple[Report, Outcome]:
        outcome = Outcome(recipient=0, status=Status.FAILED, reply=Reply.of(550, "5.1.1", "unknown"))
        pairs = [(failing or lease.recipients[0], outcome)]
        done = Deferred.fromCoroutine(self.reports.report(lease.message, pairs, NOW))
        return self.successResultOf(done), outcome

    def report_many(self, lease: Lease, count: int) -> Report:
        reply = Reply.of(550, "5.1.1", "unknown")
        pairs = [
            (recipient(number, BOB), Outcome(recipient=number, status=Status.FAILED, reply=reply))
            for number in range(count)
        ]
        return self.successResultOf(Deferred.fromCoroutine(self.reports.report(lease.message, pairs, NOW)))

    def sent(self, lease: Lease) -> Lease:
        """The report, as the queue gets it once the failure is written."""
        told, outcome = self.report(lease)
        result = Result(lease=lease, outcomes=(outcome,), spawned=told.spawned, events=told.events)
        self.assertEqual(self.successResultOf(self.spool.finish([result])), [])
        (due,) = self.successResultOf(self.spool.due(NOW, None, 10))
        (mine,) = self.successResultOf(self.spool.claim("test", due.destination, NOW, NOW + 1000, 10))
        return mine

    def read(self, lease: Lease) -> bytes:
        return self.successResultOf(Deferred.fromCoroutine(read_whole(lease.message)))


class Tells(ReporterCase):
    def test_the_sender_gets_a_report_with_the_failure(self) -> None:
        accepted = self.accept(ANN)
        lease = self.sent(accepted)
        self.assertEqual([r.address for r in lease.recipients], [ANN])
        envelope = lease.message.envelope
        # RFC 5321 4.5.5; RFC 3464 2
        self.assertIsNone(envelope.reverse_path)
        self.assertEqual(envelope.rights, frozenset({Right.OURSELVES}))
        parsed = message_from_bytes(self.read(lease))
        self.assertEqual(parsed["To"], "<ann@a.example>")
        self.assertTrue(parsed["Received"].startswith("by mx.example.org (txmta) id "))
        self.assertEqual(parsed["Message-ID"], f"<{lease.message.id}@mx.example.org>")

    def test_it_has_the_priority_of_its_message(self) -> None:
        # RFC 6710 4.6
        lease = self.accept(ANN)
        for priority in (0, 4, -3):
            told, _ = self.report(lease, replace(lease.recipients[0], priority=priority))
            (spawned,) = told.spawned
            mine = self.successResultOf(self.spool.commit(spawned, Claim("test", NOW + 1000)))
            assert mine is not None
            self.assertEqual([recipient.priority for recipient in mine.recipients], [priority])

    def test_both_stories_tell_of_it(self) -> None:
        accepted = self.accept(ANN)
        lease = self.sent(accepted)
        about = [str(event) for event in self.successResultOf(self.spool.story(accepted.message.id))]
        self.assertIn(f"report {lease.message.id} to ann@a.example: failed", about)
        own = [str(event) for event in self.successResultOf(self.spool.story(lease.message.id))]
        self.assertIn(f"failure report about {accepted.message.id}, to ann@a.example", own)

    def test_its_recipient_is_expanded(self) -> None:
        self.leads = Leads((recipient(0, ADMIN, POSTMASTER),), ())
        lease = self.sent(self.accept(None))
        self.assertEqual([(r.address, r.original) for r in lease.recipients], [(ADMIN, POSTMASTER)])

    def test_when_the_notice_to_the_postmaster_fails_too_it_is_held(self) -> None:
        self.leads = Leads((recipient(0, ADMIN, POSTMASTER),), ())
        notice = self.sent(self.accept(None))
        told, _ = self.report(notice)
        self.assertEqual((told.spawned, told.hold), ((), NOBODY_LEFT))

    def test_a_sender_who_wants_none(self) -> None:
        lease = self.accept(ANN)
        silent = Recipient(id=0, address=BOB, original=BOB, destination=Destination("out", ""), due=NOW, notify="NEVER")
        told, _ = self.report(lease, silent)
        self.assertEqual((told.spawned, told.hold), ((), ""))
        self.assertEqual(len(told.events), 1)

    def test_very_many_recipients_are_told_of_in_several_reports(self) -> None:
        told = self.report_many(self.accept(ANN), MAX_LISTED + 1)
        self.assertEqual(len(told.spawned), 2)
        self.assertEqual(len({event.args["report"] for event in told.events}), 2)
        self.assertEqual([event.recipient for event in told.events], list(range(MAX_LISTED + 1)))

    def test_in_the_languages_that_were_chosen(self) -> None:
        self.reports.speak(("de", "fr"))
        parsed = message_from_bytes(self.read(self.sent(self.accept(ANN))))
        (human, *_) = parsed.get_payload()
        self.assertEqual(human["Content-Language"], "de, fr")
        self.assertRaises(CatalogError, self.reports.speak, ("xx",))

    def test_another_postmaster_after_a_reload(self) -> None:
        self.reports.change(ADMIN)
        lease = self.sent(self.accept(None))
        self.assertEqual([r.address for r in lease.recipients], [ADMIN])


class Returned(ReporterCase):
    WHOLE = b"Subject: x\r\n\r\nthe body\r\n"

    def test_the_header_unless_more_is_asked_for(self) -> None:
        self.assertNotIn(b"the body", self.read(self.sent(self.accept(ANN, self.WHOLE))))

    def test_all_of_it_on_demand(self) -> None:
        # RFC 3461 4.3
        self.assertIn(self.WHOLE, self.read(self.sent(self.accept(ANN, self.WHOLE, ret="FULL"))))

    def test_not_if_it_is_large(self) -> None:
        octets = self.WHOLE + b"0123456789\r\n" * (RETURN_SIZE // 10)
        report = self.read(self.sent(self.accept(ANN, octets, ret="FULL")))
        self.assertLess(len(report), 4000)

    def test_the_configuration_says_what_is_large(self) -> None:
        self.reports.change(ADMIN, return_size=len(self.WHOLE) - 1)
        self.assertNotIn(b"the body", self.read(self.sent(self.accept(ANN, self.WHOLE, ret="FULL"))))

    def test_never_of_a_message_that_requires_tls(self) -> None:
        # RFC 8689 5
        lease = self.sent(self.accept(ANN, self.WHOLE, ret="FULL", requiretls=True))
        self.assertNotIn(b"the body", self.read(lease))
        self.assertTrue(lease.message.envelope.requiretls)


class Good(ReporterCase):
    """Recipients for whom it went well."""

    def told(self, lease: Lease, *statuses: Status) -> Report:
        pairs = []
        for number, status in enumerate(statuses):
            code = 550 if status is Status.FAILED else 250
            outcome = Outcome(recipient=number, status=status, reply=Reply.of(code, "", "x"))
            pairs.append((replace(recipient(number, BOB), notify="SUCCESS,FAILURE"), outcome))
        return self.successResultOf(Deferred.fromCoroutine(self.reports.report(lease.message, pairs, NOW)))

    def known(self, sender: Address = ANN, **more: Any) -> Lease:
        return self.accept(sender, rights=frozenset({Right.AUTHENTICATED}), **more)

    def test_each_kind_has_a_report_of_its_own(self) -> None:
        told = self.told(self.known(), Status.FAILED, Status.RELAYED, Status.DELIVERED)
        self.assertEqual(len(told.spawned), 2)
        self.assertEqual([event.recipient for event in told.events], [0, 1, 2])

    def test_to_an_international_sender_it_goes_by_smtputf8(self) -> None:
        # RFC 6533 4
        told = self.told(self.known(Address("j\xf6rg", "a.example"), smtputf8=True), Status.DELIVERED)
        sealed: Any = told.spawned[0]
        found = sealed.envelope
        self.assertEqual((found.smtputf8, found.eight_bit, found.body), (True, True, "8BITMIME"))

    def test_when_it_cannot_be_written_the_story_says_so_and_nothing_is_held(self) -> None:
        lease = self.known()
        self.spool.fail_next("begin", DOWN)
        told = self.told(lease, Status.DELIVERED)
        self.assertEqual((told.spawned, told.hold), ((), ""))
        self.assertIn("could not be written", str(told.events[0]))
        self.assertEqual(len(self.flushLoggedErrors(TemporaryFailure)), 1)

    def test_when_the_failure_cannot_be_reported_the_success_is(self) -> None:
        lease = self.known()
        self.spool.fail_next("begin", DOWN)
        told = self.told(lease, Status.FAILED, Status.DELIVERED)
        self.assertEqual((len(told.spawned), [event.recipient for event in told.events]), (1, [1]))
        self.assertIn("could not be written", told.hold)
        self.flushLoggedErrors(TemporaryFailure)


class Trouble(ReporterCase):
    def test_a_table_that_cannot_answer_delays_the_report_and_loses_nothing(self) -> None:
        self.trouble = DOWN
        lease = self.sent(self.accept(ANN))
        self.assertEqual([(r.address, r.destination, r.hold) for r in lease.recipients], [(ANN, ("", ""), "")])

    def test_a_report_that_leads_nowhere_is_held(self) -> None:
        for trouble, leads in (
            (PermanentFailure(Reply.of(554, "5.4.6", "a loop")), None),
            (None, Leads((), ())),
        ):
            self.trouble, self.leads = trouble, leads
            told, _ = self.report(self.accept(ANN))
            held: Any = told.spawned[0]
            (waiting,) = held.recipients
            self.assertEqual(waiting.address, ANN)
            self.assertNotEqual(waiting.hold, "")

    def test_when_a_report_cannot_be_written_its_recipients_are_held(self) -> None:
        for operation in ("begin", "write", "add_recipients", "seal"):
            lease = self.accept(ANN)
            self.spool.fail_next(operation, DOWN)
            told, _ = self.report(lease)
            self.assertEqual((told.spawned, told.events), ((), ()))
            self.assertIn("451 4.3.0 table out of order", told.hold)
            self.assertEqual(len(self.flushLoggedErrors(TemporaryFailure)), 1)
        self.assertEqual(self.successResultOf(self.spool.totals()).queued, 4)

    def test_a_fault_without_a_text_is_a_reason_too(self) -> None:
        self.trouble = ZeroDivisionError()
        told, _ = self.report(self.accept(ANN))
        self.assertIn("ZeroDivisionError", told.hold)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_when_the_second_report_fails_the_first_is_not_sent(self) -> None:
        lease = self.accept(ANN)
        begun: list[Any] = []

        def begin(room: int) -> Any:
            if begun:
                raise DOWN
            begun.append(MemorySpool.begin(self.spool, room))
            return begun[0]

        self.spool.begin = begin  # type: ignore[method-assign]
        told = self.report_many(lease, MAX_LISTED + 1)
        self.assertNotEqual(told.hold, "")
        self.assertTrue(begun[0].aborted)
        self.flushLoggedErrors(TemporaryFailure)

    def test_a_message_that_cannot_be_read_is_reported_without_it(self) -> None:
        accepted = self.accept(ANN)
        unreadable: Any = Unreadable(accepted.message)
        lease = Lease(accepted.token, unreadable, accepted.recipients, accepted.until)
        report = message_from_bytes(self.read(self.sent(lease)))
        self.assertEqual(len(report.get_payload()), 2)
        self.assertNotIn("is attached", str(report))


class Unreadable:
    """A message whose octets are gone."""

    def __init__(self, message: Any) -> None:
        self.id, self.envelope, self.size = message.id, message.envelope, message.size

    def header(self) -> bytes:
        raise Damaged(self.id, "gone")


class Signed(ReporterCase):
    """Reports are signed where there are keys for the domain that they are from."""

    def octets(self) -> bytes:
        lease = self.accept(ANN)
        report, outcome = self.report(lease)
        self.successResultOf(self.spool.finish([Result(lease=lease, outcomes=(outcome,), spawned=report.spawned)]))
        message = self.successResultOf(self.spool.get(report.spawned[0].id))
        return self.successResultOf(Deferred.fromCoroutine(read_whole(message)))

    def test_by_both_keys(self) -> None:
        self.reports.sign_by(signer("mx.example.org"))
        octets = self.octets()
        self.assertTrue(octets.startswith(b"DKIM-Signature: v=1;"))
        self.assertEqual(verified(octets), [True, True])

    def test_without_keys(self) -> None:
        self.reports.sign_by(signer("elsewhere.example"))
        self.assertNotIn(b"DKIM-Signature", self.octets())

    def test_keys_that_cannot_be_used_keep_no_report_back(self) -> None:
        self.reports.sign_by(signer("mx.example.org"))
        os.chmod("dkim/mx.example.org/r.pem", 0o666)
        self.assertNotIn(b"DKIM-Signature", self.octets())
