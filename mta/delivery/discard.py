"""``discard``: takes messages and throws them away, by a rule that has a name.

Contract: each recipient ends as DISCARDED at once; the story tells by which delivery service.  No report is
sent: who uses it wants silence.  It is the null twin of every other service, in tests and benchmarks too.
Failure: none.
"""

from __future__ import annotations

from zope.interface import implementer

from mta.delivery.values import Batch, Limits
from mta.envelope import Status
from mta.interfaces import IDeliveryService
from mta.plugin import Options, Services, provider
from mta.reply import Reply
from mta.routing.values import DISCARD, Route


class DiscardOptions(Options):
    """``discard``: mail that comes here is thrown away without a report."""


@provider("delivery", "discard", DiscardOptions)
@implementer(IDeliveryService)
class Discard:
    """See the module's text."""

    def __init__(self, options: DiscardOptions, services: Services) -> None:
        self.name = services.name
        self._reply = Reply.of(250, "2.0.0", f"Discarded by {services.name}")

    def limits(self, route: Route) -> Limits:
        """No reason to hold anything back."""
        return Limits(recipients=1000, messages=1000, concurrency=100)

    async def deliver(self, batch: Batch) -> None:
        """Report every recipient as discarded."""
        batch.report_all(Status.DISCARDED, self._reply, attempt={"stage": "discard"})

    async def stop(self, deadline: float) -> None:
        """Nothing runs."""


@implementer(IDeliveryService)
class Discarded:
    """Where policies send what they throw away: a place that no configuration names; the next hop is the policy."""

    name = DISCARD

    def limits(self, route: Route) -> Limits:
        """No reason to hold anything back."""
        return Limits(recipients=1000, messages=1000, concurrency=100)

    async def deliver(self, batch: Batch) -> None:
        """Report every recipient as discarded."""
        policy = batch.route.destination.next_hop
        batch.report_all(
            Status.DISCARDED, Reply.of(250, "2.0.0", f"Discarded by policy {policy}"), attempt={"stage": "discard"}
        )

    async def stop(self, deadline: float) -> None:
        """Nothing runs."""
