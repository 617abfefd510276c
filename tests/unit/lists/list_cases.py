"""Lists, with the router, tables and spool that they need, all in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mta.address import Address
from mta.delivery.values import Batch
from mta.dns.fake import FakeResolver
from mta.envelope import Destination, Envelope, Origin, Outcome, Recipient, Right, Status
from mta.interfaces import IListedTable, ITable
from mta.lists.spread import Spread, World
from mta.lists.values import ListRule, Posting, by_local_part
from mta.message.reading import read_whole
from mta.routing.ask import Answerer
from mta.routing.router import Router
from mta.routing.rules import DomainRule, RoutingRules
from mta.routing.tables import MemoryTable
from mta.routing.values import Route
from mta.spool.memory import MemorySpool
from mta.spool.values import Claim, Lease, Result, Row, Selection

ANN = Address("ann", "example.org")
BOB = Address("bob", "example.org")
CARL = Address("Carl", "b.example")
TEAM = Address("team", "example.org")
OCTETS = b"From: ann@a.example\r\nSubject: hello\r\n\r\nbody\r\n"


def a_list(name: str = "team", *members: Address | str, **more: Any) -> ListRule:
    known = tuple(Address.parse(one) if isinstance(one, str) else one for one in members)
    fields: dict[str, Any] = {"owner": ANN, "posting": frozenset({Posting.ANYONE}), **more}
    return ListRule(address=Address(name, "example.org"), members=known, **fields)


@implementer(IListedTable)
class Table(MemoryTable):
    """A table that can list; ``listed`` says how far it was read."""

    listed = 0

    def items(self, limit: int) -> Any:
        if self.failing:
            self.lookup("")
        for number, pair in enumerate(self.entries.items()):
            if number == limit:
                return
            self.listed = number + 1
            yield pair


class Lists(SynchronousTestCase):
    """``begin`` says which lists and tables there are."""

    def setUp(self) -> None:
        self.now = 1_700_000_000_000
        self.spool = MemorySpool(now=lambda: self.now)
        self.resolver = FakeResolver()
        self.aliases = MemoryTable()
        self.breaths = 0
        self.breath: Deferred[None] | None = None
        self.begin()

    def begin(self, *lists: ListRule, **tables: ITable) -> None:
        self.rules = RoutingRules(
            postmaster=Address("postmaster", "example.org"),
            services=frozenset({"local", "internet"}),
            final=frozenset({"local"}),
            domains={
                "example.org": DomainRule(
                    name="example.org",
                    mailboxes="users",
                    aliases="aliases",
                    deliver="local",
                    lists=by_local_part(lists, "example.org"),
                )
            },
        )
        self.tables: dict[str, ITable] = {
            "users": MemoryTable({"ann": "", "bob": "", "postmaster": ""}),
            "aliases": self.aliases,
            **{f"table:{name}": table for name, table in tables.items()},
        }
        self.router = Router(self.rules)
        self.answerer = Answerer(self.tables, self.resolver)
        self.spread = Spread(
            World(
                spool=self.spool,
                router=self.router,
                answerer=self.answerer,
                hostname="mail.example.org",
                now=lambda: self.now,
                breathe=self.breathe,
                ours=frozenset({"example.org"}),
                rule=self.rules.list_at,
                table=self.tables.__getitem__,
            )
        )

    def breathe(self) -> Deferred[None]:
        self.breaths += 1
        return self.breath or succeed(None)

    def take(self, name: str = "team", octets: bytes = OCTETS, **more: Any) -> Lease:
        """A message to the list, accepted."""
        incoming = self.spool.begin(0)
        incoming.write(octets)
        address = Address(name, "example.org")
        place = Destination("(list)", str(address))
        recipient = Recipient(
            id=0, address=address, original=address, destination=place, due=self.now, path=(f"list:{address}",)
        )
        incoming.add_recipients([recipient])
        fields: dict[str, Any] = {
            "origin": Origin(listener="mx", protocol="ESMTP", client="192.0.2.1"),
            "reverse_path": CARL,
            "arrived": self.now,
            "rights": frozenset({Right.NETWORK}),
            **more,
        }
        incoming.seal(Envelope(**fields), (), ())
        lease = self.successResultOf(self.spool.commit(incoming, Claim("test", self.now + 1_000_000)))
        assert lease is not None
        return lease

    def deliver(self, lease: Lease) -> Outcome:
        batch = Batch(lease.message, lease.recipients, Route(destination=lease.recipients[0].destination), 1e9)
        self.successResultOf(Deferred.fromCoroutine(self.spread.deliver(batch)))
        (outcome,) = batch.outcomes
        return outcome

    def finish(self, lease: Lease, outcome: Outcome) -> list[Row]:
        """The outcome is written; what waits then."""
        self.successResultOf(self.spool.finish([Result(lease=lease, outcomes=(outcome,), spawned=outcome.spawned)]))
        self.assertEqual(self.successResultOf(self.spool.audit()).unaccounted, 0)
        return self.rows()

    def send(self, name: str = "team", octets: bytes = OCTETS, **more: Any) -> list[Row]:
        """A message to the list, spread; the recipients that wait then."""
        lease = self.take(name, octets, **more)
        outcome = self.deliver(lease)
        self.assertEqual(outcome.status, Status.EXPANDED)
        return self.finish(lease, outcome)

    def rows(self) -> list[Row]:
        return self.successResultOf(self.spool.page(Selection(), None, 1_000_000))

    def octets(self, row: Row) -> bytes:
        message = self.successResultOf(self.spool.get(row.id))
        return self.successResultOf(Deferred.fromCoroutine(read_whole(message)))

    def envelope(self, row: Row) -> Envelope:
        return self.successResultOf(self.spool.get(row.id)).envelope

    def story(self, row: Row) -> str:
        return "\n".join(map(str, self.successResultOf(self.spool.story(row.id))))

    def assert_to(self, rows: Sequence[Row], *texts: str) -> None:
        self.assertEqual([str(row.recipient.address) for row in rows], list(texts))


__all__ = ["ANN", "BOB", "CARL", "OCTETS", "TEAM", "Lists", "Table", "a_list"]
