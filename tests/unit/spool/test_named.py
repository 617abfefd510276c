"""The index by address: filled when there is time, forgotten with what it names."""

from __future__ import annotations

from typing import Any

from spool_case import ANN, BOB, CAROL, LATER, MINUTE, SOUTH, START, outcome, recipient
from sqlite_case import SqliteCase
from twisted.trial.unittest import SynchronousTestCase

from mta import events
from mta.envelope import Status
from mta.spool import engine, named
from mta.spool.jobs import Job
from mta.spool.masking import ADDRESS
from mta.spool.values import Next, id_number

TOLD = (events.ATTEMPT(2, 0, address=str(BOB), reply="550 5.1.1 <Dave@d.example> is unknown"),)


class Named(SqliteCase, SynchronousTestCase):
    def idle(self, ticks: int = 1) -> None:
        self.clock.at += 2 * MINUTE
        self.reactor.pump([engine.TICK] * ticks)

    def end(self, **more: Any) -> str:
        lease = self.accept_leased(recipient(0))
        self.finish(lease, outcomes=(outcome(0),), events=TOLD, **more)
        id: str = lease.message.id
        return id

    def names(self, id: str) -> list[str]:
        return [name for (name,) in self.sql("SELECT name FROM named WHERE message = ? ORDER BY name", id_number(id))]

    def test_filled_when_idle_but_not_with_what_is_young(self) -> None:
        id = self.accept(recipient(0))
        self.reactor.pump([engine.TICK])
        self.assertEqual(self.names(id), [])
        self.idle()
        self.assertEqual(self.names(id), ["@a.example", "@b.example", str(ANN), str(BOB)])

    def test_one_that_has_ended_is_in_it_with_all_that_its_story_names(self) -> None:
        id = self.end()
        self.idle()
        self.assertIn("dave@d.example", self.names(id))
        self.assertNotIn("@d.example", self.names(id))

    def test_one_that_ends_later_is_looked_at_again(self) -> None:
        lease = self.accept_leased(recipient(0))
        self.idle()
        self.assertNotIn("dave@d.example", self.names(lease.message.id))
        self.finish(lease, outcomes=(outcome(0),), events=TOLD)
        self.assertEqual(self.now(self.spool.erase("dave@d.example", "")), 1)
        self.idle()
        self.assertEqual(self.sql("SELECT * FROM unnamed"), [])
        self.assertNotIn("dave@d.example", self.names(lease.message.id))

    def test_one_that_is_committed_late_is_found(self) -> None:
        slow = self.write(b"x", recipient(0, CAROL))
        self.accept()
        self.idle()
        self.now(self.spool.commit(slow, None))
        self.assertEqual([row.id for row in self.page(recipient=str(CAROL))], [slow.id])
        self.idle()
        self.assertIn(str(CAROL), self.names(slow.id))

    def test_what_is_masked_erased_or_purged_leaves_it(self) -> None:
        id, other = self.end(), self.end()
        self.idle()
        self.now(self.spool.erase(str(BOB), ""))
        self.assertEqual(self.names(id), ["@a.example", str(ANN), "dave@d.example", "erased"])
        self.now(self.spool.mask_history("domain", lambda text: ADDRESS.sub("*@a.example", text)))
        self.assertEqual(self.names(other), ["*@a.example", "@a.example", "erased"])
        self.now(self.spool.purge(self.clock.at, 10))
        self.assertEqual(self.sql("SELECT * FROM named"), [])

    def test_nothing_is_stopped_by_a_row_that_cannot_be_read(self) -> None:
        id = self.end()
        self.sql("UPDATE history SET detail = ?", '{"path": dave@d.example')
        self.idle()
        self.assertIn("dave@d.example", self.names(id))
        self.assertEqual(self.now(self.spool.erase("dave@d.example", "")), 1)
        self.assertEqual(self.sql("SELECT detail FROM history"), [('{"path": erased',)])
        self.assertEqual(self.now(self.spool.purge(self.clock.at, 10)), 1)
        self.assertEqual(self.sql("SELECT * FROM named"), [])

    def test_a_hash_is_found_and_erased(self) -> None:
        hashed = "#0123456789abcdef"
        self.now(self.spool.mask_history("hash", lambda text: ADDRESS.sub(hashed, text)))
        id = self.end()
        self.idle()
        self.assertEqual([row.id for row in self.page(history=True, recipient=hashed)], [id])
        self.assertEqual(self.now(self.spool.erase("bob@b.example", hashed)), 1)
        self.assertEqual(self.names(id), ["erased"])

    def test_a_deferral_tells_no_stranger(self) -> None:
        """What a reply named while it waited, and no longer stands anywhere, is not left in the index."""
        lease = self.accept_leased(recipient(0))
        progress = {"reply": "451 4.7.1 <dave@d.example> is greylisted"}
        self.finish(lease, outcomes=(outcome(0, Status.DEFERRED, LATER),), next={0: Next(START, SOUTH, "", progress)})
        self.idle()
        self.assertEqual(self.sql("SELECT * FROM named WHERE name LIKE 'dave%'"), [])

    def test_others_go_first(self) -> None:
        self.accept()
        self.lanes.paused = True
        self.clock.at += 2 * MINUTE
        waiting = [self.spool.commit(self.write(), None) for _ in range(named.MANY)]
        self.reactor.advance(engine.TICK)
        self.lanes.run()
        for deferred in waiting:
            self.now(deferred)
        self.assertEqual(self.sql("SELECT * FROM named"), [])
        self.idle(2)
        self.assertNotEqual(self.sql("SELECT * FROM named"), [])

    def test_so_many_slices_a_tick(self) -> None:
        self.patch(named, "SLICE", 2)
        self.patch(named, "SLICES", 3)
        for _ in range(9):
            self.accept()
        self.idle()
        self.assertEqual(self.sql("SELECT count(DISTINCT message) FROM named"), [(6,)])
        self.idle()
        self.assertEqual(self.sql("SELECT count(DISTINCT message) FROM named"), [(9,)])

    def test_where_it_fails_it_rests_and_what_is_looked_for_is_found(self) -> None:
        id = self.accept(recipient(0, CAROL))
        self.patch(engine, "NAME_AGAIN", 3)
        runs: list[Job] = []

        def broken(job: Job, store: Any) -> list[int]:
            runs.append(job)
            raise ValueError("a row that cannot be read")

        self.patch(named.NameJob, "run", broken)
        self.idle(5)
        self.assertEqual(len(runs), 2)
        self.assertEqual([row.id for row in self.page(recipient=str(CAROL))], [id])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)
