"""One message of the pickup folder: into the spool by a session, and the report to its sender of what was refused.

Contract: what was taken for some recipients is not taken for them again; a recipient ends taken or refused, or waits.
``late``: what is refused for now counts as refused for good.  The report goes to the sender; where the user may not be
that one, to the user itself, so that nobody is told of what he has not sent.
How it fails: ``TemporaryFailure`` where the report cannot be written now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from zope.interface import implementer

from mta.address import Address, AddressError, ReversePath
from mta.bounce.decide import Ended
from mta.envelope import LOCAL, Destination, Envelope, Origin, Outcome, Recipient, Right, Status
from mta.interfaces import IChunks, IMessage
from mta.local.feeding import Feeder, SessionEnded
from mta.local.left import Left, NotOurs
from mta.message.edits import Edit
from mta.queue.conclude import Report
from mta.reply import LOCAL_ERROR, Reply, TemporaryFailure
from mta.sendmail.domains import with_domains
from mta.sendmail.users import User
from mta.smtp.client_parameters import mail_dsn, rcpt_dsn
from mta.smtp.context import Context
from mta.smtp.session import Session
from mta.smtp.transport import Transport
from mta.spool.values import Damaged

#: Sessions for one message at most: each ends with so many refusals as ``limits.errors`` lets be.
_SESSIONS: Final = 100
_TOO_MANY: Final = 452
_NO_PLACE: Final = Destination("", "")


class Reporter(Protocol):
    """Writes reports: ``mta.bounce.reporter.Reports``."""

    async def report(self, message: IMessage, ended: Sequence[Ended], now: int) -> Report: ...


@dataclass(frozen=True, slots=True)
class Taken:
    """How far it has come: who waits, who was refused and why; ``sender_refused``: the user may not be the sender;
    ``told``: the report is written; ``last``: why those who wait do."""

    waiting: tuple[str, ...]
    refused: tuple[tuple[str, Reply], ...] = ()
    sender_refused: bool = False
    told: bool = False
    last: Reply = LOCAL_ERROR

    def without(self, refused: Sequence[tuple[str, Reply]], taken: Sequence[str] = ()) -> Taken:
        """These have come to an end."""
        ended = {one for one, _ in refused} | set(taken)
        waiting = tuple(one for one in self.waiting if one not in ended)
        return replace(self, waiting=waiting, refused=(*self.refused, *refused))


class Taking:
    """See the module's text.  ``session`` makes one of a user; ``added`` and ``removed`` see to its time-outs."""

    def __init__(
        self,
        *,
        context: Callable[[], Context],
        session: Callable[[Transport, User], Session],
        reporter: Reporter,
        soon: Callable[[Callable[[], None]], Any],
        added: Callable[[Session], None],
        removed: Callable[[Session], None],
    ) -> None:
        self._context = context
        self._session = session
        self._reporter = reporter
        self._soon = soon
        self._added = added
        self._removed = removed

    async def take(self, user: User, left: Left, taken: Taken, late: bool) -> Taken:
        """As far as it goes now."""
        for _ in range(_SESSIONS):
            before = taken
            feeder = Feeder(lambda transport: self._session(transport, user), self._soon)
            self._added(feeder.session)
            try:
                taken = await self._speak(feeder, user, left, taken)
            finally:
                self._removed(feeder.session)
                feeder.close()
            if not taken.waiting or len(taken.waiting) == len(before.waiting):
                break
        return taken.without([(one, taken.last) for one in taken.waiting]) if late else taken

    async def _speak(self, feeder: Feeder, user: User, left: Left, taken: Taken) -> Taken:
        """One session: one transaction, or several where there are very many recipients."""
        try:
            feeder.session.start()
            banner = await feeder.reply()
            greeting = await feeder.ask("EHLO pickup") if banner.positive else banner
            if not greeting.positive:
                return replace(taken, last=greeting)
            while taken.waiting:
                before = len(taken.waiting)
                taken = await self._transaction(feeder, user, left, taken)
                if len(taken.waiting) == before:
                    break
        except SessionEnded as ended:
            return replace(taken, last=ended.reply)
        return taken

    async def _transaction(self, feeder: Feeder, user: User, left: Left, taken: Taken) -> Taken:
        envelope = left.envelope
        header = with_domains(left.header, self._context().qualify)
        size = len(header) + left.size
        sender = user.name if envelope.sender is None else envelope.sender
        utf8 = "" if all(one.isascii() for one in (sender, *taken.waiting)) else " SMTPUTF8"
        body = f" BODY={envelope.body}" if envelope.body else ""
        more = f"{body}{mail_dsn(envelope.ret, envelope.envid)}"
        begun = await feeder.ask(f"MAIL FROM:<{sender}> SIZE={size}{utf8}{more}")
        if begun.permanent:
            return replace(taken.without([(one, begun) for one in taken.waiting]), sender_refused=True)
        if not begun.positive:
            return replace(taken, last=begun)
        good: list[str] = []
        last = begun
        for one in taken.waiting:
            last = await feeder.ask(f"RCPT TO:<{one}>{rcpt_dsn(envelope.notify, '')}")
            if last.positive:
                good.append(one)
            elif last.permanent:
                taken = taken.without([(one, last)])
            elif last.code == _TOO_MANY and last.enhanced == "4.5.3" and good:
                break
            else:
                await _reset(feeder)
                return replace(taken, last=last)
        if not good:
            await _reset(feeder)
            return replace(taken, last=last)
        reply = await self._send(feeder, header, left, size)
        if reply.positive:
            return taken.without((), good)
        return taken.without([(one, reply) for one in good]) if reply.permanent else replace(taken, last=reply)

    async def _send(self, feeder: Feeder, header: bytes, left: Left, size: int) -> Reply:
        await feeder.feed(f"BDAT {size} LAST\r\n".encode("ascii"))
        await feeder.feed(header)
        sent = len(header)
        for piece in left.body():
            await feeder.feed(piece)
            sent += len(piece)
        if sent != size:
            feeder.close()
            raise NotOurs("it became shorter while it was read")
        return await feeder.reply()

    async def tell(self, user: User, name: str, left: Left, taken: Taken) -> Taken:
        """Write the report of what was refused."""
        context = self._context()
        now, domain = context.now(), context.qualify
        given = left.envelope.sender
        own = Address(user.name, domain)
        sender: ReversePath = own if given is None or taken.sender_refused else _address(given, domain)
        if given == "" and not taken.sender_refused:
            sender = None
        envelope = Envelope(
            origin=Origin(listener=context.listener, protocol=LOCAL, helo=user.name, login=user.identity),
            reverse_path=sender,
            arrived=now,
            ret=left.envelope.ret,
            envid=left.envelope.envid,
            rights=frozenset({Right.AUTHENTICATED}),
            configuration=context.configuration,
        )
        ended = [
            (
                Recipient(
                    id=number,
                    address=address,
                    original=address,
                    destination=_NO_PLACE,
                    due=now,
                    notify=left.envelope.notify,
                ),
                Outcome(recipient=number, status=Status.FAILED, reply=reply),
            )
            for number, (one, reply) in enumerate(taken.refused)
            for address in (_address(one, domain),)
        ]
        header = with_domains(left.header, domain)
        report = await self._reporter.report(_Refused(name, envelope, header, left.size), ended, now)
        if report.again:
            raise TemporaryFailure(LOCAL_ERROR, "the report to its sender cannot be written")
        for incoming in report.spawned:
            context.queue.take(await context.spool.commit(incoming, context.queue.birth_claim()))
        for event in report.events:
            context.emit(event, "")
        return replace(taken, told=True)


async def _reset(feeder: Feeder) -> None:
    """Forget the transaction; a session that has ended has forgotten it."""
    try:
        await feeder.ask("RSET")
    except SessionEnded:
        pass


def _address(text: str, domain: str) -> Address:
    """The address; what is none is shown as the local part of one."""
    try:
        return Address.parse(text if "@" in text else f"{text}@{domain}", utf8=True)
    except AddressError:
        return Address(text[:100], domain)


@implementer(IMessage)
class _Refused:
    """What was refused, for the report about it: its header, and not more."""

    def __init__(self, name: str, envelope: Envelope, header: bytes, body: int) -> None:
        self.id = name
        self.envelope = envelope
        self.size = len(header) + body
        self._header = header

    def header(self, edits: Sequence[Edit] = ()) -> bytes:
        """See ``IMessage``."""
        return self._header

    def open(self, prefix: bytes = b"", edits: Sequence[Edit] = ()) -> IChunks:
        """See ``IMessage``."""
        raise Damaged(self.id, "what was refused is not kept")
