"""A disk that fails, is full or is slow: nothing that was promised is lost, nothing is promised that is not kept."""

from __future__ import annotations

import os
import sqlite3
from typing import Any
from unittest import SkipTest

from spool_contract import MINUTE, SMALL, START, outcome, recipient
from sqlite_case import SqliteCase
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mta.envelope import Status
from mta.events import SPOOL_RECOVERED, SPOOL_TROUBLE, Event
from mta.reply import TemporaryFailure
from mta.spool.sqlite import SqliteSpool
from mta.spool.values import Change, ChangeKind, Lease, Result, Selection


class FailedSync(SqliteCase, SynchronousTestCase):
    """RFC 5321 6.1: 250 is a promise; without a sync there is none."""

    def refused(self, deferred: Deferred[Any]) -> str:
        failure: Any = self.failureResultOf(deferred, TemporaryFailure).value
        return f"{failure.reply.code} {failure.reply.enhanced}"

    def end(self, lease: Lease) -> Deferred[list[Lease]]:
        return self.spool.finish((Result(lease=lease, outcomes=(outcome(),)),))  # type: ignore[no-any-return]

    def test_all_commits_of_the_batch_get_451(self) -> None:
        self.lanes.paused = True
        commits = [self.spool.commit(self.write(), self.born()) for _ in range(3)]
        self.disk.failing = "COMMIT"
        self.lanes.run()
        self.assertEqual([self.refused(commit) for commit in commits], ["451 4.3.0"] * 3)
        self.assertEqual(str(self.spool.unhealthy())[:9], "452 4.3.1")
        self.disk.failing = ""
        self.reactor.advance(1)
        self.assertIsNone(self.spool.unhealthy())
        self.assertEqual(self.page(), [])
        self.accept()
        self.assertEqual(self.balanced().accepted, 1)
        self.assertEqual([event.code for event, _ in self.events], [SPOOL_TROUBLE.code, SPOOL_RECOVERED.code])

    def test_a_full_disk_is_told_as_such(self) -> None:
        self.disk.failing, self.disk.code = "COMMIT", sqlite3.SQLITE_FULL
        self.assertEqual(self.refused(self.spool.commit(self.write(), None)), "451 4.3.1")
        self.disk.failing = ""

    def test_the_database_is_opened_anew_before_anything_is_accepted(self) -> None:
        self.disk.failing = "COMMIT"
        self.refused(self.spool.commit(self.write(), None))
        opened = self.disk.opened
        self.disk.failing = ""
        self.accept()
        self.assertEqual(self.disk.opened, opened + 1)

    def test_outcomes_wait_in_memory_and_go_first(self) -> None:
        lease = self.accept_leased()
        self.disk.failing = "COMMIT"
        done = self.end(lease)
        self.assertNoResult(done)
        self.reactor.pump([1, 2, 4])
        self.assertNoResult(done)
        self.disk.failing = ""
        self.reactor.advance(8)
        self.assertEqual(self.successResultOf(done), [])
        self.assertEqual(self.balanced().ended, {"relayed": 1})

    def test_nobody_else_gets_what_waits_to_be_written(self) -> None:
        lease = self.accept_leased()
        self.disk.failing = "COMMIT"
        done = self.end(lease)
        self.disk.failing = ""
        self.clock.at += 60 * MINUTE  # the lease would be over
        self.assertEqual(self.claim(), [])
        self.assertEqual(self.successResultOf(done), [])

    def test_a_report_that_waits_comes_with_its_outcome(self) -> None:
        lease = self.accept_leased()
        report = self.write(SMALL, recipient())
        self.disk.failing = "COMMIT"
        failed = Result(lease=lease, outcomes=(outcome(0, Status.FAILED),), spawned=(report,))
        done = self.spool.finish((failed,))
        self.disk.failing = ""
        self.reactor.advance(1)
        self.assertEqual(self.successResultOf(done), [])
        self.assertEqual(self.claim_one().message.id, report.id)
        self.balanced()

    def test_what_was_given_back_is_free_when_the_disk_works(self) -> None:
        lease = self.accept_leased()
        self.disk.failing = "COMMIT"
        released = self.spool.release([lease])
        self.assertNoResult(released)
        self.disk.failing = ""
        self.reactor.advance(1)
        self.successResultOf(released)
        self.claim_one()

    def test_it_stays_unhealthy_while_the_database_does_not_open(self) -> None:
        self.disk.failing = "COMMIT"
        self.refused(self.spool.commit(self.write(), None))
        self.disk.failing = "PRAGMA"
        self.reactor.pump([1, 2, 4, 8, 16, 30, 30])
        self.assertIsNotNone(self.spool.unhealthy())
        self.refused(self.spool.commit(self.write(), None))
        self.disk.failing = ""
        self.reactor.advance(30)
        self.assertIsNone(self.spool.unhealthy())

    def test_claims_and_changes_fail_and_may_be_asked_again(self) -> None:
        self.accept()
        self.disk.failing = "BEGIN"
        self.refused(self.spool.claim("queue", recipient().destination, START, START + 1, 9))
        self.refused(self.spool.change(Selection(), Change(ChangeKind.HOLD), "root"))
        self.refused(self.spool.purge(START, 9))
        self.disk.failing = ""
        self.claim_one()

    def test_closing_fails_what_could_not_be_written(self) -> None:
        lease = self.accept_leased()
        self.disk.failing = "COMMIT"
        done = self.end(lease)
        self.now(self.spool.close())
        self.refused(done)
        self.disk.failing = ""
        self.spool = self.make_spool()
        self.now(self.spool.recover("queue"))
        self.claim_one()

    def test_a_real_full_database(self) -> None:
        # SQLite itself says "database or disk is full", at the limit of pages that it is given.
        pages: list[sqlite3.Connection] = []

        def connect(path: str) -> sqlite3.Connection:
            db = self.disk.connect(path)
            pages.append(db)
            return db

        self.now(self.spool.close())
        self.spool = self.make_spool(connect=connect)
        self.accept()
        used = pages[-1].execute("PRAGMA page_count").fetchone()[0]
        pages[-1].execute(f"PRAGMA max_page_count = {used + 2}")
        big = b"x" * 60_000
        self.assertEqual(self.refused(self.spool.commit(self.write(big), None)), "451 4.3.1")
        self.reactor.advance(1)  # the connection that is opened anew has no such limit
        self.accept(body=big)
        self.assertEqual(self.balanced().accepted, 2)


