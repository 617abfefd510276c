"""Who wrote to somebody that has moved is told, once: RFC 3834, RFC 5321 3.4."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import default
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.bounce.catalog import catalogs, languages
from mta.delivery.values import Batch
from mta.dns.fake import FakeResolver
from mta.envelope import Destination, Envelope, Origin, Outcome, Right, Status
from mta.message.header import scan
from mta.message.reading import read_whole
from mta.notes.service import Notes, Told
from mta.notes.text import note, unfit
from mta.reply import LOCAL_ERROR, PermanentFailure, Reply, TemporaryFailure
from mta.routing.ask import Answerer
from mta.routing.recipients import Forward, Leads, lead
from mta.routing.router import Router
from mta.routing.rules import DomainRule, RoutingRules
from mta.routing.tables import MemoryTable
from mta.routing.values import NOTE, Route
from mta.spool.memory import MemorySpool
from mta.spool.values import Claim, Lease, Result, Row, Selection

ANN = Address("ann", "example.org")
OCTETS = b"From: ann@example.org\r\nMessage-ID: <1@x.example>\r\nSubject: secret\r\n\r\nbody\r\n"
MOVED = {
    "bob": "bob@new.example; note=address",
    "eve": "eve@new.example; reply=251; note=moved",
    "joe": "joe@new.example",
}


class State:
    """An ``IState`` in memory; ``now`` is in seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self.known: dict[str, tuple[str, float]] = {}

    def get(self, key: str) -> str | None:
        value, until = self.known.get(key, ("", 0.0))
        return value if until > self.now else None

    def put(self, key: str, value: str, seconds: float) -> None:
        self.known[key] = value, self.now + seconds

    def add(self, key: str, amount: int, seconds: float) -> Deferred[int]:
        total = int(self.get(key) or 0) + amount
        until = self.known[key][1] if total > amount else self.now + seconds
        self.known[key] = str(total), until
        return succeed(total)


class NotesCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 1_700_000_000_000
        self.spool = MemorySpool(now=lambda: self.now)
        self.state = State()
        self.grounds: list[tuple[str, str, str]] = []
        self.ground = "own"
        self.trouble: Exception | None = None
        self.router = Router(
            RoutingRules(
                postmaster=Address("postmaster", "example.org"),
                services=frozenset({"local", "internet"}),
                final=frozenset({"local"}),
                domains={
                    "example.org": DomainRule(
                        name="example.org", mailboxes="users", aliases="aliases", moved="moved", deliver="local"
                    )
                },
            )
        )
        tables = {
            "users": MemoryTable({"ann": ""}),
            "moved": MemoryTable(MOVED),
            "aliases": MemoryTable({"team": "bob, ann"}),
        }
        self.answerer = Answerer(tables, FakeResolver())

        async def lead_to(address: Address) -> Leads:
            if self.trouble is not None:
                raise self.trouble
            return await lead(self.router, self.answerer, (Forward(address, notify="NEVER"),), {}, self.now)

        async def ground_of(listener: str, login: str, address: Address) -> str:
            self.grounds.append((listener, login, str(address)))
            return self.ground

        self.notes = Notes(
            Told(
                spool=self.spool,
                lead=lead_to,
                ground=ground_of,
                state=self.state,
                close=lambda: None,
                again=86_400.0,
                hostname="mail.example.org",
                languages=catalogs(("en",)),
                now=lambda: self.now,
            )
        )

    def accept(self, *to: str, notes: bool = True, octets: bytes = OCTETS, **more: Any) -> Lease:
        forwards = [Forward(Address(local, "example.org")) for local in to]
        leads = self.successResultOf(
            Deferred.fromCoroutine(lead(self.router, self.answerer, forwards, {}, self.now, notes=notes))
        )
        incoming = self.spool.begin(0)
        incoming.write(octets)
        incoming.add_recipients(leads.recipients)
        fields: dict[str, Any] = {
            "origin": Origin(listener="submission", protocol="ESMTPSA", client="192.0.2.1", login="ann"),
            "reverse_path": ANN,
            "arrived": self.now,
            "rights": frozenset({Right.AUTHENTICATED}),
            **more,
        }
        incoming.seal(Envelope(**fields), (), ())
        lease = self.successResultOf(self.spool.commit(incoming, Claim("test", self.now + 1_000_000)))
        assert lease is not None
        return lease

    def places(self, lease: Lease) -> list[str]:
        return [str(one.destination) for one in lease.recipients]

    def attempt(self, lease: Lease) -> tuple[Batch, Deferred[None]]:
        owed = tuple(one for one in lease.recipients if one.destination.service == NOTE)
        batch = Batch(lease.message, owed, Route(destination=owed[0].destination), 1e9)
        return batch, Deferred.fromCoroutine(self.notes.deliver(batch))

    def deliver(self, lease: Lease) -> Outcome:
        batch, work = self.attempt(lease)
        self.successResultOf(work)
        (outcome,) = batch.outcomes
        self.assertEqual(outcome.status, Status.EXPANDED)
        return outcome

    def why(self, **more: Any) -> str:
        outcome = self.deliver(self.accept("bob", **more))
        self.assertEqual(outcome.spawned, ())
        return outcome.reply.text

    def finish(self, lease: Lease, outcome: Outcome) -> list[Row]:
        """The messages that wait once it is written."""
        self.successResultOf(self.spool.finish([Result(lease=lease, outcomes=(outcome,), spawned=outcome.spawned)]))
        rows = self.successResultOf(self.spool.page(Selection(), None, 1000))
        return [row for row in rows if row.id != lease.message.id]


