"""What a configuration gives to the queue manager."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mta.dkim.signer import Signer
from mta.interfaces import IDeliveryService, IRouter
from mta.policy.engine import Policies
from mta.queue.pace import NO_LIMIT, PaceRule
from mta.queue.retry import Retries
from mta.routing.ask import Answerer
from mta.routing.forwarding import Forwarding


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a configuration gives to the manager; replaced whole at a reload.

    ``active``: recipients in memory; ``attempt_time``: seconds for one delivery attempt; ``poison_tries``: how often a
    part of this program may fail at a message; ``pace`` and ``attempts``: see pace.py; ``max_size`` and
    ``max_per_sender``: see volume.py; ``share``: among how many processes the concurrency of a delivery service is
    divided; ``forwarding``: in whose name forwarded mail goes on, None: always its sender's; ``signer``: signs what has
    a new author by that; ``policies``: who is asked before each attempt, None: nobody, and ``login_policies`` who
    is about mail of those who have logged in; ``bounced`` is told how many recipients of a login have failed.
    """

    router: IRouter
    answerer: Answerer
    services: Mapping[str, IDeliveryService]
    retry: Retries
    active: int
    pace: tuple[PaceRule, ...] = ()
    attempts: int = NO_LIMIT
    attempt_time: float = 3600.0
    poison_tries: int = 3
    max_size: int = 0
    max_per_sender: int = 0
    share: int = 1
    forwarding: Forwarding | None = None
    signer: Signer | None = None
    policies: Policies | None = None
    login_policies: Policies | None = None
    bounced: Callable[[str, int], None] | None = None
