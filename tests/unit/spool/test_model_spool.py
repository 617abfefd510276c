"""Whatever is done to a spool, in whatever order: its counters say what there is, and who is named is found."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from spool_case import ANN, BOB, CAROL, LATER, MINUTE, NEVER, NORTH, SOUTH, envelope, outcome, recipient
from sqlite_case import SqliteCase
from twisted.trial.unittest import SynchronousTestCase

from mta import events
from mta.address import Address
from mta.envelope import Status
from mta.spool import incoming as incoming_module
from mta.spool import named as named_module
from mta.spool import narrow
from mta.spool.masking import ADDRESS, everybody
from mta.spool.named import names_of
from mta.spool.reader import SpoolReader
from mta.spool.settle import matches
from mta.spool.store import through
from mta.spool.values import ChangeKind, Next, PageKey, Selection

DAVE = Address("Da ve", "b.example")
PEOPLE = st.sampled_from([ANN, BOB, CAROL, DAVE])
PLACES = st.sampled_from([NORTH, SOUTH])
SOME = st.sampled_from([{}, {"sender": str(ANN)}, {"recipient": "@b.example"}, {"recipient": str(DAVE)},
                        {"destination": NORTH}, {"place": "c.example"}, {"held": True}])  # fmt: skip
SELECTIONS: tuple[dict[str, Any], ...] = (
    {"recipient": str(BOB)},
    {"recipient": "@b.example"},
    {"recipient": str(DAVE), "held": True},
    {"sender": str(ANN)},
    {"place": "c.example"},
    {"destination": NORTH},
)
KINDS = st.sampled_from([ChangeKind.HOLD, ChangeKind.RELEASE, ChangeKind.RETRY, ChangeKind.BOUNCE, ChangeKind.DELETE])


class World(SqliteCase, SynchronousTestCase):
    """A spool to do things to; parts of a few rows, so that there are many."""

    __test__ = False  # another drives it

    def setUp(self) -> None:
        for module, name, value in (
            (narrow, "SLICE", 3),
            (narrow, "CANDIDATES", 2),
            (narrow, "FEW", 4),
            (named_module, "SLICE", 2),
            (incoming_module, "AT_ONCE", 2),
        ):
            self.patch(module, name, value)
        super().setUp()
        self.folder = tempfile.mkdtemp(dir=".")
        self.state = str(Path(self.folder, "state").absolute())
        self.now(self.spool.close())
        self.spool = self.make_spool()
        self.leases: list[Any] = []

    def runTest(self) -> None:
        """It is no test."""


class Model(RuleBasedStateMachine):
    """See the module's text."""

    @initialize()
    def begin(self) -> None:
        self.world = World()
        self.world.setUp()

    def teardown(self) -> None:
        self.world.tearDown()
        self.world.doCleanups()
        shutil.rmtree(self.world.folder)

    @rule(sender=st.none() | PEOPLE, to=st.lists(st.tuples(PEOPLE, PLACES, st.booleans()), min_size=1, max_size=4),
          leased=st.booleans())  # fmt: skip
    def accept(self, sender: Address | None, to: list[Any], leased: bool) -> None:
        world = self.world
        ones = [
            recipient(n, address, place, hold="odd" if hold else "", original=BOB, due=world.clock.at)
            for n, (address, place, hold) in enumerate(to)
        ]
        story = (events.ACCEPTED(1, sender=str(sender or ""), recipients=[str(one.address) for one in ones]),)
        incoming = world.write(b"x", *ones, envelope=envelope(sender, world.clock.at), story=story)
        lease = world.now(world.spool.commit(incoming, world.born() if leased else None))
        if lease is not None:
            world.leases.append(lease)

    @rule(place=PLACES)
    def claim(self, place: Any) -> None:
        self.world.leases += self.world.claim(place, 3)

    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        world = self.world
        if not world.leases:
            return
        lease = world.leases.pop()
        outcomes, following, owed = [], {}, []
        for one in lease.recipients:
            how = data.draw(st.sampled_from(["relayed", "owed", "deferred", "held", "untried"]))
            if how in ("relayed", "owed"):
                outcomes.append(outcome(one.id, Status.FAILED if how == "owed" else Status.RELAYED, NEVER))
                owed += [one.id] if how == "owed" else []
            elif how != "untried":
                progress = {"reply": f"451 4.7.1 <{CAROL}> is greylisted"}
                outcomes.append(outcome(one.id, Status.DEFERRED, LATER))
                following[one.id] = Next(world.clock.at, SOUTH, "odd" if how == "held" else "", progress)
        told = (events.ATTEMPT(2, address=str(BOB), reply=f"550 5.1.1 <{DAVE}>, not <{BOB}>"),)
        world.finish(lease, outcomes=tuple(outcomes), next=following, owed=tuple(owed), events=told)

    @rule(revive=st.booleans())
    def report(self, revive: bool) -> None:
        for notice in self.world.claim_notices():
            ns = [one.id for one in notice.recipients]
            if revive and all("status" in one.progress for one in notice.recipients):
                following = {n: Next(self.world.clock.at, NORTH, "looped") for n in ns}
                self.world.finish(notice, next=following, notices_done=tuple(ns))
            else:
                self.world.finish(notice, notices_done=tuple(ns))

    @rule(kind=KINDS, some=SOME)
    def change(self, kind: ChangeKind, some: dict[str, Any]) -> None:
        expected = sum(not row.claimed for row in self.world.page(**some))
        count = self.world.change(kind, **some)
        assert count <= expected
        assert kind is not ChangeKind.DELETE or count == expected

    @rule(minutes=st.sampled_from([1, 5]))
    def idle(self, minutes: int) -> None:
        self.world.clock.at += minutes * MINUTE
        self.world.reactor.pump([2, 2])

    @rule()
    def purge(self) -> None:
        self.world.now(self.world.spool.purge(self.world.clock.at - 3 * MINUTE, 2))

    @rule(whole=st.booleans())
    def mask(self, whole: bool) -> None:
        mask = None if whole else lambda text: ADDRESS.sub(lambda match: f"*@{match[0].rpartition('@')[2]}", text)
        self.world.now(self.world.spool.mask_history("full" if whole else "domain", mask))

    @rule(who=PEOPLE)
    def erase(self, who: Address) -> None:
        world = self.world
        world.now(world.spool.erase(str(who), ""))
        with SpoolReader(world.state) as reader:
            query = (
                "SELECT id FROM message m WHERE NOT EXISTS (SELECT 1 FROM recipient WHERE message = m.id)"
                " AND NOT EXISTS (SELECT 1 FROM notice WHERE message = m.id)"
            )
            for (number,) in reader.db.execute(query).fetchall():
                assert str(who).lower() not in everybody(reader.db, number)
            sql = "SELECT message FROM named WHERE name = ?"
            left = {number for (number,) in reader.db.execute(sql, (str(who).lower(),))}
            assert not left & {number for (number,) in reader.db.execute(query)}

    @rule()
    def crash(self) -> None:
        self.world.leases.clear()
        self.world.crash()
        self.world.now(self.world.spool.recover("queue"))

    @invariant()
    def the_counters_are_right(self) -> None:
        self.world.balanced()

    @invariant()
    def the_index_names_all_and_nobody_else(self) -> None:
        with SpoolReader(self.world.state) as reader:
            db = reader.db
            late = {number for (number,) in db.execute("SELECT message FROM unnamed")}
            messages = [number for (number,) in db.execute("SELECT id FROM message")]
            there: dict[int, set[str]] = {}
            for name, number in db.execute("SELECT name, message FROM named").fetchall():
                there.setdefault(number, set()).add(name)
            last = through(db)
            assert set(there) <= set(messages), "named, and no message"
            assert all(number <= last for number in there)
            for number in messages:
                found, expected = there.get(number, set()), names_of(db, number)
                assert found <= expected if number in late else found == (expected if number <= last else set())

    @invariant()
    def pages_have_what_is_selected(self) -> None:
        for history in (False, True):
            everything = self.world.page(history)
            for some in SELECTIONS:
                selection = Selection(**some)
                rows: list[Any] = []
                while page := self.world.now(self.world.spool.page(selection, _key(rows), 2, history)):
                    rows += page
                assert rows == [row for row in everything if matches(selection, row)], (some, history)


def _key(rows: list[Any]) -> PageKey | None:
    return PageKey(rows[-1].id, rows[-1].recipient.id) if rows else None


class Anything(SynchronousTestCase):
    def test_in_any_order(self) -> None:
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            Model, settings=settings(max_examples=25, stateful_step_count=25, deadline=None, database=None)
        )
