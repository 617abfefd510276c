"""What a session has heard from its policies, of its connection and of a transaction.  Data only."""

from __future__ import annotations

from dataclasses import dataclass, field

from mta.address import Address
from mta.events import Event
from mta.policy.engine import Policies, Ruling
from mta.policy.fates import Fates
from mta.policy.values import SenderContext
from mta.reply import Reply


@dataclass(slots=True)
class Heard:
    """Of a connection and of its greeting; ``by`` whom.  None: they were not asked."""

    by: Policies | None = None
    connection: Ruling | None = None
    greeting: Ruling | None = None


@dataclass(slots=True)
class Policed:
    """Of a transaction so far.  ``told``: how many verdicts on recipients are in the story; ``replies``: what
    recipients are told of their own at its end."""

    sender: SenderContext
    fates: Fates
    story: list[Event]
    told: int = 0
    replies: dict[Address, Reply] = field(default_factory=dict)
