"""One mail transaction, client side, from MAIL to the reply to the final dot (RFC 5321 3.3, RFC 2920 3.1).

Contract: with PIPELINING, MAIL, RCPT and DATA go out in one write and a small message with its final dot in
another; without, step by step.  Every recipient gets a reply and the stage at which it came; only a 2yz after the
final dot is a yes.  Nothing is sent behind a message that was not sent whole.
How it fails: ``done`` never fails.  Recipients that have no reply of their own get that of the trouble, with scope
host; ``lost_after_dot`` says whether the message may have been taken all the same.  A message that cannot be read
is no trouble of the host's: 451, scope message.
Limits: bodies are sent in the chunks of the spool, held back while the transport's buffer is full.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mta.envelope import Scope
from mta.reply import LOCAL_ERROR, Reply
from mta.smtp.client_values import CANCELLED, Answer, Outgoing, Sent
from mta.smtp.wire import BadReply, DotStuffer
from mta.waiting import Later, step

if TYPE_CHECKING:
    from mta.smtp.client import SmtpClient

log = Logger()


class Transaction:
    """See the module's text.  ``done`` fires with ``Sent``; cancelling it ends the connection."""

    __slots__ = (
        "_accepted",
        "_answers",
        "_client",
        "_data_sent",
        "_heard",
        "_outgoing",
        "_paused",
        "_resumed",
        "_streaming",
        "_timeouts",
        "done",
    )

    def __init__(self, client: SmtpClient, outgoing: Outgoing) -> None:
        self._client = client
        self._timeouts = client.timeouts
        self._outgoing = outgoing
        self._answers: list[Answer | None] = [None] * len(outgoing.rcpts)
        self._accepted: list[int] = []
        self._heard = 0  # replies to RCPT; they come in order
        self._data_sent = False
        self._streaming: Deferred[None] | None = None
        self._paused = False
        self._resumed: Deferred[None] | None = None
        self.done: Deferred[Sent] = Later(lambda _: client.abort())

    def start(self) -> None:
        client, outgoing, times = self._client, self._outgoing, self._timeouts
        if not client.capabilities.pipelining:
            client.write(outgoing.mail + b"\r\n")
            client.expect("MAIL", times.mail, self._mail_alone)
            return
        # RFC 2920 3.1: DATA may end a group of commands.
        client.write(b"\r\n".join((outgoing.mail, *outgoing.rcpts, b"DATA\r\n")))
        client.expect("MAIL", times.mail, self._mail)
        client.expect_more(self._rcpt, len(outgoing.rcpts))
        client.expect_more(self._data)

    # --- replies -------------------------------------------------------------------------------------------

    def _mail(self, reply: Reply) -> None:
        if not is_yes(reply):
            self._answer_all(reply, "MAIL", Scope.MESSAGE)
        self._client.step_to("RCPT", self._timeouts.rcpt)

    def _rcpt(self, reply: Reply) -> None:
        index = self._heard
        self._heard += 1
        if self._answers[index] is None:  # else MAIL's refusal is its answer
            if is_yes(reply):
                self._accepted.append(index)
            else:
                scope = Scope.HOST if reply.code == 421 else Scope.RECIPIENT
                self._answers[index] = Answer(reply, "RCPT", scope)
        if self._heard < len(self._answers):
            self._client.step_to("RCPT", self._timeouts.rcpt)
        else:
            self._client.step_to("DATA", self._timeouts.data)

    def _data(self, reply: Reply) -> None:
        if reply.code == 354:
            if self._client.confused:
                return  # it goes on talking before it has heard us
            if self._accepted:
                self._send_body()
            elif self._client.lmtp:
                # RFC 2033 4.2 demands 503; how many replies an empty message would get nobody knows.
                raise BadReply("data is to be sent for nobody")
            else:
                # RFC 2920 3.1: it began to take data for nobody; an empty message ends that.
                self._client.write(b".\r\n")
                self._client.expect("end of data", self._timeouts.dot, lambda _: self._finish())
            return
        if reply.positive:
            raise BadReply("DATA was answered by neither 354 nor a refusal")
        self._answer_accepted(reply, "DATA")
        self._finish(reset=True)

    def _final(self, reply: Reply) -> None:
        if self._streaming is not None:
            if reply.positive:
                raise BadReply("a yes to half a message")
            # It did not wait for the end: its no counts.  QUIT would be a line of the message.
            self._answer_accepted(reply, "data")
            self._client.drop(reply)
            return
        if reply.positive and not is_yes(reply):
            raise BadReply("the message was answered by neither yes nor no")
        if self._client.lmtp:
            if reply.positive and self._client.confused:
                raise BadReply("more replies than recipients: whose yes this is nobody knows")
            self._answer_next(reply)
        else:
            self._answer_accepted(reply, "end of data")
        if not self._accepted:
            self._finish()

    # --- step by step, for a server without PIPELINING -------------------------------------------------------

    def _mail_alone(self, reply: Reply) -> None:
        self._mail(reply)
        if reply.positive:
            self._next_rcpt()
        else:
            self._finish(reset=True)

    def _next_rcpt(self) -> None:
        if self._heard < len(self._answers):
            self._client.write(self._outgoing.rcpts[self._heard] + b"\r\n")
            self._client.expect("RCPT", self._timeouts.rcpt, self._rcpt_alone)
        elif self._accepted:
            self._offer_body()
        else:
            self._finish(reset=True)

    def _offer_body(self) -> None:
        """Every recipient has its reply, and some were taken."""
        self._client.write(b"DATA\r\n")
        self._client.expect("DATA", self._timeouts.data, self._data)

    def _rcpt_alone(self, reply: Reply) -> None:
        self._rcpt(reply)
        if reply.code == 421:
            self._answer_all(reply, "RCPT", Scope.HOST)
            self._accepted.clear()
            self._finish(keep=False)
        else:
            self._next_rcpt()

    # --- the body ------------------------------------------------------------------------------------------

    def _send_body(self) -> None:
        # Expected from the beginning: a server may say no in the middle.
        for _ in range(len(self._accepted) if self._client.lmtp else 1):
            self._client.expect("data", self._timeouts.block, self._final)
        self._run(self._stream())

    def _run(self, sending: Coroutine[Any, Any, None]) -> None:
        """Let it send the message's octets, as far as they are there and the transport takes them."""
        try:
            done, work = step(sending)
        except Exception:
            self._unreadable(Failure())
            return
        if not done and isinstance(work, Deferred):
            if not self._data_sent:
                self._streaming = work
            work.addErrback(self._unreadable)

    async def _stream(self) -> None:
        client = self._client
        stuffer = DotStuffer()
        chunks = self._outgoing.open()
        first: list[bytes] | None = []  # small messages go out in one write
        try:
            while True:
                chunk = chunks.next()
                if not isinstance(chunk, bytes):
                    chunk = await chunk
                if client.gone:
                    return
                if not chunk:
                    break
                stuffed = stuffer.feed(chunk)
                if first is not None and not first:
                    first.append(stuffed)
                    continue
                if first is not None:
                    stuffed, first = first[0] + stuffed, None
                client.write(stuffed)
                client.step_to("data", self._timeouts.block)
                if self._paused:
                    await self._room()
        finally:
            chunks.close()
        client.write(b"".join((*(first or ()), stuffer.end())))
        self._streaming = None
        self._data_sent = True
        client.step_to("end of data", self._timeouts.dot)

    def _unreadable(self, failure: Failure) -> None:
        """The spool cannot give the octets: without the final dot, the server has no message."""
        if failure.check(CancelledError):
            return
        log.failure("a message could not be read", failure=failure)
        self._answer_accepted(LOCAL_ERROR, "data")
        self._client.drop(LOCAL_ERROR)

    async def _room(self) -> None:
        """Wait until the transport takes more."""
        self._resumed = Deferred()
        await self._resumed

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        resumed, self._resumed = self._resumed, None
        if resumed is not None:
            resumed.callback(None)

    # --- the end -------------------------------------------------------------------------------------------

    def _answer_accepted(self, reply: Reply, stage: str) -> None:
        answer = Answer(reply, stage, Scope.HOST if reply.code == 421 else Scope.MESSAGE)
        for index in self._accepted:
            self._answers[index] = answer
        self._accepted.clear()

    def _answer_next(self, reply: Reply) -> None:
        """By LMTP each recipient has a reply of its own to the message, in their order (RFC 2033 4.2)."""
        scope = Scope.HOST if reply.code == 421 else Scope.RECIPIENT
        self._answers[self._accepted.pop(0)] = Answer(reply, "end of data", scope)
        self._client.step_to("end of data", self._timeouts.dot)

    def _answer_all(self, reply: Reply, stage: str, scope: Scope) -> None:
        scope = Scope.HOST if reply.code == 421 else scope
        self._answers = [answer or Answer(reply, stage, scope) for answer in self._answers]

    def _finish(self, keep: bool = True, reset: bool = False) -> None:
        answers = [answer for answer in self._answers if answer is not None]
        if 421 in [answer.reply.code for answer in answers]:
            keep = False
        if keep and reset:
            # RFC 5321 4.1.4: what MAIL began is still open on the server.
            self._client.write(b"RSET\r\n")
            self._client.expect("RSET", self._timeouts.mail, lambda reply: self._end(answers, reply.code == 250))
        else:
            self._end(answers, keep)

    def _end(self, answers: list[Answer], keep: bool) -> None:
        if self.done.called:
            return
        self._client.ended(keep)
        self.done.callback(Sent(answers))

    def fail(self, reply: Reply, stage: str) -> None:
        """The connection is gone: who has no answer yet gets this one."""
        if self.done.called:
            return
        after_dot = self._data_sent and None in self._answers
        self._answer_all(reply, stage, Scope.HOST)
        streaming, self._streaming = self._streaming, None
        if streaming is not None:
            streaming.cancel()
        self._client.ended(keep=False)
        answers = [answer for answer in self._answers if answer is not None]
        self.done.callback(Sent(answers, lost_after_dot=after_dot, stopped=reply is CANCELLED))


def is_yes(reply: Reply) -> bool:
    """2yz is a yes, 4yz and 5yz a no; 3yz has no place here and means that the server is out of step."""
    if 300 <= reply.code < 400:
        raise BadReply("a reply of a kind that the command cannot have")
    return reply.code < 300
