"""Completes a delivery service: a plugin needs to write no more than ``deliver``.

Contract: what the provider has is used; what it leaves out (``name``, ``limits``, ``stop``) gets its default.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from twisted.internet.defer import succeed
from zope.interface import implementer

from mta.delivery.values import Batch, Limits
from mta.interfaces import IDeliveryService
from mta.routing.values import Route


@implementer(IDeliveryService)
class Completed:
    """A provider with the defaults for what it leaves out."""

    def __init__(self, provider: Any, name: str) -> None:
        self._provider = provider
        self.name = name
        #: See ``IForeseeing``; None: it cannot.
        self.foresee = getattr(provider, "foresee", None)
        #: See ``IProbing``; None: it cannot.
        self.probe = getattr(provider, "probe", None)

    def limits(self, route: Route) -> Limits:
        """See ``IDeliveryService``."""
        own = getattr(self._provider, "limits", None)
        limits: Limits = own(route) if own is not None else Limits()
        return limits

    def deliver(self, batch: Batch) -> Awaitable[None]:
        """See ``IDeliveryService``."""
        work: Awaitable[None] = self._provider.deliver(batch)
        return work

    def stop(self, deadline: float) -> Awaitable[None]:
        """See ``IDeliveryService``."""
        own = getattr(self._provider, "stop", None)
        work: Awaitable[None] = own(deadline) if own is not None else succeed(None)
        return work


def completed(provider: Any, name: str) -> IDeliveryService:
    """The provider itself if it is whole, else wrapped."""
    whole = all(hasattr(provider, part) for part in ("name", "limits", "deliver", "stop"))
    service: IDeliveryService = provider if whole else Completed(provider, name)
    return service
