"""A message to a list becomes one to its members: RFC 5321 3.9.2, RFC 3461 5.2.7."""

from __future__ import annotations

from list_cases import BOB, CARL, OCTETS, TEAM, Lists, Table, a_list
from twisted.internet.defer import CancelledError, Deferred, fail

from mta.address import Address
from mta.delivery.values import Batch
from mta.envelope import Right, Status
from mta.lists import spread
from mta.reply import Reply, TemporaryFailure
from mta.routing.tables import MemoryTable
from mta.routing.values import Route
from mta.sender import sender_of
from mta.spool.memory import MemorySpool


class Copies(Lists):
    def test_the_members_share_one_message_whose_sender_is_the_list(self) -> None:
        """RFC 5321 3.9.2"""
        self.begin(a_list("team", "ann@example.org", "Carl@b.example"))
        rows = self.send()
        self.assert_to(rows, "ann@example.org", "Carl@b.example")
        self.assertEqual(len({row.id for row in rows}), 1)
        envelope = self.envelope(rows[0])
        self.assertEqual(str(envelope.reverse_path), "team-bounces@example.org")
        self.assertEqual(envelope.rights, {Right.OURSELVES})
        octets = self.octets(rows[0])
        self.assertTrue(octets.startswith(b"Received: by mail.example.org (txmta) id "))
        self.assertIn(b"List-Id: <team.example.org>\r\n", octets)
        self.assertTrue(octets.endswith(OCTETS))

    def test_what_the_sender_wished_is_not_handed_on(self) -> None:
        """RFC 3461 5.2.7.2"""
        # RFC 3461 5.2.7.1
        self.begin(a_list("team", CARL))
        (row,) = self.send(ret="FULL", envid="x", smtputf8=True, requiretls=True, body="8BITMIME", eight_bit=True)
        self.assertEqual((row.recipient.notify, row.recipient.orcpt), ("FAILURE", ""))
        envelope = self.envelope(row)
        self.assertEqual((envelope.ret, envelope.envid), ("HDRS", ""))
        # What the octets are, and how they may travel, stays.
        self.assertEqual((envelope.smtputf8, envelope.requiretls, envelope.body), (True, True, "8BITMIME"))

    def test_the_story_says_what_became_of_it(self) -> None:
        self.begin(a_list("team", CARL))
        lease = self.take()
        outcome = self.deliver(lease)
        (row,) = self.finish(lease, outcome)
        self.assertEqual(outcome.reply.text, f"Sent on to the list's members as {row.id}")
        self.assertIn(f"list team@example.org: from {lease.message.id} to 1 members", self.story(row))
        self.assertEqual(row.recipient.path, ("list:team@example.org",))
        self.assertEqual(row.recipient.original, CARL)

    def test_an_empty_list_is_a_list(self) -> None:
        self.begin(a_list("team", tables=("table:empty",)), empty=Table())
        self.assertEqual(self.send(), [])

    def test_a_message_that_was_here_before_is_in_a_loop(self) -> None:
        """RFC 5321 6.3"""
        self.begin(a_list("team", CARL))
        rows = self.send()
        outcome = self.deliver(self.take(octets=self.octets(rows[0])))
        self.assertEqual((outcome.status, outcome.reply), (Status.FAILED, spread.LOOPS))

    def test_a_report_is_never_sent_on(self) -> None:
        """RFC 5321 4.5.5: whatever led it here, such as an owner whose alias is the list."""
        self.begin(a_list("team", CARL))
        self.assertEqual(self.deliver(self.take(reverse_path=None)).status, Status.FAILED)

    def test_a_large_body_is_copied_through_a_file(self) -> None:
        self.begin(a_list("team", CARL))
        octets = OCTETS + b"0123456789abcdef\r\n" * 40_000
        (row,) = self.send(octets=octets)
        self.assertTrue(self.octets(row).endswith(octets))


class Fair(Lists):
    def test_each_list_is_a_sender_of_its_own(self) -> None:
        """So that the many copies of one make neither reports nor other lists wait."""
        self.begin(a_list("team", CARL), a_list("other", CARL))
        team, other = self.send("team")[0], self.send("other")[-1]
        self.assertEqual(sender_of(self.envelope(team)), "team@example.org")
        self.assertEqual(sender_of(self.envelope(other)), "other@example.org")


