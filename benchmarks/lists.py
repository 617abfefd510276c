"""A mailing list of many: how long a message to it takes to become one to its members, in how much memory.

``python -m benchmarks.lists [MEMBERS]`` (default 100,000).  The members stand in a file, in 2,000 domains.  The spool
is the real one, in a temporary folder; nothing is delivered.  It tells the time until all is committed, what of it the
reactor's thread worked, the longest turn of the reactor by its own work (what else runs on the machine does not
count), and the memory at its peak above what there was before.
"""

from __future__ import annotations

import argparse
import gc
import resource
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool

from mta.address import Address
from mta.config.load import Configuration, from_mapping
from mta.deciding import deciding
from mta.delivery.values import Batch
from mta.dns.fake import FakeResolver
from mta.envelope import Destination, Envelope, Origin, Recipient
from mta.lists.values import SERVICE
from mta.plugin import Services
from mta.routing.tables import MemoryTable
from mta.routing.values import Route
from mta.spool.sqlite import SqliteSpool
from mta.spool.values import Claim, Result

LIST = Address("all", "ours.example")
OCTETS = b"From: ann@a.example\r\nSubject: all\r\n\r\n" + b"0123456789abcdef\r\n" * 50


def configuration(folder: Path, members: int) -> Configuration:
    (folder / "members").write_text("".join(f"user.{n:07}@d{n % 2000}.example\n" for n in range(members)))
    options = {
        "format": 1,
        "hostname": "mail.ours.example",
        "postmaster": "postmaster@ours.example",
        "state": "state",
        "listen": [{"name": "mx", "endpoint": "tcp:2525"}],
        "domains": {"ours.example": {"deliver": "local"}},
        "delivery": {"local": {"type": "maildir", "path": "mail/{local_part}"}, "internet": {"type": "smtp"}},
        "lists": {
            str(LIST): {"owner": "ann@ours.example", "members_from": "file:members", "max_members": members},
        },
    }
    return from_mapping(options, str(folder))


class Turns:
    """The longest turn of the reactor, in seconds of its thread's own work."""

    def __init__(self, clock: Any) -> None:
        self.longest = 0.0
        self._last = time.thread_time()
        self._loop = LoopingCall(self._tick)
        self._loop.clock = clock
        self._loop.start(0.001)

    def _tick(self) -> None:
        now = time.thread_time()
        self.longest, self._last = max(self.longest, now - self._last), now

    def stop(self) -> None:
        self._loop.stop()


async def measure(reactor: Any, folder: Path, members: int) -> None:
    def now() -> int:
        return time.time_ns() // 1_000_000

    found = configuration(folder, members)
    spool = SqliteSpool(found.state, reactor=reactor, now=now)
    spool.open()
    outside = Services(
        name="",
        hostname=found.hostname,
        reactor=reactor,
        now=now,
        random=Random(1),
        resolver=FakeResolver(),
        in_thread=lambda work, *args: deferToThreadPool(reactor, reactor.getThreadPool(), work, *args),
        table=lambda name: MemoryTable(),
        emit=lambda event, id: None,
    )
    service = deciding(found, outside, spool).services[SERVICE]
    place = Destination(SERVICE, str(LIST))
    incoming = spool.begin(0)
    incoming.write(OCTETS)
    incoming.add_recipients([Recipient(id=0, address=LIST, original=LIST, destination=place, due=now())])
    origin = Origin(listener="mx", protocol="ESMTP", client="192.0.2.1")
    incoming.seal(Envelope(origin=origin, reverse_path=Address("ann", "a.example"), arrived=now()), (), ())
    lease = await spool.commit(incoming, Claim("benchmark", now() + 3_600_000))
    assert lease is not None
    batch = Batch(lease.message, lease.recipients, Route(destination=place), 1e9)
    gc.freeze()  # as the service does
    before, turns, begun, worked = peak(), Turns(reactor), time.monotonic(), time.thread_time()
    await service.deliver(batch)
    (outcome,) = batch.outcomes
    await spool.finish([Result(lease=lease, outcomes=(outcome,), spawned=outcome.spawned)])
    took, worked = time.monotonic() - begun, time.thread_time() - worked
    turns.stop()
    totals = await spool.totals()
    print(f"{totals.queued:,} recipients of one message: {took:.2f} s, {worked:.2f} s of them in the reactor's thread")
    print(f"longest turn {turns.longest * 1000:.0f} ms; memory {peak() - before:.0f} MiB more at its peak")
    await spool.close()


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="A message to a mailing list of many.")
    parser.add_argument("members", nargs="?", type=int, default=100_000)
    members = parser.parse_args().members
    reactor: Any = EPollReactor()
    with tempfile.TemporaryDirectory(prefix="txmta-lists-") as folder:
        work = Deferred.fromCoroutine(measure(reactor, Path(folder), members))
        reactor.callWhenRunning(lambda: work.addBoth(lambda result: (reactor.stop(), result)[1]))
        reactor.run()
        failures: list[Any] = []
        work.addErrback(failures.append)
        if failures:
            failures[0].raiseException()


if __name__ == "__main__":
    main()
