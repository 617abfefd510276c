"""A message while it is written: ``IIncoming`` for every spool.

What it is: octets collect in memory up to the room that was given, then go to a body file; recipients collect in memory
up to ``AT_ONCE``, beyond that they are staged in slices, so that a message to very many makes nobody wait.
Contract: nothing of it is visible before the commit.  ``write``, ``add_recipients`` and ``seal`` return None
where there is nothing to wait for.
Failure: ``TemporaryFailure`` where the disk would not take it, ``ValueError`` for a wrong use.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, Protocol

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mta.envelope import Envelope, Recipient
from mta.events import Event
from mta.interfaces import IChunks, IIncoming, Maybe
from mta.message.edits import Edit, merge
from mta.spool.message import LargeChunks, Pieces, SmallChunks
from mta.spool.settle import stamp
from mta.spool.values import id_text

#: Octets that are held in memory however little room was given; see ``MOST`` for what the database takes.
LEAST: Final = 64 * 1024
#: A body over this is a file.  Measured with 100 KiB: in the database, with one sync for many messages, 3 times as fast
#: as a file each; what is much larger would be written twice for little.
MOST: Final = 256 * 1024
AT_ONCE: Final = 1000
#: Pieces below this many octets are joined: kept one by one, each would take many times what it holds.
SMALL: Final = 1024


class LargeBody(Pieces, Protocol):
    """A body that goes to a file; see ``mta.spool.bodies.BodyFile``."""

    def write(self, octets: bytes) -> Maybe[None]: ...

    def seal(self) -> Deferred[None]: ...

    def abort(self) -> None: ...


class Backing(Protocol):
    """What an incoming message needs of its spool."""

    def large_body(self, number: int) -> LargeBody:
        """A body file for the message."""

    def stage(self, number: int, recipients: Sequence[Recipient]) -> Deferred[None]:
        """Put a slice of recipients on disk, invisible."""

    def drop(self, incoming: Incoming) -> None:
        """It was aborted: forget what is staged."""


@implementer(IIncoming)
class Incoming:
    """See the module's text.  ``envelope`` is None until it is sealed."""

    __slots__ = (
        "_backing",
        "_large",
        "_parts",
        "_room",
        "aborted",
        "committed",
        "edits",
        "envelope",
        "id",
        "number",
        "recipients",
        "size",
        "staged",
        "story",
    )

    def __init__(self, number: int, backing: Backing, room: int = 0) -> None:
        self.id = id_text(number)
        self.number = number
        self.size = 0
        self.envelope: Envelope | None = None
        self.edits: tuple[Edit, ...] = ()
        self.story: list[Event] = []
        self.recipients: list[Recipient] = []
        self.staged = 0
        self.aborted = False
        self.committed = False
        self._backing = backing
        self._room = min(max(room, LEAST), MOST)
        self._parts: list[bytes] = []
        self._large: LargeBody | None = None

    @property
    def external(self) -> bool:
        """The body is a file."""
        return self._large is not None

    def take_body(self) -> bytes:
        """The octets of a small one; it keeps them no longer."""
        parts, self._parts = self._parts, []
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, octets: bytes) -> Maybe[None]:
        if self.envelope is not None or self.aborted:
            raise ValueError("the message is sealed or aborted")
        self.size += len(octets)
        if self._large is not None:
            return self._large.write(octets)
        parts = self._parts
        if len(octets) < SMALL and parts and len(parts[-1]) < SMALL:
            parts[-1] += octets
        else:
            parts.append(octets)
        if self.size <= self._room:
            return None
        self._large = self._backing.large_body(self.number)
        parts, self._parts = self._parts, []
        return self._large.write(b"".join(parts))

    def add_recipients(self, recipients: Iterable[Recipient]) -> Maybe[None]:
        if self.envelope is not None or self.aborted:
            raise ValueError("the message is sealed or aborted")
        rest = iter(recipients)
        self.recipients.extend(islice(rest, AT_ONCE - len(self.recipients)))
        following = list(islice(rest, 1))
        if not following:
            return None
        return Deferred.fromCoroutine(self._stage(following, rest))

    async def _stage(self, following: list[Recipient], rest: Iterator[Recipient]) -> None:
        """All slices but the last, which is written with the commit."""
        while following:
            self.staged += len(self.recipients)
            await self._backing.stage(self.number, self.recipients)
            if self.aborted:
                return
            self.recipients = [*following, *islice(rest, AT_ONCE - len(following))]
            following = list(islice(rest, 1))

    def open(self, edits: Sequence[Edit] = ()) -> IChunks:
        if self.envelope is not None or self.aborted:
            raise ValueError("the message is sealed or aborted")
        ordered = merge(edits)
        if self._large is not None:
            return LargeChunks(self.id, self._large, self.number, self.size, b"", ordered)
        if len(self._parts) > 1:
            self._parts = [b"".join(self._parts)]
        return SmallChunks(None, self.number, self._parts[0] if self._parts else b"", b"", ordered)

    def seal(self, envelope: Envelope, edits: Sequence[Edit], story: Sequence[Event]) -> Maybe[None]:
        if self.envelope is not None or self.aborted:
            raise ValueError("the message is sealed or aborted")
        if not self.recipients:
            raise ValueError("a message without recipients")
        self.edits = merge(edits) if len(edits) > 1 else tuple(edits)
        self.story = stamp(story, envelope.arrived)
        self.envelope = envelope
        return None if self._large is None else self._large.seal()

    def ready(self) -> Envelope:
        """The envelope of one that may be committed; once only.  Raises ``ValueError``."""
        if self.envelope is None or self.aborted or self.committed:
            raise ValueError("the message is not sealed, or was committed or aborted before")
        return self.envelope

    def abort(self) -> None:
        if self.committed or self.aborted:
            return
        self.aborted = True
        self._parts = []
        self.recipients = []
        if self._large is not None:
            self._large.abort()
        self._backing.drop(self)


def ready(incoming: IIncoming) -> Incoming:
    """One that may be committed.  Raises ``ValueError``."""
    if not isinstance(incoming, Incoming):
        raise ValueError("the message is of another spool")
    incoming.ready()
    return incoming
