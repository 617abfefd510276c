"""The contract of ``ISpool``: accepting messages and leasing recipients."""

from __future__ import annotations

from typing import Any

from spool_case import CAROL, LARGE, MINUTE, NORTH, SMALL, SOUTH, START, SpoolCase, envelope, outcome, recipient
from zope.interface.verify import verifyObject

from mta.address import Address
from mta.envelope import Destination, Right
from mta.events import ACCEPTED, HELD
from mta.interfaces import IIncoming, IMessage, ISpool
from mta.message.edits import Edit
from mta.reply import TemporaryFailure
from mta.spool.values import Change, ChangeKind, Damaged, Due, Lease, Selection
from mta.waiting import as_deferred


class AcceptanceContract(SpoolCase):
    """From the first octet to the commit, and reading what was committed."""

    def test_it_provides_the_interfaces(self) -> None:
        incoming = self.spool.begin(100)
        verifyObject(ISpool, self.spool)
        verifyObject(IIncoming, incoming)
        verifyObject(IMessage, self.accept_leased().message)

    def test_a_healthy_spool_takes_mail(self) -> None:
        self.assertIsNone(self.spool.unhealthy())

    def test_a_commit_without_lease_waits_and_is_told(self) -> None:
        before = self.notified
        id = self.accept(recipient(0), recipient(1, CAROL, SOUTH))
        self.assertGreater(self.notified, before)
        self.assertEqual(self.numbers(self.claim()), [(id, [0])])
        self.assertEqual(self.numbers(self.claim(SOUTH)), [(id, [1])])

    def test_claimed_at_birth_nobody_else_gets_it(self) -> None:
        lease = self.accept_leased(recipient(0), recipient(1, CAROL))
        self.assertEqual([one.id for one in lease.recipients], [0, 1])
        self.assertEqual(self.claim(), [])
        self.assertEqual(self.now(self.spool.due(self.clock.at, None, 10)), [])

    def test_held_and_future_recipients_are_not_in_the_lease(self) -> None:
        later = recipient(2, due=START + MINUTE)
        lease = self.accept_leased(recipient(0), recipient(1, hold="quarantine"), later)
        self.assertEqual([one.id for one in lease.recipients], [0])
        self.clock.at += MINUTE
        self.assertEqual(self.numbers(self.claim()), [(lease.message.id, [2])])

    def test_no_lease_where_nothing_is_due(self) -> None:
        incoming = self.write(SMALL, recipient(hold="quarantine"))
        self.assertIsNone(self.now(self.spool.commit(incoming, self.born())))

    def test_what_was_written_is_read_byte_for_byte(self) -> None:
        awkward = b"Subject: \xff\x00 x\r\n\r\n.\r\nbare \r and \n and no end"
        for body in (SMALL, LARGE, awkward, b"", b"no header at all"):
            id = self.accept(body=body)
            message = self.now(self.spool.get(id))
            self.assertEqual((message.id, message.size), (id, len(body)))
            self.assertEqual(self.read(message), body)
            self.assertEqual(self.read(self.accept_leased(body=body).message), body)

    def test_what_is_being_written_is_read_as_often_as_wished(self) -> None:
        for body in (SMALL, LARGE, b"", b"Subject: " + b"x" * 100_000):
            incoming = self.spool.begin(0)
            for start in range(0, len(body), 50_000):
                self.wait(incoming.write(body[start : start + 50_000]))
                self.assertEqual(self.read(incoming), body[: start + 50_000])
            self.assertEqual(self.read(incoming), body)
            self.assertEqual(
                self.read(incoming, (Edit(0, 0, b"top"), Edit(len(body), 0, b"end"))), b"top" + body + b"end"
            )
            incoming.add_recipients([recipient()])
            self.wait(incoming.seal(envelope(), (), ()))
            with self.assertRaises(ValueError):
                incoming.open()
            self.now(self.spool.commit(incoming, None))
            self.assertEqual(self.read(self.now(self.spool.get(incoming.id))), body)

    def test_an_aborted_message_is_not_read(self) -> None:
        incoming = self.spool.begin(0)
        self.wait(incoming.write(LARGE))
        chunks = incoming.open()
        incoming.abort()
        with self.assertRaises(ValueError):
            incoming.open()
        try:
            self.assertEqual(self.failureResultOf(as_deferred(chunks.next())).check(TemporaryFailure), TemporaryFailure)
        except Damaged:
            pass  # nothing was to be waited for
        chunks.close()

    def test_edits_are_applied_by_every_reader(self) -> None:
        received, own = Edit(0, 0, b"Received: x\r\n"), Edit(9, 5, b"other")
        for body in (SMALL, LARGE):
            lease = self.accept_leased(body=body, edits=(received,))
            stored = self.now(self.spool.get(lease.message.id))
            for message in (lease.message, stored):
                self.assertEqual(message.size, len(body) + 13)
                self.assertEqual(self.read(message), b"Received: x\r\n" + body)
                edited = b"Received: x\r\nSubject: other" + body[14:]
                self.assertEqual(self.read(message, b"Return-Path: <>\r\n", (own,)), b"Return-Path: <>\r\n" + edited)
                self.assertEqual(self.header(message, (own,)), edited[: edited.index(b"\r\n\r\n") + 4])

    def test_a_header_without_end_gets_its_empty_line(self) -> None:
        lease = self.accept_leased(body=b"Subject: only")
        self.assertEqual(self.header(lease.message), b"Subject: only\r\n\r\n")

    def test_a_body_alone_has_an_empty_header(self) -> None:
        lease = self.accept_leased(body=b"\r\nbody\r\n", edits=(Edit(0, 0, b"Received: x\r\n"),))
        self.assertEqual(self.header(lease.message), b"Received: x\r\n\r\n")

    def test_the_envelope_and_recipients_come_back_as_they_were(self) -> None:
        given = envelope(
            None,
            body="8BITMIME",
            eight_bit=True,
            ret="HDRS",
            envid="QQ314159",
            smtputf8=True,
            requiretls=True,
            deliver_by=START + MINUTE,
            rights=frozenset({Right.NETWORK, Right.AUTHENTICATED}),
            configuration="f00d",
        )
        one = recipient(
            7,
            Address('o"d d', "xn--mgba.example"),
            original=Address("grüße", "b.example"),
            path=("aliases:12", "list:x"),
            orcpt="rfc822;bob@b.example",
            notify="FAILURE,DELAY",
            priority=3,
            attempts=2,
            progress={"last": "451 later", "since": 5, "nested": {"a": [1, None, True]}},
        )
        self.accept(one, envelope=given)
        lease = self.claim_one()
        self.assertEqual(lease.recipients, (one,))
        self.assertEqual(lease.message.envelope, given)
        self.assertEqual(self.page(sender="")[0].recipient, one)

    def test_postmaster_alone_is_an_address(self) -> None:
        self.accept(recipient(0, Address("Postmaster", "")))
        self.assertEqual(self.claim_one().recipients[0].address, Address("Postmaster", ""))

    def test_very_many_recipients_all_arrive(self) -> None:
        many = (recipient(n, destination=(NORTH, SOUTH)[n % 2]) for n in range(2500))
        incoming = self.spool.begin(0)
        incoming.write(SMALL)
        self.now(incoming.add_recipients(many))
        self.assertEqual(self.balanced().accepted, 0)
        self.assertEqual((self.page(), self.claim()), ([], []))
        incoming.seal(envelope(), (), ())
        lease = self.now(self.spool.commit(incoming, self.born()))
        leased = [one.id for one in lease.recipients]
        rest = [n for each in (NORTH, SOUTH) for one in self.claim(each, 5000) for n in self.numbers([one])[0][1]]
        self.assertEqual(sorted(leased + rest), list(range(2500)))
        self.assertEqual(self.balanced().queued, 2500)

    def test_recipients_may_come_in_several_calls(self) -> None:
        incoming = self.spool.begin(0)
        incoming.write(SMALL)
        self.assertIsNone(incoming.add_recipients([recipient(0)]))
        self.assertIsNone(incoming.add_recipients([recipient(1)]))
        incoming.seal(envelope(), (), ())
        self.now(self.spool.commit(incoming, None))
        self.assertEqual([one.id for one in self.claim_one().recipients], [0, 1])

    def test_an_aborted_message_leaves_nothing(self) -> None:
        for body in (SMALL, LARGE):
            incoming = self.write(body, *[recipient(n) for n in range(1500)])
            incoming.abort()
            incoming.abort()
            with self.assertRaises(ValueError):
                self.now_or_raise(self.spool.commit(incoming, None))
        self.assertEqual(self.balanced().accepted, 0)
        self.assertEqual(self.page(), [])

    def now_or_raise(self, deferred: Any) -> Any:
        failure = self.failureResultOf(deferred)
        failure.raiseException()

    def test_abort_after_the_commit_is_without_effect(self) -> None:
        incoming = self.write()
        self.now(self.spool.commit(incoming, None))
        incoming.abort()
        self.assertEqual(self.read(self.claim_one().message), SMALL)

    def test_wrong_uses_are_told(self) -> None:
        incoming = self.spool.begin(0)
        with self.assertRaises(ValueError):
            self.now_or_raise(self.spool.commit(incoming, None))
        with self.assertRaises(ValueError):
            incoming.seal(envelope(), (), ())  # no recipient
        incoming.add_recipients([recipient()])
        incoming.seal(envelope(), (), ())
        with self.assertRaises(ValueError):
            incoming.write(b"more")
        self.now(self.spool.commit(incoming, None))
        with self.assertRaises(ValueError):
            self.now_or_raise(self.spool.commit(incoming, None))

    def test_ids_are_unique_and_rise(self) -> None:
        ids = [self.spool.begin(0).id for _ in range(50)]
        self.clock.at -= MINUTE  # the clock was set back
        ids += [self.spool.begin(0).id for _ in range(50)]
        self.assertEqual(len(set(ids)), 100)
        self.assertEqual(ids, sorted(ids))

    def test_an_unknown_message_is_a_key_error(self) -> None:
        for id in ("0000000000000", "nonsense", ""):
            for question in (self.spool.get, self.spool.story):
                self.failureResultOf(question(id), KeyError)

    def test_the_story_begins_with_what_was_sealed(self) -> None:
        accepted = ACCEPTED(START - 5, client="192.0.2.7")
        undated = HELD(0, 0, address="bob", reason="x")
        id = self.accept(story=(accepted, undated))
        story = self.now(self.spool.story(id))
        self.assertEqual(story, [accepted, undated._replace(at=START)])


