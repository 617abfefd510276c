"""What every part of the contract of ``ISpool`` needs: values, a clock that is told, a spool to fill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zope.interface.verify import verifyObject

from mta.address import Address
from mta.envelope import Destination, Envelope, Origin, Outcome, Recipient, Scope, Status
from mta.events import Event
from mta.interfaces import IChunks
from mta.reply import Reply
from mta.spool.values import (
    Change,
    ChangeKind,
    Claim,
    Lease,
    Result,
    Row,
    Selection,
)
from mta.waiting import as_deferred

START = 1_700_000_000_000
MINUTE = 60_000
ANN = Address("ann", "a.example")
BOB = Address("bob", "b.example")
CAROL = Address("carol", "c.example")
NORTH = Destination("internet", "b.example")
SOUTH = Destination("internet", "c.example")
SMALL = b"Subject: hello\r\n\r\nbody\r\n"
LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef" * 64 * 300  # 300 KiB
DONE = Reply.of(250, "2.0.0", "Ok: queued")
LATER = Reply.of(451, "4.7.1", "Greylisted")
NEVER = Reply.of(550, "5.1.1", "No such user")


class Time:
    """UTC milliseconds that pass when told."""

    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> int:
        return self.at


def recipient(id: int = 0, address: Address = BOB, destination: Destination = NORTH, **more: Any) -> Recipient:
    given: dict[str, Any] = {"address": address, "original": address, "destination": destination, "due": START}
    return Recipient(id=id, **{**given, **more})


def envelope(reverse_path: Address | None = ANN, arrived: int = START, **more: Any) -> Envelope:
    origin = Origin(listener="mx", protocol="ESMTP", client="192.0.2.7", port=4321, helo="a.example")
    return Envelope(origin=origin, reverse_path=reverse_path, arrived=arrived, **more)


def outcome(n: int = 0, status: Status = Status.RELAYED, reply: Reply = DONE) -> Outcome:
    return Outcome(recipient=n, status=status, reply=reply, scope=Scope.RECIPIENT)


class SpoolCase:
    """What every part of the contract needs."""

    def setUp(self) -> None:
        self.clock = Time()
        self.notified = 0
        self.spool: Any = self.make_spool()
        self.now(self.spool.recover("queue"))

    def make_spool(self) -> Any:
        raise NotImplementedError

    def crash(self) -> Any:
        """The same spool as a new process finds it; ``self.spool`` is of no use any more."""
        raise NotImplementedError

    def lose_body(self, id: str) -> None:
        raise NotImplementedError

    def notify(self) -> None:
        self.notified += 1

    def now(self, awaitable: Any) -> Any:
        return self.successResultOf(as_deferred(awaitable))  # type: ignore[attr-defined]  # of the TestCase

    def write(self, body: bytes = SMALL, *recipients: Recipient, **more: Any) -> Any:
        """A sealed message."""
        incoming = self.spool.begin(0)
        for start in range(0, len(body), 50_000):
            self.wait(incoming.write(body[start : start + 50_000]))
        self.wait(incoming.add_recipients(recipients or (recipient(),)))
        edits, story = more.pop("edits", ()), more.pop("story", ())
        self.wait(incoming.seal(more.pop("envelope", envelope()), edits, story))
        return incoming

    def wait(self, maybe: Any) -> None:
        if maybe is not None:
            self.now(maybe)

    def accept(self, *recipients: Recipient, body: bytes = SMALL, **more: Any) -> str:
        """A message that waits; its queue id."""
        incoming = self.write(body, *recipients, **more)
        self.assertIsNone(self.now(self.spool.commit(incoming, None)))  # type: ignore[attr-defined]
        id: str = incoming.id
        return id

    def accept_leased(self, *recipients: Recipient, body: bytes = SMALL, **more: Any) -> Lease:
        lease = self.now(self.spool.commit(self.write(body, *recipients, **more), self.born()))
        self.assertIsNotNone(lease)  # type: ignore[attr-defined]
        return lease  # type: ignore[no-any-return]

    def born(self) -> Claim:
        return Claim("queue", self.clock.at + 10 * MINUTE)

    def claim(self, destination: Destination = NORTH, limit: int = 100, minutes: int = 10) -> list[Lease]:
        at = self.clock.at
        return self.now(self.spool.claim("queue", destination, at, at + minutes * MINUTE, limit))  # type: ignore[no-any-return]

    def claim_one(self, destination: Destination = NORTH) -> Lease:
        (lease,) = self.claim(destination)
        return lease

    def claim_notices(self) -> list[Lease]:
        at = self.clock.at
        return self.now(self.spool.claim_notices("queue", at, at + MINUTE, 100))  # type: ignore[no-any-return]

    def finish(self, lease: Lease, **result: Any) -> list[Lease]:
        return self.now(self.spool.finish((Result(lease=lease, **result),)))  # type: ignore[no-any-return]

    def page(self, history: bool = False, **selection: Any) -> list[Row]:
        return self.now(self.spool.page(Selection(**selection), None, 1000, history))  # type: ignore[no-any-return]

    def change(self, kind: ChangeKind, argument: Any = None, **selection: Any) -> int:
        return self.now(self.spool.change(Selection(**selection), Change(kind, argument), "root"))  # type: ignore[no-any-return]

    def read(self, message: Any, *arguments: Any) -> bytes:
        chunks = message.open(*arguments)
        verifyObject(IChunks, chunks)
        parts = []
        while True:
            piece = chunks.next()
            octets = piece if isinstance(piece, bytes) else self.now(piece)
            if not octets:
                break
            self.assertLessEqual(len(octets), 256 * 1024)  # type: ignore[attr-defined]
            parts.append(octets)
        chunks.close()
        chunks.close()
        return b"".join(parts)

    def header(self, message: Any, *arguments: Any) -> bytes:
        header = message.header(*arguments)
        return header if isinstance(header, bytes) else self.now(header)  # type: ignore[no-any-return]

    def balanced(self) -> Any:
        """Nothing is lost, and the counters say what there is."""
        totals = self.now(self.spool.audit())
        self.assertEqual(totals.unaccounted, 0)  # type: ignore[attr-defined]
        self.assertEqual(totals, self.now(self.spool.totals()))  # type: ignore[attr-defined]
        return totals

    def codes(self, id: str) -> list[str]:
        story: list[Event] = self.now(self.spool.story(id))
        return [event.code for event in story]

    def numbers(self, leases: Sequence[Lease]) -> list[tuple[str, list[int]]]:
        return [(lease.message.id, [one.id for one in lease.recipients]) for lease in leases]
