"""DATA (RFC 5321 4.1.1.4), and what happens at the end of a message, as a list of named steps.

The 250 means durable: it is returned only after ``spool.commit``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from twisted.logger import Logger

from mta import events
from mta.envelope import LOCAL, Envelope, Origin, Right
from mta.lists.fields import LOOPS, been_through
from mta.message.edits import Edit
from mta.message.header import Header, scan
from mta.message.trace import cut_fields, missing_fields, protocol_name, received
from mta.reply import MailFailure, PermanentFailure, Reply
from mta.routing.recipients import Forward, Leads, lead
from mta.smtp import replies
from mta.smtp.intake import Ending, MessageIntake, begin_message, check_octets
from mta.smtp.lmtp import end_for_each
from mta.smtp.policing import at_end
from mta.smtp.rewriting import rewrite_message
from mta.smtp.telling import tell_message
from mta.smtp.transaction import Transaction
from mta.smtp.wire import DataDecoder

if TYPE_CHECKING:
    from mta.smtp.session import Session

log = Logger()


def data(session: Session, argument: bytes) -> Reply:
    if argument:
        return replies.NO_ARGUMENT
    transaction = session.transaction
    if transaction is None:
        return replies.NEEDS_MAIL
    if transaction.decoder is not None:
        # RFC 3030 2: DATA and BDAT do not mix.
        return replies.NO_DATA_AFTER_BDAT
    if transaction.body == "BINARYMIME":
        # RFC 3030 3
        return replies.BINARY_NEEDS_BDAT
    refusal = begin_message(session, transaction)
    if refusal is not None:
        return refusal
    transaction.decoder = decoder = DataDecoder(session.context.limits.data_line)
    session.intake = MessageIntake(session, transaction, decoder, ending(session), b"DATA")
    return replies.START_DATA


def ending(session: Session) -> Ending:
    """What gives the reply to the end of a message."""
    return _end_for_each if session.context.lmtp else end_of_data


async def _end_for_each(session: Session, transaction: Transaction) -> Reply:
    return await end_for_each(session, transaction, end_of_data)


async def end_of_data(session: Session, transaction: Transaction) -> Reply:
    """After the final dot, or the last chunk."""
    at = session.context.now()
    try:
        header = _check_content(session, transaction)
        leads = await _expand(session, transaction, at)
        origin = _origin_utf8(session) if transaction.terms.smtputf8 else session.origin
        edits, changes = _trace(session, transaction, origin, header, at)
        sender = transaction.reverse_path
        if session.context.canonical is not None:
            rewriting = await rewrite_message(session, transaction, header, edits)
            sender, edits = rewriting.sender, rewriting.edits
            changes += [one._replace(at=at) for one in rewriting.story]
        if transaction.policed is not None:
            edits = await at_end(session, transaction, origin, header, edits)
            leads = await _by_policies(session, transaction, leads, at)
            changes += transaction.policed.story
        envelope = _envelope(session, transaction, origin, header, at)
        if sender is not transaction.reverse_path:
            envelope = replace(envelope, reverse_path=sender)
        id = await _store(session, transaction, envelope, leads, edits, changes)
    except MailFailure as failure:
        tell_message(session, transaction, failure)
        raise
    finally:
        session.committing = False
        session.reset()
    session.messages += 1
    session.idle_commands = 0
    terms = transaction.terms
    if terms.asked not in (None, terms.priority):
        return replies.accepted_with_priority(id, terms.priority)
    return replies.accepted(id)


def _check_content(session: Session, transaction: Transaction) -> Header:
    """Refuse what SMTP forbids, what is over a limit and what runs in a loop."""
    check_octets(transaction)
    if transaction.body == "BINARYMIME":
        _check_binary(transaction.header)
    header = scan(transaction.header)
    if header.count(b"received") >= session.context.limits.received_hops:
        # RFC 5321 6.3
        raise PermanentFailure(replies.TOO_MANY_HOPS)
    if any(been_through(rule, header) for rule in transaction.lists.values()):
        # RFC 5321 6.3; now, since a report later would go to whoever is named as the sender.
        raise PermanentFailure(LOOPS)
    return header


def _check_binary(header: bytes) -> None:
    # RFC 3030 3 makes the body binary; the header section is lines as ever (RFC 2045 2.9).
    if b"\0" in header:
        raise PermanentFailure(replies.HAS_NUL)
    lines = header.count(b"\r\n")
    if header.count(b"\r") != lines or header.count(b"\n") != lines:
        raise PermanentFailure(replies.BARE_NEWLINE)


async def _expand(session: Session, transaction: Transaction, at: int, some: Sequence[Forward] = ()) -> Leads:
    """Where the recipients lead (or ``some`` of them), once and for all; and where each copy waits first."""
    context, terms = session.context, transaction.terms
    return await lead(
        context.router,
        context.answerer,
        some or transaction.recipients,
        transaction.facts,
        at,
        terms.hold_until,
        terms.priority,
        # Never to a forged sender: backscatter.
        notes=transaction.reverse_path is not None and Right.AUTHENTICATED in session.rights,
    )


async def _by_policies(session: Session, transaction: Transaction, leads: Leads, at: int) -> Leads:
    """Where they lead after what policies said."""
    policed = transaction.policed
    assert policed is not None
    return await policed.fates.settle(
        transaction.recipients, leads, at, lambda some: _expand(session, transaction, at, some)
    )


def _origin_utf8(session: Session) -> Origin:
    """The session's; a message with SMTPUTF8 has a name of its own for the protocol (RFC 6531 4.3)."""
    origin = session.origin
    if origin.protocol == LOCAL:
        return origin
    protocol = protocol_name(
        utf8=True,
        tls=bool(origin.tls),
        auth=Right.AUTHENTICATED in session.rights,
        lmtp=origin.protocol.startswith("LMTP"),
    )
    return replace(origin, protocol=protocol)


