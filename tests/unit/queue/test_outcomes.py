"""Outcomes that do more than end or wait: held by the service's own word, and ended with a message that they cause."""

from __future__ import annotations

from unittest.mock import patch

from twisted.internet.defer import Deferred
from whole_queue import OK, WholeQueue

from mta.delivery.values import Batch
from mta.envelope import Outcome, Status
from mta.queue.conclude import Report
from mta.reply import Reply

WRONG = Reply.of(451, "4.3.5", "Not well configured")


class Held(WholeQueue):
    def test_a_service_may_hold_a_recipient_and_the_postmaster_is_told(self) -> None:
        async def deliver(batch: Batch) -> None:
            for recipient in batch.recipients:
                batch.report(
                    Outcome(recipient=recipient.id, status=Status.DEFERRED, reply=WRONG, hold="too many members")
                )

        deliver_all = self.far.deliver

        async def either(batch: Batch) -> None:
            await (deliver_all if batch.recipients[0].address.domain == "ours.example" else deliver)(batch)

        with patch.object(self.far, "deliver", either):
            id = self.send("x@b.example")
            self.pass_time(60, 1)
        (row,) = self.rows()
        self.assertEqual((row.id, row.recipient.hold), (id, "too many members"))
        self.assertEqual(len(self.reports("postmaster@ours.example")), 1)
        self.assert_accounted()


class Spawned(WholeQueue):
    def spawning(self, batch: Batch) -> None:
        incoming = self.spool.begin(0)
        incoming.write(b"Subject: a copy\r\n\r\n")
        (recipient,) = batch.recipients
        copied = type(recipient)(
            id=0,
            address=type(recipient.address)("y", "b.example"),
            original=recipient.address,
            destination=recipient.destination,
            due=self.now(),
        )
        incoming.add_recipients([copied])
        incoming.seal(batch.message.envelope, (), ())
        batch.report(Outcome(recipient=recipient.id, status=Status.EXPANDED, reply=OK, spawned=(incoming,)))

    def run_once(self) -> None:
        deliver_all = self.far.deliver

        async def either(batch: Batch) -> None:
            if batch.recipients[0].address.local == "list":
                self.spawning(batch)
            else:
                await deliver_all(batch)

        with patch.object(self.far, "deliver", either):
            self.send("list@b.example", notify="SUCCESS")
            self.pass_time(120, 1)

    def test_what_an_end_causes_becomes_visible_with_it(self) -> None:
        self.run_once()
        self.assertEqual(self.far.tried, ["y@b.example"])
        self.assertEqual(self.successResultOf(self.spool.totals()).ended["expanded"], 1)
        self.assert_accounted()

    def test_also_where_nobody_could_conclude_more(self) -> None:
        def broken(*arguments: object) -> Deferred[Report]:
            raise ValueError("a fault of ours")

        with patch("mta.queue.conclude.concerns", broken):
            self.run_once()
        self.assertTrue(self.flushLoggedErrors(ValueError))
        self.assertEqual(self.far.tried, ["y@b.example"])
        self.assert_accounted()
