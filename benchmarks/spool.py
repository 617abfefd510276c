"""How many messages a second the spool accepts and finishes, and what one costs: ``python -m benchmarks.spool``.

Fifty sessions, each with one message of 1 KiB under way at a time: begin, write, seal, commit with a lease,
then finish it as relayed.  Real threads, a real reactor, a real disk; every message is synced before its next.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import gatherResults

from mta.address import Address
from mta.envelope import Destination, Envelope, Origin, Outcome, Recipient, Right, Status
from mta.events import ACCEPTED, ATTEMPT
from mta.message.edits import Edit
from mta.reply import Reply
from mta.spool.sqlite import SqliteSpool
from mta.spool.values import Claim, Result
from mta.waiting import as_deferred

reactor: Any = global_reactor
BODY = (b"Subject: a message of the benchmark\r\n\r\n" + b"The quick brown fox jumps over it. \r\n" * 30)[:1024]
TRACE = Edit(0, 0, b"Received: from client.example ([192.0.2.7]) by mail.example.org with ESMTP id X; date\r\n" * 2)
SENDER, RECIPIENT = Address("ann", "a.example"), Address("bob", "b.example")
DESTINATION = Destination("internet", "b.example")
ORIGIN = Origin(listener="mx", protocol="ESMTP", client="192.0.2.7", port=40000, helo="client.example")
QUEUED = Reply.of(250, "2.0.0", "Ok: queued as 4XyZ")


def now() -> int:
    return time.time_ns() // 1_000_000


async def session(spool: SqliteSpool, messages: int) -> None:
    """One session's messages, one after the other."""
    for _ in range(messages):
        at = now()
        incoming = spool.begin(1024)
        incoming.write(BODY)
        incoming.add_recipients(
            [Recipient(id=0, address=RECIPIENT, original=RECIPIENT, destination=DESTINATION, due=at)]
        )
        envelope = Envelope(origin=ORIGIN, reverse_path=SENDER, arrived=at, rights=frozenset({Right.NETWORK}))
        accepted = ACCEPTED(at, client="192.0.2.7", helo="client.example", protocol="ESMTP", size=1024)
        incoming.seal(envelope, (TRACE,), (accepted,))
        lease = await spool.commit(incoming, Claim("bench", at + 3_600_000))
        assert lease is not None
        attempt = {"host": "mx.b.example", "seconds": 0.01, "stage": "data"}
        outcome = Outcome(recipient=0, status=Status.RELAYED, reply=QUEUED, attempt=attempt)
        story = ATTEMPT(at, 0, attempt=1, status="relayed", service="internet", reply=str(QUEUED), **attempt)
        await spool.finish((Result(lease=lease, outcomes=(outcome,), events=(story,)),))


async def measure(folder: str, sessions: int, messages: int) -> str:
    spool = SqliteSpool(folder, reactor=reactor, now=now)
    spool.open()
    await spool.recover("bench")
    wall, cpu = time.monotonic(), time.process_time()
    await gatherResults([as_deferred(session(spool, messages // sessions)) for _ in range(sessions)])
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    totals = await spool.totals()
    await spool.close()
    if totals.unaccounted or totals.accepted != messages // sessions * sessions:
        raise SystemExit(f"the spool lost count: {totals}")
    return (
        f"{totals.accepted / wall:,.0f} messages/s accepted and finished (1 KiB, {sessions} sessions), "
        f"{cpu / totals.accepted * 1000:.3f} ms of CPU a message"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--messages", type=int, default=30_000)
    parser.add_argument("--folder", help="where the spool is made, on the disk to be measured")
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="spool-bench-", dir=options.folder)

    def ended(result: Any) -> None:
        print(result)
        reactor.stop()

    reactor.callWhenRunning(lambda: as_deferred(measure(folder, options.sessions, options.messages)).addBoth(ended))
    try:
        reactor.run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
