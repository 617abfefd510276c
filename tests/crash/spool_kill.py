"""The spool is killed before each step that reaches the disk, opened again, and audited.

``python -m tests.crash.spool_kill [--every N]``: each story below is run once to its end, which counts its
steps, then once for every Nth step in a process that dies before it (see ``steps.py``).  What must be so afterwards

- nothing is unaccounted for, nothing is damaged, no body file is left that no message has;
- a message that was told as taken has all its recipients: waiting, or ended if that was told or under way;
- one that was not told as taken is there whole or not at all;
- an outcome that was told stands, and a failure comes with its report, never the one without the other;
- each recipient can be claimed once, and only once.

Exit status 0 if all that is so.  No thread, no reactor, no clock: every run takes the same steps.
"""

from __future__ import annotations

import argparse
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final

from twisted.internet.task import Clock
from twisted.python.failure import Failure

from mta.address import Address
from mta.envelope import Destination, Envelope, Origin, Outcome, Recipient, Scope, Status
from mta.reply import Reply
from mta.spool.backup import backup
from mta.spool.lanes import Inline
from mta.spool.load import external_bodies
from mta.spool.reader import SpoolReader
from mta.spool.schema import MIGRATIONS, VERSION, connect
from mta.spool.sqlite import SqliteSpool
from mta.spool.values import Change, ChangeKind, Claim, Lease, Next, Result, Selection, id_text
from mta.waiting import as_deferred
from tests.crash.steps import Run, Say, Steps, run
from tests.crash.tally import Tally

AT: Final = 1_700_000_000_000
LATER: Final = AT + 3_600_000
NORTH, SOUTH = Destination("internet", "b.example"), Destination("internet", "c.example")
ANN, BOB = Address("ann", "a.example"), Address("bob", "b.example")
SMALL: Final = b"Subject: small\r\n\r\nbody\r\n"
LARGE: Final = b"Subject: large\r\n\r\n" + b"0123456789abcdef" * 6000
VERSION_0: Final = Path(__file__).parents[1] / "unit" / "spool" / "version0.sql"
YES, NO = Reply.of(250, "2.0.0", "Ok"), Reply.of(550, "5.1.1", "No such user")


class Reactor(Clock):
    """Time that passes when told, and threads that are the caller's."""

    def callFromThread(self, call: Callable[..., Any], *args: Any) -> None:
        call(*args)


def now(maybe: Awaitable[Any] | Any) -> Any:
    """What it comes to, which is there at once; what failed is raised."""
    if not isinstance(maybe, Awaitable):
        return maybe
    results: list[Any] = []
    as_deferred(maybe).addBoth(results.append)
    (result,) = results
    if isinstance(result, Failure):
        result.raiseException()
    return result


class Desk:
    """A spool without threads, and what the stories do with it; what is promised is said."""

    def __init__(self, state: str, connect: Any = connect, say: Say = lambda *what: None) -> None:
        self.reactor = Reactor()
        self.say = say
        self.at = AT
        self.spool = SqliteSpool(
            state,
            reactor=self.reactor,
            now=lambda: self.at,
            lanes=Inline(),
            connect=connect,
            reserve_bytes=0,
            reserve_inodes=0,
        )
        self.spool.open()
        now(self.spool.recover("queue"))

    def write(self, body: bytes, count: int, to: Destination = NORTH, sender: Address | None = ANN) -> Any:
        incoming = self.spool.begin(0)
        for start in range(0, len(body), 50_000):
            now(incoming.write(body[start : start + 50_000]))
        recipients = [Recipient(id=n, address=BOB, original=BOB, destination=to, due=AT) for n in range(count)]
        now(incoming.add_recipients(recipients))
        origin = Origin(listener="mx", protocol="ESMTP", client="192.0.2.7")
        now(incoming.seal(Envelope(origin=origin, reverse_path=sender, arrived=AT), (), ()))
        return incoming

    def accept(self, body: bytes, count: int = 1, leased: bool = False, to: Destination = NORTH) -> Lease | None:
        incoming = self.write(body, count, to)
        self.say("begun", incoming.id, count)
        lease: Lease | None = now(self.spool.commit(incoming, Claim("queue", LATER) if leased else None))
        self.say("taken", incoming.id, count)
        return lease

    def finish(self, lease: Lease | None, statuses: dict[int, Status], **more: Any) -> None:
        assert lease is not None
        outcomes = tuple(
            Outcome(recipient=n, status=status, reply=NO if status is Status.FAILED else YES, scope=Scope.RECIPIENT)
            for n, status in statuses.items()
        )
        now(self.spool.finish((Result(lease=lease, outcomes=outcomes, **more),)))
        self.say("ended", lease.message.id, statuses)

    def fail(self, lease: Lease | None, body: bytes) -> None:
        """Its first recipient fails, all others have it; with the report."""
        assert lease is not None
        report = self.write(body, 1, SOUTH, None)
        self.say("reports", lease.message.id, report.id)
        statuses = {one.id: Status.RELAYED if one.id else Status.FAILED for one in lease.recipients}
        self.finish(lease, statuses, spawned=(report,))

    def claim(self, to: Destination, limit: int = 10_000) -> list[Lease]:
        leases: list[Lease] = now(self.spool.claim("queue", to, LATER, LATER + 1000, limit))
        return leases

    def change(self, kind: ChangeKind, **selection: Any) -> None:
        now(self.spool.change(Selection(**selection), Change(kind), "root"))

    def close(self) -> None:
        now(self.spool.close())


