"""What the history keeps of people: masked when a message has ended, erased when asked."""

from __future__ import annotations

from typing import Any

from spool_case import ANN, BOB, CAROL, NORTH, SOUTH, outcome, recipient
from sqlite_case import SqliteCase
from twisted.trial.unittest import SynchronousTestCase

from mta import events
from mta.envelope import Status
from mta.spool.masking import ADDRESS
from mta.spool.values import ChangeKind

STORY = (events.ACCEPTED(1, client="192.0.2.7", sender=str(ANN), recipients=[str(BOB), str(CAROL)]),)
TOLD = (events.ATTEMPT(2, 0, address=str(BOB), reply=f"550 5.1.1 <{BOB}> is unknown"),)


def domain_only(text: str) -> str:
    return ADDRESS.sub(lambda match: f"*@{match[0].rpartition('@')[2]}", text)


class Masking(SqliteCase, SynchronousTestCase):
    def end(self, *recipients: Any, **more: Any) -> str:
        lease = self.accept_leased(*recipients, story=STORY)
        self.finish(lease, outcomes=tuple(outcome(one.id) for one in recipients), events=TOLD, **more)
        id: str = lease.message.id
        return id

    def known(self, id: str) -> str:
        rows = self.page(history=True, ids=(id,)) + self.page(ids=(id,))
        return str([self.now(self.spool.story(id)), rows, self.spool._engine.load.record(id).envelope])

    def test_what_has_ended_is_masked(self) -> None:
        self.now(self.spool.mask_history("domain", domain_only))
        id = self.end(recipient(0), recipient(1, CAROL, SOUTH))
        known = self.known(id)
        for address in (ANN, BOB, CAROL):
            self.assertNotIn(str(address), known)
            self.assertNotIn(f"local='{address.local}'", known)
        self.assertIn("550 5.1.1 <*@b.example> is unknown", known)
        self.assertEqual([row.status for row in self.page(history=True, recipient="*@b.example")], ["relayed"])

    def test_what_waits_is_not(self) -> None:
        self.now(self.spool.mask_history("domain", domain_only))
        lease = self.accept_leased(recipient(0), recipient(1, CAROL, SOUTH), story=STORY)
        self.finish(lease, outcomes=(outcome(0),), events=TOLD)
        self.assertIn(str(ANN), self.known(lease.message.id))
        self.assertEqual(self.page()[0].recipient.address, CAROL)
        self.change(ChangeKind.DELETE)
        self.assertNotIn(str(ANN), self.known(lease.message.id))

    def test_a_report_that_is_owed_is_needed(self) -> None:
        self.now(self.spool.mask_history("domain", domain_only))
        lease = self.accept_leased(recipient(0), story=STORY)
        self.finish(lease, outcomes=(outcome(0, Status.FAILED),), owed=(0,))
        (notice,) = self.claim_notices()
        self.assertEqual(notice.recipients[0].address, BOB)
        self.finish(notice, notices_done=(0,))
        self.assertNotIn(str(BOB), self.known(lease.message.id))

    def test_what_had_ended_before_is_masked_once(self) -> None:
        ids = [self.end(recipient(0)) for _ in range(3)]
        self.now(self.spool.mask_history("domain", domain_only))
        for id in ids:
            self.assertNotIn(str(BOB), self.known(id))
        self.now(self.spool.mask_history("full", None))
        plain = self.end(recipient(0))
        self.assertIn(str(BOB), self.known(plain))
        self.now(self.spool.mask_history("domain", domain_only))
        self.assertNotIn(str(BOB), self.known(plain))

    def test_one_person_is_erased(self) -> None:
        first, other = self.end(recipient(0)), self.end(recipient(0, CAROL))
        waiting = self.accept(recipient(0, BOB, NORTH))
        self.assertEqual(self.now(self.spool.erase("bob@B.example", "")), 2)
        self.assertNotIn(str(BOB), self.known(first))
        self.assertIn(str(ANN), self.known(first))
        self.assertIn(str(CAROL), self.known(other))
        self.assertIn("local='bob'", self.known(waiting))
        self.assertEqual(self.now(self.spool.erase("bob@b.example", "")), 0)
        self.assertEqual(self.balanced().ended, {"relayed": 2})

    def test_a_hash_is_erased_too(self) -> None:
        self.now(self.spool.mask_history("hash", lambda text: ADDRESS.sub("#0123456789abcdef", text)))
        id = self.end(recipient(0))
        self.assertEqual(self.now(self.spool.erase("bob@b.example", "#0123456789abcdef")), 1)
        self.assertNotIn("#0123456789abcdef", self.known(id))
