"""The contract of ``IDeliveryService``, for any provider: see mta/interfaces.py.

A provider's test inherits from ``DeliveryContract`` and ``SynchronousTestCase`` and says how to make a service
whose far end takes everything (``make_service``) and by which route it is asked (``make_route``).
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from mta.address import Address
from mta.delivery.values import Batch
from mta.dns.fake import FakeResolver
from mta.envelope import Destination, Envelope, Origin, Recipient, Status
from mta.events import Event
from mta.interfaces import IDeliveryService, IMessage
from mta.message.edits import Edit
from mta.plugin import Services
from mta.reply import LOCAL_ERROR
from mta.routing.values import Route
from mta.spool.memory import MemorySpool
from mta.spool.values import Claim

NOW = 1_700_000_000_000
BOB = Address("bob", "example.org")
CAROL = Address("carol", "example.org")


def services(name: str = "out", **changed: Any) -> Services:
    """The outside world for a service: a fake clock, threads that run at once, no network."""

    def at_once(work: Callable[..., Any], *args: Any) -> Deferred[Any]:
        try:
            return succeed(work(*args))
        except Exception:
            return fail()

    def no_table(name: str) -> Any:
        raise KeyError(name)

    def forget(event: Event, id: str) -> None: ...

    given: dict[str, Any] = {
        "name": name,
        "hostname": "mx.example.org",
        "reactor": Clock(),
        "now": lambda: NOW,
        "random": Random(1),
        "resolver": FakeResolver(),
        "in_thread": at_once,
        "table": no_table,
        "emit": forget,
    }
    return Services(**{**given, **changed})


def stored(
    octets: bytes, *recipients: Recipient, edits: tuple[Edit, ...] = (), sender: Address | None = None
) -> IMessage:
    """A message as a spool hands it out."""
    spool = MemorySpool(lambda: NOW)
    incoming = spool.begin(len(octets))
    incoming.write(octets)
    incoming.add_recipients(recipients or (recipient(0, BOB),))
    envelope = Envelope(origin=Origin(listener="mx", protocol="ESMTP"), reverse_path=sender, arrived=NOW)
    incoming.seal(envelope, edits, ())
    lease: Any = spool.commit(incoming, Claim("test", NOW + 1000)).result
    message: IMessage = lease.message
    return message


def recipient(number: int, address: Address, original: Address | None = None) -> Recipient:
    return Recipient(
        id=number, address=address, original=original or address, destination=Destination("out", ""), due=NOW
    )


class DeliveryContract:
    """See the module's text.  Mixed into a ``SynchronousTestCase``."""

    successResultOf: Any
    assertEqual: Any
    assertTrue: Any
    assertGreater: Any

    def make_service(self) -> IDeliveryService:
        raise NotImplementedError

    def make_route(self) -> Route:
        return Route(destination=Destination("out", ""))

    def make_batch(self, *addresses: Address, octets: bytes = b"Subject: x\r\n\r\nbody\r\n") -> Batch:
        recipients = [recipient(number, address) for number, address in enumerate(addresses)]
        return Batch(stored(octets, *recipients), recipients, self.make_route(), 300.0)

    def done(self, awaitable: Any) -> Any:
        """What it comes to, by now."""
        if not isinstance(awaitable, Deferred):
            awaitable = Deferred.fromCoroutine(awaitable)
        return self.successResultOf(awaitable)

    def test_it_keeps_to_the_interface(self) -> None:
        self.assertTrue(verifyObject(IDeliveryService, self.make_service()))

    def test_it_has_the_name_of_its_section(self) -> None:
        self.assertEqual(self.make_service().name, "out")

    def test_its_limits_let_mail_pass(self) -> None:
        limits = self.make_service().limits(self.make_route())
        for limit in (limits.recipients, limits.messages, limits.concurrency):
            self.assertGreater(limit, 0)

    def test_each_recipient_gets_one_outcome_that_is_final(self) -> None:
        batch = self.make_batch(BOB, CAROL)
        self.done(self.make_service().deliver(batch))
        outcomes = batch.close(LOCAL_ERROR)
        self.assertEqual(sorted(outcome.recipient for outcome in outcomes), [0, 1])
        for outcome in outcomes:
            self.assertTrue(outcome.status.final and outcome.status is not Status.FAILED, outcome)
            self.assertTrue(outcome.reply.positive)

    def test_an_attempt_tells_where_it_happened(self) -> None:
        batch = self.make_batch(BOB)
        self.done(self.make_service().deliver(batch))
        (outcome,) = batch.close(LOCAL_ERROR)
        self.assertTrue(outcome.attempt["stage"])

    def test_one_after_the_other(self) -> None:
        service = self.make_service()
        for _ in range(3):
            batch = self.make_batch(BOB)
            self.done(service.deliver(batch))
            self.assertEqual(batch.pending, ())

    def test_large_messages_pass(self) -> None:
        batch = self.make_batch(BOB, octets=b"Subject: x\r\n\r\n" + b"0123456789abcdef\r\n" * 40_000)
        self.done(self.make_service().deliver(batch))
        self.assertEqual(batch.pending, ())

    def test_it_stops_at_once_when_nothing_runs_and_may_be_stopped_again(self) -> None:
        service = self.make_service()
        self.done(service.stop(10.0))
        self.done(service.stop(10.0))