# --- the stories -----------------------------------------------------------------------------------------------


def daily(state: str) -> Callable[[Steps, Say], None]:
    """All that a message can go through."""

    def work(step: Steps, say: Say) -> None:
        desk = Desk(state, step.connect, say)
        desk.accept(SMALL, 2)
        desk.finish(desk.accept(SMALL, 1, leased=True), {0: Status.RELAYED})
        later = {1: Next(AT, SOUTH, progress={"reply": "451 4.7.1 Greylisted"})}
        desk.finish(desk.accept(LARGE, 2, leased=True), {0: Status.RELAYED, 1: Status.DEFERRED}, next=later)
        desk.fail(desk.accept(SMALL, 2, leased=True), SMALL)
        desk.fail(desk.accept(LARGE, 1, leased=True), LARGE)
        now(desk.spool.release(desk.claim(NORTH, 1)))
        desk.reactor.pump([2, 2, 2])  # idle: the log is brought into the database
        for lease in desk.claim(SOUTH, 1):
            desk.finish(lease, {one.id: Status.RELAYED for one in lease.recipients})
        desk.close()

    return work


def many(state: str) -> Callable[[Steps, Say], None]:
    """A list's members: staged in slices, made visible after the commit; and one that was aborted half way."""

    def work(step: Steps, say: Say) -> None:
        desk = Desk(state, step.connect, say)
        desk.write(LARGE, 2100).abort()
        desk.accept(SMALL, 2100)
        desk.accept(LARGE, 2100, leased=True)
        desk.close()

    return work


def upkeep(state: str) -> Callable[[Steps, Say], None]:
    """What an operator does, reports that are owed, and the purge."""

    def work(step: Steps, say: Say) -> None:
        desk = Desk(state, step.connect, say)
        owed = desk.accept(SMALL, 1, leased=True)
        desk.finish(owed, {0: Status.FAILED}, owed=(0,))
        desk.accept(LARGE, 3)
        desk.accept(SMALL, 3, to=SOUTH)
        desk.change(ChangeKind.HOLD, destination=NORTH)
        desk.change(ChangeKind.RELEASE)
        desk.change(ChangeKind.DELETE, destination=NORTH)
        for lease in now(desk.spool.claim_notices("queue", AT, LATER, 9)):
            report = desk.write(SMALL, 1, SOUTH, None)
            say("reports", lease.message.id, report.id)
            now(desk.spool.finish((Result(lease=lease, spawned=(report,), notices_done=(0,)),)))
        desk.at = LATER
        desk.reactor.pump([2, 2])  # idle: the index by address is filled
        desk.finish(desk.claim(SOUTH, 1)[0], {0: Status.RELAYED})
        desk.reactor.pump([2, 2])
        say("purging")
        now(desk.spool.purge(LATER, 100))
        desk.close()

    return work


# --- what must be so -------------------------------------------------------------------------------------------


def examine(state: str, found: Run) -> list[str]:
    """Open it as the next process would; what is wrong."""
    desk = Desk(state)
    try:
        return [*_sound(state, desk), *_kept(state, desk, found), *_claimed_once(desk)]
    finally:
        desk.close()


