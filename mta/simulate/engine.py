"""Plays a queue forward with the real scheduler: the manager, its schedule, retry rules and conclusions.

What it is: the queue manager on an ``EventClock``, with a spool in memory and far ends that answer as is assumed of
them.  Time goes from event to event, so days pass in moments; the same seed gives the same course.
Contract: ``add`` what waits, ``run``, read the ``Tally``.  Nothing is sent, nothing real is written.  A recipient goes
where it waits: it is not routed anew.  Reports to senders are decided as by the real thing and counted, not sent.
How it fails: what the scheduler logs as failed is passed to the log as ever.
Limits: memory and time grow with the recipients and with their tries; the caller bounds how many it adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any, Final

from zope.interface import implementer

from mta.address import Address
from mta.bounce.decide import Ended, decide
from mta.delivery.values import Limits
from mta.dns.fake import FakeResolver
from mta.envelope import Destination, Envelope, Recipient
from mta.events import Event
from mta.interfaces import IMessage, IRouter
from mta.queue.conclude import Report
from mta.queue.manager import Manager, Setup
from mta.routing.ask import Answerer
from mta.routing.values import Admission, Expansion, Facts, Needs, Route, Target
from mta.simulate.assume import Assumptions
from mta.simulate.clock import EventClock
from mta.simulate.delivery import SimulatedDelivery
from mta.simulate.rules import Rules
from mta.simulate.spool import SimulatedSpool
from mta.simulate.tally import Tally
from mta.spool.values import Result

#: Seconds; half of the time in which leases must be renewed.  This clock does not jump.
HEARTBEAT: Final = 300.0
#: The fake monotonic clock does not begin at 0, as no real one does.
_BEGIN: Final = 1000.0
_EMPTY_BODY: Final = b"\r\n"


@implementer(IRouter)
class Standing:
    """Everybody goes where he waits."""

    def admit(self, recipient: Address, rights: Any, facts: Facts) -> Admission | Needs:
        """See ``IRouter``."""
        return Admission(reply=None)

    def expand(self, recipient: Address, facts: Facts) -> Expansion | Needs:
        """See ``IRouter``."""
        return Expansion(targets=(Target(recipient),))

    def identity(self, address: Address) -> Address:
        """See ``IRouter``."""
        return address

    def route(self, address: Address, waiting: Destination | None, facts: Facts, home: bool = False) -> Route | Needs:
        """See ``IRouter``."""
        return Route(destination=waiting or Destination("", address.domain))


class Simulation:
    """See the module's text.  ``start`` is UTC milliseconds: when the simulated time begins."""

    def __init__(self, rules: Rules, assumptions: Assumptions, *, start: int, seed: int = 1, grain: int = 0) -> None:
        self.clock = EventClock(_BEGIN)
        self.tally = Tally()
        self.start = start
        self.rests = 0
        self._rules = rules
        self._assumptions = assumptions
        self._services: dict[str, SimulatedDelivery] = {}
        self.spool = SimulatedSpool(self.now, self._written, grain)
        self.manager = Manager(
            owner="simulation",
            spool=self.spool,
            setup=Setup(
                router=Standing(),
                answerer=Answerer({}, FakeResolver("")),
                services=self._services,
                retry=rules.retry,
                active=rules.active,
                pace=rules.pace,
                attempts=rules.attempts,
                poison_tries=rules.poison_tries,
            ),
            reporter=self,
            reactor=self.clock,
            now=self.now,
            random=Random(seed),  # noqa: S311  # jitter, not a secret
            emit=self._emit,
            heartbeat=HEARTBEAT,
        )

    def now(self) -> int:
        """UTC milliseconds of the fake clock."""
        return self.start + round((self.clock.time - _BEGIN) * 1000)

    def elapsed(self) -> float:
        """Seconds since the start."""
        return self.clock.time - _BEGIN

    def add(self, envelope: Envelope, recipients: Sequence[Recipient]) -> None:
        """A message that waits, with its age, due times and what was said at the last tries."""
        incoming = self.spool.begin(0)
        incoming.write(_EMPTY_BODY)
        incoming.add_recipients([replace(one, id=n) for n, one in enumerate(recipients)])
        incoming.seal(envelope, (), ())
        self.spool.commit(incoming, None)
        for recipient in recipients:
            self._service(recipient.destination.service).loaded(recipient)

    def run(self, seconds: float) -> Tally:
        """So long; once for each simulation."""
        self.manager.start()
        self.clock.run(_BEGIN + seconds)
        self.tally.close(self.spool.places())
        return self.tally

    async def report(self, message: IMessage, ended: Sequence[Ended], now: int) -> Report:
        """See ``mta.queue.conclude.Reporter``."""
        plan = decide(message.envelope, ended, self._rules.postmaster, now, self._rules.strangers)
        for notice in plan.notices:
            self.tally.notice(notice.kind.value, notice.ended[0][0].destination, self.elapsed())
        return Report(hold=plan.hold)

    def _service(self, name: str) -> SimulatedDelivery:
        service = self._services.get(name)
        if service is None:
            limits = self._rules.limits.get(name, Limits())
            service = self._services[name] = SimulatedDelivery(
                name,
                limits,
                self._assumptions,
                reactor=self.clock,
                elapsed=self.elapsed,
                now=self.now,
                tally=self.tally,
            )
        return service

    def _written(self, result: Result) -> None:
        self.tally.result(result, self.elapsed())

    def _emit(self, event: Event, id: str) -> None:
        self.rests += event.code == "suspended"
