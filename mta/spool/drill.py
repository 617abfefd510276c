"""Failures and delays on demand, for the memory spool: what tests do to whoever uses a spool.

Contract: see ``mta.spool.memory``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred, succeed

from mta.envelope import Envelope, Recipient
from mta.events import Event
from mta.interfaces import IChunks, Maybe
from mta.message.edits import Edit
from mta.spool.incoming import Backing, Incoming

T = TypeVar("T")


class Drill:
    """Operations that fail, or wait, as a test wants it."""

    def __init__(self) -> None:
        self._failures: dict[str, list[Exception]] = {}
        self._held: list[Callable[[], None]] | None = None

    def fail_next(self, operation: str, error: Exception) -> None:
        """The next call of this name fails so; several queue up."""
        self._failures.setdefault(operation, []).append(error)

    def hold(self) -> None:
        """Let operations wait."""
        self._held = []

    def let_go(self) -> None:
        """Do what waits, in order, and wait no more."""
        held, self._held = self._held or [], None
        for operation in held:
            operation()

    def raise_planned(self, operation: str) -> None:
        """Fail if a test wants it so."""
        planned = self._failures.get(operation)
        if planned:
            raise planned.pop(0)

    def do(self, operation: str, work: Callable[[], T], undo: Callable[[], None] | None = None) -> Deferred[T]:
        """Run ``work`` now or when let go; ``undo`` where it fails."""
        deferred: Deferred[T] = Deferred()

        def run() -> None:
            try:
                self.raise_planned(operation)
                result = work()
            except Exception as error:
                if undo is not None:
                    undo()
                deferred.errback(error)
            else:
                deferred.callback(result)

        if self._held is None:
            run()
        else:
            self._held.append(run)
        return deferred


class MemoryBody:
    """A body that would go to a file."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, octets: bytes) -> None:
        self.parts.append(octets)

    def piece(self, number: int, offset: int, size: int) -> bytes:
        return b"".join(self.parts)[offset : offset + size]

    def seal(self) -> Deferred[None]:
        return succeed(None)

    def abort(self) -> None:
        self.parts = []


class DrilledIncoming(Incoming):
    """An incoming message whose steps fail on demand."""

    __slots__ = ("_drill",)

    def __init__(self, number: int, backing: Backing, room: int, drill: Drill) -> None:
        super().__init__(number, backing, room)
        self._drill = drill

    def write(self, octets: bytes) -> Maybe[None]:
        self._drill.raise_planned("write")
        return super().write(octets)

    def add_recipients(self, recipients: Iterable[Recipient]) -> Maybe[None]:
        self._drill.raise_planned("add_recipients")
        return super().add_recipients(recipients)

    def open(self, edits: Sequence[Edit] = ()) -> IChunks:
        self._drill.raise_planned("open")
        return super().open(edits)

    def seal(self, envelope: Envelope, edits: Sequence[Edit], story: Sequence[Event]) -> Maybe[None]:
        self._drill.raise_planned("seal")
        return super().seal(envelope, edits, story)
