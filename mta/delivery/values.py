"""What the queue hands to a delivery service, and what it may ask of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from mta.envelope import Outcome, Recipient, Scope, Status
from mta.events import Event
from mta.reply import Reply
from mta.routing.hosts import Host
from mta.routing.values import Route

if TYPE_CHECKING:
    from mta.interfaces import IMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a service takes on a route: recipients in a batch, messages a connection, batches at once."""

    recipients: int = 100
    messages: int = 100
    concurrency: int = 20


class Foresight(NamedTuple):
    """Where a copy would go (``IForeseeing``): to a ``place`` of this machine (a folder, a socket, a program), or to
    the first of ``hosts`` that takes it.  ``failure``: the reply, where there is neither.  ``tls`` is the level that is
    demanded, as in the configuration; "" where nothing is sent over a network.
    """

    place: str = ""
    hosts: tuple[Host, ...] = ()
    failure: Reply | None = None
    tls: str = ""
    reasons: tuple[Event, ...] = ()


class Paced(Exception):
    """Our own pace forbids it now: the recipients that have no outcome are not tried, and wait for their turn.

    ``gate`` is for the queue.
    """

    def __init__(self, gate: Any) -> None:
        super().__init__("our own pace")
        self.gate = gate


class Entrance(Protocol):
    """A connection, as the pace of the configuration counts it.  ``source``: from where it connects, "" if anywhere."""

    source: str

    @property
    def most(self) -> int:
        """Messages after which it ends."""

    def idle(self, end: Callable[[], object]) -> None:
        """It is only kept for more; ``end`` ends it, should another need its place."""

    def busy(self) -> None:
        """It is used again."""

    def gone(self) -> None:
        """It has ended.  Idempotent."""


class Passage(Protocol):
    """Whom a service that connects to hosts asks on the way, where the configuration limits them."""

    def enter(self, host: str, sources: Sequence[str]) -> Any:
        """An ``Entrance`` for a connection to ``host``, from one of ``sources`` if there are any.  Raises ``Paced``."""

    def charge(self, entrance: Any, recipients: int) -> None:
        """A message to so many is about to be sent over it.  Raises ``Paced``."""


class Batch:
    """Recipients of one message that travel together.

    ``deadline`` is monotonic seconds by which it should have ended; ``key`` is the same at each retry.
    ``passage`` is there where connections and messages to hosts are limited by the configuration.
    ``report`` takes each recipient's outcome once; a second one is ignored and a stranger's raises.
    """

    __slots__ = ("_outcomes", "_pending", "deadline", "key", "message", "passage", "recipients", "route")

    def __init__(
        self,
        message: IMessage,
        recipients: Sequence[Recipient],
        route: Route,
        deadline: float,
        passage: Passage | None = None,
    ) -> None:
        self.message = message
        self.recipients = tuple(recipients)
        self.route = route
        self.deadline = deadline
        self.passage = passage
        self.key = f"{message.id}-{self.recipients[0].id}"
        self._pending = {recipient.id for recipient in self.recipients}
        self._outcomes: list[Outcome] = []

    def report(self, outcome: Outcome) -> None:
        """What became of one recipient.  Raises ``KeyError`` for one that is not of this batch."""
        if outcome.recipient in self._pending:
            self._pending.remove(outcome.recipient)
            self._outcomes.append(outcome)
        elif not any(recipient.id == outcome.recipient for recipient in self.recipients):
            raise KeyError(outcome.recipient)

    def report_all(
        self, status: Status, reply: Reply, scope: Scope = Scope.RECIPIENT, attempt: Mapping[str, Any] | None = None
    ) -> None:
        """The same outcome for each recipient that has none yet; ``attempt`` left out says by whom."""
        attempt = attempt or {"stage": self.route.destination.service}
        for recipient in self.pending:
            self.report(Outcome(recipient=recipient.id, status=status, reply=reply, scope=scope, attempt=attempt))

    @property
    def pending(self) -> tuple[Recipient, ...]:
        """Recipients without an outcome, in order."""
        if len(self._pending) == len(self.recipients):
            return self.recipients
        if not self._pending:
            return ()
        return tuple(recipient for recipient in self.recipients if recipient.id in self._pending)

    @property
    def outcomes(self) -> list[Outcome]:
        """Those reported so far."""
        return list(self._outcomes)

    def close(self, reply: Reply) -> list[Outcome]:
        """All outcomes; those not reported are deferred, scope host, with ``reply``."""
        self.report_all(Status.DEFERRED, reply, Scope.HOST)
        return self._outcomes