class Members(Lists):
    def test_lists_within_are_followed_once_and_nobody_gets_two(self) -> None:
        self.begin(
            a_list("team", "ann@example.org", "sub@example.org", "Carl@b.example"),
            a_list("sub", "Ann@example.org", "team@example.org", "dora@c.example", "other@example.org"),
            a_list("other", "sub@example.org", "dora@c.example", "Carl@b.example", "carl@b.example"),
        )
        rows = self.send()
        # Capitals of other hosts are theirs to compare (RFC 5321 2.4).
        self.assert_to(rows, "ann@example.org", "Carl@b.example", "dora@c.example", "carl@b.example")
        self.assertEqual(rows[2].recipient.path, ("list:team@example.org", "list:sub@example.org"))
        self.assertEqual(
            rows[3].recipient.path, ("list:team@example.org", "list:sub@example.org", "list:other@example.org")
        )
        self.assertIn("with sub@example.org", self.story(rows[0]))

    def test_members_that_are_aliases_lead_where_those_lead(self) -> None:
        self.aliases.entries = {"info": "bob, Carl@b.example, team", "loop": "loop"}
        self.begin(a_list("team", "info@example.org", BOB, "loop@example.org"))
        rows = self.send()
        self.assert_to(rows, "bob@example.org", "Carl@b.example")
        self.assertEqual(str(rows[1].recipient.original), "info@example.org")
        self.assertIn("list team@example.org: loop@example.org: ", self.story(rows[0]))

    def test_what_is_no_address_is_left_out(self) -> None:
        self.begin(a_list("team", CARL, tables=("table:more",)), more=Table({"a b@c.example": "", "bob": ""}))
        rows = self.send()
        self.assert_to(rows, "Carl@b.example", "bob@example.org")
        self.assertIn("a b@c.example", self.story(rows[0]))

    def test_where_nobody_is_left_somebody_has_to_look(self) -> None:
        self.aliases.entries = {"loop": "loop"}
        self.begin(a_list("team", "loop@example.org"))
        self.assertIn("has no member that gets it: loop@example.org: ", self.deliver(self.take()).hold)

    def test_a_member_whose_alias_is_wrong_is_held_and_the_others_go(self) -> None:
        self.aliases.entries = {"broken": '"'}
        self.begin(a_list("team", "broken@example.org", CARL))
        rows = self.send()
        self.assert_to(rows, "broken@example.org", "Carl@b.example")
        self.assertIn("alias broken@example.org in aliases", rows[0].recipient.hold)
        self.assertFalse(rows[1].recipient.hold)

    def test_a_member_without_a_mailbox_is_held_not_lost(self) -> None:
        self.begin(a_list("team", "gone@example.org"))
        (row,) = self.send()
        self.assertEqual(row.recipient.hold, "the mailbox is not in users")

    def test_many_are_staged_in_slices(self) -> None:
        more = Table({f"u{n}@m{n % 7}.example": "" for n in range(2500)})
        self.begin(a_list("team", CARL, tables=("table:more",)), more=more)
        rows = self.send()
        self.assertEqual(len(rows), 2501)
        self.assertEqual([row.recipient.id for row in rows], list(range(2501)))
        self.assertEqual(len({row.id for row in rows}), 1)
        self.assertGreaterEqual(self.breaths, 10)


class Trouble(Lists):
    def attempt(self) -> tuple[Batch, Deferred[None]]:
        lease = self.take()
        batch = Batch(lease.message, lease.recipients, Route(destination=lease.recipients[0].destination), 1e9)
        return batch, Deferred.fromCoroutine(self.spread.deliver(batch))

    def failure(self) -> TemporaryFailure:
        failed = self.failureResultOf(self.attempt()[1], TemporaryFailure).value
        assert isinstance(failed, TemporaryFailure)
        return failed

    def assert_nothing_left(self) -> None:
        self.assertEqual([row.recipient.address for row in self.rows()], [TEAM])

    def test_a_table_that_cannot_answer_is_asked_again_later(self) -> None:
        self.begin(a_list("team", CARL, tables=("table:more",)), more=Table(failing="no database"))
        self.assertEqual(self.failure().reason, "no database")  # the queue makes a deferral of it
        self.assert_nothing_left()

    def test_so_is_one_that_a_members_alias_needs(self) -> None:
        self.begin(a_list("team", CARL, "info@example.org"))
        self.aliases.failing = "no disk"
        self.failure()
        self.assert_nothing_left()

    def test_too_many_members_are_held_and_none_gets_a_copy(self) -> None:
        more = Table({f"u{n}@m.example": "" for n in range(50)})
        self.begin(a_list("team", CARL, tables=("table:more",), max_members=10), more=more)
        outcome = self.deliver(self.take())
        self.assertEqual(outcome.status, Status.DEFERRED)
        self.assertEqual(outcome.hold, "the list team@example.org has more than max_members = 10")
        self.assertLess(more.listed, 15)
        self.assert_nothing_left()

    def test_members_of_lists_within_count(self) -> None:
        self.begin(
            a_list("team", CARL, "sub@example.org", max_members=3),
            a_list("sub", *[f"u{n}@m.example" for n in range(3)]),
        )
        self.assertIn("max_members", self.deliver(self.take()).hold)

    def test_a_table_that_cannot_list_is_for_an_operator(self) -> None:
        self.begin(a_list("team", CARL, tables=("table:more",)), more=MemoryTable())
        outcome = self.deliver(self.take())
        self.assertEqual(outcome.hold, "the table table:more cannot tell its members")
        self.assert_nothing_left()

    def test_a_list_that_is_gone_waits(self) -> None:
        self.begin()
        self.assertEqual(self.deliver(self.take()).status, Status.DEFERRED)
        route = self.router.route(TEAM, self.take().recipients[0].destination, {})
        self.assertEqual(getattr(route, "hold", ""), "there is no list team@example.org in the configuration")

    def test_what_the_spool_will_not_take_leaves_nothing(self) -> None:
        full = TemporaryFailure(Reply.of(452, "4.3.1", "No space"))

        class FullSpool(MemorySpool):
            def stage(self, number: int, recipients: object) -> Deferred[None]:
                return fail(full)

        self.spool = FullSpool(now=lambda: self.now)
        more = Table({f"u{n}@m.example": "" for n in range(1500)})
        self.begin(a_list("team", tables=("table:more",)), more=more)
        self.failure()
        self.assert_nothing_left()

    def test_a_stop_in_the_middle_leaves_nothing(self) -> None:
        self.begin(a_list("team", CARL))
        self.breath = Deferred()
        batch, work = self.attempt()
        self.assertNoResult(work)
        work.cancel()
        self.failureResultOf(work, CancelledError)
        self.assertEqual(batch.outcomes, [])
        self.assert_nothing_left()


class Identity(Lists):
    def test_ours_are_one_whatever_their_capitals(self) -> None:
        self.begin(a_list("team", Address("Bob", "example.org"), BOB))
        self.assert_to(self.send(), "Bob@example.org")
