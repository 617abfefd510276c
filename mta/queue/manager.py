"""The queue manager: takes leases from acceptance and from the spool, routes, delivers, writes what came of it.

What it is: the service around the pure parts (schedule, destination, retry) and the attempt (attempt.py).
Contract: the active set holds at most ``queue.active`` recipients; the rest stays in the spool and is claimed
per destination in slices, never by due time alone.  Every lease ends in ``finish`` or ``release``.  A destination
that rests keeps none of its waiting recipients in memory.
How it fails: while the spool cannot write, outcomes wait there and no new delivery begins; when it cannot be
asked, the manager asks again after ``TROUBLE_PAUSE``.  A crash loses nothing: what was claimed is due again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mta import events
from mta.delivery.values import Batch
from mta.envelope import Outcome, Recipient, Scope, Status
from mta.events import Event
from mta.interfaces import IDeliveryService, IQueue, IRouter, ISpool
from mta.queue.conclude import Conclusion, Reporter, conclude, worst_scope
from mta.queue.flush import flush
from mta.queue.placing import find_routes, park, put_off, without_route
from mta.queue.refill import LOOK_SOON, Refill
from mta.queue.retry import RetryRule, overdue
from mta.queue.schedule import Job, Lane, Schedule, Start
from mta.reply import LOCAL_ERROR, MailFailure, Reply
from mta.routing.ask import Answerer
from mta.routing.recipients import Leads
from mta.routing.values import Route
from mta.spool.values import Claim, Lease, Next, Result
from mta.waiting import Run, background, drive, step

log = Logger()

LEASE_SECONDS: Final = 1800.0
#: Leases are renewed, overdue attempts cancelled and rested destinations woken at this pace, in seconds.
TICK: Final = 30.0
#: Seconds for outcomes to be written once the time of a stop is over.
WRITE_TIME: Final = 5.0
#: Attempts whose outcomes are not written yet; above it no delivery begins.
UNWRITTEN: Final = 2000

SILENT: Final = Reply.of(451, "4.3.0", "The delivery service gave no result")
STOPPED: Final = Reply.of(451, "4.3.2", "The service was stopped")
OVERDUE: Final = Reply.of(451, "4.4.7", "The delivery took too long and was stopped")
TOO_LATE: Final = Reply.of(554, "5.4.7", "The time that the sender gave for the delivery is over")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a configuration gives to the manager; replaced whole at a reload.

    ``active``: recipients in memory; ``attempt_time``: seconds for one delivery attempt.
    """

    router: IRouter
    answerer: Answerer
    services: Mapping[str, IDeliveryService]
    retry: RetryRule
    active: int
    attempt_time: float = 3600.0


