"""The delivery service of lists: a message to a list becomes one to all its members (RFC 5321 3.9.2).

What it is: the service of the place at which mail to a list waits.  It copies the octets once into a new message, whose
sender is the list's, with the list's fields as edits, and stages the members in slices.  The recipient of the list ends
as expanded, and ``Outcome.spawned`` makes the new message visible in the same transaction: a crash before leaves
nothing of it, one after loses nothing, and nobody gets two copies.
Contract: members that are lists are followed at once, each list once; members that are aliases lead where those lead;
nobody gets two copies, however many ways lead to him.  What the sender wished to be told is not handed on: reports
about members are the owner's (RFC 3461 5.2.7.2).
How it fails: a table that cannot answer: tried again later, and nothing is left of what was begun.  A table that
cannot list, or more members than ``max_members``: held, and the postmaster is told.  A member that leads nowhere is
left out, one whose alias is wrong is held, and the story says so; where nobody is left, it is held.
Limits: memory: the identities of the members (some 100 octets each), and a slice of them; the reactor goes on after
each slice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Container, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

from zope.interface import implementer

from mta import events
from mta.address import Address
from mta.delivery.values import Batch, Limits
from mta.dkim.own import sign_own
from mta.dkim.signer import Choose, Signer
from mta.envelope import Destination, Envelope, Origin, Outcome, Recipient, Right, Status
from mta.events import Event
from mta.interfaces import IDeliveryService, IIncoming, IMessage, IRouter, ISpool, ITable
from mta.lists.author import Author, list_author
from mta.lists.fields import LOOPS, been_through, list_fields
from mta.lists.posting import NO_REPORTS
from mta.lists.roster import Wrong, roster
from mta.lists.signing import list_signer
from mta.lists.values import SERVICE, ListRule
from mta.message.edits import Edit, merge
from mta.message.header import Header, scan
from mta.message.trace import received
from mta.reply import PermanentFailure, Reply, TemporaryFailure
from mta.routing.ask import Answerer, resolve
from mta.routing.recipients import Forward, lead
from mta.routing.tables.listing import CannotTell
from mta.routing.values import Route

#: Members between two turns of the reactor: some 2 ms of work.
SLICE: Final = 100
#: How many of the members that are left out the story names.
MOST_TOLD: Final = 20
#: Wrong beyond what waiting mends: the member waits for an operator, the others do not wait for it.
_MISCONFIGURED: Final = frozenset({"4.3.5", "4.5.3"})
_ORIGIN: Final = Origin(listener="", protocol="local")
_UNROUTED: Final = Destination("", "")

NO_MEMBERS: Final = Reply.of(250, "2.0.0", "The list has no members")
HELD: Final = Reply.of(451, "4.3.5", "The list is not well configured here")
GONE: Final = Reply.of(451, "4.3.5", "There is no such list any more")


class World(NamedTuple):
    """What the service works with.  ``breathe`` lets the reactor go on; ``ours`` are our domains; ``rule`` gives the
    list of a place."""

    spool: ISpool
    router: IRouter
    answerer: Answerer
    hostname: str
    now: Callable[[], int]
    breathe: Callable[[], Awaitable[object]]
    ours: Container[str]
    rule: Callable[[Destination], ListRule | None]
    table: Callable[[str], ITable]
    signer: Signer | None = None


class Stuck(Exception):
    """An operator has to look; ``str()`` says why."""


@implementer(IDeliveryService)
class Spread:
    """See the module's text."""

    name = SERVICE

    def __init__(self, world: World) -> None:
        self._world = world

    def limits(self, route: Route) -> Limits:
        """All recipients of one message at one list are one; few at once, so that memory is bounded."""
        return Limits(recipients=1000, messages=1000, concurrency=2)

    async def deliver(self, batch: Batch) -> None:
        """Spread the message to the members of the list that ``batch.route`` names."""
        attempt = {"host": "", "tls": "", "seconds": 0.0, "stage": "list"}
        rule = self._world.rule(batch.route.destination)
        if rule is None:  # a configuration without it came into force this moment: the router holds it next time
            batch.report_all(Status.DEFERRED, GONE, attempt=attempt)
            return
        try:
            copy = await self._copy(rule, batch)
        except (CannotTell, Stuck) as wrong:
            for recipient in batch.pending:
                batch.report(
                    Outcome(
                        recipient=recipient.id, status=Status.DEFERRED, reply=HELD, attempt=attempt, hold=str(wrong)
                    )
                )
        except PermanentFailure as failure:
            batch.report_all(Status.FAILED, failure.reply, attempt=attempt)
        else:
            reply = (
                NO_MEMBERS if copy is None else Reply.of(250, "2.0.0", f"Sent on to the list's members as {copy.id}")
            )
            for number, recipient in enumerate(batch.pending):
                spawned = () if copy is None or number else (copy,)
                batch.report(
                    Outcome(
                        recipient=recipient.id, status=Status.EXPANDED, reply=reply, attempt=attempt, spawned=spawned
                    )
                )

    async def stop(self, deadline: float) -> None:
        """Nothing runs beside the attempts."""

    async def _copy(self, rule: ListRule, batch: Batch) -> IIncoming | None:
        """The sealed copy for the members; None where there are none."""
        message, now = batch.message, self._world.now()
        if message.envelope.reverse_path is None:
            # RFC 5321 4.5.5; and a list that is its own owner's would answer itself for ever.
            raise PermanentFailure(NO_REPORTS)
        found = message.header()
        header = scan(found if isinstance(found, bytes) else await found)
        if been_through(rule, header):
            raise PermanentFailure(LOOPS, f"it has the List-Id or X-BeenThere of {rule.address}")
        incoming = self._world.spool.begin(0)
        try:
            members = Members(self._world, rule, now, batch.recipients[0].priority)
            await members.stage(incoming)
            if not members.count:
                incoming.abort()
                if (lost := members.left_out) is not None:
                    raise Stuck(f"the list {rule.address} has no member that gets it: {lost}")
                return None
            await _write(message, incoming)
            trace = received(_ORIGIN, incoming.id, self._world.hostname, rule.address, now)
            author = await self._author(rule, header)
            edits = merge((Edit(0, 0, trace),), list_fields(rule, header), author.edits)
            story = members.story(message.id)
            if author.edits:
                story.append(events.REWRITE(now, how="From changed", why=author.why))
            if (signer := self._world.signer) is not None:
                edits, signed = await sign_own(signer, incoming, edits, _signs(signer, rule, message, author), now)
                story += signed
            if (wait := incoming.seal(_envelope(rule, message.envelope, now), edits, story)) is not None:
                await wait
        except BaseException:
            incoming.abort()
            raise
        return incoming

    async def _author(self, rule: ListRule, header: Header) -> Author:
        """In whose name it goes on."""
        decided = resolve(partial(list_author, rule, header, self._world.ours), {}, self._world.answerer)
        return decided if isinstance(decided, Author) else await decided


