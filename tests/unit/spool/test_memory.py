"""The memory spool by the contract of all, and its failures on demand."""

from __future__ import annotations

from typing import Any

from spool_contract import (
    SMALL,
    AcceptanceContract,
    FinishContract,
    LeaseContract,
    OperatorContract,
    SpoolCase,
    TurnsContract,
    WaitingContract,
    envelope,
    outcome,
    recipient,
)
from twisted.trial.unittest import SynchronousTestCase

from mta.reply import LOCAL_ERROR, Reply, TemporaryFailure
from mta.spool.memory import MemorySpool
from mta.spool.values import Result


class Memory(SpoolCase):
    def make_spool(self) -> MemorySpool:
        return MemorySpool(self.clock, notify=self.notify)

    def crash(self) -> MemorySpool:
        return self.spool  # type: ignore[no-any-return]

    def lose_body(self, id: str) -> None:
        self.spool.damage(id)


class MemoryAcceptance(Memory, AcceptanceContract, SynchronousTestCase):
    """From the first octet to the commit."""


class MemoryLeases(Memory, LeaseContract, SynchronousTestCase):
    """Who gets what."""


class MemoryFinish(Memory, FinishContract, SynchronousTestCase):
    """What results make of recipients."""


class MemoryOperator(Memory, OperatorContract, SynchronousTestCase):
    """Looking and changing."""


class OnDemand(Memory, SynchronousTestCase):
    """What a test can make it do."""

    def test_a_commit_that_fails_leaves_nothing(self) -> None:
        self.spool.fail_next("commit", TemporaryFailure(LOCAL_ERROR))
        self.failureResultOf(self.spool.commit(self.write(), None), TemporaryFailure)
        self.assertEqual(self.page(), [])
        self.accept()

    def test_each_step_of_writing_can_fail(self) -> None:
        incoming = self.spool.begin(0)
        for operation, step in (
            ("write", lambda: incoming.write(SMALL)),
            ("add_recipients", lambda: incoming.add_recipients([recipient()])),
            ("seal", lambda: incoming.seal(envelope(), (), ())),
        ):
            self.spool.fail_next(operation, TemporaryFailure(LOCAL_ERROR))
            with self.assertRaises(TemporaryFailure):
                step()
            self.assertIsNone(step())

    def test_a_finish_that_fails_leaves_the_lease_alive(self) -> None:
        lease = self.accept_leased()
        self.spool.fail_next("finish", TemporaryFailure(LOCAL_ERROR))
        result = Result(lease=lease, outcomes=(outcome(),))
        self.failureResultOf(self.spool.finish((result,)), TemporaryFailure)
        self.assertEqual(self.now(self.spool.finish((result,))), [])

    def test_operations_wait_while_held(self) -> None:
        self.spool.hold()
        first: Any = self.spool.commit(self.write(), None)
        second = self.spool.totals()
        self.assertNoResult(first)
        self.spool.let_go()
        self.assertIsNone(self.successResultOf(first))
        self.assertEqual(self.successResultOf(second).accepted, 1)

    def test_it_can_be_sick(self) -> None:
        self.spool.sick = Reply.of(452, "4.3.1", "full")
        self.assertEqual(self.spool.unhealthy().code, 452)


class MemoryTurns(Memory, TurnsContract, SynchronousTestCase):
    """Fair between senders and priorities."""


class MemoryWaiting(Memory, WaitingContract, SynchronousTestCase):
    """What waits, due or not."""
