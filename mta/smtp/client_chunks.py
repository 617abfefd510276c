"""A mail transaction whose message goes out by BDAT, in chunks of known size (RFC 3030).

Contract: what ``client_transaction`` says.  A small message follows MAIL and RCPT in the same write: the whole
transaction is one round trip.  A larger one follows when some recipient was taken, chunk behind chunk with
PIPELINING, else each after the reply to the one before.  A chunk is announced only when its octets are there, so
that the server never waits for octets that we cannot read: such a message ends with RSET, and so does one that the
server refuses in the middle; the connection goes on.
How it fails: the first no to a chunk is the answer for the message, whatever is said to chunks behind it.
RFC 3030 2 tells of clients that first collect all replies.  Not to wait is safe, since it demands of each host that
offers CHUNKING to read the octets of a chunk that it refuses, as where no recipient was taken.
Limits: ``AT_ONCE`` octets in the write with MAIL and RCPT; two chunks of the spool are in memory at most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mta.envelope import Scope
from mta.reply import LOCAL_ERROR, Reply
from mta.smtp.client_transaction import Transaction, is_yes
from mta.smtp.client_values import Outgoing
from mta.smtp.wire import BadReply

if TYPE_CHECKING:
    from mta.smtp.client import SmtpClient

#: What a TCP connection sends before it must hear of the peer (RFC 6928 2: ten segments), less the commands.  More
#: would save no round trip, and would be sent for nothing where the recipients are refused.
AT_ONCE: Final = 13_000
#: Octets that are worth a chunk of their own: each gets a reply.
WORTH_IT: Final = 32 * 1024

log = Logger()


class ChunkedTransaction(Transaction):
    """See the module's text."""

    __slots__ = ("_due", "_refusal", "_taken")

    def __init__(self, client: SmtpClient, outgoing: Outgoing) -> None:
        super().__init__(client, outgoing)
        self._due = 0  # chunks that have no reply yet
        self._refusal: Reply | None = None  # the first no to a chunk
        self._taken: Deferred[None] | None = None  # without PIPELINING: fires with the reply to a chunk

    def start(self) -> None:
        client, outgoing = self._client, self._outgoing
        if not client.capabilities.pipelining:
            super().start()
        elif 0 < outgoing.size <= AT_ONCE and not client.lmtp:
            # From here on it is the spool's time, and the server may end an idle connection meanwhile.
            client.step_to("MAIL", self._timeouts.block)
            self._run(self._all_at_once())
        else:
            client.write(b"\r\n".join((outgoing.mail, *outgoing.rcpts, b"")))
            self._expect_recipients()

    def _expect_recipients(self) -> None:
        self._client.expect("MAIL", self._timeouts.mail, self._mail)
        for _ in self._outgoing.rcpts:
            self._client.expect("RCPT", self._timeouts.rcpt, self._rcpt_in_group)

    def _rcpt_in_group(self, reply: Reply) -> None:
        self._rcpt(reply)
        if self._heard < len(self._answers):
            return
        if self._data_sent:
            self._client.step_to("end of data", self._timeouts.dot)
        elif self._client.confused:
            return  # it goes on talking before it has heard us
        elif self._accepted:
            self._offer_body()
        else:
            self._finish(reset=True)

    # --- a small message, in one write with MAIL and RCPT ------------------------------------------------------

    async def _all_at_once(self) -> None:
        octets = await self._gather()
        client, outgoing = self._client, self._outgoing
        if client.gone:
            return
        # RFC 2920 3.1: a command of an extension may end a group; its octets need no word of the server's first.
        head = (outgoing.mail, *outgoing.rcpts, b"BDAT %d LAST\r\n" % len(octets))
        client.write(b"\r\n".join(head) + octets)
        self._streaming = None
        self._data_sent = True
        self._due = 1
        self._expect_recipients()
        client.expect("end of data", self._timeouts.dot, self._last_answered)

    async def _gather(self) -> bytes:
        pieces: list[bytes] = []
        size = 0
        chunks = self._outgoing.open()
        try:
            while True:
                chunk = chunks.next()
                if not isinstance(chunk, bytes):
                    chunk = await chunk
                if not chunk:
                    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
                pieces.append(chunk)
                size += len(chunk)
                if size > 2 * AT_ONCE:
                    raise ValueError("a message is longer than it was said to be")
        finally:
            chunks.close()

    # --- a larger one, chunk by chunk --------------------------------------------------------------------------

    def _offer_body(self) -> None:
        self._run(self._stream())

    async def _stream(self) -> None:
        client = self._client
        chunks = self._outgoing.open()
        held = b""  # read, but the next read says whether it is the last
        try:
            while True:
                chunk = chunks.next()
                if not isinstance(chunk, bytes):
                    chunk = await chunk
                if client.gone or self._refusal is not None:
                    return
                if not chunk:
                    break
                if len(held) < WORTH_IT:
                    held += chunk
                    continue
                self._send_chunk(held)
                held = chunk
                if client.lmtp or not client.capabilities.pipelining:
                    self._taken = Deferred()
                    await self._taken
                if self._paused:
                    await self._room()
                if self._refusal is not None:
                    return
        finally:
            chunks.close()
        self._send_chunk(held, last=True)

    def _send_chunk(self, octets: bytes, last: bool = False) -> None:
        client = self._client
        client.write(b"BDAT %d%s\r\n%b" % (len(octets), b" LAST" if last else b"", octets))
        self._due += 1
        if last:
            self._streaming = None
            self._data_sent = True
            if client.lmtp:
                # RFC 2033 4.3: this has a reply for each recipient.
                self._due += len(self._accepted) - 1
            for _ in range(self._due if client.lmtp else 1):
                client.expect("end of data", self._timeouts.dot, self._last_answered)
            client.step_to("end of data", self._timeouts.dot)
        else:
            client.expect("data", self._timeouts.block, self._chunk_answered)
            client.step_to("data", self._timeouts.block)

    def _chunk_answered(self, reply: Reply) -> None:
        self._due -= 1
        if not is_yes(reply):
            self._refuse(reply)
        taken, self._taken = self._taken, None
        if taken is not None:
            taken.callback(None)
        if self._refusal is not None:
            self._settle()
        elif self._data_sent:
            self._client.step_to("end of data", self._timeouts.dot)
        else:
            self._client.step_to("data", self._timeouts.block)

    def _last_answered(self, reply: Reply) -> None:
        self._due -= 1
        if self._client.lmtp:
            if is_yes(reply) and self._client.confused:
                raise BadReply("more replies than commands")
            self._answer_next(reply)
            if not self._due:
                self._finish()
            return
        if not is_yes(reply):
            self._refuse(reply)
        elif self._client.confused:
            # Replies are too many: this may be that to a command before, and no yes to the message.
            raise BadReply("more replies than commands")
        if self._refusal is not None:
            self._settle()
            return
        self._answer_accepted(reply, "end of data")
        self._finish()

    def _refuse(self, reply: Reply) -> None:
        """RFC 3030 2: no chunk is sent after one that failed."""
        if self._refusal is None:
            self._refusal = reply
        streaming, self._streaming = self._streaming, None
        if streaming is not None:
            streaming.cancel()

    def _settle(self) -> None:
        """End a transaction that failed, once the chunks under way have their replies."""
        if self._due == 0 and self._refusal is not None:
            self._answer_accepted(self._refusal, "end of data" if self._data_sent else "data")
            # RFC 3030 2: the state is indeterminate until RSET.
            self._finish(reset=True)

    def _unreadable(self, failure: Failure) -> None:
        """The spool cannot give the octets: no chunk was begun that could not be ended."""
        if failure.check(CancelledError):
            return
        log.failure("a message could not be read", failure=failure)
        if self._heard < len(self._answers):
            self._answer_all(LOCAL_ERROR, "data", Scope.MESSAGE)
            self._finish()  # nothing had been sent
        else:
            self._refuse(LOCAL_ERROR)
            self._settle()