async def _write(message: IMessage, incoming: IIncoming) -> None:
    """The octets with the edits that they have."""
    chunks = message.open()
    try:
        while True:
            piece = chunks.next()
            octets = piece if isinstance(piece, bytes) else await piece
            if not octets:
                return
            if (wait := incoming.write(octets)) is not None:
                await wait
    finally:
        chunks.close()


def _signs(signer: Signer, rule: ListRule, message: IMessage, author: Author) -> Choose:
    """Whose keys sign the copy."""
    trusted, munged = bool(message.envelope.rights), bool(author.edits)
    return lambda header: list_signer(header, rule.address, trusted, munged, signer.able)


def _envelope(rule: ListRule, before: Envelope, now: int) -> Envelope:
    """RFC 5321 3.9.2: all but the sender stays; RFC 3461 5.2.7.2: what he wished is not handed on."""
    return Envelope(
        origin=_ORIGIN,
        reverse_path=rule.bounces,
        arrived=now,
        body=before.body,
        eight_bit=before.eight_bit,
        ret="HDRS",  # RFC 3461 5.2.7.1: the owner needs no copy of the message
        smtputf8=before.smtputf8,
        requiretls=before.requiretls,
        tls_optional=before.tls_optional,
        rights=frozenset({Right.OURSELVES}),
        configuration=before.configuration,
    )


