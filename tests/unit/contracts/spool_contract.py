"""The contract of ``ISpool``, for any provider: see mta/interfaces.py.

A provider's test inherits from the classes here and ``SynchronousTestCase`` and says how to make a spool
(``make_spool``) whose work is done when a call returns, on the clock ``self.clock``; how to open the same one
again as after a crash (``crash``), and how to lose a message's octets (``lose_body``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zope.interface.verify import verifyObject

from mta.address import Address
from mta.envelope import Destination, Envelope, Origin, Outcome, Recipient, Right, Scope, Status
from mta.events import ACCEPTED, ATTEMPT, HELD, Event
from mta.interfaces import IChunks, IIncoming, IMessage, ISpool
from mta.message.edits import Edit
from mta.reply import Reply
from mta.spool.values import (
    Change,
    ChangeKind,
    Claim,
    Damaged,
    Due,
    Lease,
    Next,
    PageKey,
    Result,
    Row,
    Selection,
    id_number,
)
from mta.waiting import as_deferred

START = 1_700_000_000_000
MINUTE = 60_000
ANN = Address("ann", "a.example")
BOB = Address("bob", "b.example")
CAROL = Address("carol", "c.example")
NORTH = Destination("internet", "b.example")
SOUTH = Destination("internet", "c.example")
SMALL = b"Subject: hello\r\n\r\nbody\r\n"
LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef" * 64 * 300  # 300 KiB
DONE = Reply.of(250, "2.0.0", "Ok: queued")
LATER = Reply.of(451, "4.7.1", "Greylisted")
NEVER = Reply.of(550, "5.1.1", "No such user")


class Time:
    """UTC milliseconds that pass when told."""

    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> int:
        return self.at


def recipient(id: int = 0, address: Address = BOB, destination: Destination = NORTH, **more: Any) -> Recipient:
    given: dict[str, Any] = {"address": address, "original": address, "destination": destination, "due": START}
    return Recipient(id=id, **{**given, **more})


def envelope(reverse_path: Address | None = ANN, arrived: int = START, **more: Any) -> Envelope:
    origin = Origin(listener="mx", protocol="ESMTP", client="192.0.2.7", port=4321, helo="a.example")
    return Envelope(origin=origin, reverse_path=reverse_path, arrived=arrived, **more)


def outcome(n: int = 0, status: Status = Status.RELAYED, reply: Reply = DONE) -> Outcome:
    return Outcome(recipient=n, status=status, reply=reply, scope=Scope.RECIPIENT)


class SpoolCase:
    """What every part of the contract needs."""

    def setUp(self) -> None:
        self.clock = Time()
        self.notified = 0
        self.spool: Any = self.make_spool()
        self.now(self.spool.recover("queue"))

    def make_spool(self) -> Any:
        raise NotImplementedError

    def crash(self) -> Any:
        """The same spool as a new process finds it; ``self.spool`` is of no use any more."""
        raise NotImplementedError

    def lose_body(self, id: str) -> None:
        raise NotImplementedError

    def notify(self) -> None:
        self.notified += 1

    def now(self, awaitable: Any) -> Any:
        return self.successResultOf(as_deferred(awaitable))  # type: ignore[attr-defined]  # of the TestCase

    def write(self, body: bytes = SMALL, *recipients: Recipient, **more: Any) -> Any:
        """A sealed message."""
        incoming = self.spool.begin(0)
        for start in range(0, len(body), 50_000):
            self.wait(incoming.write(body[start : start + 50_000]))
        self.wait(incoming.add_recipients(recipients or (recipient(),)))
        edits, story = more.pop("edits", ()), more.pop("story", ())
        self.wait(incoming.seal(more.pop("envelope", envelope()), edits, story))
        return incoming

    def wait(self, maybe: Any) -> None:
        if maybe is not None:
            self.now(maybe)

    def accept(self, *recipients: Recipient, body: bytes = SMALL, **more: Any) -> str:
        """A message that waits; its queue id."""
        incoming = self.write(body, *recipients, **more)
        self.assertIsNone(self.now(self.spool.commit(incoming, None)))  # type: ignore[attr-defined]
        id: str = incoming.id
        return id

    def accept_leased(self, *recipients: Recipient, body: bytes = SMALL, **more: Any) -> Lease:
        lease = self.now(self.spool.commit(self.write(body, *recipients, **more), self.born()))
        self.assertIsNotNone(lease)  # type: ignore[attr-defined]
        return lease  # type: ignore[no-any-return]

    def born(self) -> Claim:
        return Claim("queue", self.clock.at + 10 * MINUTE)

    def claim(self, destination: Destination = NORTH, limit: int = 100, minutes: int = 10) -> list[Lease]:
        at = self.clock.at
        return self.now(self.spool.claim("queue", destination, at, at + minutes * MINUTE, limit))  # type: ignore[no-any-return]

    def claim_one(self, destination: Destination = NORTH) -> Lease:
        (lease,) = self.claim(destination)
        return lease

    def claim_notices(self) -> list[Lease]:
        at = self.clock.at
        return self.now(self.spool.claim_notices("queue", at, at + MINUTE, 100))  # type: ignore[no-any-return]

    def finish(self, lease: Lease, **result: Any) -> list[Lease]:
        return self.now(self.spool.finish((Result(lease=lease, **result),)))  # type: ignore[no-any-return]

    def page(self, history: bool = False, **selection: Any) -> list[Row]:
        return self.now(self.spool.page(Selection(**selection), None, 1000, history))  # type: ignore[no-any-return]

    def change(self, kind: ChangeKind, argument: Any = None, **selection: Any) -> int:
        return self.now(self.spool.change(Selection(**selection), Change(kind, argument), "root"))  # type: ignore[no-any-return]

    def read(self, message: Any, *arguments: Any) -> bytes:
        chunks = message.open(*arguments)
        verifyObject(IChunks, chunks)
        parts = []
        while True:
            piece = chunks.next()
            octets = piece if isinstance(piece, bytes) else self.now(piece)
            if not octets:
                break
            self.assertLessEqual(len(octets), 256 * 1024)  # type: ignore[attr-defined]
            parts.append(octets)
        chunks.close()
        chunks.close()
        return b"".join(parts)

    def header(self, message: Any, *arguments: Any) -> bytes:
        header = message.header(*arguments)
        return header if isinstance(header, bytes) else self.now(header)  # type: ignore[no-any-return]

    def balanced(self) -> Any:
        totals = self.now(self.spool.totals())
        self.assertEqual(totals.unaccounted, 0)  # type: ignore[attr-defined]
        return totals

    def codes(self, id: str) -> list[str]:
        story: list[Event] = self.now(self.spool.story(id))
        return [event.code for event in story]

    def numbers(self, leases: Sequence[Lease]) -> list[tuple[str, list[int]]]:
        return [(lease.message.id, [one.id for one in lease.recipients]) for lease in leases]


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
        self.accept(recipient(0, due=START + 5), recipient(1, due=START + 3), recipient(2, CAROL, SOUTH))
        self.accept(recipient(0, priority=2), recipient(1, hold="x"))
        self.accept_leased(recipient(0, destination=SOUTH))
        whole = self.now(self.spool.due(START, None, 10))
        expected = [Due(NORTH, 2, START, 1), Due(NORTH, 0, START + 3, 2), Due(SOUTH, 0, START, 1)]
        self.assertEqual(whole, expected)
        paged: list[Due] = []
        while page := self.now(self.spool.due(START, paged[-1] if paged else None, 1)):
            paged += page
        self.assertEqual(paged, expected)

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
        self.assertEqual(self.now(self.spool.due(self.clock.at, None, 9)), [Due(NORTH, 0, START, 1)])

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
        self.assertEqual(self.now(self.spool.due(START, None, 9)), [Due(SOUTH, 0, due, 1)])
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
        self.assertEqual([str(event) for event in story], ["hold by root", "release by root"])
        self.assertEqual([event.recipient for event in story], [1, 1])

    def test_retry_reroute_and_priority(self) -> None:
        id = self.accept(recipient(0, due=START + MINUTE), recipient(1, hold="x"))
        self.assertEqual(self.change(ChangeKind.RETRY), 1)
        self.assertEqual(self.change(ChangeKind.REROUTE, SOUTH), 2)
        self.assertEqual(self.change(ChangeKind.PRIORITY, 7, held=False), 1)
        self.assertEqual(self.now(self.spool.due(START, None, 9)), [Due(SOUTH, 7, START, 1)])
        self.assertEqual(self.claim_one(SOUTH).recipients[0].due, START)
        self.assertEqual(self.codes(id), ["changed"] * 3)

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
        self.assertEqual(self.now(self.spool.due(START, None, 9))[0].waiting, 1300)

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