class Owed(NotesCase):
    def test_it_is_stored_with_the_message(self) -> None:
        lease = self.accept("bob")
        self.assertEqual(self.places(lease), ["internet:new.example", "(note):bob@new.example"])
        owed = lease.recipients[1]
        self.assertEqual((str(owed.address), owed.notify), ("bob@example.org", "NEVER"))
        self.assertEqual(self.places(self.accept("eve"))[1:], ["(note)"])

    def test_only_where_it_was_asked_for_and_for_whom_it_may_be(self) -> None:
        for to, notes in (("joe", True), ("bob", False), ("ann", True)):
            self.assertEqual(len(self.accept(to, notes=notes).recipients), 1)

    def test_once_for_a_message(self) -> None:
        self.assertEqual(sum("(note)" in place for place in self.places(self.accept("bob", "BOB", "eve"))), 2)

    def test_who_is_behind_an_alias_stays_there(self) -> None:
        """RFC 5321 3.4"""
        self.assertEqual(self.places(self.accept("team")), ["local:example.org", "internet:new.example"])

    def test_it_goes_on_while_the_service_is_there(self) -> None:
        place = Destination(NOTE, "x@new.example")
        route = self.router.route(ANN, place, {})
        self.assertEqual(route, Route(destination=place))


class Sent(NotesCase):
    def test_the_note(self) -> None:
        """RFC 3834 3, 4, 5"""
        # RFC 3834 3.1.5
        lease = self.accept("bob")
        outcome = self.deliver(lease)
        (row,) = self.finish(lease, outcome)
        self.assertEqual(str(row.recipient.address), "ann@example.org")
        message = self.successResultOf(self.spool.get(row.id))
        self.assertIsNone(message.envelope.reverse_path)  # RFC 3834 3.3
        self.assertEqual(message.envelope.rights, {Right.OURSELVES})
        octets = self.successResultOf(Deferred.fromCoroutine(read_whole(message)))
        told: Any = message_from_bytes(octets, policy=default)
        self.assertEqual(told["Auto-Submitted"], "auto-replied")
        self.assertEqual(told["To"], "ann@example.org")
        self.assertEqual((told["In-Reply-To"], told["References"]), ("<1@x.example>", "<1@x.example>"))
        self.assertIn("<bob@example.org> has moved", told["Subject"])
        self.assertIn("The new address is <bob@new.example>", told.get_content())
        self.assertNotIn(b"secret", octets)
        self.assertEqual(self.grounds, [("submission", "ann", "ann@example.org")])
        self.assertEqual(outcome.reply.text, f"The sender is told by {row.id}")

    def test_the_new_address_is_told_only_where_it_may_be(self) -> None:
        lease = self.accept("eve")
        (row,) = self.finish(lease, self.deliver(lease))
        message = self.successResultOf(self.spool.get(row.id))
        octets = self.successResultOf(Deferred.fromCoroutine(read_whole(message)))
        self.assertNotIn(b"new.example", octets)

    def test_in_every_language(self) -> None:
        made = note(ANN, ANN, "é@new.example", b"", "ID", "mail.example.org", self.now, catalogs(languages()))
        self.assertTrue(made.isascii())
        told: Any = message_from_bytes(made, policy=default)
        for word in ("has moved", "umgezogen", "a changé", "cambiado", "已更换地址"):
            self.assertIn(word, told["Subject"])
        self.assertEqual(told.get_content().count("é@new.example"), 5)

    def test_once_in_a_time(self) -> None:
        self.assertTrue(self.deliver(self.accept("bob")).spawned)
        self.assertIn("told before", self.why())
        self.assertTrue(self.deliver(self.accept("eve")).spawned, "another has moved")
        self.assertTrue(self.deliver(self.accept("bob", reverse_path=Address("x", "example.org"))).spawned)
        self.state.now += 86_401
        self.assertTrue(self.deliver(self.accept("bob")).spawned)

    def test_tried_again_after_a_crash_or_trouble(self) -> None:
        lease = self.accept("bob")
        self.trouble = TemporaryFailure(LOCAL_ERROR, "no table")
        self.failureResultOf(self.attempt(lease)[1], TemporaryFailure)
        self.trouble = None
        self.assertIn("told before", self.why(), "another message meanwhile")
        self.assertTrue(self.deliver(lease).spawned)

    def test_a_sender_that_leads_nowhere(self) -> None:
        self.trouble = PermanentFailure(Reply.of(550, "5.1.1", "No such mailbox"))
        self.assertIn("leads nowhere", self.why())


