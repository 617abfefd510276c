"""The spool on SQLite: ``ISpool`` with group commit, in threads of its own.

What it is: this class runs in the reactor's thread, keeps the leases, and hands work to four lanes: the
writer (all transactions), files (large bodies), the loader (reads for deliveries) and queries (reads for
people).  Contract: ``ISpool``.  Use: ``open()`` before the reactor runs, then ``recover(owner)``.
Failure: ``open`` raises ``SpoolLocked`` or ``SpoolUnusable``; later all trouble is ``TemporaryFailure``, and
``unhealthy()`` tells it in advance.
Limits: bodies up to 256 KiB lie in the database, larger ones in files; of those committed with a lease, up to
``keep_bytes`` stay in memory so that they need not be read back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from zope.interface import implementer

from mta import events
from mta.envelope import Destination, Recipient
from mta.events import Event
from mta.interfaces import IIncoming, ISpool
from mta.reply import Reply
from mta.spool.backup import copy_spool
from mta.spool.bodies import disk_failure
from mta.spool.claiming import ClaimJob, ClaimNoticesJob, ClaimSomeJob, LeaseJob
from mta.spool.engine import Engine
from mta.spool.forgetting import EraseJob, MaskJob
from mta.spool.incoming import Incoming, LargeBody, ready
from mta.spool.jobs import Acceptance, CommitJob, FinishJob, FreeJob, Job, RecoverJob, StageJob
from mta.spool.lanes import Lanes, SpoolReactor, Threads
from mta.spool.leases import Held, Leases
from mta.spool.masking import Mask
from mta.spool.message import HEADER_LIMIT, StoredMessage
from mta.spool.schema import Connect, connect
from mta.spool.settle import Settlement, check_change, settle
from mta.spool.upkeep import ActivateJob, ChangeJob, PurgeJob, SliceJob, UnstageJob
from mta.spool.values import (
    Change,
    Claim,
    Damage,
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
)
from mta.waiting import Later

Settled = list[tuple[Held, Settlement, Sequence[int], Sequence[int]]]
RESERVE_BYTES: Final = 256 * 1024 * 1024
RESERVE_INODES: Final = 10_000
KEEP_BYTES: Final = 128 * 1024 * 1024
log = Logger()


@implementer(ISpool)
class SqliteSpool:
    """See the module's text."""

    def __init__(
        self,
        state: str,
        *,
        reactor: SpoolReactor,
        now: Callable[[], int],
        worker: int = 0,
        reserve_bytes: int = RESERVE_BYTES,
        reserve_inodes: int = RESERVE_INODES,
        notify: Callable[[], None] | None = None,
        emit: Callable[[Event, str], None] | None = None,
        lanes: Lanes | None = None,
        header_limit: int = HEADER_LIMIT,
        keep_bytes: int = KEEP_BYTES,
        connect: Connect = connect,
        lock: bool = True,
    ) -> None:
        """``now`` is UTC milliseconds.  ``notify()`` is called when recipients (or reports owed) wait that are in
        nobody's lease; ``emit(event, queue id)`` with trouble.  Both may be set later.
        ``lock`` false: whoever started this process holds that of the state."""
        self.notify = notify
        self.emit = emit
        self._now = now
        self._worker = worker
        self._header_limit = header_limit
        self._keep_bytes = keep_bytes
        self._engine = Engine(
            state,
            worker,
            reactor=reactor,
            lanes=lanes or Threads(reactor),
            connect=connect,
            reserve=(reserve_bytes, reserve_inodes),
            header_limit=header_limit,
            bodies=self,
            noticed=self._noticed,
            now=now,
            lock=lock,
        )
        self._leases = Leases()
        self._open_now: set[int] = set()  # incoming with something on disk that is not committed

    def open(self) -> None:
        """Take the lock, make or migrate the database.  Blocks; raises ``SpoolLocked``, ``SpoolUnusable``."""
        self._ids = QueueIds(self._now, self._worker, self._engine.open())

    def close(self) -> Deferred[None]:
        return self._engine.close()

    def _noticed(self, wrong: str) -> None:
        if wrong:
            self._emit(events.SPOOL_TROUBLE(self._now(), error=wrong))
        else:
            self._emit(events.SPOOL_RECOVERED(self._now(), note="writing again"))

    def _emit(self, event: Event, id: str = "") -> None:
        if self.emit is not None:
            self.emit(event, id)

    def unhealthy(self) -> Reply | None:
        return self._engine.writer.trouble or self._engine.writer.low

    # --- taking in ------------------------------------------------------------------------------------

    def begin(self, room: int) -> Incoming:
        return Incoming(self._ids.next(), self, room)

    def large_body(self, number: int) -> LargeBody:
        """For ``Incoming``."""
        self._open_now.add(number)
        return self._engine.files.create(number)

    def stage(self, number: int, recipients: Sequence[Recipient]) -> Deferred[None]:
        """For ``Incoming``."""
        self._open_now.add(number)
        deferred: Deferred[None] = Deferred()
        self._engine.writer.put(StageJob(number, recipients, lambda job, error: _fire(deferred, None, error)))
        return deferred

    def drop(self, incoming: Incoming) -> None:
        """For ``Incoming``."""
        self._open_now.discard(incoming.number)
        if incoming.staged:
            self._engine.writer.put(UnstageJob(incoming.number, _nothing))

    def commit(self, incoming: IIncoming, lease: Claim | None) -> Deferred[Lease | None]:
        try:
            acceptance = self._accept(ready(incoming), lease)
        except ValueError as error:
            return fail(error)
        deferred: Deferred[Lease | None] = Later()

        def then(job: Job, error: Exception | None) -> None:
            if error is not None:
                self._refused(acceptance)
                _fire(deferred, None, error)
                return
            born = self._born(acceptance, lease)
            if deferred.called and born is not None:  # cancelled: nobody will act on it
                self._give_back([born])
            _fire(deferred, born, None)
            self._accepted(acceptance)

        self._engine.writer.put(CommitJob(acceptance, then))
        return deferred

    def _accept(self, incoming: Incoming, lease: Claim | None) -> Acceptance:
        envelope, now = incoming.ready(), self._now()
        incoming.committed = True
        claimed: list[Recipient] = []
        if lease is not None:
            claimed = [one for one in incoming.recipients if not one.hold and one.due <= now]
        body = b"" if incoming.external else incoming.take_body()
        keep = bool(claimed) and not incoming.external and self._leases.kept < self._keep_bytes
        message = StoredMessage(
            incoming.id,
            incoming.number,
            envelope,
            incoming.edits,
            incoming.size,
            incoming.external,
            self,
            body if keep else None,
            self._header_limit,
        )
        return Acceptance(incoming, envelope, message, body, claimed, now)

    def _refused(self, acceptance: Acceptance) -> None:
        acceptance.incoming.committed = False
        acceptance.incoming.abort()

    def _born(self, acceptance: Acceptance, lease: Claim | None) -> Lease | None:
        if lease is None or not acceptance.claimed:
            return None
        return self._leases.add(lease.owner, lease.until, acceptance.message, acceptance.claimed)

    def _accepted(self, acceptance: Acceptance) -> None:
        incoming = acceptance.incoming
        self._open_now.discard(incoming.number)
        if incoming.staged:
            self._activate(incoming.number)
        if len(acceptance.claimed) < len(incoming.recipients):
            self._tell_waiting()

    def _activate(self, number: int) -> None:
        def then(job: ActivateJob, error: Exception | None) -> None:
            if error is None:
                self._tell_waiting()

        self._engine.writer.put(ActivateJob(number, then))

    def _tell_waiting(self) -> None:
        if self.notify is not None:
            self.notify()

    # --- leases ---------------------------------------------------------------------------------------

    def claim(self, owner: str, destination: Destination, now: int, until: int, limit: int) -> Deferred[list[Lease]]:
        self._free_expired(min(now, self._now()))  # who asks for what will be due ends no lease
        deferred: Deferred[list[Lease]] = Deferred()
        self._engine.writer.put(ClaimJob(destination, now, limit, self._leaser(deferred, owner, until, False)))
        return deferred

    def claim_some(self, owner: str, keys: Sequence[PageKey], until: int) -> Deferred[list[Lease]]:
        pairs = [(id_number(key.id), key.recipient) for key in keys]
        deferred: Deferred[list[Lease]] = Deferred()
        self._engine.writer.put(ClaimSomeJob(pairs, self._leaser(deferred, owner, until, False)))
        return deferred

    def claim_notices(self, owner: str, now: int, until: int, limit: int) -> Deferred[list[Lease]]:
        self._free_expired(now)
        deferred: Deferred[list[Lease]] = Deferred()
        self._engine.writer.put(ClaimNoticesJob(limit, self._leaser(deferred, owner, until, True)))
        return deferred

    def _leaser(
        self, deferred: Deferred[list[Lease]], owner: str, until: int, notice: bool
    ) -> Callable[[Any, Exception | None], None]:
        def then(job: LeaseJob, error: Exception | None) -> None:
            if error is not None:
                _fire(deferred, [], error)
                return
            leases = [self._leases.add(owner, until, message, recipients, notice) for message, recipients in job.found]
            self._tell_damages(job.damages)
            if deferred.called:  # cancelled: nobody will act on them
                self._give_back(leases)
            _fire(deferred, leases, None)

        return then

    def _tell_damages(self, damages: Sequence[tuple[int, str]]) -> None:
        for number, what in damages:
            self._emit(events.SPOOL_DAMAGE(self._now(), what=what), id_text(number))

    def _free_expired(self, now: int) -> None:
        over = self._leases.expired(now)
        if over:
            self._free(over)

    def _free(self, over: Sequence[Held]) -> Deferred[None]:
        deferred: Deferred[None] = Deferred()
        job = FreeJob(over, lambda job, error: _fire(deferred, None, error))
        self._engine.writer.put(job)
        return deferred

    def _give_back(self, leases: Sequence[Lease]) -> Deferred[None]:
        over = [held for lease in leases if (held := self._leases.take(lease)) is not None]
        if not over:
            return succeed(None)
        return self._free(over)

    def renew(self, leases: Sequence[Lease], until: int) -> Deferred[list[Lease]]:
        return succeed(self._leases.renew(leases, until))

    def release(self, leases: Sequence[Lease]) -> Deferred[None]:
        return self._give_back(leases)

    # --- ending ---------------------------------------------------------------------------------------

    def finish(self, results: Sequence[Result]) -> Deferred[list[Lease]]:
        now = self._now()
        lost: list[Lease] = []
        settled: Settled = []
        spawned: list[Incoming] = []
        for result in results:
            held = self._leases.take(result.lease)
            if held is None:
                lost.append(result.lease)
                for incoming in result.spawned:
                    incoming.abort()
                continue
            try:
                settlement = settle(held.recipients, result, held.notice, now)
                spawned += [ready(incoming) for incoming in result.spawned]
            except (KeyError, ValueError) as error:
                for taken in (held, *[before for before, *_ in settled]):
                    self._leases.put_back(taken)
                return fail(error)
            settled.append((held, settlement, result.owed, result.notices_done))
        if not settled:
            return succeed(lost)
        return self._write_results(settled, [self._accept(incoming, None) for incoming in spawned], lost, now)

    def _write_results(
        self, settled: Settled, spawned: Sequence[Acceptance], lost: list[Lease], now: int
    ) -> Deferred[list[Lease]]:
        deferred: Deferred[list[Lease]] = Later()

        def then(job: Job, error: Exception | None) -> None:
            if error is not None:
                for held, *_ in settled:
                    self._leases.put_back(held)
                for acceptance in spawned:
                    self._refused(acceptance)
            else:
                for acceptance in spawned:
                    self._accepted(acceptance)
                if any(owed or settlement.moved or settlement.untried for _, settlement, owed, _ in settled):
                    self._tell_waiting()
            _fire(deferred, lost, error)

        self._engine.writer.put(FinishJob(settled, spawned, now, then))
        return deferred

    # --- reading --------------------------------------------------------------------------------------

    def small(self, number: int) -> Deferred[bytes]:
        """For ``StoredMessage``: a body that is kept in the database."""
        return self._engine.loader.call(self._engine.load.small, number)

    def piece(self, number: int, offset: int, size: int) -> Deferred[bytes]:
        """For ``StoredMessage``: a part of a body that is kept in a file."""
        return self._engine.loader.call(self._engine.load.piece, number, offset, size)

    def get(self, id: str) -> Deferred[StoredMessage]:
        return self._engine.loader.call(self._engine.load.get, id, self)

    def due(self, now: int, after: Due | None, limit: int) -> Deferred[list[Due]]:
        over = self._leases.expired(min(now, self._now()))  # who asks for all that will be due ends no lease
        if not over:
            return self._engine.loader.call(self._engine.load.due, now, after, limit)
        return self._free(over).addCallback(
            lambda _: self._engine.loader.call(self._engine.load.due, now, after, limit)
        )

    def waiting(
        self, after: PageKey | None, before: int | None, limit: int
    ) -> Deferred[tuple[list[Waiting], PageKey | None]]:
        return self._engine.loader.call(self._engine.load.waiting, after, before, limit)

    def page(
        self, selection: Selection, after: PageKey | None, limit: int, history: bool = False
    ) -> Deferred[list[Row]]:
        return self._engine.queries.call(self._engine.query.page, selection, after, limit, history)

    def story(self, id: str) -> Deferred[list[Event]]:
        return self._engine.queries.call(self._engine.query.story, id)

    def totals(self) -> Deferred[Totals]:
        return self._engine.queries.call(self._engine.query.totals)

    def audit(self) -> Deferred[Totals]:
        return self._engine.queries.call(self._engine.query.audit)

    def check(self) -> Deferred[list[Damage]]:
        """Read all of it and tell what is wrong; takes its time, in a thread."""
        return self._engine.queries.call(self._engine.query.check)

    def backup(self, target: str) -> Deferred[int]:
        """Copy the spool to a folder that does not exist yet or is empty; returns how many messages."""
        return self._engine.queries.call(copy_spool, self._engine.query, target, self._worker)

    # --- upkeep ---------------------------------------------------------------------------------------

    def change(self, selection: Selection, change: Change, by: str) -> Deferred[int]:
        try:
            check_change(change)
        except ValueError as error:
            return fail(error)
        deferred: Deferred[int] = Deferred()

        def then(job: ChangeJob, error: Exception | None) -> None:
            self._tell_waiting()
            _fire_counted(deferred, job, job.count, error)

        self._engine.writer.put(ChangeJob(selection, change, by, self._now(), then))
        return deferred

    def mask_history(self, mode: str, mask: Mask | None) -> Deferred[None]:
        """Write addresses of ended messages by ``mask`` from now on, and those that are there; None: as they are."""
        self._engine.masking.mask = mask
        deferred: Deferred[None] = Deferred()

        def then(job: MaskJob, error: Exception | None) -> None:
            if error is not None or not job.again:
                _fire(deferred, None, error)

        self._engine.writer.put(MaskJob(mode, mask, then))
        return deferred

    def erase(self, address: str, hashed: str) -> Deferred[int]:
        """Erase an address from the history of what has ended; in how many messages it was."""
        deferred: Deferred[int] = Deferred()

        def then(job: EraseJob, error: Exception | None) -> None:
            _fire_counted(deferred, job, job.count, error)

        self._engine.writer.put(EraseJob(address, hashed, then))
        return deferred

    def purge(self, before: int, limit: int) -> Deferred[int]:
        deferred: Deferred[int] = Deferred()

        def then(job: PurgeJob, error: Exception | None) -> None:
            _fire_counted(deferred, job, job.count, error)

        self._engine.writer.put(PurgeJob(before, limit, then))
        return deferred

    def recover(self, owner: str) -> Deferred[list[Damage]]:
        """As ``ISpool.recover``; also goes on with what a crash left half done.  For the start: what another
        owner is just claiming in this process would be freed."""
        self._leases.of(owner)
        try:
            files = self._engine.folder.numbers()
        except OSError as error:
            return fail(disk_failure(error))
        deferred: Deferred[list[Damage]] = Deferred()

        def then(job: RecoverJob, error: Exception | None) -> None:
            if error is not None:
                _fire(deferred, [], error)
                return
            for number in job.staged:
                self._activate(number)
            for number in job.unstaged:
                self._engine.writer.put(UnstageJob(number, _nothing))
            self._tell_damages(job.damages)
            _fire(deferred, [Damage(id_text(number), what) for number, what in job.damages], None)

        leased, notices = self._leases.pairs(False), self._leases.pairs(True)
        self._engine.writer.put(RecoverJob(leased, notices, set(self._open_now), files, self._ids.last, then))
        return deferred


def _fire(deferred: Deferred[Any], result: Any, error: Exception | None) -> None:
    if error is not None:
        deferred.errback(error)
    else:
        deferred.callback(result)


def _fire_counted(deferred: Deferred[int], job: SliceJob, count: int, error: Exception | None) -> None:
    """At the last slice, or when one failed."""
    if error is not None or not job.again:
        _fire(deferred, count, error)


def _nothing(job: Job, error: Exception | None) -> None:
    """Nobody waits."""
