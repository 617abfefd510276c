"""One destination of a simulation: what it says, as is assumed of it.  Pure: time is handed in.

Contract: ``answers`` tells whether a connection comes about, ``refuses`` what is said to a message, ``say`` what to
each recipient; in the words, scopes and stages that the SMTP client would report, so that the scheduler cannot tell the
difference.  Seconds count from the start of the simulation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from mta.envelope import Destination, Envelope, Outcome, Recipient, Scope, Status
from mta.queue.progress import read_reply
from mta.reply import Reply
from mta.simulate.assume import Assumption, State

#: Seconds for one message.
TRANSFER: Final = 0.1

TAKEN: Final = Reply.of(250, "2.0.0", "Taken")
UNREACHABLE: Final = Reply.of(451, "4.4.1", "No host could be reached")
GREYLISTED: Final = Reply.of(451, "4.7.1", "Greylisted, please try again later")
TOO_MANY: Final = Reply.of(421, "4.7.0", "Too many messages, slow down")

_MINUTE: Final = 60.0
_OF_HOST: Final = frozenset({Scope.HOST.value, Scope.DESTINATION.value})


class Said(NamedTuple):
    """What is said to one recipient; ``host``: by whom, "" where nobody was reached."""

    reply: Reply
    scope: Scope = Scope.RECIPIENT
    stage: str = "RCPT"
    host: str = ""

    def outcome(self, recipient: Recipient) -> Outcome:
        """As the SMTP client reports it."""
        if self.reply.positive:
            status = Status.RELAYED
        else:
            # A host that refuses everybody is no end for the recipient: another one, or it later, may take it.
            final = self.reply.permanent and self.scope is not Scope.HOST
            status = Status.FAILED if final else Status.DEFERRED
        attempt = {"host": self.host, "stage": self.stage}
        return Outcome(recipient=recipient.id, status=status, reply=self.reply, scope=self.scope, attempt=attempt)


_UNREACHABLE: Final = Said(UNREACHABLE, Scope.DESTINATION, "connect")


def last_said(progress: Mapping[str, Any]) -> Said | None:
    """What was said at the last try, from what the queue keeps of it; None: it was not tried, or had no trouble."""
    if "reply" not in progress:
        return None
    reply = read_reply(progress["reply"])
    if reply.positive:
        return None
    of_host = progress.get("scope") in _OF_HOST
    scope = progress.get("scope")
    return Said(
        reply,
        Scope(scope) if scope in list(Scope) else Scope.RECIPIENT,
        str(progress.get("stage", "connect" if of_host else "RCPT")),
        str(progress.get("host", "")),
    )


class FarEnd:
    """See the module's text.  ``trouble``: with LAST, that of the host, from what waits for it."""

    __slots__ = ("_asked", "_host", "_minute", "_taken", "assumption", "destination", "trouble")

    def __init__(self, destination: Destination, assumption: Assumption) -> None:
        self.destination = destination
        self.assumption = assumption
        self.trouble: Said | None = None
        self._host = destination.next_hop or destination.service
        self._asked: dict[tuple[str, int], float] = {}  # GREYLISTING: since when
        self._minute = -1
        self._taken = 0

    def loaded(self, recipient: Recipient) -> None:
        """It waits here at the start."""
        said = last_said(recipient.progress)
        if said is not None and said.scope in (Scope.HOST, Scope.DESTINATION):
            self.trouble = said

    def answers(self, seconds: float) -> Said | None:
        """None: a connection comes about; else why it does not."""
        assumption, trouble = self.assumption, self.trouble
        if assumption.state is State.DOWN:
            return _UNREACHABLE if not assumption.seconds or seconds < assumption.seconds else None
        if assumption.state is State.LAST and trouble is not None and trouble.stage == "connect":
            return trouble
        return None

    @property
    def transfer(self) -> float:
        """Seconds that one message takes."""
        return self.assumption.seconds if self.assumption.state is State.SLOW else TRANSFER

    def refuses(self, seconds: float) -> Said | None:
        """At MAIL, to all recipients; counts the message where messages are counted."""
        if self.assumption.state is State.LAST:
            return self.trouble
        if self.assumption.state is not State.LIMITED:
            return None
        minute = int(seconds // _MINUTE)
        if minute != self._minute:
            self._minute, self._taken = minute, 0
        if self._taken >= self.assumption.rate:
            return Said(TOO_MANY, Scope.HOST, "MAIL", self._host)
        self._taken += 1
        return None

    def say(self, id: str, envelope: Envelope, recipient: Recipient, seconds: float, now: int) -> Said:
        """To one recipient.  ``now`` is UTC milliseconds, as the arrival is."""
        assumption = self.assumption
        if assumption.state is State.REFUSING:
            return Said(assumption.reply, host=self._host)
        if assumption.state is State.LAST:
            last = last_said(recipient.progress)
            if last is not None:
                return last
        if assumption.state is State.GREYLISTING:
            tried = (now - envelope.arrived) / 1000 if recipient.attempts else 0.0
            since = self._asked.setdefault((id, recipient.id), seconds - tried)
            if seconds - since < assumption.seconds:
                return Said(GREYLISTED, host=self._host)
        return Said(TAKEN, stage="end of data", host=self._host)
