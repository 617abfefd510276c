"""What a session takes in between commands: the octets of a message, and those of a chunk that was refused.

What it is: while a session's ``intake`` is set, the octets of the client go into it and are no commands; ``end``
gives the one reply when all have come.  ``MessageIntake`` serves DATA and BDAT alike.
Contract: octets are taken to their true end, whatever is wrong with them (RFC 5321 4.5.3.1.6, RFC 3030 2): the
rest is never taken as commands, and a reply never comes before it is due.
How it fails: what the spool cannot keep, and what will be refused, is dropped at once and told at the end.
Limits: a client that goes on to twice ``limits.message_size`` is cut off (RFC 5321 7.8 lets us close).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from mta.interfaces import Maybe
from mta.reply import PermanentFailure, Reply
from mta.smtp import replies
from mta.smtp.transaction import Transaction
from mta.smtp.wire import ChunkDecoder, DataDecoder

if TYPE_CHECKING:
    from mta.smtp.session import Session

#: What a session may keep of a body in memory before the spool writes it to a file: as long as the promises to all
#: sessions come to half of ``limits.memory`` at most.  Otherwise as little as the spool wants (``LEAST_ROOM``).
MOST_ROOM: Final = 256 * 1024
LEAST_ROOM: Final = 64 * 1024

Ending: TypeAlias = "Callable[[Session, Transaction], Coroutine[Any, Any, Reply]]"


class Intake(Protocol):
    """See the module's text.

    ``name`` is that of the command.  ``done``: all have come, and ``rest`` is what came after them; ``wanted``: how
    many are to come, None where nobody knows.
    """

    name: bytes
    done: bool
    rest: bytes
    wanted: int | None

    def take(self, octets: bytes) -> Maybe[None]: ...
    def failed(self, error: Exception) -> None: ...
    def end(self) -> Coroutine[Any, Any, Reply]: ...


class MessageIntake:
    """The octets of a message, or of one of its chunks; ``ending`` gives the reply."""

    __slots__ = ("_decoder", "_ending", "_session", "_transaction", "done", "name", "rest", "wanted")

    def __init__(
        self,
        session: Session,
        transaction: Transaction,
        decoder: DataDecoder | ChunkDecoder,
        ending: Ending,
        name: bytes,
    ) -> None:
        self._session = session
        self._transaction = transaction
        self._decoder = decoder
        self._ending = ending
        self.name = name
        self.done = False
        self.rest = b""
        self.wanted: int | None = decoder.wanted if isinstance(decoder, ChunkDecoder) else None

    def take(self, octets: bytes) -> Maybe[None]:
        """Octets of the client.  Returns something to wait for when the spool wants time."""
        session, transaction, decoder = self._session, self._transaction, self._decoder
        piece = decoder.feed(octets)
        if decoder.done:
            self.done, self.rest = True, decoder.rest
        elif self.wanted is not None:
            self.wanted -= len(piece)
        if not piece:
            return None
        limits = session.context.limits
        if not transaction.header_done:
            transaction.note_header(piece, limits.header)
        if decoder.size > limits.message_size:
            if decoder.size > 2 * limits.message_size:
                # It does not stop: no more of our time.
                session.close(replies.MESSAGE_TOO_BIG)
                return None
            transaction.too_big = True
        if (
            transaction.trouble is not None
            or transaction.too_big
            or decoder.bare
            or decoder.nul
            or decoder.line_too_long
        ):
            # It will be refused at its end: nothing more is kept.
            _drop(session, transaction)
            return None
        # The header section is kept apart, to its end; a short one is not worth counting twice.
        most = max(transaction.room, LEAST_ROOM) + len(transaction.header) + transaction.kept
        charge = min(len(piece), most - transaction.charged)
        transaction.charged += charge
        session.context.memory.used += charge
        assert transaction.incoming is not None
        try:
            return transaction.incoming.write(piece)
        except Exception as error:
            self.failed(error)
            return None

    def failed(self, error: Exception) -> None:
        """The spool would not take the octets: nothing more is kept, and the client is told at the end.

        RFC 5321 4.1.1.4: a reply before it would be taken for that to the final dot, and all later ones wrongly too.
        """
        self._transaction.trouble = error
        _drop(self._session, self._transaction)

    def end(self) -> Coroutine[Any, Any, Reply]:
        return self._ending(self._session, self._transaction)


class SkippedChunk:
    """The octets of a chunk that was refused: read, and dropped (RFC 3030 2); then the reply to it."""

    __slots__ = ("_reply", "done", "name", "rest", "wanted")

    def __init__(self, size: int, reply: Reply) -> None:
        self._reply = reply
        self.name = b"BDAT"
        self.done = False
        self.rest = b""
        self.wanted: int | None = size

    def take(self, octets: bytes) -> None:
        wanted = self.wanted or 0
        self.rest = octets[wanted:]
        self.wanted = max(0, wanted - len(octets))
        self.done = self.wanted == 0

    def failed(self, error: Exception) -> None:
        """Nothing is waited for here, so nothing fails."""

    async def end(self) -> Reply:
        return self._reply


def _drop(session: Session, transaction: Transaction) -> None:
    if transaction.incoming is not None:
        transaction.incoming.abort()
        transaction.incoming = None
    transaction.header, transaction.header_done = b"", True  # nobody will look at it
    memory = session.context.memory
    memory.used -= transaction.charged - transaction.kept
    transaction.charged = transaction.kept
    memory.promised -= transaction.room
    transaction.room = 0


def begin_message(session: Session, transaction: Transaction) -> Reply | None:
    """Have the spool begin a message for DATA or a first BDAT; the reply if it cannot be."""
    context = session.context
    if not transaction.recipients:
        # RFC 5321 4.1.1.4, 3.3; RFC 2033 4.2: by LMTP 503 in any case.
        return replies.NO_RECIPIENTS if transaction.refused and not context.lmtp else replies.NEEDS_RCPT
    unhealthy = context.spool.unhealthy()
    if unhealthy is not None:
        return unhealthy
    memory = context.memory
    if memory.used >= context.limits.memory:
        return replies.NO_MEMORY
    if memory.promised + MOST_ROOM <= context.limits.memory // 2:
        transaction.room = MOST_ROOM
        memory.promised += MOST_ROOM
    transaction.incoming = context.spool.begin(transaction.room)
    return None


def check_octets(transaction: Transaction) -> None:
    """Raise for what SMTP forbids, what is over a limit and what could not be kept of the octets so far."""
    decoder = transaction.decoder
    assert decoder is not None
    if transaction.too_big:
        raise PermanentFailure(replies.MESSAGE_TOO_BIG)
    if decoder.nul:
        raise PermanentFailure(replies.HAS_NUL)
    if decoder.bare:
        raise PermanentFailure(replies.BARE_NEWLINE)
    if decoder.line_too_long:
        raise PermanentFailure(replies.DATA_LINE_TOO_LONG)
    if transaction.header_too_big:
        raise PermanentFailure(replies.HEADER_TOO_BIG)
    if transaction.trouble is not None:
        raise transaction.trouble
