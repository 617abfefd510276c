"""What the writer is given to do: each job adds its rows to the batch, and is told when they are on disk.

Contract: ``collect`` only adds rows; ``run`` (where ``runs``) executes statements of its own, in a savepoint
after all rows of the batch, and returns messages whose body file nobody needs.  Either may be called again
after a rollback, so a job keeps no state of a transaction.  ``then`` is called in the reactor's thread with
the job and None, or with what went wrong.  A job that is ``kept`` is not failed with its batch: it goes first
in the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Final

from mta.envelope import Envelope, Recipient
from mta.sender import sender_key
from mta.spool.batch import Pair, Rows, free
from mta.spool.encode import (
    CLAIMED,
    HELD,
    STAGED,
    WAITING,
    dump,
    encode_edits,
    encode_ended,
    encode_envelope,
    encode_path,
    encode_recipient,
)
from mta.spool.incoming import Incoming
from mta.spool.leases import Held
from mta.spool.load import external_bodies
from mta.spool.message import StoredMessage
from mta.spool.settle import Ended, Settlement
from mta.spool.store import Store

Then = Callable[[Any, Exception | None], None]
DAY: Final = 24 * 3600 * 1000
ACCEPTED: Final = "accepted"


class Job:
    """See the module's text."""

    kept: ClassVar[bool] = False
    runs: ClassVar[bool] = False
    #: Nobody waits for it: the writer counts as idle.
    background: ClassVar[bool] = False
    then: Then

    def collect(self, rows: Rows, store: Store) -> None:
        """Add rows."""

    def run(self, store: Store) -> list[int]:
        """Execute statements."""
        return []


class Acceptance:
    """The rows that make one sealed message visible; ``claimed`` are claimed at birth."""

    __slots__ = ("body", "claimed", "day", "envelope", "incoming", "message")

    def __init__(
        self,
        incoming: Incoming,
        envelope: Envelope,
        message: StoredMessage,
        body: bytes,
        claimed: Sequence[Recipient],
        now: int,
    ) -> None:
        self.incoming = incoming
        self.body = body
        self.envelope = envelope
        self.message = message
        self.claimed = claimed
        self.day = now // DAY

    def collect(self, rows: Rows, store: Store) -> None:
        incoming, envelope, number = self.incoming, self.envelope, self.incoming.number
        external = incoming.external
        if not external:
            rows.bodies.append((number, self.body))
        rows.messages.append(
            (
                number,
                envelope.arrived,
                encode_path(envelope.reverse_path),
                self.message.size,
                incoming.size,
                external,
                encode_envelope(envelope),
                encode_edits(incoming.edits),
                dump(incoming.story),
            )
        )
        claimed = {recipient.id for recipient in self.claimed}
        sender = sender_key(envelope)
        for recipient in incoming.recipients:
            state = HELD if recipient.hold else CLAIMED if recipient.id in claimed else WAITING
            destination = store.destinations.number(recipient.destination)
            rows.recipients.append(encode_recipient(number, state, destination, recipient, sender))
        rows.totals[self.day, ACCEPTED] += len(incoming.recipients) + incoming.staged
        if number <= store.named:  # it took so long that the index by address has come past it
            store.db.execute("INSERT OR IGNORE INTO unnamed VALUES (?)", (number,))


class CommitJob(Job):
    """Accept one message."""

    def __init__(self, acceptance: Acceptance, then: Then) -> None:
        self.acceptance = acceptance
        self.then = then

    def collect(self, rows: Rows, store: Store) -> None:
        self.acceptance.collect(rows, store)


