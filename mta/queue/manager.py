"""The queue manager: takes leases from acceptance and from the spool, routes, delivers, writes what came of it.

What it is: the service around the pure parts (schedule, destination, retry) and the attempt (attempt.py).
Contract: the active set holds at most ``queue.active`` recipients; the rest stays in the spool and is claimed
per destination in slices, never by due time alone.  Every lease ends in ``finish`` or ``release``.  A destination
that rests keeps none of its waiting recipients in memory.
How it fails: while the spool cannot write, outcomes wait there and no new delivery begins; when it cannot be
asked, the manager asks again after ``TROUBLE_PAUSE``.  A crash loses nothing: what was claimed is due again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mta import events
from mta.delivery.values import Batch
from mta.envelope import Destination, Outcome, Recipient, Scope, Status
from mta.events import Event
from mta.interfaces import IDeliveryService, IQueue, IRouter, ISpool
from mta.queue.conclude import Conclusion, Reporter, conclude, failed_at_routing, worst_scope
from mta.queue.refill import LOOK_SOON, Refill
from mta.queue.retry import RetryRule
from mta.queue.schedule import Job, Lane, Schedule, Start
from mta.reply import LOCAL_ERROR, MailFailure, Reply, failure_reply
from mta.routing.ask import Answerer, resolve
from mta.routing.recipients import Leads
from mta.routing.values import Route
from mta.spool.values import Claim, Lease, Next, Result
from mta.waiting import Run, background, drive, step

log = Logger()

LEASE_SECONDS: Final = 1800.0
#: Leases are renewed, overdue attempts cancelled and rested destinations woken at this pace, in seconds.
TICK: Final = 30.0
#: Attempts whose outcomes are not written yet; above it no delivery begins.
UNWRITTEN: Final = 2000

SILENT: Final = Reply.of(451, "4.3.0", "The delivery service gave no result")
STOPPED: Final = Reply.of(451, "4.3.2", "The service was stopped")
OVERDUE: Final = Reply.of(451, "4.4.7", "The delivery took too long and was stopped")


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
            take=self._take,
            room=lambda: self._setup.active,
            done=self._dispatch,
        )
        self._stopping = False
        self._idle: list[Deferred[None]] = []
        self._ticker: Any = None
        self._renewed = reactor.seconds()

    # --- IQueue --------------------------------------------------------------------------------------------

    def birth_claim(self) -> Claim | None:
        """See ``IQueue``."""
        if not self._refill.running or self.schedule.size >= self._setup.active:
            self._refill.overflow = True
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
        waiting = [job for lane in self.schedule.lanes.values() for job in lane.drain()]
        for job in waiting:
            self.schedule.forget(len(job.recipients))
            self._admit(job.lease)
        self.schedule.refresh_limits()
        self.poke()
        self._dispatch()

    async def stop(self, deadline: float) -> None:
        """Begin nothing new; give running deliveries ``deadline`` seconds; give back what waits."""
        self._stopping = True
        self._refill.stop()
        if self._ticker is not None and self._ticker.active():
            self._ticker.cancel()
        waiting = [job.lease for lane in self.schedule.lanes.values() for job in lane.drain()]
        stops = [background(service.stop(deadline), "stop") for service in self._setup.services.values()]
        if waiting:
            await self._spool.release(waiting)
        await gatherResults(stops)
        for work, _ in list(self._running.values()):
            if work is not None:
                work.cancel()
        if self._running or self._unwritten or self._routing:
            idle: Deferred[None] = Deferred()
            self._idle.append(idle)
            await idle

    # --- from leases to jobs -------------------------------------------------------------------------------

    def _take(self, lease: Lease) -> None:
        self._leases[lease.token] = (lease, len(lease.recipients))
        self._admit(lease)

    def _admit(self, lease: Lease) -> None:
        self._routing += 1
        done, work = step(self._route(lease))
        if not done:
            assert isinstance(work, Deferred)
            background(work.addCallback(lambda _: self._dispatch()), "routing")

    async def _route(self, lease: Lease) -> None:
        """Route each recipient anew and add the jobs; what cannot be routed ends or is held here."""
        try:
            setup = self._setup
            facts: dict[Any, Any] = {}
            groups: dict[Any, tuple[Route, list[Recipient]]] = {}
            troubles: list[tuple[Recipient, Exception]] = []
            for recipient in lease.recipients:
                try:
                    if "bounce" in recipient.progress:
                        # An operator gave it up: see ChangeKind.BOUNCE.
                        raise failed_at_routing(recipient.progress["bounce"])
                    route = resolve(
                        partial(setup.router.route, recipient.address, recipient.destination),
                        facts,
                        setup.answerer,
                    )
                    if not isinstance(route, Route):
                        route = await route
                except Exception as error:
                    troubles.append((recipient, error))
                    continue
                key = (route.destination, tuple(route.facts.items()), route.hold)
                groups.setdefault(key, (route, []))[1].append(recipient)
            for route, recipients in groups.values():
                if route.hold:
                    await self._hold(lease, route, recipients)
                else:
                    self._add_jobs(lease, route, recipients)
            if troubles:
                await self._unroutable(lease, troubles)
        except Exception:
            log.failure("{id} could not be routed; it waits for the next start", id=lease.message.id)
        finally:
            self._routing -= 1
            self._note_idle()

    def _add_jobs(self, lease: Lease, route: Route, recipients: list[Recipient]) -> None:
        if len(recipients) == 1 and len(lease.recipients) == 1:
            self.schedule.add(Job(lease, route))
            return
        most = self._setup.services[route.destination.service].limits(route).recipients
        for start in range(0, len(recipients), most):
            some = tuple(recipients[start : start + most])
            self.schedule.add(Job(Lease(lease.token, lease.message, some, lease.until), route))

    async def _hold(self, lease: Lease, route: Route, recipients: list[Recipient]) -> None:
        at = self._now()
        result = Result(
            lease=Lease(lease.token, lease.message, tuple(recipients), lease.until),
            next={r.id: Next(r.due, r.destination, route.hold, r.progress) for r in recipients},
            events=tuple(
                events.HELD(at, r.id, address=str(r.address), reason=route.hold)
                for r in recipients
                if r.hold != route.hold
            ),
        )
        await self._write(result)

    async def _unroutable(self, lease: Lease, troubles: list[tuple[Recipient, Exception]]) -> None:
        """Those that cannot be routed, each place where they wait at once: one report for all of them."""
        places: dict[Destination, list[tuple[Recipient, Outcome]]] = {}
        for recipient, error in troubles:
            if not isinstance(error, MailFailure):
                log.failure(
                    "routing of {address} failed",
                    failure=Failure(error),
                    address=str(recipient.address),
                )
            reply = failure_reply(error)
            status = Status.FAILED if reply.permanent else Status.DEFERRED
            outcome = Outcome(recipient=recipient.id, status=status, reply=reply, attempt={"stage": "routing"})
            places.setdefault(recipient.destination, []).append((recipient, outcome))
        for destination, group in places.items():
            some = tuple(recipient for recipient, _ in group)
            job = Job(Lease(lease.token, lease.message, some, lease.until), Route(destination=destination))
            await self._end(job, [outcome for _, outcome in group])

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
        if now - self._renewed >= LEASE_SECONDS / 3 and self._leases:
            self._renewed = now
            leases = [lease for lease, _ in self._leases.values()]
            background(self._renew(leases), "renewing leases")
        self._dispatch()

    async def _renew(self, leases: list[Lease]) -> None:
        lost = await self._spool.renew(leases, self._now() + round(LEASE_SECONDS * 1000))
        for lease in lost:
            log.error("the lease of {id} was lost", id=lease.message.id)
            self._leases.pop(lease.token, None)

    def _limit_of(self, route: Route) -> int:
        service = self._setup.services.get(route.destination.service)
        return service.limits(route).concurrency if service is not None else 1
