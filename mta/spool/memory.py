"""A spool in memory, for tests: the same contract, the same leases, and failures on demand.

Contract: ``ISpool``, by the contract test of all spools.  Every awaitable is a Deferred that has fired, unless
``hold`` was called: then operations wait, in order, for ``let_go``.
Failure: ``fail_next(operation, error)`` makes the next call of that name fail, with nothing done; operations
are the methods of ``ISpool`` and, of an incoming message, ``write``, ``add_recipients`` and ``seal``.
``sick`` is what ``unhealthy`` returns.  ``damage(id)`` makes a message unreadable.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from mta.envelope import Destination, Envelope, Recipient
from mta.events import Event
from mta.interfaces import IIncoming, ISpool
from mta.reply import Reply
from mta.sender import sender_key
from mta.spool.drill import Drill, DrilledIncoming, MemoryBody
from mta.spool.due_index import DueIndex
from mta.spool.encode import encode_path, ended_progress
from mta.spool.incoming import Incoming, LargeBody, ready
from mta.spool.leases import Held, Leases
from mta.spool.message import StoredMessage
from mta.spool.settle import (
    Ended,
    Settlement,
    change_event,
    changed,
    check_change,
    deleted,
    matches,
    settle,
)
from mta.spool.values import (
    Change,
    ChangeKind,
    Claim,
    Damage,
    Damaged,
    Due,
    Lease,
    PageKey,
    QueueIds,
    Result,
    Row,
    Selection,
    Totals,
    Waiting,
    id_number,
    id_text,
    last_id,
)

T = TypeVar("T")
_UNREADABLE: Final = "its body is missing"


@dataclass(slots=True)
class Record:
    """What the spool knows of one message."""

    message: StoredMessage
    envelope: Envelope
    story: list[Event]
    octets: bytes
    waiting: dict[int, Recipient]  # all that have not ended
    claimed: set[int] = field(default_factory=set)
    ended: dict[int, Row] = field(default_factory=dict)
    owed: dict[int, bool] = field(default_factory=dict)  # True: claimed
    damaged: bool = False

    def row(self, recipient: Recipient, **more: Any) -> Row:
        return Row(
            id=self.message.id,
            sender=encode_path(self.envelope.reverse_path),
            size=self.message.size,
            arrived=self.envelope.arrived,
            recipient=recipient,
            **more,
        )


@implementer(ISpool)
class MemorySpool(Drill):
    """See the module's text."""

    def __init__(self, now: Callable[[], int], notify: Callable[[], None] | None = None) -> None:
        super().__init__()
        self.notify = notify
        self.sick: Reply | None = None
        self.records: dict[int, Record] = {}
        self._now = now
        self._ids = QueueIds(now)
        self._leases = Leases()
        self._staged: dict[int, list[Recipient]] = {}
        self._bodies: dict[int, MemoryBody] = {}
        self._totals: Counter[str] = Counter()
        self._destinations: dict[Destination, int] = {}
        self._index = DueIndex()
        self._order: list[int] = []  # the keys of ``records``, sorted

    def damage(self, id: str) -> None:
        """For tests: the octets of the message are lost."""
        record = next(record for record in self.records.values() if record.message.id == id)
        record.damaged = True

    # --- taking in ------------------------------------------------------------------------------------

    def unhealthy(self) -> Reply | None:
        return self.sick

    def begin(self, room: int) -> IIncoming:
        self.raise_planned("begin")
        return DrilledIncoming(self._ids.next(), self, room, self)

    def large_body(self, number: int) -> LargeBody:
        """For ``Incoming``."""
        return self._bodies.setdefault(number, MemoryBody())

    def stage(self, number: int, recipients: Sequence[Recipient]) -> Deferred[None]:
        """For ``Incoming``."""
        self._staged.setdefault(number, []).extend(recipients)
        return succeed(None)

    def drop(self, incoming: Incoming) -> None:
        """For ``Incoming``."""
        self._staged.pop(incoming.number, None)
        self._bodies.pop(incoming.number, None)

    def commit(self, incoming: IIncoming, lease: Claim | None) -> Deferred[Lease | None]:
        try:
            own = ready(incoming)
        except ValueError as error:
            return fail(error)
        own.committed = True

        def gone() -> None:
            own.committed = False
            own.abort()

        return self.do("commit", lambda: self._commit(own, lease), gone)

    def _commit(self, incoming: Incoming, lease: Claim | None) -> Lease | None:
        number, envelope = incoming.number, incoming.envelope
        assert envelope is not None
        now = self._now()
        octets = b"".join(self._bodies.pop(number).parts) if incoming.external else incoming.take_body()
        message = StoredMessage(
            incoming.id, number, envelope, incoming.edits, incoming.size, incoming.external, self, octets
        )
        recipients = [*self._staged.pop(number, ()), *incoming.recipients]
        record = Record(message, envelope, incoming.story, octets, {one.id: one for one in recipients})
        if len(record.waiting) != len(recipients):
            raise ValueError("a recipient's number twice")
        for recipient in recipients:
            self._destinations.setdefault(recipient.destination, len(self._destinations))
        self.records[number] = record
        insort(self._order, number)
        self._totals["accepted"] += len(recipients)
        born = [one for one in incoming.recipients if lease is not None and not one.hold and one.due <= now]
        if len(born) < len(recipients):
            self._tell_waiting()
        if lease is not None:
            record.claimed.update(one.id for one in born)
        self._note(record, record.waiting)
        return self._leases.add(lease.owner, lease.until, message, born) if lease is not None and born else None

    def _note(self, record: Record, ns: Iterable[int]) -> None:
        """Tell the index how these recipients stand."""
        for n in ns:
            one = record.waiting[n]
            free = not one.hold and n not in record.claimed
            self._index.note(record.message.number, one, free, sender_key(record.envelope))

    def _tell_waiting(self) -> None:
        if self.notify is not None:
            self.notify()

    # --- octets: mta.spool.message.Bodies -------------------------------------------------------------

    def small(self, number: int) -> bytes:
        record = self.records[number]
        if record.damaged:
            raise Damaged(record.message.id, _UNREADABLE)
        return record.octets

    def piece(self, number: int, offset: int, size: int) -> bytes:
        return self.small(number)[offset : offset + size]

    # --- leases ---------------------------------------------------------------------------------------

    def due(self, now: int, after: Due | None, limit: int) -> Deferred[list[Due]]:
        def work() -> list[Due]:
            self._free(self._leases.expired(min(now, self._now())))
            keys = sorted((due, self._destinations[to], to) for due, to in self._index.destinations(now))
            start = (-1, 0) if after is None else (after.first_due, self._destinations[after.destination])
            return [Due(to, due) for due, number, to in keys if (due, number) > start][:limit]

        return self.do("due", work)

    def claim(self, owner: str, destination: Destination, now: int, until: int, limit: int) -> Deferred[list[Lease]]:
        def work() -> list[Lease]:
            self._free(self._leases.expired(min(now, self._now())))
            slices: dict[int, list[Recipient]] = {}
            for number, n in self._index.take(destination, now, limit):
                record = self.records[number]
                one = record.waiting[n]
                if record.damaged:
                    record.waiting[n] = replace(one, hold=f"damaged: {_UNREADABLE}")
                else:
                    record.claimed.add(n)
                    slices.setdefault(number, []).append(one)
            return [
                self._leases.add(owner, until, self._stored(number), recipients)
                for number, recipients in slices.items()
            ]

        return self.do("claim", work)

    def waiting(
        self, after: PageKey | None, before: int | None, limit: int
    ) -> Deferred[tuple[list[Waiting], PageKey | None]]:
        def work() -> tuple[list[Waiting], PageKey | None]:
            start = (-1, -1) if after is None else (id_number(after.id), after.recipient)
            found: list[Waiting] = []
            looked = 0
            for number in self._order[bisect_left(self._order, start[0]) : bisect_right(self._order, last_id(before))]:
                record = self.records[number]
                for n in sorted(n for n in record.waiting if (number, n) > start):
                    looked += 1
                    if not record.waiting[n].hold and n not in record.claimed:
                        found.append(Waiting(record.message.id, record.envelope, record.waiting[n]))
                    if looked == limit:
                        return found, PageKey(record.message.id, n)
            return found, None

        return self.do("waiting", work)

    def claim_some(self, owner: str, keys: Sequence[PageKey], until: int) -> Deferred[list[Lease]]:
        def work() -> list[Lease]:
            slices: dict[int, list[Recipient]] = {}
            for id, n in keys:
                record = self._of(id)
                one = None if record is None else record.waiting.get(n)
                if record is None or one is None or one.hold or n in record.claimed:
                    continue
                if record.damaged:
                    record.waiting[n] = replace(one, hold=f"damaged: {_UNREADABLE}")
                else:
                    record.claimed.add(n)
                    slices.setdefault(record.message.number, []).append(one)
                self._note(record, (n,))
            return [
                self._leases.add(owner, until, self._stored(number), recipients)
                for number, recipients in slices.items()
            ]

        return self.do("claim_some", work)

    def claim_notices(self, owner: str, now: int, until: int, limit: int) -> Deferred[list[Lease]]:
        def work() -> list[Lease]:
            self._free(self._leases.expired(now))
            leases = []
            left = limit
            for number, record in self.records.items():
                ns = sorted(n for n, claimed in record.owed.items() if not claimed)[:left]
                left -= len(ns)
                if ns:
                    record.owed.update(dict.fromkeys(ns, True))
                    known = [record.ended[n].recipient if n in record.ended else record.waiting[n] for n in ns]
                    leases.append(self._leases.add(owner, until, self._stored(number), known, notice=True))
            return leases

        return self.do("claim_notices", work)

    def _stored(self, number: int) -> StoredMessage:
        """As it is when it is read back: its octets are not in memory."""
        old = self.records[number].message
        return StoredMessage(old.id, number, old.envelope, old.edits, old.stored, old.external, self)

    def renew(self, leases: Sequence[Lease], until: int) -> Deferred[list[Lease]]:
        return self.do("renew", lambda: self._leases.renew(leases, until))

    def release(self, leases: Sequence[Lease]) -> Deferred[None]:
        def work() -> None:
            self._free([held for lease in leases if (held := self._leases.take(lease)) is not None])

        return self.do("release", work)

    def _free(self, over: Sequence[Held]) -> None:
        for held in over:
            record = self.records[held.message.number]
            if held.notice:
                record.owed.update(dict.fromkeys(held.recipients, False))
            else:
                record.claimed.difference_update(held.recipients)
                self._note(record, held.recipients)

    # --- ending ---------------------------------------------------------------------------------------

    def finish(self, results: Sequence[Result]) -> Deferred[list[Lease]]:
        def work() -> list[Lease]:
            now = self._now()
            lost: list[Lease] = []
            settled: list[tuple[Held, Settlement, Result]] = []
            for result in results:
                held = self._leases.take(result.lease)
                if held is None:
                    lost.append(result.lease)
                    for incoming in result.spawned:
                        incoming.abort()
                    continue
                try:
                    for incoming in result.spawned:
                        ready(incoming)
                    settled.append((held, settle(held.recipients, result, held.notice, now), result))
                except (KeyError, ValueError):
                    for taken in (held, *[before for before, *_ in settled]):
                        self._leases.put_back(taken)
                    raise
            for held, settlement, result in settled:
                self._settle(held, settlement, result, now)
            return lost

        return self.do("finish", work)

    def _settle(self, held: Held, settlement: Settlement, result: Result, now: int) -> None:
        record = self.records[held.message.number]
        for end in settlement.ended:
            self._end(record, end, now)
        for recipient in settlement.moved:
            record.waiting[recipient.id] = recipient
            record.claimed.discard(recipient.id)
            self._destinations.setdefault(recipient.destination, len(self._destinations))
            self._note(record, (recipient.id,))
        if held.notice:
            record.owed.update(dict.fromkeys(settlement.untried, False))
        else:
            record.claimed.difference_update(settlement.untried)
            self._note(record, settlement.untried)
        for recipient, status in settlement.revived:
            del record.ended[recipient.id]
            record.waiting[recipient.id] = recipient
            self._destinations.setdefault(recipient.destination, len(self._destinations))
            self._totals[status] -= 1
        record.owed.update(dict.fromkeys(result.owed, False))
        for n in result.notices_done:
            record.owed.pop(n, None)
        record.story += settlement.events
        for incoming in result.spawned:
            own = ready(incoming)
            own.committed = True
            self._commit(own, None)
        if result.owed or settlement.moved or settlement.untried:
            self._tell_waiting()

    def _end(self, record: Record, end: Ended, now: int) -> None:
        recipient, status, reply, attempts, happened = end
        del record.waiting[recipient.id]
        record.claimed.discard(recipient.id)
        self._index.note(record.message.number, recipient, False)
        progress = ended_progress(recipient.progress, status, reply, now)
        over = replace(recipient, attempts=attempts, hold="", progress=progress)
        record.ended[recipient.id] = record.row(over, status=status, ended=now, reply=reply)
        record.story += happened
        self._totals[status] += 1

    # --- reading --------------------------------------------------------------------------------------

    def get(self, id: str) -> Deferred[StoredMessage]:
        def work() -> StoredMessage:
            record = self._of(id)
            if record is None or not (record.waiting or record.owed):
                raise KeyError(id)
            return self._stored(record.message.number)

        return self.do("get", work)

    def page(
        self, selection: Selection, after: PageKey | None, limit: int, history: bool = False
    ) -> Deferred[list[Row]]:
        return self.do("page", lambda: self._page(selection, after, limit, history))

    def _page(self, selection: Selection, after: PageKey | None, limit: int, history: bool) -> list[Row]:
        rows: list[Row] = []
        for record in self._selected(selection):
            if history:
                rows += record.ended.values()
            else:
                rows += [record.row(one, claimed=one.id in record.claimed) for one in record.waiting.values()]
        start = ("", -1) if after is None else tuple(after)
        rows = [row for row in rows if (row.id, row.recipient.id) > start and matches(selection, row)]
        return sorted(rows, key=lambda row: (row.id, row.recipient.id))[:limit]

    def _selected(self, selection: Selection) -> Iterable[Record]:
        """The messages that can be of a selection."""
        if not selection.ids:
            return self.records.values()
        found = {id.upper(): self._of(id) for id in selection.ids}
        return [record for record in found.values() if record is not None]

    def _of(self, id: str) -> Record | None:
        try:
            return self.records.get(id_number(id))
        except KeyError:
            return None

    def story(self, id: str) -> Deferred[list[Event]]:
        def work() -> list[Event]:
            record = self._of(id)
            if record is None:
                raise KeyError(id)
            return sorted(record.story, key=lambda event: event.at)

        return self.do("story", work)

    def totals(self) -> Deferred[Totals]:
        def work() -> Totals:
            ended = {what: count for what, count in self._totals.items() if what != "accepted"}
            waiting = [one for record in self.records.values() for one in record.waiting.values()]
            held = sum(bool(one.hold) for one in waiting)
            return Totals(accepted=self._totals["accepted"], ended=ended, queued=len(waiting) - held, held=held)

        return self.do("totals", work)

    def audit(self) -> Deferred[Totals]:
        return self.totals()

    # --- upkeep ---------------------------------------------------------------------------------------

    def change(self, selection: Selection, change: Change, by: str) -> Deferred[int]:
        def work() -> int:
            check_change(change)
            now, count = self._now(), 0
            for record in self._among(selection):
                ns = self._change(record, selection, change, by, now)
                count += len(ns)
                if ns and change.kind not in (ChangeKind.DELETE, ChangeKind.WAKE):
                    record.story.append(change_event(change, by, now, ns))
            self._tell_waiting()
            return count

        return self.do("change", work)

    def _among(self, selection: Selection) -> Iterable[Record]:
        return self.records.values()  # or fewer, among which the selected ones are

    def _change(self, record: Record, selection: Selection, change: Change, by: str, now: int) -> list[int]:
        done = []
        for one in list(record.waiting.values()):
            if one.id in record.claimed or not matches(selection, record.row(one)):
                continue
            if change.kind is ChangeKind.DELETE:
                self._end(record, deleted(one, by, now), now)
            else:
                after = changed(one, change, by, now)
                if after is None:
                    continue
                record.waiting[one.id] = after
                self._destinations.setdefault(after.destination, len(self._destinations))
                self._note(record, (one.id,))
            done.append(one.id)
        return done

    def purge(self, before: int, limit: int) -> Deferred[int]:
        def work() -> int:
            over = [
                number
                for number, record in sorted(self.records.items())
                if not record.waiting and not record.owed and record.envelope.arrived < before
            ][:limit]
            for number in over:
                del self.records[number]
            if over:
                self._order = sorted(self.records)
            return len(over)

        return self.do("purge", work)

    def recover(self, owner: str) -> Deferred[list[Damage]]:
        def work() -> list[Damage]:
            self._free(self._leases.of(owner))
            return [
                Damage(id_text(number), _UNREADABLE)
                for number, record in self.records.items()
                if record.damaged and record.waiting
            ]

        return self.do("recover", work)

    def close(self) -> Deferred[None]:
        return self.do("close", lambda: None)
