"""What the SMTP client takes and gives.  Values only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from mta.envelope import Scope
from mta.interfaces import IChunks
from mta.reply import Reply

LOST: Final = Reply.of(421, "4.4.2", "The connection was lost")
SILENT: Final = Reply.of(421, "4.4.2", "The server did not answer in time")
CONFUSED: Final = Reply.of(421, "4.5.0", "The server sent what is no reply or not its turn")
CANCELLED: Final = Reply.of(421, "4.3.2", "The delivery was stopped")
#: Seconds to wait for the reply to QUIT.
QUIT_TIME: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds for each step (RFC 5321 4.5.3.2)."""

    greeting: float = 300.0
    mail: float = 300.0
    rcpt: float = 300.0
    data: float = 120.0
    block: float = 180.0
    dot: float = 600.0


class ClientFailure(Exception):
    """The server cannot be used: ``reply`` is its word or ours, ``stage`` where it happened."""

    def __init__(self, reply: Reply, stage: str) -> None:
        super().__init__(f"{stage}: {reply}")
        self.reply = reply
        self.stage = stage


class Outgoing(NamedTuple):
    """One transaction to send: MAIL and RCPT as on the wire, without CRLF; and how the octets are opened.

    ``chunking``: by BDAT (RFC 3030), which the host must have offered.  ``size`` is how many octets there are, 0
    where nobody knows before they are read.  ``probe``: without a message, which is never opened.
    """

    mail: bytes
    rcpts: tuple[bytes, ...]
    open: Callable[[], IChunks]
    chunking: bool = False
    size: int = 0
    probe: bool = False


class Answer(NamedTuple):
    """What the server said about one recipient, and when."""

    reply: Reply
    stage: str
    scope: Scope


@dataclass(slots=True)
class Sent:
    """How a transaction ended: an answer for each of its recipients, in order.

    ``lost_after_dot``: who has an answer of scope host may have the message all the same.
    ``stopped``: it was cancelled.
    """

    answers: list[Answer]
    lost_after_dot: bool = False
    stopped: bool = False

    @property
    def some(self) -> bool:
        """The message was taken for somebody."""
        return any(answer.reply.positive for answer in self.answers)
