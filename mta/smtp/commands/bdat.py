"""BDAT (RFC 3030 2): a message in chunks of known size, in place of DATA.

Contract: exactly one reply to each chunk, after its last octet, also where it is refused.  A chunk that is refused
fails the transaction: what a client has pipelined behind it finds none, so a message never lacks a part.
How it fails: a size that cannot be read ends the session, since nobody knows what the octets behind it are.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from mta.reply import MailFailure, Reply
from mta.smtp import replies
from mta.smtp.commands.data import ending
from mta.smtp.commands.plain import count_idle
from mta.smtp.grammar import Chunk, parse_bdat
from mta.smtp.intake import MessageIntake, SkippedChunk, begin_message, check_octets
from mta.smtp.lmtp import same_for_each
from mta.smtp.telling import tell_message
from mta.smtp.transaction import Transaction
from mta.smtp.wire import ChunkDecoder

if TYPE_CHECKING:
    from mta.smtp.session import Session


def unreadable(session: Session, argument: bytes) -> Reply:
    """BDAT with something else than a space behind it."""
    session.close(replies.BDAT_SYNTAX)
    return replies.BDAT_SYNTAX


def bdat(session: Session, argument: bytes) -> Reply | Coroutine[Any, Any, Reply] | None:
    chunk = parse_bdat(argument)
    limits = session.context.limits
    if chunk is None or chunk.size > 2 * limits.message_size:
        last_word = replies.BDAT_SYNTAX if chunk is None else replies.MESSAGE_TOO_BIG
        session.close(last_word)
        return last_word
    transaction = session.transaction
    if transaction is None:
        return _refuse(session, chunk, replies.NEEDS_MAIL)
    if not chunk.wellformed:
        return _refuse(session, chunk, replies.BDAT_SYNTAX)
    if transaction.decoder is None:
        try:
            refusal = begin_message(session, transaction)
        except Exception as error:
            return _refuse(session, chunk, session.trouble(error))
        if refusal is not None:
            return _refuse(session, chunk, refusal)
        transaction.decoder = ChunkDecoder(limits.data_line, transaction.body == "BINARYMIME")
    decoder = transaction.decoder
    assert isinstance(decoder, ChunkDecoder)
    if decoder.size + chunk.size > limits.message_size:
        return _refuse(session, chunk, replies.MESSAGE_TOO_BIG)
    decoder.begin(chunk.size)
    end = _end_of_message if chunk.last else _end_of_chunk
    if not chunk.size:
        if not chunk.last:
            count_idle(session)
        return end(session, transaction)
    session.intake = MessageIntake(session, transaction, decoder, end, b"BDAT")
    return None


def _refuse(session: Session, chunk: Chunk, reply: Reply) -> Reply | None:
    """Drop the chunk's octets, then reply; the transaction has failed."""
    if chunk.last:
        reply = same_for_each(session, reply)
    session.reset()
    if not chunk.size:
        return reply
    session.intake = SkippedChunk(chunk.size, reply)
    return None


async def _end_of_chunk(session: Session, transaction: Transaction) -> Reply:
    try:
        check_octets(transaction)
    except Exception as error:
        if isinstance(error, MailFailure):
            tell_message(session, transaction, error)
        session.reset()
        raise
    decoder = transaction.decoder
    assert decoder is not None
    return replies.chunk_taken(decoder.size)


async def _end_of_message(session: Session, transaction: Transaction) -> Reply:
    decoder = transaction.decoder
    assert isinstance(decoder, ChunkDecoder)
    decoder.end()
    return await ending(session)(session, transaction)
