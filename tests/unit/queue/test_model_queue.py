"""Spool and queue manager against a model that fits on a page: nothing is lost, no lease twice, all is counted.

A machine of hypothesis takes mail in, lets deliveries succeed, fail, wait or raise, lets time pass, holds, releases and
deletes, reloads, lets the disk fail, and kills the process: a manager that is forgotten, on a spool that is opened
anew.  The model knows each recipient that was promised, and what the far end was given.  In the end the disk works and
the far end says yes: then all must have ended.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from test_manager import LATER, NEVER, OK, Delivery, ManagerCase
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.delivery.values import Batch
from mta.envelope import Recipient
from mta.reply import Reply, TemporaryFailure
from mta.spool.lanes import Inline
from mta.spool.sqlite import SqliteSpool
from mta.spool.values import Change, ChangeKind, PageKey, Row, Selection

Key = tuple[str, int]
MOODS = st.sampled_from(("yes", "later", "no", "raise", "silent"))
DOMAINS = st.sampled_from(("b.example", "c.example", "d.example"))
BY_HAND = st.sampled_from((ChangeKind.HOLD, ChangeKind.RELEASE, ChangeKind.RETRY, ChangeKind.DELETE, ChangeKind.BOUNCE))


class Reactor(Clock):
    """Time, and threads that are the caller's."""

    def callFromThread(self, call: Callable[..., Any], *args: Any) -> None:
        call(*args)


class FarEnd(Delivery):
    """Knows what it is given at once, and what it took."""

    def __init__(self) -> None:
        super().__init__("internet")
        self.running: Counter[Key] = Counter()
        self.took: Counter[Key] = Counter()
        self.mood = "yes"
        self.answer = self.reply

    def reply(self, batch: Batch, recipient: Recipient) -> Reply | Exception | None:
        if self.mood == "yes":
            self.took[batch.message.id, recipient.id] += 1
        answers = {"yes": OK, "later": LATER, "no": NEVER, "raise": ZeroDivisionError("bug"), "silent": None}
        return answers[self.mood]  # type: ignore[return-value]  # a dict of different things

    async def deliver(self, batch: Batch) -> None:
        keys = [(batch.message.id, recipient.id) for recipient in batch.recipients]
        self.running.update(keys)
        try:
            await super().deliver(batch)
        finally:
            self.running.subtract(keys)


class World(ManagerCase):
    """A manager on a spool on a disk that fails when told."""

    __test__ = False

    def runTest(self) -> None:
        """So that it can be made."""

    def setUp(self) -> None:
        self.state = tempfile.mkdtemp(prefix="queue-model-", dir=Path.cwd())  # the test's own
        self.failing = False
        super().setUp()
        self.begin(1000.0)

    def begin(self, seconds: float) -> None:
        """A new process."""
        self.clock = Reactor()
        self.clock.advance(seconds)
        self.internet = FarEnd()
        self.spool: Any = SqliteSpool(
            self.state,
            reactor=self.clock,
            now=self.now,
            lanes=Inline(),
            connect=self.connect,
            reserve_bytes=0,
            reserve_inodes=0,
        )
        self.spool.open()
        self.successResultOf(self.spool.recover("test"))
        self.manager = self.make()
        self.spool.notify = self.manager.look_soon
        self.manager.start()
        self.clock.advance(0)

    def connect(self, path: str) -> sqlite3.Connection:
        world = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
                if world.failing and sql.startswith("COMMIT"):
                    raise sqlite3.OperationalError("disk I/O error") from OSError(5, "I/O error")
                return super().execute(sql, *args)

        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Connection)

    def rows(self, history: bool) -> list[Row]:
        rows: list[Row] = []
        while page := self.successResultOf(
            self.spool.page(Selection(), PageKey(rows[-1].id, rows[-1].recipient.id) if rows else None, 500, history)
        ):
            rows += page
        return rows


