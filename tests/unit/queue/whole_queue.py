"""A queue with all that belongs to it, on a fake clock: manager, memory spool, real reports, and a far end that answers
as it is told.  Reports go to ``a.example`` and, for the postmaster, ``ours.example``; these take everything."""

from __future__ import annotations

from collections.abc import Callable
from email import message_from_bytes
from email.message import Message
from random import Random
from typing import Any

from flufl.bounce import all_failures
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.bounce.reporter import Reports
from mta.delivery.values import Batch, Limits
from mta.dns.fake import FakeResolver
from mta.envelope import Destination, Envelope, Origin, Outcome, Recipient, Right, Scope, Status
from mta.events import Event
from mta.message.reading import read_whole
from mta.queue.manager import Manager, Setup
from mta.queue.retry import Retries, RetryRule
from mta.reply import Reply
from mta.routing.ask import Answerer
from mta.routing.recipients import Forward, Leads, lead
from mta.routing.router import Router
from mta.routing.rules import RoutingRules
from mta.routing.values import Route
from mta.spool.memory import MemorySpool
from mta.spool.values import Change, ChangeKind, Row, Selection

HOUR = 3600
DAY = 24 * HOUR
ANN = "ann@a.example"
POSTMASTER = Address("postmaster", "ours.example")
OK = Reply.of(250, "2.0.0", "Ok")
LATER = Reply.of(451, "4.2.0", "Later")
NEVER = Reply.of(550, "5.1.1", "No such user")
DOWN = Reply.of(421, "4.4.1", "No connection")


class FarEnd:
    """Answers each recipient; what it took for the senders' domains are reports."""

    name = "internet"

    def __init__(self, reports: frozenset[str]) -> None:
        self.reports = reports
        self.answer: Callable[[Recipient], Reply | Exception] = lambda recipient: OK
        self.tried: list[str] = []
        self.taken: list[tuple[str, bytes]] = []
        self.most = 100
        self.wait: Callable[[], Deferred[None]] | None = None

    def limits(self, route: Route) -> Limits:
        return Limits(recipients=self.most, concurrency=10)

    async def deliver(self, batch: Batch) -> None:
        octets = await read_whole(batch.message)
        if self.wait is not None:
            await self.wait()
        for recipient in batch.recipients:
            if recipient.address.domain in self.reports:
                self.taken.append((str(recipient.address), octets))
                batch.report(Outcome(recipient=recipient.id, status=Status.RELAYED, reply=OK))
                continue
            self.tried.append(str(recipient.address))
            answer = self.answer(recipient)
            if isinstance(answer, Exception):
                raise answer
            status = Status.RELAYED if answer.positive else Status.FAILED if answer.permanent else Status.DEFERRED
            scope = Scope.DESTINATION if answer == DOWN else Scope.RECIPIENT
            attempt = {"stage": "connect"} if answer == DOWN else {"host": "mx.b.example", "stage": "RCPT"}
            batch.report(Outcome(recipient=recipient.id, status=status, reply=answer, scope=scope, attempt=attempt))

    async def stop(self, deadline: float) -> None: ...


class WholeQueue(SynchronousTestCase):
    retry: Retries = RetryRule(after=(60, 300, 3600), jitter=0.0, expire_after=5 * DAY, warn_after=(4 * HOUR,))

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.wall = 1_700_000_000_000
        self.spool = MemorySpool(now=self.now)
        self.far = FarEnd(frozenset({"a.example", "ours.example"}))
        self.events: list[tuple[str, Event]] = []
        self.router = Router(
            RoutingRules(postmaster=POSTMASTER, services=frozenset({"internet"}), final=frozenset(), domains={})
        )
        self.answerer = Answerer({}, FakeResolver())
        self.begin()

    def begin(self, **more: Any) -> None:
        """A process starts with what is in the spool."""
        self.manager = Manager(
            owner="test",
            spool=self.spool,
            setup=self.setup(**more),
            reporter=Reports(self.spool, self.lead, "mx.ours.example", POSTMASTER),
            reactor=self.clock,
            now=self.now,
            random=Random(1),
            emit=lambda event, id: self.events.append((id, event)),
        )
        self.successResultOf(self.spool.recover("test"))
        self.manager.start()
        self.clock.advance(0)

    def end(self) -> None:
        """The process stops in good order."""
        stopped = Deferred.fromCoroutine(self.manager.stop(10))
        self.pass_time(60, 1)
        self.successResultOf(stopped)

    def setup(self, **more: Any) -> Setup:
        fields: dict[str, Any] = {"retry": self.retry, "active": 1000, **more}
        return Setup(router=self.router, answerer=self.answerer, services={"internet": self.far}, **fields)

    def now(self) -> int:
        return self.wall + round(self.clock.seconds() * 1000)

    async def lead(self, address: Address) -> Leads:
        return await lead(self.router, self.answerer, (Forward(address),), {}, self.now())

    def send(
        self, *to: str, sender: str | None = ANN, notify: str = "", claim: bool = True, due: int = 0, **more: Any
    ) -> str:
        """Take a message in, as from our own network."""
        incoming = self.spool.begin(0)
        incoming.write(b"Subject: hello\r\n\r\nbody\r\n")
        recipients = []
        for number, text in enumerate(to):
            address = Address.parse(text)
            there = Destination("internet", address.domain)
            when = due or max(self.now(), more.get("hold_until", 0))
            recipients.append(
                Recipient(id=number, address=address, original=address, destination=there, due=when, notify=notify)
            )
        incoming.add_recipients(recipients)
        mine = Origin(listener="mx", protocol="ESMTP", client="192.0.2.1")
        rights = frozenset({Right.NETWORK})
        fields: dict[str, Any] = {"origin": mine, "arrived": self.now(), "rights": rights, **more}
        path = None if sender is None else Address.parse(sender)
        incoming.seal(Envelope(reverse_path=path, **fields), (), ())
        lease = self.successResultOf(self.spool.commit(incoming, self.manager.birth_claim() if claim else None))
        self.manager.take(lease)
        return incoming.id

    def pass_time(self, seconds: float, step: float = 60) -> None:
        self.clock.pump([step] * round(seconds / step))

    def story(self, id: str) -> str:
        return "\n".join(map(str, self.successResultOf(self.spool.story(id))))

    def rows(self, **selection: Any) -> list[Row]:
        return self.successResultOf(self.spool.page(Selection(**selection), None, 10_000))

    def change(self, kind: ChangeKind, argument: Any = None, **selection: Any) -> int:
        return self.successResultOf(self.spool.change(Selection(**selection), Change(kind, argument), "root"))

    def reports(self, to: str = ANN) -> list[Message]:
        return [message_from_bytes(octets) for address, octets in self.far.taken if address == to]

    def found(self, report: Message) -> tuple[set[str], set[str]]:
        """Whom an independent reader takes for delayed and for failed (flufl.bounce, Mailman's)."""
        delayed, failed = all_failures(report)
        return {one.decode() for one in delayed}, {one.decode() for one in failed}

    def assert_accounted(self) -> None:
        self.assertEqual(self.successResultOf(self.spool.audit()).unaccounted, 0)