class Batches(SqliteCase, SynchronousTestCase):
    """Many share a transaction; one that is wrong stays alone."""

    def test_sessions_share_one_sync(self) -> None:
        commits: list[str] = []
        execute = self.disk.connect

        def connect(path: str) -> sqlite3.Connection:
            db = execute(path)
            db.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
            return db

        self.now(self.spool.close())
        self.spool = self.make_spool(connect=connect)
        commits.clear()
        self.lanes.paused = True
        waiting = [self.spool.commit(self.write(), None) for _ in range(50)]
        self.lanes.run()
        self.assertEqual([self.successResultOf(one) for one in waiting], [None] * 50)
        self.assertEqual(commits, ["COMMIT"])

    def test_a_wrong_message_does_not_fail_the_others(self) -> None:
        lease = self.accept_leased()
        self.lanes.paused = True
        sound = self.spool.commit(self.write(), None)
        wrong = self.spool.commit(self.write(SMALL, recipient(0), recipient(0)), None)
        ended = self.spool.finish((Result(lease=lease, outcomes=(outcome(),)),))
        also = self.spool.commit(self.write(), None)
        self.lanes.run()
        self.failureResultOf(wrong, TemporaryFailure)
        self.assertEqual([self.successResultOf(one) for one in (sound, also, ended)], [None, None, []])
        self.assertEqual(len(self.flushLoggedErrors(sqlite3.IntegrityError)), 2)
        self.assertIsNone(self.spool.unhealthy())
        self.assertEqual(len(self.page()), 2)
        self.balanced()

    def test_a_result_that_cannot_be_written_is_told_and_its_lease_lives(self) -> None:
        lease = self.accept_leased()
        odd = {"host": object()}  # no JSON
        event = ("attempt", odd, START, 0)
        result = Result(lease=lease, outcomes=(outcome(),), events=(Event(*event),))
        self.failureResultOf(self.spool.finish((result,)), TemporaryFailure)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 2)
        self.assertEqual(self.finish(lease, outcomes=(outcome(),)), [])

    def test_a_cancelled_commit_is_kept_and_its_lease_given_back(self) -> None:
        self.lanes.paused = True
        commit = self.spool.commit(self.write(), self.born())
        commit.addErrback(lambda failure: None)
        commit.cancel()
        self.lanes.run()
        self.claim_one()

    def test_a_cancelled_claim_is_given_back(self) -> None:
        self.accept()
        self.lanes.paused = True
        claim = self.spool.claim("queue", recipient().destination, START, START + MINUTE, 9)
        claim.addErrback(lambda failure: None)
        claim.cancel()
        self.lanes.run()
        self.claim_one()

    def test_bodies_past_the_bound_are_read_back(self) -> None:
        self.now(self.spool.close())
        self.spool = self.make_spool(keep_bytes=0)
        lease = self.accept_leased()
        self.assertEqual(self.header(lease.message), b"Subject: hello\r\n\r\n")
        self.assertEqual(self.read(lease.message), SMALL)


class Room(SqliteCase, SynchronousTestCase):
    """452 4.3.1 before the disk is full: the reserve is for outcomes."""

    def again(self, **reserve: int) -> SqliteSpool:
        self.now(self.spool.close())
        self.spool = self.make_spool(**reserve)
        return self.spool  # type: ignore[no-any-return]

    def test_less_room_than_the_reserve(self) -> None:
        self.assertEqual(str(self.again(reserve_bytes=1 << 60).unhealthy())[:9], "452 4.3.1")

    def test_fewer_inodes_than_the_reserve(self) -> None:
        if not os.statvfs(".").f_files:
            raise SkipTest("this file system makes inodes as it needs them")
        self.assertEqual(str(self.again(reserve_inodes=1 << 60).unhealthy())[:9], "452 4.3.1")

    def test_outcomes_are_written_all_the_same(self) -> None:
        self.again(reserve_bytes=1 << 60)
        self.finish(self.accept_leased(), outcomes=(outcome(),))
        self.reactor.advance(2)
        self.assertIsNotNone(self.spool.unhealthy())