class FinishJob(Job):
    """Write how the work of some leases ended, and what it caused."""

    kept = True

    def __init__(
        self,
        settled: Sequence[tuple[Held, Settlement, Sequence[int], Sequence[int]]],
        spawned: Sequence[Acceptance],
        now: int,
        then: Then,
    ) -> None:
        self.settled = settled
        self.spawned = spawned
        self.then = then
        self._now = now

    def collect(self, rows: Rows, store: Store) -> None:
        for held, settlement, owed, notices_done in self.settled:
            number = held.message.number
            end_recipients(rows, number, settlement.ended, self._now)
            for recipient in settlement.moved:
                replace_recipient(rows, store, number, recipient, sender_key(held.message.envelope))
            for recipient, status in settlement.revived:
                rows.revived.append((number, recipient.id))
                rows.totals[self._now // DAY, status] -= 1
                replace_recipient(rows, store, number, recipient, sender_key(held.message.envelope))
            untried = rows.notices_freed if held.notice else rows.freed
            untried.extend([(number, n) for n in settlement.untried])
            rows.notices.extend([(number, n) for n in owed])
            rows.notices_done.extend([(number, n) for n in notices_done])
            for event in settlement.events:
                rows.events.append((number, dump(event)))
            if settlement.ended or notices_done:
                rows.check(number, held.message.external)
        for acceptance in self.spawned:
            acceptance.collect(rows, store)


class FreeJob(Job):
    """Recipients, or notices, of leases that ended untried wait again."""

    kept = True

    def __init__(self, over: Iterable[Held], then: Then) -> None:
        self.over = list(over)
        self.then = then

    def collect(self, rows: Rows, store: Store) -> None:
        for held in self.over:
            (rows.notices_freed if held.notice else rows.freed).extend(held.pairs)


class StageJob(Job):
    """Put a slice of recipients on disk, invisible."""

    def __init__(self, number: int, recipients: Sequence[Recipient], then: Then) -> None:
        self._number = number
        self._recipients = recipients
        self.then = then

    def collect(self, rows: Rows, store: Store) -> None:
        rows.staging.append((self._number,))
        for recipient in self._recipients:
            destination = store.destinations.number(recipient.destination)
            rows.recipients.append(encode_recipient(self._number, STAGED, destination, recipient, 0))


def end_recipients(rows: Rows, number: int, ended: Sequence[Ended], now: int) -> None:
    """Move recipients to history."""
    day = now // DAY
    for end in ended:
        rows.ended.append((number, end.recipient.id))
        rows.history.append(encode_ended(number, end, now))
        rows.totals[day, end.status] += 1


def replace_recipient(rows: Rows, store: Store, number: int, recipient: Recipient, sender: int) -> None:
    """A recipient as it waits, or is held, from now on."""
    state = HELD if recipient.hold else WAITING
    destination = store.destinations.number(recipient.destination)
    rows.replaced.append(encode_recipient(number, state, destination, recipient, sender))


class RecoverJob(Job):
    """Free what nobody leases any more, and find what a crash left behind.

    Sessions may be taking mail in meanwhile, and their jobs share this one's batch: so it leaves messages alone whose
    id is greater than ``last``, and removes no body file but of ``files``; both were noted when it was asked for.
    Results: ``staged`` are committed messages with recipients to be made visible, ``unstaged`` messages that
    were never committed, ``damages`` what cannot be delivered (set aside as held).
    """

    runs = True

    def __init__(
        self, leased: set[Pair], notices: set[Pair], open_now: set[int], files: Sequence[int], last: int, then: Then
    ) -> None:
        self._leased = leased
        self._notices = notices
        self._open_now = open_now
        self._files = files
        self._last = last
        self.then = then
        self.staged: list[int] = []
        self.unstaged: list[int] = []
        self.damages: list[tuple[int, str]] = []

    def run(self, store: Store) -> list[int]:
        db = store.db
        before = (self._last,)
        claimed = db.execute("SELECT message, n FROM recipient WHERE state = 1 AND message <= ?", before).fetchall()
        free(db, [pair for pair in claimed if pair not in self._leased])
        owed = db.execute("SELECT message, n FROM notice WHERE state = 1 AND message <= ?", before).fetchall()
        rows = Rows()
        rows.notices_freed = [pair for pair in owed if pair not in self._notices]
        rows.flush(db)
        query = "SELECT s.message, m.id FROM staging s LEFT JOIN message m ON m.id = s.message WHERE s.message <= ?"
        stagings = [row for row in db.execute(query, before) if row[0] not in self._open_now]
        self.staged = [number for number, committed in stagings if committed is not None]
        self.unstaged = [number for number, committed in stagings if committed is None]
        if not self._leased and not self._open_now:
            store.destinations.purge(self._last)
        return self._orphans(store)

    def _orphans(self, store: Store) -> list[int]:
        """Compare the body files with their rows; returns the orphans."""
        wanted = external_bodies(store.db)
        self.damages = []
        for number, stored in wanted.items():
            found = store.folder.size(number)
            if found != stored:
                what = "its body file is missing" if found < 0 else f"its body file has {found} octets, not {stored}"
                self.damages.append((number, what))
                set_aside(store, number, what)
        return [number for number in self._files if number not in wanted and number not in self._open_now]


def set_aside(store: Store, number: int, what: str) -> None:
    """Hold what waits of a message that cannot be read."""
    query = "SELECT DISTINCT destination, priority, sender FROM recipient WHERE message = ? AND state = ?"
    concerned = store.db.execute(query, (number, WAITING)).fetchall()
    statement = "UPDATE recipient SET state = ?, hold = ? WHERE message = ? AND state = ?"
    store.db.execute(statement, (HELD, f"damaged: {what}", number, WAITING))
    store.destinations.left(concerned)
