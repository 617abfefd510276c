"""What an address that leads to several others comes to: it ends as expanded, and its sender is told.

What it is: the delivery service of the destination ``EXPANSION``, where ``mta.routing.recipients`` puts such an address
when its sender asked for NOTIFY=SUCCESS (RFC 3461 5.2.7.3 (c)).  No configuration names it, since there is nothing to
choose; it has a name that none can have.
Failure: none.
"""

from __future__ import annotations

from typing import Final

from zope.interface import implementer

from mta.delivery.values import Batch, Limits
from mta.envelope import Status
from mta.interfaces import IDeliveryService
from mta.reply import Reply
from mta.routing.values import EXPANSION, Route

EXPANDED: Final = Reply.of(250, "2.0.0", "The address leads to several others, which have the message from here on")


@implementer(IDeliveryService)
class Expanded:
    """See the module's text."""

    name = EXPANSION.service

    def limits(self, route: Route) -> Limits:
        """No reason to hold anything back."""
        return Limits(recipients=1000, messages=1000, concurrency=100)

    async def deliver(self, batch: Batch) -> None:
        """Report every recipient as expanded."""
        attempt = {"host": "", "tls": "", "seconds": 0.0, "stage": "expansion"}
        batch.report_all(Status.EXPANDED, EXPANDED, attempt=attempt)

    async def stop(self, deadline: float) -> None:
        """Nothing runs."""
