"""The queue manager: takes leases from acceptance and from the spool, routes, delivers, writes what came of it.

What it is: the service around the pure parts (schedule, destination, retry) and the attempt (attempt.py).
Contract: the active set holds at most ``queue.active`` recipients; the rest stays in the spool and is claimed
per destination in slices, never by due time alone.  Every lease ends in ``finish`` or ``release``.  A destination
that rests keeps none of its waiting recipients in memory.
How it fails: while the spool cannot write, outcomes wait there and no new delivery begins; when it cannot be
asked, the manager asks again after ``TROUBLE_PAUSE``.  A crash loses nothing: what was claimed is due again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from mta import events
from mta.delivery.rewritten import rewritten
from mta.delivery.values import Batch
from mta.envelope import Destination, Envelope, Outcome, Recipient, Scope, Status
from mta.events import Event
from mta.interfaces import IQueue, ISpool
from mta.queue.admission import no_room
from mta.queue.attempts import Running, attempt, judge
from mta.queue.conclude import Reporter, worst_scope
from mta.queue.endings import Endings
from mta.queue.flush import flush
from mta.queue.holding import Holding
from mta.queue.pace import Gate, Pace
from mta.queue.passage import Passage
from mta.queue.placing import ROUTING, find_routes, narrowed, park, parks, settled, without_route
from mta.queue.refill import LOOK_SOON, Refill
from mta.queue.schedule import Job, Lane, Limit, Limited, Schedule, Start
from mta.queue.setup import Setup
from mta.queue.sweep import Sweep
from mta.queue.untried import SWEPT, Rest, sort_out
from mta.queue.volume import Volume
from mta.queue.withdraw import withdraw
from mta.reply import Reply
from mta.routing.recipients import Leads
from mta.routing.values import Route
from mta.spool.values import Claim, Lease
from mta.waiting import background, step

__all__ = ["Manager", "Setup"]

log = Logger()

#: Leases are renewed and overdue attempts cancelled at this pace, in seconds.
TICK: Final = 30.0
#: Seconds for outcomes to be written once the time of a stop is over.
WRITE_TIME: Final = 5.0
#: Attempts whose outcomes are not written yet; above it no delivery begins.
UNWRITTEN: Final = 2000

#: The shortest wait for a gate, in seconds: a timer of less only turns the reactor.
LEAST_WAIT: Final = 0.001


@implementer(IQueue)
class Manager:
    """See the module's text.  ``reporter`` composes the reports that failures cause.  ``heartbeat``: seconds between
    looks that nothing asks for; where no clock jumps, few are needed."""

    def __init__(
        self,
        *,
        owner: str,
        spool: ISpool,
        setup: Setup,
        reporter: Reporter,
        reactor: IReactorTime,
        now: Callable[[], int],
        random: Random,
        emit: Callable[[Event, str], None],
        heartbeat: float = TICK,
    ) -> None:
        self._spool = spool
        self._heartbeat = heartbeat
        self._setup = setup
        self._reactor = reactor
        self._now = now
        self._random = random
        self._emit = emit
        self.schedule = Schedule(self._limit_of, Pace(setup.pace, setup.attempts))
        self._holding = Holding(owner, spool, reactor, now)
        self._running = Running()
        self._pacer: Any = None  # wakes us when a gate lets the next through
        self._routing = 0
        self._dispatching = False
        self._refill = Refill(
            spool=spool,
            schedule=self.schedule,
            reactor=reactor,
            now=now,
            claim=self._holding.claim,
            keep=self._holding.keep,
            take=self._take,
            untried=self._take_untried,
            # The last quarter is for what comes in: a single message must not wait for a flood that is in the spool.
            room=lambda: self._setup.active - self._setup.active // 4,
            done=self._dispatch,
            sleep=2 * heartbeat,
        )
        self.volume = Volume(spool, reactor, now)
        self.volume.configure(setup.max_size, setup.max_per_sender)
        self._endings = self._make_endings(reporter)
        self._sweep = self._make_sweep()
        self.look_at_all = self._sweep.again
        self._stopping = False
        self._idle: list[Deferred[None]] = []
        self._ticker: Any = None

    def _make_endings(self, reporter: Reporter) -> Endings:
        return Endings(
            spool=self._spool,
            reporter=reporter,
            reactor=self._reactor,
            now=self._now,
            random=self._random,
            emit=self._emit,
            policy=lambda: self._setup,
            claim=self._holding.claim,
            open_ids=self._holding.ids,
            concluded=self._written,
            look=self._refill.within,
            volume=self.volume,
            keep=self._holding.keep,
        )

    def _make_sweep(self) -> Sweep:
        return Sweep(
            spool=self._spool,
            reactor=self._reactor,
            now=self._now,
            rules=lambda: self._setup.retry,
            claim=self._holding.claim,
            leases=self._holding.leases,
            withdraw=lambda matches: withdraw(self.schedule, matches),
            untried=lambda lease: self._take_untried(lease, SWEPT),
            withdrawn=lambda lease: self._sort_out(lease, SWEPT),
            period=self._heartbeat,
        )

    # --- IQueue --------------------------------------------------------------------------------------------

    def birth_claim(self, leads: Leads | None = None, envelope: Envelope | None = None) -> Claim | None:
        """See ``IQueue``."""
        if not self._refill.running or self.schedule.size >= self._setup.active:
            self._refill.overflow = True
            return None
        if leads is not None:
            room, now = self._setup.active, self._reactor.seconds()
            if no_room(self.schedule, self._holding, room, now, leads, envelope):
                return None
        return self._holding.claim()

    def take(self, lease: Lease | None, leads: Leads | None = None) -> None:
        """See ``IQueue``."""
        if lease is not None:
            if leads is not None and len(leads.recipients) == 1 and settled(self._setup, leads):
                self._holding.add(lease)
                self.schedule.add(Job(lease, leads.routes[0]))
                if self.schedule.paused(leads.routes[0].destination):
                    self.withdraw(lambda job: job.lease is lease)
            else:
                self._take(lease)
            self._dispatch()
        else:
            # Nothing was claimed: it is held, due later, or there was no room.
            self.look_soon()

    def withdraw(self, matches: Callable[[Job], bool]) -> int:
        """Give back to the spool what waits in memory and matches; a change that is asked of the spool after this
        reaches it.  How many leases."""
        leases = withdraw(self.schedule, matches)
        for lease in leases:
            self._holding.concluded(lease)
        if leases:
            background(self._spool.release(leases), "release")
        return len(leases)

    def refuses(self, envelope: Envelope) -> Reply | None:
        """See ``IQueue``."""
        return self.volume.refuses(envelope)

    def accepted(self, envelope: Envelope, recipients: int) -> None:
        """See ``IQueue``."""
        self.volume.accepted(envelope, recipients)

    async def flush(self, domain: str, subdomains: bool) -> int:
        """See ``IQueue``."""
        await self._holding.keep()  # the wall clock may have jumped: what is ours must not be over by it
        count = await flush(self._spool, self.schedule, domain, subdomains)
        self.schedule.wake(self._reactor.seconds())
        self.poke()
        self._dispatch()
        return count

    # --- life ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin; what waits in the spool is claimed as there is room, never loaded whole."""
        self._ticker = self._reactor.callLater(self._heartbeat, self._tick)
        self._refill.start()
        self._endings.notices.start()
        self._sweep.start()
        self.volume.tick()

    def poke(self) -> None:
        """The spool may have something due: a change by an operator, a report of ours, a start."""
        self._refill.within(0.0)

    def look_soon(self) -> None:
        """Something waits in the spool in nobody's lease; many of them come together."""
        self._refill.within(LOOK_SOON)

    def configure(self, setup: Setup) -> None:
        """A new configuration: what waits is routed anew, what runs ends with the old one."""
        self._setup = setup
        self.volume.configure(setup.max_size, setup.max_per_sender)
        self.schedule.reconfigure(Pace(setup.pace, setup.attempts, before=self.schedule.pace))
        surplus = []
        for job in [job for lane in self.schedule.lanes.values() for job in lane.drain()]:
            self.schedule.forget(len(job.recipients))
            if self.schedule.size < setup.active:
                self._admit(job.lease)
            else:
                self._holding.concluded(job.lease)
                surplus.append(job.lease)
        if surplus:
            self._refill.overflow = True
            background(self._spool.release(surplus), "release")
        self._refill.resting.wake_all()
        self.look_at_all()
        self.poke()
        self._dispatch()

    async def stop(self, deadline: float) -> None:
        """Begin nothing new; give running deliveries ``deadline`` seconds; give back what waits."""
        self._stopping = True
        self._refill.stop()
        self._endings.notices.stop()
        self._sweep.stop()
        for timer in (self._ticker, self._pacer):
            if timer is not None and timer.active():
                timer.cancel()
        waiting = [job.lease for lane in self.schedule.lanes.values() for job in lane.drain()]
        stops = [
            background(maybeDeferred(service.stop, deadline), "stop of a delivery service")
            for service in self._setup.services.values()
        ]
        cut = self._reactor.callLater(deadline, self._cut_off, stops)
        if waiting:
            # What cannot be given back is free at the next start.
            await background(self._spool.release(waiting), "release")
        await gatherResults(stops)
        # Those of a configuration before, whose services are no longer ours to stop, have their time too.
        if self._running or self._endings.unwritten or self._routing:
            idle: Deferred[None] = Deferred()
            self._idle.append(idle)
            await idle
        if cut.active():
            cut.cancel()

    def _cut_off(self, stops: list[Deferred[Any]]) -> None:
        """The time is over."""
        self._running.cancel()
        for stop in stops:
            stop.cancel()
        # A disk that takes no outcomes must not hold up the stop; the spool tries once more when it is closed.
        self._reactor.callLater(WRITE_TIME, self._end_wait)

    # --- from leases to jobs -------------------------------------------------------------------------------

    def _take(self, lease: Lease) -> None:
        self._holding.add(lease)
        self._admit(lease)

    async def _take_untried(self, lease: Lease, rest: Rest | None) -> None:
        """Some of it is not tried now: it is early, or its destination rests."""
        self._holding.add(lease)
        await self._sort_out(lease, rest)

    async def _sort_out(self, lease: Lease, rest: Rest | None) -> None:
        ready, draft = sort_out(lease, self._setup.retry, self._now(), self._random, rest)
        if ready:
            self._admit(narrowed(lease, ready))
        if draft is not None:
            await self._endings.end_untried(draft)
            self._refill.resting.put_back(draft.next.values())

    def _admit(self, lease: Lease) -> None:
        self._routing += 1
        self.schedule.expect(len(lease.recipients))
        done, work = step(self._route(lease))
        if not done:
            assert isinstance(work, Deferred)
            background(work.addCallback(lambda _: self._dispatch()), "routing")

    async def _route(self, lease: Lease) -> None:
        """Route each recipient anew and add the jobs; what cannot be routed ends or is held here."""
        left = {recipient.id: recipient for recipient in lease.recipients}
        try:
            setup = None
            while setup is not self._setup:  # a reload while we wait for a table: once more
                setup = self._setup
                groups, troubles = await find_routes(setup.router, setup.answerer, lease, setup.forwarding)
            if groups and self._endings.poison:
                self._endings.poison.worked(ROUTING)
            parked = []
            for route, recipients in groups:
                if parks(self.schedule, route, recipients, self._reactor.seconds(), self._setup.active):
                    parked.append((route, recipients))
                else:
                    self._add_jobs(lease, route, recipients)
                    _remove(left, recipients)
            for route, recipients in parked:
                _remove(left, recipients)
                await self._endings.write(park(lease, route, recipients, self._now()))
            for job, outcomes in without_route(lease, troubles):
                _remove(left, job.recipients)
                await self._endings.end(job, outcomes)
        except Exception as error:
            log.failure("{id} could not be routed; it is tried again", id=lease.message.id)
            for job, outcomes in without_route(lease, [(recipient, error) for recipient in left.values()]):
                await self._endings.end(job, outcomes)
        finally:
            self._routing -= 1
            self.schedule.forget(len(lease.recipients))
            self._note_idle()

    def _add_jobs(self, lease: Lease, route: Route, recipients: list[Recipient]) -> None:
        if len(recipients) == 1 and len(lease.recipients) == 1:
            self.schedule.add(Job(lease, route))
            return
        most = self._setup.services[route.destination.service].limits(route).recipients
        for start in range(0, len(recipients), most):
            some = tuple(recipients[start : start + most])
            self.schedule.add(Job(Lease(lease.token, lease.message, some, lease.until), route))

    # --- one attempt ---------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Start what may go now."""
        if self._dispatching or self._stopping:
            return
        self._dispatching = True
        try:
            while self._endings.unwritten < UNWRITTEN:
                start = self.schedule.next(self._reactor.seconds())
                if start is None:
                    break
                self._start(start)
        finally:
            self._dispatching = False
        self._wait_for_pace()

    def _wait_for_pace(self) -> None:
        """Be there when a gate lets the next through."""
        when, timer = self.schedule.next_start(), self._pacer
        if when is None or (timer is not None and timer.active() and timer.getTime() <= when):
            return
        if timer is not None and timer.active():
            timer.cancel()
        self._pacer = self._reactor.callLater(max(when - self._reactor.seconds(), LEAST_WAIT), self._dispatch)

    def limited(self, destination: Destination) -> Limited:
        """What keeps the mail of a destination from going faster now."""
        if self._endings.unwritten >= UNWRITTEN:
            return Limited(Limit.DISK, "outcomes wait to be written")
        return self.schedule.limited(destination, self._reactor.seconds())

    def _start(self, start: Start) -> None:
        deadline = self._reactor.seconds() + self._setup.attempt_time
        self._running.start(lambda number: self._attempt(start, number, deadline), deadline)

    async def _attempt(self, start: Start, number: int, deadline: float) -> None:
        """Deliver, free the slot, conclude, write.  Whatever goes wrong, the recipients are deferred."""
        job = start.job
        service = self._setup.services.get(job.route.destination.service)
        passage = self._passage(start) if self.schedule.pace.at_connect else None
        message = rewritten(job.lease.message, job.route.rewrite)
        batch = Batch(message, job.recipients, job.route, deadline, passage)
        try:
            outcomes, shut = await attempt(
                service, batch, self._endings.poison, self._now, self._reactor.seconds, self._setup
            )
        finally:
            self._running.ended(number)
        if shut is not None:
            job = self._put_back(start, batch, shut)
        else:
            self._free(start, outcomes, () if passage is None else passage.used)
        self._dispatch()  # the slot is free now; the outcome is written meanwhile
        try:
            if outcomes:
                await self._endings.end(job, outcomes)
        finally:
            self.schedule.forget(len(job.recipients))
            self._after(start.lane)

    def _passage(self, start: Start) -> Passage:
        return Passage(self.schedule, start, self._reactor.seconds, self._stir)

    def _stir(self, gate: Gate) -> None:
        """A gate may let somebody through."""
        self.schedule.stir(gate, self._reactor.seconds())
        self._dispatch()

    def _put_back(self, start: Start, batch: Batch, shut: Gate) -> Job:
        """Our own pace held up the recipients that have no outcome.  Returns the job with the others."""
        job, left = start.job, batch.pending
        self.schedule.put_back(start, Job(narrowed(job.lease, left), job.route), shut, self._reactor.seconds())
        if self._stopping:
            self._give_back(start.lane)
        return Job(narrowed(job.lease, [one for one in job.recipients if one not in left]), job.route)

    def _give_back(self, lane: Lane) -> None:
        """What waits there in memory goes back to the spool."""
        waiting = [job.lease for job in lane.drain()]
        for lease in waiting:
            self.schedule.forget(len(lease.recipients))
            self._holding.concluded(lease)
        if waiting:
            background(self._spool.release(waiting), "release")

    def _free(self, start: Start, outcomes: list[Outcome], through: tuple[Gate, ...]) -> None:
        now = self._reactor.seconds()
        first, scope = outcomes[0], worst_scope(outcomes)
        refused, setback = False, None
        if first.status is Status.DEFERRED or scope is not None:
            refused, setback = judge(outcomes, scope)
        rest = self.schedule.done(start, scope, now, refused=refused, setback=setback, through=through)
        if not rest:
            if self._refill.resting or start.job.recipients[0].progress:
                reached = scope not in (Scope.HOST, Scope.DESTINATION)
                self._refill.resting.tried(start.lane.destination, start.job.recipients, reached)
            return
        lane = start.lane
        self._emit(
            events.SUSPENDED(destination=str(lane.destination), seconds=round(rest), reason="trouble of the host"),
            "",
        )
        self._give_back(lane)
        lane.due_more = True
        self._refill.resting.begins(lane.destination, rest)

    def _written(self, lease: Lease) -> None:
        self._holding.concluded(lease)
        self._note_idle()

    def _after(self, lane: Lane) -> None:
        """Something ended: use its slot, and fetch more where the spool has more."""
        if self._stopping:
            self._note_idle()
            return
        self._dispatch()
        self._refill.after(lane)

    def _note_idle(self) -> None:
        if self._idle and not (self._running or self._endings.unwritten or self._routing):
            self._end_wait()

    def _end_wait(self) -> None:
        idle, self._idle = self._idle, []
        for waiting in idle:
            waiting.callback(None)

    # --- time ----------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._ticker = self._reactor.callLater(self._heartbeat, self._tick)
        now = self._reactor.seconds()
        self._running.cancel(now)
        self.schedule.wake(now)
        background(self._holding.keep(), "renewing leases")
        self.volume.tick()
        self._dispatch()

    def _limit_of(self, route: Route) -> int:
        service = self._setup.services.get(route.destination.service)
        try:
            return max(1, service.limits(route).concurrency // self._setup.share) if service is not None else 1
        except Exception:
            log.failure("{service} cannot say its limits", service=str(route.destination))
            return 1


def _remove(left: dict[int, Recipient], recipients: Sequence[Recipient]) -> None:
    for recipient in recipients:
        del left[recipient.id]