class QueueMachine(RuleBasedStateMachine):
    """See the module's text."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.setUp()
        self.promised: set[Key] = set()
        self.took: Counter[Key] = Counter()  # of processes that are gone
        self.twice: Counter[Key] = Counter()  # may have come once more, by the design
        self.deleted = self.bounced = self.refused = False

    @rule(count=st.integers(1, 5), domain=DOMAINS, claim=st.booleans())
    def accept(self, count: int, domain: str, claim: bool) -> None:
        world = self.world
        addresses = [f"r{n}@{domain if n % 3 else 'b.example'}" for n in range(count)]
        try:
            id = world.accept(*addresses, claim=claim)
        except world.failureException:
            assert world.failing, "refused for no reason"
            return
        self.promised.update((id, n) for n in range(count))

    @rule(mood=MOODS)
    def feel(self, mood: str) -> None:
        self.world.internet.mood = mood
        self.refused = self.refused or mood == "no"

    @rule()
    def dawdle(self) -> None:
        """Deliveries take their time from now on."""
        if self.world.internet.wait is None:
            self.world.internet.wait = []

    @rule()
    def hurry(self) -> None:
        waiting, self.world.internet.wait = self.world.internet.wait or [], None
        for one in waiting:
            one.callback(None)

    @rule(seconds=st.sampled_from((1, 60, 400, 2000, 14_400)))
    def let_pass(self, seconds: int) -> None:
        self.world.clock.advance(seconds)

    @rule(kind=BY_HAND, domain=DOMAINS)
    def change(self, kind: ChangeKind, domain: str) -> None:
        self.deleted = self.deleted or kind is ChangeKind.DELETE
        self.bounced = self.bounced or kind is ChangeKind.BOUNCE
        changing: Deferred[int] = self.world.spool.change(Selection(recipient=f"r1@{domain}"), Change(kind), "root")
        changing.addErrback(lambda failure: failure.trap(TemporaryFailure))
        self.world.manager.poke()

    @rule(active=st.sampled_from((3, 1000)))
    def reload(self, active: int) -> None:
        self.world.manager.configure(self.world.setup(active=active))

    @rule(failing=st.booleans())
    def disk(self, failing: bool) -> None:
        self.world.failing = failing

    @precondition(lambda self: self.promised)
    @rule()
    def kill(self) -> None:
        """What was in memory is gone: outcomes that the disk would not take, and all that was under way."""
        world = self.world
        if world.failing:
            waiting = {(row.id, row.recipient.id) for row in world.rows(False)}
            self.twice.update(key for key in world.internet.took if key in waiting)
        self.took.update(world.internet.took)
        world.successResultOf(world.spool.close())
        world.failing = False
        world.begin(world.clock.seconds())

    @invariant()
    def nobody_has_it_twice(self) -> None:
        assert max(self.world.internet.running.values(), default=0) <= 1, "two leases on one recipient"
        took = self.took + self.world.internet.took
        assert all(count <= 1 + self.twice[key] for key, count in took.items()), "delivered twice"

    @invariant()
    def all_is_counted(self) -> None:
        totals = self.world.successResultOf(self.world.spool.audit())
        assert totals.unaccounted == 0, totals
        assert totals.accepted == len(self.promised), totals

    @invariant()
    def each_is_in_one_place(self) -> None:
        waiting = Counter((row.id, row.recipient.id) for row in self.world.rows(False))
        ended = {(row.id, row.recipient.id): row.status for row in self.world.rows(True)}
        assert waiting + Counter(ended.keys()) == Counter(self.promised)
        took = self.took + self.world.internet.took
        for key, status in ended.items():
            assert status != "relayed" or took[key], "relayed, and nobody has it"
            assert status != "failed" or self.refused or self.bounced, "failed, and nobody refused it"
            assert status != "deleted" or self.deleted, "deleted by nobody"

    def teardown(self) -> None:
        """When all goes well again, all of it ends."""
        world = self.world
        try:
            world.failing = False
            self.feel("yes")
            self.hurry()
            for _ in range(40):
                world.clock.advance(2000)
                world.successResultOf(world.spool.change(Selection(), Change(ChangeKind.RELEASE), "root"))
            self.all_is_counted()
            self.each_is_in_one_place()
            self.nobody_has_it_twice()
            assert not world.rows(False), world.rows(False)
        finally:
            world.successResultOf(world.spool.close())
            shutil.rmtree(world.state)


class Model(SynchronousTestCase):
    """See the module's text."""

    def test_the_queue_does_what_the_model_does(self) -> None:
        run_state_machine_as_test(
            QueueMachine,
            settings=settings(
                max_examples=12,
                stateful_step_count=25,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        self.flushLoggedErrors()