def _sound(state: str, desk: Desk) -> list[str]:
    wrong = [f"damaged: {damage}" for damage in now(desk.spool.check())]
    totals = now(desk.spool.audit())
    if totals.unaccounted or totals.miscounted:
        wrong.append(f"unaccounted: {totals}")
    with SpoolReader(state) as reader:
        needed = set(external_bodies(reader.db))
        wrong += [f"an orphan: {id_text(number)}" for number in reader.folder.numbers() if number not in needed]
        for what, query in _LEFT.items():
            wrong += [f"{what}: {row}" for row in reader.db.execute(query)]
    return wrong


_LEFT: Final = {
    "left in staging": "SELECT message FROM staging",
    "left claimed": "SELECT message, n FROM recipient WHERE state = 1",
    "a wrong first due": "SELECT d.service, d.next_hop, d.first_due FROM destination d WHERE d.first_due IS NOT"
    " (SELECT min(due) FROM recipient WHERE state = 0 AND destination = d.id)",
    "named, and no message": "SELECT name, message FROM named WHERE message NOT IN (SELECT id FROM message)",
    "not named": "SELECT id, sender FROM message WHERE id NOT IN (SELECT message FROM unnamed) AND sender NOT NULL"
    " AND id <= (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'named')"
    " AND NOT EXISTS (SELECT 1 FROM named WHERE name = sender AND message = id)",
}


def _kept(state: str, desk: Desk, found: Run) -> list[str]:
    """Compare what there is with what was said."""
    waiting = Counter(row.id for row in _all(desk, history=False))
    ended = {(row.id, row.recipient.id): row.status for row in _all(desk, history=True)}
    there = waiting + Counter(id for id, _ in ended)
    with SpoolReader(state) as reader:
        owed = {id_text(row[0]) for row in reader.db.execute("SELECT message FROM notice")}
    taken = {line[1] for line in found.said if line[0] == "taken"}
    purging = ["purging"] in found.said
    wrong = []
    for what, *args in found.said:
        if what == "begun":
            id, count = args
            if there[id] != count and not (there[id] == 0 and (id not in taken or purging)):
                wrong.append(f"{id}: {there[id]} recipients of {count}, taken: {id in taken}")
        elif what == "ended" and not purging:
            id, statuses = args
            wrong += [f"{id}/{n} is {ended.get((id, int(n)))}, was {s}" for n, s in statuses.items() if s != "deferred"
                      and ended.get((id, int(n))) != s]  # fmt: skip
        elif what == "reports":
            # The failure of the one, and the other that tells of it (or the debt of it): both or neither.
            id, report = args
            if not purging and ((id, 0) in ended) != bool(there[report] or id in owed):
                wrong.append(f"{id} and its report {report}: one without the other")
            if there[report] and id in owed:
                wrong.append(f"{id}: reported, and still owed")
    return wrong


def _all(desk: Desk, *, history: bool) -> list[Any]:
    rows: list[Any] = now(desk.spool.page(Selection(), None, 100_000, history))
    return rows


def _claimed_once(desk: Desk) -> list[str]:
    """All that waits can be claimed and read, once."""
    expected = Counter((row.id, row.recipient.id) for row in _all(desk, history=False) if not row.recipient.hold)
    seen: Counter[tuple[str, int]] = Counter()
    wrong = []
    for due in now(desk.spool.due(LATER, None, 100)):
        for lease in desk.claim(due.destination):
            octets = b"".join(_chunks(lease.message))
            if octets not in (SMALL, LARGE):
                wrong.append(f"{lease.message.id}: other octets")
            seen.update((lease.message.id, one.id) for one in lease.recipients)
    if seen != expected:
        wrong.append(f"cannot be claimed: {expected - seen}; claimed too often: {seen - expected}")
    return wrong


def _chunks(message: Any) -> Iterator[bytes]:
    chunks = message.open()
    while chunk := now(chunks.next()):
        yield chunk


# --- copies and migrations -------------------------------------------------------------------------------------


def prepared(state: str) -> None:
    """A spool with mail in it, closed."""
    desk = Desk(state)
    desk.accept(SMALL, 2)
    desk.accept(LARGE, 2)
    desk.close()


def copied(state: str) -> Callable[[Steps, Say], None]:
    """A backup."""
    prepared(state)

    def work(step: Steps, say: Say) -> None:
        backup(state, f"{state}-copy")
        say("copied")

    return work