class LeaseContract(SpoolCase):
    """Who gets what, and until when."""

    def test_one_lease_a_message_within_the_limit(self) -> None:
        first = self.accept(recipient(0), recipient(1))
        second = self.accept(recipient(0), recipient(1))
        self.assertEqual(self.numbers(self.claim(limit=3)), [(first, [0, 1]), (second, [0])])
        self.assertEqual(self.numbers(self.claim()), [(second, [1])])

    def test_by_priority_then_due(self) -> None:
        late = self.accept(recipient(due=START - 1))
        early = self.accept(recipient(due=START - 2))
        urgent = self.accept(recipient(priority=5))
        self.accept(recipient(priority=9, due=START + MINUTE))
        order = [lease.message.id for lease in self.claim()]
        self.assertEqual(order, [urgent, early, late])

    def test_only_what_is_due(self) -> None:
        self.accept(recipient(due=START + 1))
        self.assertEqual(self.claim(), [])
        self.clock.at += 1
        self.assertEqual(len(self.claim()), 1)

    def test_of_an_unknown_destination_there_is_nothing(self) -> None:
        self.assertEqual(self.claim(Destination("nowhere", "x")), [])

    def test_due_tells_destinations_in_pages(self) -> None:
        """Those that have something due, soonest first, and the next one; not what comes later."""
        others = [Destination("internet", f"{n}.example") for n in range(3)]
        self.accept(recipient(0, due=START + 5), recipient(1, due=START - 3), recipient(2, CAROL, SOUTH))
        self.accept(recipient(0, priority=2), recipient(1, hold="x"))
        self.accept_leased(recipient(0, destination=SOUTH))
        self.accept(*[recipient(n, destination=to, due=START + 10 + n) for n, to in enumerate(others)])
        expected = [Due(NORTH, START - 3), Due(SOUTH, START), Due(others[0], START + 10)]
        self.assertEqual(self.now(self.spool.due(START, None, 10)), expected)
        paged: list[Due] = []
        while page := self.now(self.spool.due(START, paged[-1] if paged else None, 1)):
            paged += page
        self.assertEqual(paged, expected)

    def test_due_of_what_was_taken(self) -> None:
        """A destination is due as early as the first of what still waits for it, whatever took the rest away."""
        self.accept(recipient(0, due=START - 3, priority=4), recipient(1), recipient(2, priority=-3, due=START + 9))
        (lease,) = self.claim(limit=1)
        self.assertEqual(self.now(self.spool.due(START, None, 9)), [Due(NORTH, START)])
        self.now(self.spool.release([lease]))
        self.assertEqual(self.now(self.spool.due(START, None, 9)), [Due(NORTH, START - 3)])
        self.assertEqual(self.numbers(self.claim()), [(lease.message.id, [0, 1])])
        self.assertEqual(self.now(self.spool.due(START, None, 9)), [Due(NORTH, START + 9)])
        self.now(self.spool.change(Selection(), Change(ChangeKind.HOLD), "root"))
        self.assertEqual(self.now(self.spool.due(START, None, 9)), [])
        self.now(self.spool.change(Selection(), Change(ChangeKind.RELEASE), "root"))
        self.assertEqual(self.now(self.spool.due(START, None, 9)), [Due(NORTH, START + 9)])
        self.now(self.spool.change(Selection(), Change(ChangeKind.REROUTE, SOUTH), "root"))
        self.assertEqual(self.now(self.spool.due(START, None, 9)), [Due(SOUTH, START)])
        self.now(self.spool.change(Selection(), Change(ChangeKind.DELETE), "root"))
        self.assertEqual(self.now(self.spool.due(START, None, 9)), [])

    def test_released_recipients_are_untried(self) -> None:
        lease = self.accept_leased()
        before = self.notified
        self.now(self.spool.release([lease]))
        again = self.claim_one()
        self.assertEqual(again.recipients, lease.recipients)
        self.assertEqual(again.recipients[0].attempts, 0)
        self.assertEqual(self.finish(lease, outcomes=(outcome(),)), [lease])
        self.assertGreaterEqual(self.notified, before)

    def test_an_expired_lease_is_lost_to_its_owner(self) -> None:
        self.accept()
        first = self.claim_one()
        self.clock.at += 11 * MINUTE
        second = self.claim_one()
        self.assertEqual(second.recipients, first.recipients)
        self.assertEqual(self.now(self.spool.renew([first, second], self.clock.at + MINUTE)), [first])
        self.assertEqual(self.finish(first, outcomes=(outcome(),)), [first])
        self.assertEqual(self.finish(second, outcomes=(outcome(),)), [])
        self.assertEqual(self.balanced().ended, {"relayed": 1})

    def test_an_expired_lease_shows_as_due(self) -> None:
        self.accept()
        self.claim_one()
        self.clock.at += 11 * MINUTE
        self.assertEqual(self.now(self.spool.due(self.clock.at, None, 9)), [Due(NORTH, START)])

    def test_a_renewed_lease_lives_on(self) -> None:
        self.accept()
        lease = self.claim_one()
        self.assertEqual(self.now(self.spool.renew([lease], self.clock.at + 60 * MINUTE)), [])
        self.clock.at += 30 * MINUTE
        self.assertEqual(self.claim(), [])
        self.assertEqual(self.finish(lease, outcomes=(outcome(),)), [])

    def test_a_narrowed_lease_ends_in_parts(self) -> None:
        lease = self.accept_leased(recipient(0), recipient(1), recipient(2))
        parts = [Lease(lease.token, lease.message, (one,), lease.until) for one in lease.recipients]
        self.assertEqual(self.finish(parts[1], outcomes=(outcome(1),)), [])
        self.now(self.spool.release([parts[2]]))
        self.assertEqual(self.finish(parts[1], outcomes=(outcome(1),)), [parts[1]])
        self.assertEqual(self.numbers(self.claim()), [(lease.message.id, [2])])
        self.assertEqual(self.now(self.spool.renew([lease], self.clock.at + MINUTE)), [])
        self.assertEqual(self.finish(parts[0], outcomes=(outcome(0),)), [])
        self.assertEqual(self.balanced().ended, {"relayed": 2})

    def test_a_message_that_cannot_be_read_is_set_aside(self) -> None:
        for body in (SMALL, LARGE):
            broken, sound = self.accept(body=body), self.accept(body=body)
            self.lose_body(broken)
            self.assertEqual(self.numbers(self.claim()), [(sound, [0])])
            (row,) = self.page(ids=(broken,))
            self.assertIn("damaged", row.recipient.hold)
            self.assertEqual(self.claim(), [])
        self.assertEqual(self.balanced().held, 2)

    def test_octets_lost_later_are_damage(self) -> None:
        for body in (SMALL, LARGE):
            id = self.accept(body=body)
            message = self.claim_one().message
            self.lose_body(id)
            with self.assertRaises(Damaged):
                self.read_or_raise(message)

    def read_or_raise(self, message: Any) -> None:
        octets = message.open().next()
        if not isinstance(octets, bytes):
            self.failureResultOf(as_deferred(octets)).raiseException()

    def test_a_crash_frees_what_was_claimed(self) -> None:
        id = self.accept(recipient(0), recipient(1, hold="x"), recipient(2, due=START + 1))
        leased = self.accept_leased(body=LARGE).message.id
        self.claim_one(NORTH)
        self.spool = self.crash()
        self.assertEqual(self.now(self.spool.recover("queue")), [])
        self.assertEqual(self.numbers(self.claim()), [(id, [0]), (leased, [0])])
        self.assertEqual(self.read(self.now(self.spool.get(leased))), LARGE)
        self.balanced()

    def test_recover_ends_the_owners_leases(self) -> None:
        lease = self.accept_leased()
        self.now(self.spool.recover("queue"))
        self.assertEqual(self.finish(lease, outcomes=(outcome(),)), [lease])
        self.assertEqual(len(self.claim()), 1)

    def test_what_was_not_committed_is_gone_after_a_crash(self) -> None:
        self.write(LARGE, *[recipient(n) for n in range(1500)])
        self.spool = self.crash()
        self.now(self.spool.recover("queue"))
        self.assertEqual((self.page(), self.claim()), ([], []))
        self.assertEqual(self.balanced().accepted, 0)