def _trace(
    session: Session, transaction: Transaction, origin: Origin, header: Header, at: int
) -> tuple[tuple[Edit, ...], list[events.Event]]:
    """Received at the top (RFC 5321 4.4), and what RFC 6409 8 lets us complete and cut."""
    context, terms = session.context, transaction.terms
    assert transaction.incoming is not None
    only = transaction.recipients[0].address if len(transaction.recipients) == 1 else None
    priority = None if terms.asked is None else terms.priority
    trace = received(origin, transaction.incoming.id, context.hostname, only, at, priority)
    edits, added = missing_fields(header, session.rights, transaction.incoming.id, context.hostname, at)
    cuts, cut = cut_fields(header, session.rights) if session.rights else ((), ())
    changes = []
    if terms.asked is not None:
        # RFC 6710 4.1
        changes.append(events.PRIORITY(at, asked=terms.asked, given=terms.priority))
    if added:
        changes.append(events.HEADER_ADDED(at, fields=list(added)))
    if cut:
        changes.append(events.HEADER_CUT(at, fields=list(cut)))
    return (Edit(0, 0, trace), *edits, *cuts), changes


def _tls_optional(header: Header) -> bool:
    """The field ``TLS-Required: no``, once (RFC 8689 3); REQUIRETLS goes before it (RFC 8689 4.1)."""
    fields = header.all(b"tls-required")
    return len(fields) == 1 and header.value(fields[0]).lower() == b"no"


def _envelope(session: Session, transaction: Transaction, origin: Origin, header: Header, at: int) -> Envelope:
    terms, decoder = transaction.terms, transaction.decoder
    assert decoder is not None
    return Envelope(
        origin=origin,
        reverse_path=transaction.reverse_path,
        arrived=at,
        body=transaction.body,
        eight_bit=decoder.eight_bit,
        ret=terms.ret,
        envid=terms.envid,
        smtputf8=terms.smtputf8,
        requiretls=terms.requiretls,
        tls_optional=not terms.requiretls and _tls_optional(header),
        deliver_by=terms.deliver_by,
        by_mode=terms.by_mode,
        hold_until=terms.hold_until,
        rights=session.rights,
        configuration=session.context.configuration,
    )


async def _store(
    session: Session,
    transaction: Transaction,
    envelope: Envelope,
    leads: Leads,
    edits: tuple[Edit, ...],
    changes: list[events.Event],
) -> str:
    context = session.context
    incoming, decoder = transaction.incoming, transaction.decoder
    assert incoming is not None
    assert decoder is not None
    accepted = events.ACCEPTED(
        envelope.arrived,
        client=session.client,
        helo=session.helo,
        protocol=envelope.origin.protocol,
        tls=envelope.origin.tls,
        listener=context.listener,
        size=decoder.size,
        sender=str(transaction.reverse_path or ""),
        recipients=[str(forward.address) for forward in transaction.recipients],
    )
    story = [accepted, *leads.events, *changes]
    if session.standing.forwarded:
        said = [f"{name}={value}" for name, value in session.standing.forwarded.items() if value]
        story.insert(1, events.FORWARDED(envelope.arrived, peer=session.standing.peer, said=said))
    if envelope.origin.login:
        story.insert(1, events.LOGIN(envelope.arrived, login=envelope.origin.login))
    for wait in (incoming.add_recipients(leads.recipients), incoming.seal(envelope, edits, story)):
        if wait is not None:
            await wait
    session.committing = True
    started = context.seconds()
    lease = await context.spool.commit(incoming, context.queue.birth_claim(leads, envelope))
    # From here on it is ours: whatever goes wrong now, the client is told 250, or it would send it again.
    try:
        if context.queue_limited:
            context.queue.accepted(envelope, len(leads.recipients))
        context.queue.take(lease, leads)
        for event in story:
            context.emit(event, incoming.id)
        context.emit(events.COMMITTED(ms=round((context.seconds() - started) * 1000)), incoming.id)
    except Exception:
        log.failure("{id} is committed, but could not be handed on", id=incoming.id)
    return incoming.id
