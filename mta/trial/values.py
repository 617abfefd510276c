"""What is tried, and what came of it.  Values only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from mta.delivery.values import Foresight
from mta.envelope import Recipient, Right
from mta.events import Event
from mta.reply import Reply
from mta.routing.values import Route

#: A stranger: an address, a name and a domain that nobody has, kept for documents.
CLIENT: Final = "192.0.2.1"
HELO: Final = "client.example.net"
SENDER: Final = "sender@example.net"
MESSAGE: Final = b"Subject: test\r\n\r\nThis message is only a trial.\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One message that a client would send.  Addresses are as a client writes them; ``size`` is told as SIZE, 0: not.

    ``login`` is who has authenticated, ``listener`` the name of a listener, "" for the first that speaks SMTP.
    """

    recipients: tuple[str, ...]
    sender: str = SENDER
    client: str = CLIENT
    helo: str = HELO
    login: str = ""
    listener: str = ""
    size: int = 0
    message: bytes = MESSAGE


class Said(NamedTuple):
    """One command, or "" for the greeting, and its reply."""

    command: str
    reply: Reply


class Copy(NamedTuple):
    """One recipient that would be stored, where it goes, and what its service foresees (None: it cannot).

    ``trouble``: the reply for which it would wait or fail before anything is tried.
    """

    recipient: Recipient
    route: Route
    foresight: Foresight | None = None
    trouble: Reply | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one ``Mail``.

    ``opening``: greeting and EHLO.  ``mail`` is the reply to MAIL, ``rcpt`` those to RCPT in order (None where it did
    not come to that), ``data`` that to the message (by LMTP one for each recipient that was taken).  ``header`` is the
    header section as stored, with its edits.  ``events`` are those of session and message, in order.  ``lacking`` are
    questions that are not asked here: what hangs on them was decided as if they could not be answered now.
    """

    opening: tuple[Said, ...]
    mail: Reply | None = None
    rcpt: tuple[Reply | None, ...] = ()
    data: tuple[Reply, ...] = ()
    rights: frozenset[Right] = frozenset()
    copies: tuple[Copy, ...] = ()
    header: bytes = b""
    events: tuple[Event, ...] = ()
    lacking: tuple[str, ...] = ()

    def final(self, number: int) -> Reply | None:
        """What in the end becomes of the recipient with this number: the first refusal, else the last reply."""
        said: list[Reply | None] = [one.reply for one in self.opening]
        said.append(self.mail)
        own = self.rcpt[number] if number < len(self.rcpt) else None
        said.append(own)
        if own is not None and own.positive and self.data:
            place = sum(1 for reply in self.rcpt[:number] if reply is not None and reply.positive)
            said.append(self.data[min(place, len(self.data) - 1)])
        return next((reply for reply in said if reply is not None and not reply.positive), said_last(said))

    @property
    def refused(self) -> bool:
        """Somebody would not get it."""
        return not self.rcpt or any(
            (reply := self.final(number)) is None or not reply.positive for number in range(len(self.rcpt))
        )


def said_last(replies: Iterable[Reply | None]) -> Reply | None:
    """The last that there is."""
    found = None
    for reply in replies:
        found = reply or found
    return found
