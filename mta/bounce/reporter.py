"""From a notice that is owed to a sealed message in the spool, ready to be written with the outcome it is about.

Contract: ``Reports.report`` takes recipients with their outcomes, good ones too (``mta.bounce.decide.concerns`` says
cheaply for which it makes a difference), and returns messages for ``Result.spawned``: an outcome and the report of
it become durable in one transaction.  The report has the null reverse-path and the right of ourselves; its recipient is
expanded and routed like any other.  Where that is not possible now it waits unrouted; where it never is, held.
How it fails: where a report cannot be written (the spool will not take it, a fault of our own), what was begun is
aborted and ``Report.again`` says so: the caller asks again later, and after some tries it holds the recipients that
failed, with the reason: they never end untold.  What went well cannot be undone: there the story says that the sender
was not told.
Limits: a report lists ``MAX_LISTED`` recipients, for more there are several; a message is returned whole only on
RET=FULL and up to ``reports.return_size`` octets, and never if it requires TLS (RFC 8689 5).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple

from twisted.logger import Logger

from mta import events
from mta.address import Address
from mta.bounce.catalog import MEASURE, catalogs
from mta.bounce.decide import FAILED, Ended, Notice, decide
from mta.bounce.report import Subject, is_international, report
from mta.dkim.own import Own, sign_own
from mta.dkim.signer import Signer
from mta.envelope import Destination, Envelope, Origin, Recipient, Right
from mta.events import Event
from mta.interfaces import IIncoming, IMessage, ISpool
from mta.message.edits import Edit
from mta.message.reading import read_whole
from mta.message.trace import received
from mta.queue.conclude import Report
from mta.reply import MailFailure, TemporaryFailure
from mta.routing.recipients import Leads
from mta.spool.values import Damaged

log = Logger()

MAX_LISTED: Final = 1000
#: ``reports.return_size``, where nothing else is said; octets.
RETURN_SIZE: Final = 64 * 1024
_ORIGIN: Final = Origin(listener="", protocol="local")
_UNROUTED: Final = Destination("", "")


class Composed(NamedTuple):
    """A sealed report, and the events that tell of it in the story of the message it is about."""

    incoming: IIncoming
    events: tuple[Event, ...]


class Reports:
    """Tells senders and the postmaster.  ``lead`` expands and routes an address (``mta.routing.recipients``)."""

    def __init__(
        self,
        spool: ISpool,
        lead: Callable[[Address], Awaitable[Leads]],
        hostname: str,
        postmaster: Address,
        strangers: bool = False,
        return_size: int = RETURN_SIZE,
    ) -> None:
        self._spool = spool
        self._lead = lead
        self._hostname = hostname
        self._languages = catalogs((MEASURE,))
        self._signer: Signer | None = None
        self._postmaster = postmaster
        self._strangers = strangers
        self._return_size = return_size

    def change(self, postmaster: Address, strangers: bool = False, return_size: int = RETURN_SIZE) -> None:
        """From a new configuration."""
        self._postmaster = postmaster
        self._strangers = strangers
        self._return_size = return_size

    def sign_by(self, signer: Signer) -> None:
        """Reports are signed from now on, where there are keys for the domain that they are from."""
        self._signer = signer

    def speak(self, languages: Sequence[str], folder: str | None = None) -> None:
        """What people read is in these languages from now on, ``folder``: with texts of the site's own; raises
        ``mta.bounce.catalog.CatalogError``."""
        self._languages = catalogs(languages, folder)

    async def report(self, message: IMessage, ended: Sequence[Ended], now: int) -> Report:
        """Decide and compose: see ``mta.queue.conclude.Reporter``.  With ``hold`` it is those that failed who are held;
        what is spawned is to be spawned all the same."""
        plan = decide(message.envelope, ended, self._postmaster, now, self._strangers)
        composed, told, hold, again = list[Composed](), list(plan.events), plan.hold, False
        for notice in plan.notices:
            try:
                composed += await self._compose_parts(message, notice, now)
            except Exception as error:
                log.failure("the report about {id} could not be written", id=message.id)
                again = True
                why = f"the report to {notice.to} could not be written: {str(error) or type(error).__name__}"
                if notice.kind.of_failure:
                    hold = why
                    # None of them ends, so nothing is to be said yet about who is not told.
                    waiting = {recipient.id for recipient, outcome in ended if outcome.status in FAILED}
                    told = [event for event in told if event.recipient not in waiting]
                else:
                    told += [events.NOT_BOUNCED(now, recipient.id, reason=why) for recipient, _ in notice.ended]
        return Report(
            spawned=tuple(one.incoming for one in composed),
            events=(*told, *(event for one in composed for event in one.events)),
            hold=hold,
            again=again,
        )

    async def _compose_parts(self, message: IMessage, notice: Notice, now: int) -> list[Composed]:
        composed: list[Composed] = []
        try:
            for start in range(0, len(notice.ended), MAX_LISTED):
                part = notice._replace(ended=notice.ended[start : start + MAX_LISTED])
                composed.append(await self.compose(message, part, now))
        except BaseException:
            for one in composed:
                one.incoming.abort()
            raise
        return composed

    async def compose(self, message: IMessage, notice: Notice, now: int) -> Composed:
        """Write and seal one report.  Raises what the spool raises; nothing is left of it then."""
        about = await _subject(message, self._return_size)
        incoming = self._spool.begin(0)
        octets = partial(report, notice, about, incoming.id, self._hostname, self._postmaster, now, self._languages)
        spawned = events.SPAWNED(now, what=notice.kind.value, about=message.id, sender=str(notice.to))
        # RFC 6710 4.6: the report has the priority of its message.
        priority = max(recipient.priority for recipient, _ in notice.ended)
        await self._seal(incoming, octets, notice.to, spawned, priority, message.envelope)
        kind = events.BOUNCED if notice.kind.of_failure else events.REPORTED
        told = tuple(
            kind(now, recipient.id, report=incoming.id, sender=str(notice.to), status=outcome.status.value)
            for recipient, outcome in notice.ended
        )
        return Composed(incoming, told)

    async def tell(self, to: Address, octets: Callable[[str], bytes], what: str, about: str, now: int) -> None:
        """Write a notice that no message has caused, and let it go; ``octets`` makes it, from its queue id.

        Raises what the spool raises; nothing is left of it then."""
        incoming = self._spool.begin(0)
        spawned = events.SPAWNED(now, what=what, about=about, sender=str(to))
        await self._seal(incoming, partial(octets, incoming.id), to, spawned)
        await self._spool.commit(incoming, None)

    async def _seal(
        self,
        incoming: IIncoming,
        octets: Callable[[], bytes],
        to: Address,
        spawned: Event,
        priority: int = 0,
        about: Envelope | None = None,
    ) -> None:
        """Write and seal it, or abort it."""
        now, international = spawned.at, is_international(to)
        try:
            leads = await self._route(to, now)
            written = octets()
            trace = received(_ORIGIN, incoming.id, self._hostname, to, now)
            envelope = Envelope(
                origin=_ORIGIN,
                reverse_path=None,
                arrived=now,
                body="8BITMIME" if international else "",
                eight_bit=not written.isascii(),
                smtputf8=international,
                # RFC 8689 5: the report is as private as the message was; it goes on without if it must.
                requiretls=about is not None and about.requiretls,
                rights=frozenset({Right.OURSELVES}),
                configuration="" if about is None else about.configuration,
            )
            recipients = leads.recipients
            if priority:
                recipients = tuple(replace(recipient, priority=priority) for recipient in recipients)
            if (wait := incoming.write(written)) is not None:
                await wait
            if (wait := incoming.add_recipients(recipients)) is not None:
                await wait
            edits, signed = await self._signed(incoming, (Edit(0, 0, trace),), now)
            if (wait := incoming.seal(envelope, edits, (spawned, *signed, *leads.events))) is not None:
                await wait
        except BaseException:
            incoming.abort()
            raise

    async def _signed(self, incoming: IIncoming, edits: tuple[Edit, ...], now: int) -> Own:
        """Keys that cannot be used keep no report back."""
        if self._signer is None:
            return Own(edits)
        try:
            return await sign_own(self._signer, incoming, edits, self._signer.author, now)
        except TemporaryFailure as failure:
            log.error("the report {id} goes unsigned: {why}", id=incoming.id, why=failure.reason)
            return Own(edits)

    async def _route(self, to: Address, now: int) -> Leads:
        """Never fails: what cannot be routed waits, or is held (configuration alone loses no report)."""
        hold = ""
        try:
            leads = await self._lead(to)
            if leads.recipients:
                return leads
            hold = "the address of the report leads nowhere"
        except MailFailure as failure:
            if failure.reply.permanent:
                hold = f"the report cannot be routed: {failure.reply}"
        recipient = Recipient(id=0, address=to, original=to, destination=_UNROUTED, due=now, hold=hold)
        return Leads((recipient,), ())


async def _subject(message: IMessage, return_size: int) -> Subject:
    envelope, whole = message.envelope, None
    try:
        found = message.header()
        header = found if isinstance(found, bytes) else await found
        # RFC 3461 4.3; RFC 8689 5: of one that requires TLS only the header.
        if envelope.ret == "FULL" and message.size <= return_size and not envelope.requiretls:
            whole = await read_whole(message)
    except Damaged:
        header = b""  # the sender is told all the same
    return Subject(message.id, envelope, header, whole)