class NotSent(NotesCase):
    def test_to_nobody_who_has_not_proved_who_he_is(self) -> None:
        network = frozenset({Right.NETWORK})
        self.assertIn("not proved", self.why(rights=network))
        origin = Origin(listener="mx", protocol="ESMTP", client="192.0.2.1")
        self.assertIn("not proved", self.why(origin=origin))
        for ground in ("", "anybody", "delegated domain"):
            self.ground = ground
            self.assertIn("ann@example.org is not known to be the address of ann", self.why())

    def test_nothing_to_the_null_sender(self) -> None:
        """RFC 5321 4.5.5"""
        self.assertIn("no sender", self.why(reverse_path=None))

    def test_not_to_programs_and_lists(self) -> None:
        """RFC 3834 2"""
        for local in ("owner-team", "team-owner", "team-request", "MAILER-DAEMON", "noreply", "no-reply.1"):
            self.assertIn("a program or a list", self.why(reverse_path=Address(local, "example.org")))
        for field, said in (
            (b"Auto-Submitted: auto-generated (x)", "program"),
            (b"Auto-Submitted: auto-replied; x=y", "program"),
            (b"Precedence: Bulk", "many"),
            (b"List-Id: <x.example>", "many"),
        ):
            self.assertIn(said, self.why(octets=field + b"\r\n" + OCTETS))
        self.assertEqual(unfit(ANN, scan(b"Auto-Submitted: no\r\nPrecedence: normal\r\n\r\n")), "")