@implementer(IQueue)
class Manager:
    """See the module's text.  ``reporter`` composes the reports that failures cause."""

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
    ) -> None:
        self._owner = owner
        self._spool = spool
        self._setup = setup
        self._reporter = reporter
        self._reactor = reactor
        self._now = now
        self._random = random
        self._emit = emit
        self.schedule = Schedule(self._limit_of)
        self._leases: dict[int, tuple[Lease, int]] = {}  # token: the lease, recipients not yet concluded
        self._running: dict[int, tuple[Run[None] | None, float]] = {}  # attempt: its work, its deadline
        self._attempts = 0
        self._unwritten = 0
        self._routing = 0
        self._dispatching = False
        self._refill = Refill(
            spool=spool,
            schedule=self.schedule,
            reactor=reactor,
            now=now,
            claim=self._claim,
            keep=self._keep,
            take=self._take,
            room=lambda: self._setup.active,
            done=self._dispatch,
        )
        self._stopping = False
        self._idle: list[Deferred[None]] = []
        self._ticker: Any = None
        self._renewed = (reactor.seconds(), now())

    # --- IQueue --------------------------------------------------------------------------------------------

    def birth_claim(self, leads: Leads | None = None) -> Claim | None:
        """See ``IQueue``."""
        if not self._refill.running or self.schedule.size >= self._setup.active:
            self._refill.overflow = True
            return None
        if leads is not None:
            now, room = self._reactor.seconds(), self._setup.active
            for route in leads.routes:
                if self.schedule.crowded(route.destination, now, room):
                    return None
        return self._claim()

    def _claim(self) -> Claim:
        return Claim(self._owner, self._now() + round(LEASE_SECONDS * 1000))

    def take(self, lease: Lease | None, leads: Leads | None = None) -> None:
        """See ``IQueue``."""
        if lease is not None:
            if leads is not None and len(leads.recipients) == 1 and leads.router is self._setup.router:
                # What most mail is: one recipient, routed a moment ago by the configuration in force.
                self._leases[lease.token] = (lease, 1)
                self.schedule.add(Job(lease, leads.routes[0]))
            else:
                self._take(lease)
            self._dispatch()
        else:
            # Nothing was claimed: it is held, due later, or there was no room.
            self.look_soon()

    async def flush(self, domain: str, subdomains: bool) -> int:
        """See ``IQueue``."""
        count = await flush(self._spool, self.schedule, domain, subdomains, self._now())
        self.schedule.wake(self._reactor.seconds())
        self.poke()
        self._dispatch()
        return count

    # --- life ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin; what waits in the spool is claimed as there is room, never loaded whole."""
        self._ticker = self._reactor.callLater(TICK, self._tick)
        self._refill.start()

    def poke(self) -> None:
        """The spool may have something due: a change by an operator, a report of ours, a start."""
        self._refill.within(0.0)

    def look_soon(self) -> None:
        """Something waits in the spool in nobody's lease; many of them come together."""
        self._refill.within(LOOK_SOON)

    def configure(self, setup: Setup) -> None:
        """A new configuration: what waits is routed anew, what runs ends with the old one."""
        self._setup = setup
        self.schedule.reconfigure()
        surplus = []
        for job in [job for lane in self.schedule.lanes.values() for job in lane.drain()]:
            self.schedule.forget(len(job.recipients))
            if self.schedule.size < setup.active:
                self._admit(job.lease)
            else:
                self._concluded(job.lease)
                surplus.append(job.lease)
        if surplus:
            self._refill.overflow = True
            background(self._spool.release(surplus), "release")
        self.poke()
        self._dispatch()

    async def stop(self, deadline: float) -> None:
        """Begin nothing new; give running deliveries ``deadline`` seconds; give back what waits."""
        self._stopping = True
        self._refill.stop()
        if self._ticker is not None and self._ticker.active():
            self._ticker.cancel()
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
        if self._running or self._unwritten or self._routing:
            idle: Deferred[None] = Deferred()
            self._idle.append(idle)
            await idle
        if cut.active():
            cut.cancel()

    def _cut_off(self, stops: list[Deferred[Any]]) -> None:
        """The time is over."""
        for work, _ in list(self._running.values()):
            if work is not None:
                work.cancel()
        for stop in stops:
            stop.cancel()
        # A disk that takes no outcomes must not hold up the stop; the spool tries once more when it is closed.
        self._reactor.callLater(WRITE_TIME, self._end_wait)

    # --- from leases to jobs -------------------------------------------------------------------------------

    def _take(self, lease: Lease) -> None:
        self._leases[lease.token] = (lease, len(lease.recipients))
        self._admit(lease)

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
                groups, troubles = await find_routes(setup.router, setup.answerer, lease)
            parked = []
            for route, recipients in groups:
                if self._parks(route, recipients):
                    parked.append((route, recipients))
                else:
                    self._add_jobs(lease, route, recipients)
                    _remove(left, recipients)
            for route, recipients in parked:
                _remove(left, recipients)
                await self._write(park(lease, route, recipients, self._now()))
            for job, outcomes in without_route(lease, troubles):
                _remove(left, job.recipients)
                await self._end(job, outcomes)
        except Exception:
            log.failure("{id} could not be routed; it is tried again", id=lease.message.id)
            if left:
                await self._put_off(lease, list(left.values()))
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

    def _parks(self, route: Route, recipients: list[Recipient]) -> bool:
        """Held; or led to another destination than they waited for, which can take no more now."""
        if route.hold:
            return True
        return recipients[0].destination != route.destination and self.schedule.crowded(
            route.destination, self._reactor.seconds(), self._setup.active
        )

    async def _put_off(self, lease: Lease, recipients: list[Recipient]) -> None:
        """Trouble that nobody foresaw: nothing was tried, and it is again after a while."""
        delay = self._setup.retry.delay(1, self._random)
        await self._write(put_off(lease, recipients, self._now() + round(delay * 1000)))
        self._refill.within(delay)

    # --- one attempt ---------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Start what may go now."""
        if self._dispatching or self._stopping:
            return
        self._dispatching = True
        try:
            while self._unwritten < UNWRITTEN:
                start = self.schedule.next(self._reactor.seconds())
                if start is None:
                    break
                self._start(start)
        finally:
            self._dispatching = False

    def _start(self, start: Start) -> None:
        self._attempts += 1
        number = self._attempts
        # Known before it runs: it may end at once.
        self._running[number] = (None, self._reactor.seconds() + self._setup.attempt_time)
        run = drive(self._attempt(start, number), self._attempted)
        if run is not None and number in self._running:
            self._running[number] = (run, self._running[number][1])

    def _attempted(self, result: Failure | None) -> None:
        if isinstance(result, Failure):
            log.failure("an attempt failed", failure=result)

    async def _attempt(self, start: Start, number: int) -> None:
        """Deliver, free the slot, conclude, write.  Whatever goes wrong, the recipients are deferred."""
        job = start.job
        try:
            outcomes = await self._deliver(job, self._running[number][1])
        finally:
            del self._running[number]
        self._free(start, worst_scope(outcomes))
        self._dispatch()  # the slot is free now; the outcome is written meanwhile
        try:
            await self._end(job, outcomes)
        finally:
            self.schedule.forget(len(job.recipients))
            self._after(start.lane)

    async def _deliver(self, job: Job, deadline: float) -> list[Outcome]:
        service = self._setup.services.get(job.route.destination.service)
        batch = Batch(job.lease.message, job.recipients, job.route, deadline)
        reply = SILENT
        try:
            if service is None:
                raise LookupError(job.route.destination.service)
            if overdue(job.lease.message.envelope, self._now()):
                batch.report_all(Status.EXPIRED, TOO_LATE, Scope.MESSAGE)
            else:
                await service.deliver(batch)
        except MailFailure as failure:
            reply = failure.reply
        except CancelledError:
            reply = OVERDUE if self._reactor.seconds() >= deadline else STOPPED
        except Exception as error:
            reply = LOCAL_ERROR
            log.failure(
                "delivery of {id} by {service} failed: {error}",
                id=job.lease.message.id,
                service=str(job.route.destination),
                error=str(error),
            )
        return batch.close(reply)

    def _free(self, start: Start, scope: Scope | None) -> None:
        now = self._reactor.seconds()
        rest = self.schedule.done(start, scope, now)
        if not rest:
            return
        lane = start.lane
        self._emit(
            events.SUSPENDED(destination=str(lane.destination), seconds=round(rest), reason="trouble of the host"),
            "",
        )
        waiting = [job.lease for job in lane.drain()]
        for lease in waiting:
            self.schedule.forget(len(lease.recipients))
            self._concluded(lease)
        lane.due_more = True
        if waiting:
            background(self._spool.release(waiting), "release")
        self._refill.within(rest)

    async def _end(self, job: Job, outcomes: list[Outcome]) -> None:
        try:
            conclusion = await conclude(
                job, outcomes, self._setup.retry, self._reporter, now=self._now(), random=self._random
            )
        except Exception:
            # Nothing fails whose report could not be written: it waits, and is tried again.
            log.failure("the outcome of {id} could not be concluded; it is tried again", id=job.lease.message.id)
            due = self._now() + round(self._setup.retry.delay(1, self._random) * 1000)
            ended = tuple(o for o in outcomes if o.status.final and o.status not in (Status.FAILED, Status.EXPIRED))
            delivered = {outcome.recipient for outcome in ended}
            following = {
                r.id: Next(due, job.route.destination, r.hold, r.progress)
                for r in job.recipients
                if r.id not in delivered
            }
            conclusion = Conclusion(Result(lease=job.lease, outcomes=ended, next=following), due)
        await self._write_conclusion(conclusion)

    async def _write_conclusion(self, conclusion: Conclusion) -> None:
        await self._write(conclusion.result)
        for event in conclusion.result.events:
            self._emit(event, conclusion.result.lease.message.id)
        if conclusion.result.spawned:
            self.poke()
        elif conclusion.due is not None:
            self._refill.within((conclusion.due - self._now()) / 1000)

    async def _write(self, result: Result) -> None:
        self._unwritten += 1
        try:
            lost = await self._spool.finish((result,))
            for lease in lost:
                log.error("the lease of {id} was lost: its outcome is not written", id=lease.message.id)
        finally:
            self._unwritten -= 1
            self._concluded(result.lease)
            self._note_idle()

    def _concluded(self, lease: Lease) -> None:
        whole, open_ = self._leases.get(lease.token, (lease, 0))
        open_ -= len(lease.recipients)
        if open_ > 0:
            self._leases[lease.token] = (whole, open_)
        else:
            self._leases.pop(lease.token, None)

    def _after(self, lane: Lane) -> None:
        """Something ended: use its slot, and fetch more where the spool has more."""
        if self._stopping:
            self._note_idle()
            return
        self._dispatch()
        self._refill.after(lane)

    def _note_idle(self) -> None:
        if self._idle and not (self._running or self._unwritten or self._routing):
            self._end_wait()

    def _end_wait(self) -> None:
        idle, self._idle = self._idle, []
        for waiting in idle:
            waiting.callback(None)

    # --- time ----------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._ticker = self._reactor.callLater(TICK, self._tick)
        now = self._reactor.seconds()
        for work, deadline in list(self._running.values()):
            if now >= deadline and work is not None:
                work.cancel()
        self.schedule.wake(now)
        background(self._keep(), "renewing leases")
        self._dispatch()

    async def _keep(self) -> None:
        """Renew the leases when a third of their time is over, by either clock: their end is wall time, which jumps."""
        seconds, now = self._reactor.seconds(), self._now()
        third = LEASE_SECONDS / 3
        if seconds - self._renewed[0] < third and abs(now - self._renewed[1]) < third * 1000:
            return
        leases = [lease for lease, _ in self._leases.values()]
        for lease in await self._spool.renew(leases, now + round(LEASE_SECONDS * 1000)):
            # Being finished just now; or lost, then ``finish`` will say so.
            self._leases.pop(lease.token, None)
        self._renewed = (seconds, now)

    def _limit_of(self, route: Route) -> int:
        service = self._setup.services.get(route.destination.service)
        try:
            return max(1, service.limits(route).concurrency) if service is not None else 1
        except Exception:
            log.failure("{service} cannot say its limits", service=str(route.destination))
            return 1


def _remove(left: dict[int, Recipient], recipients: Sequence[Recipient]) -> None:
    for recipient in recipients:
        del left[recipient.id]
