"""DATA (RFC 5321 4.1.1.4): taking the octets, and what happens at their end, as a list of named steps.

The 250 means durable: it is returned only after ``spool.commit``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.logger import Logger

from mta import events
from mta.envelope import Envelope
from mta.interfaces import Maybe
from mta.message.edits import Edit
from mta.message.header import Header, scan
from mta.message.trace import missing_fields, received
from mta.reply import PermanentFailure, Reply
from mta.routing.recipients import Leads, lead
from mta.smtp import replies
from mta.smtp.transaction import Transaction
from mta.smtp.wire import DataDecoder

if TYPE_CHECKING:
    from mta.smtp.session import Session

log = Logger()

#: What a session keeps of a body in memory before the spool writes it to a file; see ``spool/incoming.py``.
IN_MEMORY: Final = 64 * 1024


def data(session: Session, argument: bytes) -> Reply:
    if argument:
        return replies.NO_ARGUMENT
    transaction = session.transaction
    if transaction is None:
        return replies.NEEDS_MAIL
    if not transaction.recipients:
        # RFC 5321 4.1.1.4, 3.3
        return replies.NO_RECIPIENTS if transaction.refused else replies.NEEDS_RCPT
    context = session.context
    unhealthy = context.spool.unhealthy()
    if unhealthy is not None:
        return unhealthy
    if context.memory.used >= context.limits.memory:
        return replies.NO_MEMORY
    transaction.incoming = context.spool.begin(transaction.size)
    transaction.decoder = DataDecoder(context.limits.data_line)
    return replies.START_DATA


def take(session: Session, transaction: Transaction, octets: bytes) -> Maybe[None]:
    """Octets after 354.  Returns something to wait for when the spool wants time."""
    decoder = transaction.decoder
    assert decoder is not None
    piece = decoder.feed(octets)
    if not piece:
        return None
    limits = session.context.limits
    if not transaction.header_done:
        transaction.note_header(piece, limits.header)
    if decoder.size > limits.message_size:
        if decoder.size > 2 * limits.message_size:
            # It does not stop: no more of our time (RFC 1870 6.3 lets us close).
            session.close(replies.MESSAGE_TOO_BIG)
            return None
        transaction.too_big = True
    if transaction.trouble is not None or transaction.too_big or decoder.bare or decoder.nul or decoder.line_too_long:
        # It will be refused at its end: nothing more is kept.
        _drop(session, transaction)
        return None
    charge = min(len(piece), IN_MEMORY - transaction.charged)
    transaction.charged += charge
    session.context.memory.used += charge
    assert transaction.incoming is not None
    try:
        return transaction.incoming.write(piece)
    except Exception as error:
        cannot_store(session, transaction, error)
        return None


def cannot_store(session: Session, transaction: Transaction, error: Exception) -> None:
    """The spool would not take the octets: nothing more is kept, and the client is told at the end of data.

    RFC 5321 4.1.1.4: a reply before it would be taken for that to the final dot, and all later ones wrongly too.
    """
    transaction.trouble = error
    _drop(session, transaction)


async def end_of_data(session: Session, transaction: Transaction) -> Reply:
    """After the final dot."""
    at = session.context.now()
    try:
        header = _check_content(session, transaction)
        leads = await _expand(session, transaction, at)
        edits, added = _trace(session, transaction, header, at)
        id = await _store(session, transaction, leads, edits, added, at)
    except PermanentFailure as failure:
        session.context.emit(
            events.REFUSED(client=session.client, sender=str(transaction.reverse_path or ""), reply=str(failure.reply)),
            "",
        )
        raise
    finally:
        session.committing = False
        session.reset()
    session.messages += 1
    session.idle_commands = 0
    return replies.accepted(id)


def _drop(session: Session, transaction: Transaction) -> None:
    if transaction.incoming is not None:
        transaction.incoming.abort()
        transaction.incoming = None
    session.context.memory.used -= transaction.charged
    transaction.charged = 0


def _check_content(session: Session, transaction: Transaction) -> Header:
    """Refuse what SMTP forbids, what is over a limit and what runs in a loop."""
    decoder = transaction.decoder
    assert decoder is not None
    limits = session.context.limits
    for wrong, reply in (
        (transaction.too_big or decoder.size > limits.message_size, replies.MESSAGE_TOO_BIG),
        (decoder.nul, replies.HAS_NUL),
        (decoder.bare, replies.BARE_NEWLINE),
        (decoder.line_too_long, replies.DATA_LINE_TOO_LONG),
        (transaction.header_too_big, replies.HEADER_TOO_BIG),
    ):
        if wrong:
            raise PermanentFailure(reply)
    if transaction.trouble is not None:
        raise transaction.trouble
    header = scan(transaction.header)
    if header.count(b"received") >= limits.received_hops:
        # RFC 5321 6.3
        raise PermanentFailure(replies.TOO_MANY_HOPS)
    return header


async def _expand(session: Session, transaction: Transaction, at: int) -> Leads:
    """Where the recipients lead, once and for all; and where each copy waits first."""
    context = session.context
    return await lead(context.router, context.answerer, transaction.recipients, transaction.facts, at)


def _trace(
    session: Session, transaction: Transaction, header: Header, at: int
) -> tuple[tuple[Edit, ...], tuple[str, ...]]:
    """Received at the top (RFC 5321 4.4), and what RFC 6409 8 lets us complete."""
    context = session.context
    assert transaction.incoming is not None
    only = transaction.recipients[0] if len(transaction.recipients) == 1 else None
    trace = received(session.origin, transaction.incoming.id, context.hostname, only, at)
    edits, added = missing_fields(header, session.rights, transaction.incoming.id, context.hostname, at)
    return (Edit(0, 0, trace), *edits), added


async def _store(
    session: Session,
    transaction: Transaction,
    leads: Leads,
    edits: tuple[Edit, ...],
    added: tuple[str, ...],
    at: int,
) -> str:
    context = session.context
    incoming, decoder = transaction.incoming, transaction.decoder
    assert incoming is not None
    assert decoder is not None
    envelope = Envelope(
        origin=session.origin,
        reverse_path=transaction.reverse_path,
        arrived=at,
        body=transaction.body,
        eight_bit=decoder.eight_bit,
        rights=session.rights,
        configuration=context.configuration,
    )
    accepted = events.ACCEPTED(
        at,
        client=session.client,
        helo=session.helo,
        protocol=envelope.origin.protocol,
        listener=context.listener,
        size=decoder.size,
        sender=str(transaction.reverse_path or ""),
        recipients=[str(address) for address in transaction.recipients],
    )
    story = [accepted, *leads.events]
    if added:
        story.append(events.HEADER_ADDED(at, fields=list(added)))
    for wait in (incoming.add_recipients(leads.recipients), incoming.seal(envelope, edits, story)):
        if wait is not None:
            await wait
    session.committing = True
    started = context.seconds()
    lease = await context.spool.commit(incoming, context.queue.birth_claim(leads))
    # From here on it is ours: whatever goes wrong now, the client is told 250, or it would send it again.
    try:
        context.queue.take(lease, leads)
        for event in story:
            context.emit(event, incoming.id)
        context.emit(events.COMMITTED(ms=round((context.seconds() - started) * 1000)), incoming.id)
    except Exception:
        log.failure("{id} is committed, but could not be handed on", id=incoming.id)
    return incoming.id
