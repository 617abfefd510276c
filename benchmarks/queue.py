"""What a long queue costs: ``python -m benchmarks.queue [--sizes 1000,100000,1000000] [--messages N] [--folder F]``.

For each size a spool is filled with so many waiting recipients, ten to a message: half of them due for one domain that
is dead, the rest due in an hour for ten thousand domains.  Then, in a process of its own: how long it takes to open it
and put it in order, how many new messages a second are accepted and delivered beside all that (1 KiB, fifty sessions,
a real disk, a delivery service that says yes at once; the dead domain is tried and rests meanwhile), how long one look
for what is due takes, and the memory of the process.  One line a size: what grows is to be seen at once.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Final

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred, gatherResults

from mta.address import Address
from mta.delivery.values import Batch, Limits
from mta.dns.resolver import Resolver
from mta.envelope import Destination, Envelope, Origin, Outcome, Recipient, Right, Scope, Status
from mta.events import ACCEPTED
from mta.interfaces import IMessage
from mta.queue.conclude import Report
from mta.queue.manager import Manager, Setup
from mta.queue.retry import RetryRule
from mta.reply import Reply
from mta.routing.ask import Answerer
from mta.routing.recipients import Leads
from mta.routing.router import Router
from mta.routing.rules import RoutingRules
from mta.routing.values import Route
from mta.spool.encode import encode_envelope, encode_recipient
from mta.spool.folders import Folders
from mta.spool.schema import open_writer
from mta.spool.sqlite import SqliteSpool
from mta.spool.values import QueueIds
from mta.waiting import as_deferred

reactor: Any = global_reactor
SIZES: Final = (1_000, 100_000, 1_000_000)
DOMAINS: Final = 10_000
A_MESSAGE: Final = 10
SESSIONS: Final = 50
BODY: Final = (b"Subject: a message of the benchmark\r\n\r\n" + b"The quick brown fox jumps over it. \r\n" * 30)[:1024]
SENDER: Final = Address("ann", "a.example")
ENVELOPE: Final = {"origin": Origin(listener="mx", protocol="ESMTP"), "reverse_path": SENDER}
YES, DOWN = Reply.of(250, "2.0.0", "Ok"), Reply.of(421, "4.4.1", "No connection")
DEAD: Final = "dead.example"


def now() -> int:
    return time.time_ns() // 1_000_000


# --- filling ---------------------------------------------------------------------------------------------------


def fill(state: str, size: int) -> None:
    """Rows as the spool would have written them, in large transactions."""
    folders = Folders(state)
    folders.prepare()
    db = open_writer(folders.database)
    domains = [DEAD, *(f"{number}.example" for number in range(DOMAINS))]
    db.execute("BEGIN")
    rows = [(number, "internet", domain) for number, domain in enumerate(domains, 1)]
    db.executemany("INSERT INTO destination (id, service, next_hop) VALUES (?, ?, ?)", rows)
    ids, at = QueueIds(now), now()
    envelope = encode_envelope(Envelope(arrived=at, rights=frozenset({Right.NETWORK}), **ENVELOPE))
    for start in range(0, size, A_MESSAGE):
        number = ids.next()
        values = (number, at, str(SENDER), len(BODY), len(BODY), 0, envelope, None, "[]")
        db.execute("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        db.execute("INSERT INTO body VALUES (?, ?)", (number, BODY))
        marks = ", ".join("?" * 15)
        db.executemany(f"INSERT INTO recipient VALUES ({marks})", _waiting(number, start, domains, at))
    db.execute("INSERT INTO totals VALUES (?, 'accepted', ?)", (at // 86_400_000, size))
    db.execute("COMMIT")
    db.close()


def _waiting(number: int, start: int, domains: list[str], at: int) -> Iterator[tuple[Any, ...]]:
    for n in range(A_MESSAGE):
        place = 0 if n % 2 else 1 + (start + n) // 2 % DOMAINS
        address = Address(f"user{start + n}", domains[place])
        destination = Destination("internet", domains[place])
        due = at if not place else at + 3_600_000 + (start + n) % 600_000
        one = Recipient(id=n, address=address, original=address, destination=destination, due=due, attempts=1)
        yield encode_recipient(number, 0, place + 1, one, 1)


# --- measuring -------------------------------------------------------------------------------------------------


class Instant:
    """Delivers at once, but to one domain."""

    name = "internet"

    def limits(self, route: Route) -> Limits:
        return Limits(recipients=50, concurrency=20)

    async def deliver(self, batch: Batch) -> None:
        dead = batch.route.destination.next_hop == DEAD
        for one in batch.recipients:
            if dead:
                batch.report(Outcome(recipient=one.id, status=Status.DEFERRED, reply=DOWN, scope=Scope.DESTINATION))
            else:
                batch.report(Outcome(recipient=one.id, status=Status.RELAYED, reply=YES))

    async def stop(self, deadline: float) -> None:
        """Nothing is under way."""


class Silent:
    """Tells nobody."""

    async def report(self, message: IMessage, ended: Any, now: int) -> Report:
        return Report()


class Run:
    """One size."""

    def __init__(self, state: str, messages: int) -> None:
        self.messages = messages
        self.delivered = 0
        self.all_delivered: Deferred[None] = Deferred()
        self.spool = SqliteSpool(state, reactor=reactor, now=now, emit=lambda event, id: None)
        services: dict[str, Any] = {"internet": Instant()}
        rules = RoutingRules(postmaster=SENDER, services=frozenset(services), final=frozenset(), domains={})
        self.router = Router(rules)
        resolver: Any = Resolver
        self.manager = Manager(
            owner="bench",
            spool=self.spool,
            setup=Setup(
                router=self.router,
                answerer=Answerer({}, resolver),
                services=services,
                retry=RetryRule(after=(900.0,), jitter=0.0, expire_after=432_000.0),
                active=10_000,
            ),
            reporter=Silent(),
            reactor=reactor,
            now=now,
            random=Random(1),
            emit=self.heard,
        )
        self.spool.notify = self.manager.look_soon

    def heard(self, event: Any, id: str) -> None:
        if event.code == "attempt" and event.args.get("status") == "relayed":
            self.delivered += 1
            if self.delivered == self.messages:
                self.all_delivered.callback(None)

    async def measure(self) -> dict[str, float]:
        begun = time.monotonic()
        self.spool.open()
        await self.spool.recover("bench")
        self.manager.start()
        started = time.monotonic() - begun
        begun = time.monotonic()
        await gatherResults([as_deferred(self.session(number)) for number in range(SESSIONS)])
        accepted = time.monotonic() - begun
        await self.all_delivered
        delivered = time.monotonic() - begun
        begun = time.monotonic()
        await self.spool.due(now(), None, 100)
        look = time.monotonic() - begun
        totals = await self.spool.totals()
        if totals.unaccounted:
            raise SystemExit(f"the spool lost count: {totals}")
        await self.manager.stop(5.0)
        await self.spool.close()
        return {
            "start": started,
            "accepted": self.messages / accepted,
            "delivered": self.messages / delivered,
            "look": look * 1000,
            "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }

    async def session(self, number: int) -> None:
        destination = Destination("internet", f"new{number}.example")
        address = Address("bob", destination.next_hop)
        for _ in range(self.messages // SESSIONS):
            at = now()
            incoming = self.spool.begin(len(BODY))
            incoming.write(BODY)
            recipients = (Recipient(id=0, address=address, original=address, destination=destination, due=at),)
            incoming.add_recipients(recipients)
            envelope = Envelope(arrived=at, rights=frozenset({Right.NETWORK}), **ENVELOPE)
            incoming.seal(envelope, (), (ACCEPTED(at, client="192.0.2.7", size=len(BODY)),))
            leads = Leads(recipients, (), (Route(destination=destination),))
            self.manager.take(await self.spool.commit(incoming, self.manager.birth_claim(leads)))


def measure_alone(state: str, messages: int) -> None:
    """In this process; prints figures as JSON."""
    run = Run(state, messages)

    def ended(result: Any) -> None:
        print(json.dumps(result) if isinstance(result, dict) else result)
        reactor.stop()

    reactor.callWhenRunning(lambda: as_deferred(run.measure()).addBoth(ended))
    reactor.run()


def figures(size: int, messages: int, folder: str) -> dict[str, float]:
    """Of a spool with so many waiting recipients, filled under the folder and opened in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="queue-bench-", dir=folder) as made:
        state = str(Path(made, "state"))
        fill(state, size)
        command = [sys.executable, "-m", "benchmarks.queue", "--state", state, "--messages", str(messages)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    try:
        found: dict[str, float] = json.loads(done.stdout)
    except ValueError:
        raise SystemExit(done.stdout) from None
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="What a long queue costs.")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="waiting recipients (default %(default)s)")
    parser.add_argument("--messages", type=int, default=10_000, help="new ones, at each size (default 10000)")
    parser.add_argument("--folder", default="/var/tmp", help="on the disk to be measured (default %(default)s)")
    parser.add_argument("--state", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    messages = chosen.messages // SESSIONS * SESSIONS
    if chosen.state:
        measure_alone(chosen.state, messages)
        return
    print("   WAITING   START  ACCEPTED/s  DELIVERED/s    LOOK   MEMORY")
    for size in map(int, chosen.sizes.split(",")):
        found = figures(size, messages, chosen.folder)
        print(
            f"{size:>10,} {found['start']:6.2f}s {found['accepted']:11,.0f} {found['delivered']:12,.0f}"
            f" {found['look']:5.1f}ms {found['memory']:5.0f}MiB",
            flush=True,
        )


if __name__ == "__main__":
    main()