def examine_copy(state: str, found: Run) -> list[str]:
    """The source is as it was; the copy is whole, or nothing takes it for a copy."""
    wrong = [*examine(state, found)]
    copy = f"{state}-copy"
    if not Path(copy, "spool", "0", "spool.db").exists():
        return [*wrong, "told as copied, and is not"] if found.said else wrong
    desk = Desk(copy)
    try:
        wrong += [*_sound(copy, desk), *_claimed_once(desk)]
        if len(_all(desk, history=False)) != 4:
            wrong.append("the copy is not whole")
    finally:
        desk.close()
    return wrong


def migrated(state: str, version: int = 0) -> Callable[[Steps, Say], None]:
    """A spool of an older version is opened."""
    root = Path(state, "spool", "0")
    (root / "body").mkdir(0o700, parents=True)
    db = sqlite3.connect(root / "spool.db")
    db.executescript(VERSION_0.read_text("utf-8"))
    for statement in chain.from_iterable(MIGRATIONS[:version]):
        db.execute(statement)
    db.execute(f"PRAGMA user_version = {version}")
    db.commit()
    db.close()
    for path in (root / "spool.db", root, root.parent, Path(state)):
        path.chmod(0o600 if path.is_file() else 0o700)

    def work(step: Steps, say: Say) -> None:
        Desk(state, step.connect, say).close()

    return work


def examine_migrated(state: str, found: Run) -> list[str]:
    """Its mail is there, in the schema of today."""
    desk = Desk(state)
    try:
        rows = [(row.recipient.id, row.recipient.hold) for row in _all(desk, history=False)]
        wrong = [] if rows == [(0, ""), (1, "by hand")] else [f"its mail is not there: {rows}"]
        return [*wrong, *_sound(state, desk)]
    finally:
        desk.close()


# --- the whole of it -------------------------------------------------------------------------------------------

Story = Callable[[str], Callable[[Steps, Say], None]]
STORIES: Final[dict[str, tuple[Story, Callable[[str, Run], list[str]]]]] = {
    "daily": (daily, examine),
    "many": (many, examine),
    "upkeep": (upkeep, examine),
    "copied": (copied, examine_copy),
    **{f"migrated-{n}": (partial(migrated, version=n), examine_migrated) for n in range(VERSION)},
}


def sweep(folder: Path, every: int) -> Tally:
    """Each story, killed before every ``every``-th of its steps."""
    tally = Tally()
    kills, wrong = 0, tally.wrong
    for name, (story, check) in STORIES.items():
        state = folder / f"{name}-whole"
        whole = run(story(str(state)))
        wrong += [f"{name}, not killed: {line}" for line in check(str(state), whole)]
        # Another first step for each story: together they meet all kinds.
        for at in range(kills % every, len(whole.names), every):
            state = folder / f"{name}-{at}"
            found = run(story(str(state)), at)
            if not found.killed:
                wrong.append(f"{name}, step {at}: it was not killed")
            wrong += [
                f"{name}, killed before step {at}, {whole.names[at]}: {line}" for line in check(str(state), found)
            ]
            kills += 1
            tally.kills[f"the spool alone, {name}"] += 1
            tally.taken += sum(line[0] == "taken" for line in found.said)
            tally.audits += 1
            shutil.rmtree(state)
    return tally


def sweep_apart(folder: Path, every: int) -> tuple[int, list[str]]:
    """The same in a process without threads, which may fork."""
    command = [sys.executable, "-m", "tests.crash.spool_kill", "--every", str(every), "--folder", str(folder)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)
    lines = done.stdout.splitlines()
    counted = [int(line.removesuffix("  kills").replace(",", "")) for line in lines if line.endswith("  kills")]
    wrong = [line for line in lines if line.startswith("WRONG: ")]
    if not counted or (done.returncode and not wrong):
        wrong.append(f"it ended with {done.returncode}")
    return sum(counted), wrong


def main() -> int:
    parser = argparse.ArgumentParser(description="The spool is killed before each step that reaches the disk.")
    parser.add_argument("--every", type=int, default=1, help="before every so many steps (default 1: each)")
    parser.add_argument("--folder", help="where the spools are made")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="spool-kill-", dir=chosen.folder) as folder:
        tally = sweep(Path(folder), chosen.every)
    tally.show()
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
