"""The delivery service of notes: who wrote to a person that has moved is told, once (RFC 3834, RFC 5321 3.4).

What it is: the service of the place ``NOTE``, at which a recipient of its own waits since the acceptance: it entered
the spool in the transaction of the message that caused it.  The note enters with the end of that recipient, in one
transaction too: a crash loses none and sends none twice.
Contract: a note goes to a sender alone who has proved who he is: the message came from a client that had logged in, and
the address in MAIL is one that its account may send as, by a grant that names it (``mta.submission.ownership``).  So no
forged sender is ever told anything.  Each sender hears of each address once in ``again``: remembered in the state
folder by all processes (``IState``), before the note is written.
How it fails: what cannot be known now is tried again later.  Where a note was remembered and then could not be written
for good, it is not sent: once at most.
Limits: those of the state: beyond, what was remembered for longest is forgotten.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple, TypeVar

from zope.interface import implementer

from mta import events
from mta.address import Address
from mta.bounce.catalog import Catalog
from mta.bounce.report import is_international
from mta.delivery.values import Batch, Limits
from mta.dkim.own import sign_own
from mta.dkim.signer import Signer
from mta.envelope import Envelope, Origin, Outcome, Recipient, Right, Status
from mta.interfaces import IDeliveryService, IIncoming, IMessage, ISpool, IState, Maybe
from mta.message.edits import Edit
from mta.message.header import scan
from mta.message.trace import received
from mta.notes.text import note, unfit
from mta.reply import PermanentFailure, Reply
from mta.routing.keys import fold
from mta.routing.recipients import Leads
from mta.routing.values import NOTE, Route

T = TypeVar("T")
_ORIGIN: Final = Origin(listener="", protocol="local")
#: Grounds that do not name the address: anybody's, or a whole domain's.
_TOO_WIDE: Final = ("", "anybody", "delegated domain")
TOLD_BEFORE: Final = "the sender was told before"


class Told(NamedTuple):
    """What the service works with.  ``lead`` expands and routes an address; ``ground``: why who logged in at a listener
    may send as an address (``mta.submission``); ``close`` lets go of the state."""

    spool: ISpool
    lead: Callable[[Address], Awaitable[Leads]]
    ground: Callable[[str, str, Address], Awaitable[str]]
    state: IState
    close: Callable[[], object]
    again: float
    hostname: str
    languages: Sequence[Catalog]
    now: Callable[[], int]
    signer: Signer | None = None


@implementer(IDeliveryService)
class Notes:
    """See the module's text."""

    name = NOTE

    def __init__(self, world: Told) -> None:
        self._world = world

    def limits(self, route: Route) -> Limits:
        """Nothing waits long for a note."""
        return Limits(recipients=100, messages=1000, concurrency=2)

    async def deliver(self, batch: Batch) -> None:
        """One note for each recipient, or the reason why there is none."""
        attempt = {"host": "", "tls": "", "seconds": 0.0, "stage": "note"}
        for recipient in batch.pending:
            why, written = await self._why_not(batch.message, recipient), None
            if not why:
                try:
                    written = await self._written(batch.message, recipient)
                except PermanentFailure as failure:
                    why = f"it leads nowhere: {failure.reply}"
            text = f"No note: {why}" if written is None else f"The sender is told by {written.id}"
            batch.report(
                Outcome(
                    recipient=recipient.id,
                    status=Status.EXPANDED,
                    reply=Reply.of(250, "2.0.0", text),
                    attempt=attempt,
                    spawned=() if written is None else (written,),
                )
            )

    async def stop(self, deadline: float) -> None:
        """Let go of the state; one that is still asked opens it anew."""
        self._world.close()

    async def _why_not(self, message: IMessage, recipient: Recipient) -> str:
        """Why there is no note, or ""; then it is remembered that there is."""
        sender = message.envelope.reverse_path
        header = message.header()
        if why := unfit(sender, scan(header if isinstance(header, bytes) else await header)):
            return why
        assert sender is not None
        if why := await self._not_proved(message.envelope, sender):
            return why
        key = f"moved\0{fold(str(sender))}\0{fold(str(recipient.address))}"
        state, again = self._world.state, self._world.again
        # The first to add to it is the one; after a crash in between, the same message is.
        mine = await _got(state.add(key, 1, again)) == 1
        if mine:
            await _got(state.put(f"{key}\0", message.id, again))
        return "" if mine or await _got(state.get(f"{key}\0")) == message.id else TOLD_BEFORE

    async def _not_proved(self, envelope: Envelope, sender: Address) -> str:
        origin = envelope.origin
        if Right.AUTHENTICATED not in envelope.rights or not origin.login:
            return "the sender has not proved who he is"
        ground = await self._world.ground(origin.listener, origin.login, sender)
        return f"{sender} is not known to be the address of {origin.login}" if ground in _TOO_WIDE else ""

    async def _written(self, message: IMessage, recipient: Recipient) -> IIncoming:
        world, now = self._world, self._world.now()
        sender = message.envelope.reverse_path
        assert sender is not None
        leads, header = await world.lead(sender), await _got(message.header())
        incoming = world.spool.begin(0)
        try:
            octets = note(
                sender,
                recipient.address,
                recipient.destination.next_hop,
                header,
                incoming.id,
                world.hostname,
                now,
                world.languages,
            )
            for wait in (incoming.write(octets), incoming.add_recipients(leads.recipients)):
                if wait is not None:
                    await wait
            international = is_international(sender)
            envelope = Envelope(
                origin=_ORIGIN,
                reverse_path=None,  # RFC 3834 3.3
                arrived=now,
                body="8BITMIME" if international else "",
                eight_bit=not octets.isascii(),
                smtputf8=international,
                rights=frozenset({Right.OURSELVES}),
                configuration=message.envelope.configuration,
            )
            story = [events.SPAWNED(now, what="note that somebody has moved", about=message.id, sender=str(sender))]
            edits: tuple[Edit, ...] = (Edit(0, 0, received(_ORIGIN, incoming.id, world.hostname, sender, now)),)
            if world.signer is not None:
                edits, signed = await sign_own(world.signer, incoming, edits, world.signer.author, now)
                story += signed
            if (sealed := incoming.seal(envelope, edits, (*story, *leads.events))) is not None:
                await sealed
        except BaseException:
            incoming.abort()
            raise
        return incoming


async def _got(value: Maybe[T]) -> T:
    """What is there at once, or comes."""
    return await value if isinstance(value, Awaitable) else value
