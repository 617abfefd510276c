"""One mail transaction of a session, from MAIL to the end of data (RFC 5321 3.3).  Data only."""

from __future__ import annotations

from typing import Any, NamedTuple

from mta.address import Address, ReversePath
from mta.interfaces import IIncoming
from mta.lists.values import ListRule
from mta.policy.heard import Policed
from mta.routing.recipients import Forward
from mta.routing.values import Question
from mta.smtp.wire import ChunkDecoder, DataDecoder

HEADER_END = b"\r\n\r\n"


class Terms(NamedTuple):
    """What MAIL asked for the whole message, granted; as ``Envelope`` has them, and the priority for ``Recipient``.

    ``asked`` is the priority that was asked for, None where none was (RFC 6710 4.1).
    """

    ret: str = ""
    envid: str = ""
    smtputf8: bool = False
    requiretls: bool = False
    deliver_by: int = 0
    by_mode: str = ""
    hold_until: int = 0
    priority: int = 0
    asked: int | None = None


#: What most mail asks for.
PLAIN = Terms()


class Transaction:
    """What MAIL and RCPT said, and the message as it comes in.

    ``header`` holds the octets up to the end of the header section, at most the limit on headers and one
    chunk; ``facts`` the answers that admission needed, so that they are asked once.
    """

    __slots__ = (
        "body",
        "charged",
        "decoder",
        "facts",
        "header",
        "header_done",
        "header_too_big",
        "incoming",
        "kept",
        "lists",
        "policed",
        "recipients",
        "refused",
        "reverse_path",
        "room",
        "size",
        "terms",
        "too_big",
        "trouble",
    )

    def __init__(self, reverse_path: ReversePath, size: int, body: str, terms: Terms = PLAIN) -> None:
        self.reverse_path = reverse_path
        self.size = size
        self.body = body
        self.terms = terms
        self.recipients: list[Forward] = []
        self.refused = 0
        self.facts: dict[Question, Any] = {}
        self.decoder: DataDecoder | ChunkDecoder | None = None  # DATA, or a first BDAT, has begun the message
        self.incoming: IIncoming | None = None
        self.header = b""
        self.header_done = False
        self.header_too_big = False
        self.too_big = False
        self.trouble: Exception | None = None  # why the octets could not be kept: told at the end of data
        self.room = 0  # octets of the body that may be held in memory; more than LEAST_ROOM are promised
        self.charged = 0  # octets charged to the memory budget
        self.kept = 0  # those of them that are for recipients
        self.lists: dict[Address, ListRule] = {}  # that recipients lead to
        self.policed: Policed | None = None  # what policies said of it; None: there are none

    def note_header(self, octets: bytes, limit: int) -> None:
        """Collect the header section from the octets of the message, in order."""
        if self.header_done:
            return
        start = max(0, len(self.header) - 3)
        self.header = self.header + octets if self.header else octets
        end = self.header.find(HEADER_END, start)
        if end >= 0 or self.header.startswith(b"\r\n"):
            self.header = self.header[: end + 4] if end >= 0 else b"\r\n"
            self.header_done = True
        if len(self.header) > limit:
            self.header_done = self.header_too_big = True
            self.header = b""