class Members:
    """Who gets a copy: the members of a list and of those within it, staged in slices."""

    def __init__(self, world: World, rule: ListRule, now: int, priority: int) -> None:
        self.count = 0
        self._world = world
        self._rule = rule
        self._now = now
        self._priority = priority
        self._seen: set[str] = set()
        self._lists: dict[str, ListRule] = {str(rule.address): rule}
        self._left_out: list[tuple[str, str]] = []

    async def stage(self, incoming: IIncoming) -> None:
        """All of them.  Raises ``Stuck``, ``CannotTell``, ``TemporaryFailure``, and what the spool raises."""
        first: tuple[str, ...] = (f"list:{self._rule.address}",)
        todo = deque([(self._rule, first)])
        while todo:
            rule, path = todo.popleft()
            async with aclosing(roster(rule, self._world.table, self._rule.max_members + 1)) as pages:
                async for page in pages:
                    for start in range(0, len(page), SLICE):
                        found = await self._slice(page[start : start + SLICE], path, todo)
                        if found and (wait := incoming.add_recipients(found)) is not None:
                            await wait
                        await self._world.breathe()

    @property
    def left_out(self) -> str | None:
        """The first of those who get none, and why."""
        return ": ".join(self._left_out[0]) if self._left_out else None

    def story(self, about: str) -> list[Event]:
        """What the story of the copy begins with."""
        lists = [f"with {name}" for name in list(self._lists)[1:]]
        told = [events.SPREAD(self._now, list=str(self._rule.address), about=about, members=self.count, lists=lists)]
        for member, why in self._left_out[:MOST_TOLD]:
            told.append(events.MEMBER_LEFT_OUT(self._now, list=str(self._rule.address), member=member, why=why))
        return told

    async def _slice(
        self,
        members: Sequence[Address | Wrong],
        path: tuple[str, ...],
        todo: deque[tuple[ListRule, tuple[str, ...]]],
    ) -> list[Recipient]:
        """Those of these members that are new."""
        facts: dict[Any, Any] = {}
        found: list[Recipient] = []
        for member in members:
            if isinstance(member, Wrong):
                self._leave_out(member.member, member.why)
                continue
            for recipient in await self._leads(member, facts):
                if recipient.destination.service == SERVICE:
                    self._follow(recipient, path, todo)
                elif self._is_new(recipient):
                    found.append(replace(recipient, id=self.count, path=(*path, *recipient.path)))
                    self.count += 1
        return found

    async def _leads(self, member: Address, facts: dict[Any, Any]) -> tuple[Recipient, ...]:
        """Where a member leads: to himself, mostly."""
        # RFC 3461 5.2.7.2: the owner hears of what failed, and of no delays.
        forward = Forward(member, notify="FAILURE")
        try:
            leads = await lead(
                self._world.router, self._world.answerer, (forward,), facts, self._now, priority=self._priority
            )
        except PermanentFailure as failure:
            self._leave_out(str(member), failure.reason or str(failure.reply))
            return ()
        except TemporaryFailure as failure:
            if failure.reply.enhanced not in _MISCONFIGURED:
                raise
            hold = failure.reason or str(failure.reply)
            return (Recipient(id=0, address=member, original=member, destination=_UNROUTED, due=self._now, hold=hold),)
        return leads.recipients

    def _follow(
        self, recipient: Recipient, path: tuple[str, ...], todo: deque[tuple[ListRule, tuple[str, ...]]]
    ) -> None:
        """A list within the list; once."""
        name = recipient.destination.next_hop
        rule = self._world.rule(recipient.destination)
        if rule is not None and name not in self._lists:
            self._lists[name] = rule
            todo.append((rule, (*path, *recipient.path)))

    def _is_new(self, recipient: Recipient) -> bool:
        place = recipient.destination if recipient.destination.service[:1] == "(" else ""
        same = f"{self._world.router.identity(recipient.address)} {place}"
        if same in self._seen:
            return False
        self._seen.add(same)
        if len(self._seen) > self._rule.max_members:
            raise Stuck(f"the list {self._rule.address} has more than max_members = {self._rule.max_members}")
        return True

    def _leave_out(self, member: str, why: str) -> None:
        if len(self._left_out) < MOST_TOLD:
            self._left_out.append((member, why))
