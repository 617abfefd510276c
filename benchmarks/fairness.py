"""How long a single message waits while a flood does: in the spool, with the real queue manager, at full size.

Three floods of ``--size`` recipients that are due, written in bulk into a scratch spool: of one sender at the same
destination, for a domain that is dead, and one message to all of them.  Then one message of somebody else is accepted
into the spool (not claimed at birth), and the time until it is delivered is printed, with how many of the flood went
before it.  The far end takes 20 ms for each batch.  Run: ``python -m benchmarks.fairness``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from random import Random
from typing import Any

from twisted.internet import reactor as real_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from zope.interface import implementer

from mta.address import Address
from mta.delivery.values import Batch, Limits
from mta.dns.fake import FakeResolver
from mta.envelope import Destination, Envelope, Origin, Outcome, Recipient, Right, Scope, Status
from mta.interfaces import IDeliveryService
from mta.queue.conclude import Report
from mta.queue.manager import Manager, Setup
from mta.queue.retry import RetryRule
from mta.reply import Reply
from mta.routing.ask import Answerer
from mta.routing.router import Router
from mta.routing.rules import RoutingRules
from mta.routing.values import Route
from mta.sender import sender_key
from mta.spool.encode import encode_envelope, encode_recipient
from mta.spool.folders import Folders
from mta.spool.schema import open_writer
from mta.spool.sqlite import SqliteSpool
from mta.spool.values import QueueIds

BODY = b"Subject: x\r\n\r\nx\r\n"
DEAD = "dead.example"
YES = Reply.of(250, "2.0.0", "Ok")
DOWN = Reply.of(421, "4.4.1", "No connection")
reactor: Any = real_reactor


def now() -> int:
    return time.time_ns() // 1_000_000


def envelope(sender: str) -> Envelope:
    origin = Origin(listener="mx", protocol="ESMTP", client="192.0.2.1")
    path = Address(sender, "a.example")
    return Envelope(origin=origin, reverse_path=path, arrived=now(), rights=frozenset({Right.NETWORK}))


def fill(state: str, size: int, domain: str, a_message: int) -> None:
    """Rows as the spool would have written them."""
    folders = Folders(state)
    folders.prepare()
    db = open_writer(folders.database)
    ids, whole = QueueIds(now), envelope("flood")
    key, text = sender_key(whole), encode_envelope(whole)
    db.execute("BEGIN")
    db.execute("INSERT INTO destination (id, service, next_hop) VALUES (1, 'internet', ?)", (domain,))
    to = Destination("internet", domain)

    def recipients(number: int, count: int) -> Iterator[tuple[Any, ...]]:
        for n in range(count):
            address = Address(f"user{n}", domain)
            one = Recipient(id=n, address=address, original=address, destination=to, due=whole.arrived)
            yield encode_recipient(number, 0, 1, one, key)

    for _ in range(0, size, a_message):
        number = ids.next()
        values = (number, whole.arrived, "flood@a.example", len(BODY), len(BODY), 0, text, None, "[]")
        db.execute("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        db.execute("INSERT INTO body VALUES (?, ?)", (number, BODY))
        marks = ", ".join("?" * 15)
        db.executemany(f"INSERT INTO recipient VALUES ({marks})", recipients(number, a_message))
    db.execute("INSERT INTO totals VALUES (?, 'accepted', ?)", (whole.arrived // 86_400_000, size))
    db.execute("COMMIT")
    db.close()


@implementer(IDeliveryService)
class FarEnd:
    """Takes 20 ms for a batch; the dead domain is never reached."""

    name = "internet"

    def __init__(self) -> None:
        self.tried = 0
        self.single: Deferred[float] = Deferred()

    def limits(self, route: Route) -> Limits:
        return Limits(recipients=50, concurrency=20)

    async def deliver(self, batch: Batch) -> None:
        await deferLater(reactor, 0.02)
        if batch.route.destination.next_hop == DEAD:
            batch.report_all(Status.DEFERRED, DOWN, Scope.DESTINATION)
            return
        for one in batch.recipients:
            if one.address.local == "single":
                self.single.callback(time.monotonic())
            else:
                self.tried += 1
            batch.report(Outcome(recipient=one.id, status=Status.RELAYED, reply=YES))

    async def stop(self, deadline: float) -> None:
        """Nothing is kept."""


class Silent:
    async def report(self, message: Any, ended: Any, now: int) -> Report:
        return Report()


async def measure(what: str, size: int, flooded: str, a_message: int, to: str) -> None:
    with tempfile.TemporaryDirectory(prefix="fairness-") as state:
        fill(state, size, flooded, a_message)
        spool = SqliteSpool(state, reactor=reactor, now=now, reserve_bytes=0, reserve_inodes=0)
        spool.open()
        far = FarEnd()
        rules = RoutingRules(
            postmaster=Address("postmaster", "a.example"),
            services=frozenset({"internet"}),
            final=frozenset(),
            domains={},
        )
        manager = Manager(
            owner="benchmark",
            spool=spool,
            setup=Setup(
                router=Router(rules),
                answerer=Answerer({}, FakeResolver()),
                services={"internet": far},
                retry=RetryRule(after=(60,), jitter=0.0, expire_after=5 * 86_400),
                active=10_000,
            ),
            reporter=Silent(),
            reactor=reactor,
            now=now,
            random=Random(1),
            emit=lambda event, id: None,
        )
        spool.notify = manager.look_soon
        await spool.recover("benchmark")
        manager.start()
        await deferLater(reactor, 3.0)
        before = far.tried
        incoming = spool.begin(0)
        incoming.write(BODY)
        address = Address("single", to)
        there = Destination("internet", to)
        incoming.add_recipients([Recipient(id=0, address=address, original=address, destination=there, due=now())])
        incoming.seal(envelope("quiet"), (), ())
        started = time.monotonic()
        await spool.commit(incoming, None)
        manager.take(None)
        delay = await far.single - started
        print(f"{what:40} {size:>8} {delay:>8.2f} s  {far.tried - before:>6} of the flood meanwhile", flush=True)
        await manager.stop(2)
        await spool.close()


async def main(size: int, message: int) -> None:
    print(f"{'a single message, while there wait':40} {'':>8} {'its delay':>10}")
    await measure("as many of another sender, same place", size, "b.example", 1, "b.example")
    await measure("as many for a dead domain", size, DEAD, 1, "c.example")
    await measure("one message to so many, same place", message, "b.example", message, "b.example")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=500_000)
    parser.add_argument("--message", type=int, default=100_000)
    options = parser.parse_args()
    done = Deferred.fromCoroutine(main(options.size, options.message))
    done.addErrback(lambda failure: failure.printTraceback()).addBoth(lambda _: reactor.stop())
    reactor.run()
