"""One attempt to deliver a batch by SMTP: which recipients go over which connection, and what is reported.

What it is: the steps between "here is a batch" and "every recipient has an outcome", over the connections that
a ``Way`` gives, with what ``smtp_message`` says about each of them.
Contract: a message that a host cannot be given goes to the next host of the domain (RFC 5321 5.1); a host that takes
no 8-bit or binary message gets it converted, where it may be changed (RFC 6152 3).  Recipients beyond what a host
takes at once follow in another transaction.  A kept connection that turns out dead before it said anything is
replaced without a word.
How it fails: what no host can be given fails with the code of what lacks; deferred instead while some host of the
domain cannot be reached, since that one might.
Limits: ``MOST_ROUNDS`` transactions and connections beyond one for each recipient.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, Protocol

from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from mta.delivery.pool import Connection, Need, Pool
from mta.delivery.seven_bit import seven_bit
from mta.delivery.smtp_message import BAD_PATH, Content, Lack, Transmission, fits, plan_transmission
from mta.delivery.values import Batch, Passage
from mta.dkim.signer import Signer
from mta.envelope import Outcome, Recipient, Scope, Status
from mta.message.convert import CannotConvert, has_utf8_header
from mta.reply import LOCAL_ERROR, Reply
from mta.smtp.client_values import Answer, Sent

#: Connections and transactions for one batch, beyond one for each recipient.
MOST_ROUNDS: Final = 30

log = Logger()


class Way(Protocol):
    """The hosts of a next hop, one greeted connection after another, each address once."""

    where: str  # the host of the last trouble
    passage: Passage | None  # whom it asks before it opens a connection; it may raise ``Paced``

    @property
    def failure(self) -> Answer:
        """Once there are no more: what the last trouble was."""

    @property
    def missed(self) -> bool:
        """Some host could not be reached, and may be another time."""

    def next(self, skip: Collection[str] = ()) -> Awaitable[Connection | None]:
        """A connection to the next host that is not one of ``skip`` (``Connection.where``); None: none is left."""


class _Elsewhere:
    """Recipients for whom another host is looked for, by id, and why; and the hosts that would not do."""

    __slots__ = ("hosts", "lacks", "way")

    def __init__(self) -> None:
        self.lacks: dict[int, tuple[Lack, str]] = {}
        self.hosts: set[str] = set()
        self.way: Way | None = None

    def note(self, recipient: int, lack: Lack, where: str) -> None:
        self.lacks[recipient] = (lack, where)
        self.hosts.add(where)

    def first(self, pending: tuple[Recipient, ...]) -> tuple[tuple[Recipient, ...], bool]:
        """Whose turn it is, and whether it must be another host: who may go to any host goes first."""
        anywhere = tuple([recipient for recipient in pending if recipient.id not in self.lacks])
        return (anywhere, False) if anywhere else (pending, True)


class Means(NamedTuple):
    """What the attempts of one delivery service have in common.

    ``key`` gives a next hop as the pool knows it, ``way`` begins at its first host; ``now`` is UTC milliseconds,
    ``seconds`` monotonic.  ``final``: the hosts make the final delivery, so a yes means DELIVERED.  ``signer``: for
    what has to be converted.
    """

    pool: Pool
    key: Callable[[str], str]
    way: Callable[[str, Need], Way]
    now: Callable[[], int]
    seconds: Callable[[], float]
    final: bool = False
    signer: Signer | None = None


class Attempt:
    """See the module's text.  ``need`` is what the message needs of a connection."""

    # Left at these by most attempts.
    _elsewhere: _Elsewhere | None = None
    _converted: Content | Lack | None = None
    _doubt = False  # a transaction that was begun anew may have been taken

    def __init__(self, batch: Batch, means: Means, need: Need) -> None:
        self._batch = batch
        self._means = means
        self._need = need
        self._hop = batch.route.destination.next_hop
        self._started = means.seconds()

    async def run(self) -> None:
        """Until every recipient has its outcome, or was left for another attempt."""
        self._refuse_paths()
        declared = self._batch.message.envelope.smtputf8
        content = await self._read_headers() if declared else self._stored()
        if content is None:
            return
        for _ in range(MOST_ROUNDS + len(self._batch.recipients)):
            waiting, another = self._batch.pending, False
            if not waiting:
                return
            if self._elsewhere is not None:
                waiting, another = self._elsewhere.first(waiting)
            kept = self._kept(another)
            connection = kept or await self._connect(waiting, another)
            if connection is None:
                return
            planned = self._plan(content, waiting, connection)
            if isinstance(planned, Lack) and planned.convert:
                planned = await self._plan_converted(content, waiting, connection)
            if isinstance(planned, Lack):
                self._means.pool.give_back(connection)
                self._note_lack(waiting, planned, connection)
                continue
            if planned.lacking or self._elsewhere is not None or connection.client.capabilities.limits:
                self._note_chosen(planned, connection)
            if not planned.recipients:
                self._let_go(planned, connection)
                continue
            try:
                if connection.entrance is not None and self._batch.passage is not None:
                    self._batch.passage.charge(connection.entrance, len(planned.recipients))
                sent = await connection.client.send(planned.outgoing)
            finally:
                self._let_go(planned, connection)
            if kept is not None and _took_nothing(sent) and not sent.stopped:
                # It had died while it was idle: as if it had not been there.
                self._doubt = self._doubt or sent.lost_after_dot
                if self._elsewhere is not None:
                    self._elsewhere.way = None
                continue
            self._report_sent(planned, sent, connection)
            if sent.stopped:
                return

    def _refuse_paths(self) -> None:
        """Paths that cannot stand in a command line."""
        batch = self._batch
        reverse_path = batch.message.envelope.reverse_path
        sender_fits = reverse_path is None or fits(reverse_path)
        for recipient in batch.recipients:
            if not (sender_fits and fits(recipient.address)):
                answer = Answer(BAD_PATH, "RCPT" if sender_fits else "MAIL", Scope.RECIPIENT)
                self._report(recipient, answer, self._hop)

    # --- connections ---------------------------------------------------------------------------------------

    def _kept(self, another: bool) -> Connection | None:
        connection = self._means.pool.take(self._means.key(self._hop), self._need)
        if connection is not None and another and self._elsewhere and connection.where in self._elsewhere.hosts:
            self._means.pool.give_back(connection)
            return None
        return connection

    async def _connect(self, waiting: Sequence[Recipient], another: bool) -> Connection | None:
        """A connection to a host that these recipients may go to; None when their outcomes are reported."""
        elsewhere = self._elsewhere
        if elsewhere is not None and another:
            way = elsewhere.way = elsewhere.way or self._way()
            connection = await way.next(elsewhere.hosts)
            if connection is None:
                self._report_lacks(waiting, way.missed)
            return connection
        way = self._way()
        connection = await way.next()
        if connection is None:
            for recipient in waiting:
                self._report(recipient, way.failure, way.where)
            self._report_lacks(self._batch.pending, way.missed)
        return connection

    def _way(self) -> Way:
        way = self._means.way(self._hop, self._need)
        way.passage = self._batch.passage
        return way

    def _note_lack(self, recipients: Iterable[Recipient], lack: Lack, connection: Connection) -> None:
        elsewhere = self._elsewhere = self._elsewhere or _Elsewhere()
        for recipient in recipients:
            elsewhere.note(recipient.id, lack, connection.where)
        if lack.final:
            self._report_lacks(recipients, missed=False)

    def _report_lacks(self, recipients: Iterable[Recipient], missed: bool) -> None:
        """There is no host that they may go to; ``missed``: there may be one another time."""
        lacks = self._elsewhere.lacks if self._elsewhere is not None else {}
        for recipient in recipients:
            lack, where = lacks[recipient.id]
            reply = _for_now(lack.reply) if missed else lack.reply
            self._report(recipient, Answer(reply, "EHLO", lack.scope), where)

    # --- the message ---------------------------------------------------------------------------------------

    def _plan(self, content: Content, recipients: Sequence[Recipient], connection: Connection) -> Transmission | Lack:
        verified = content.envelope.requiretls and connection.verified
        capabilities = connection.client.capabilities
        return plan_transmission(content, recipients, capabilities, verified, self._means.now(), connection.domains)

    async def _plan_converted(
        self, content: Content, recipients: Sequence[Recipient], connection: Connection
    ) -> Transmission | Lack:
        try:
            converted = self._converted or await self._convert(content)
        except BaseException:
            self._means.pool.give_back(connection)
            raise
        return converted if isinstance(converted, Lack) else self._plan(converted, recipients, connection)

    def _stored(self, utf8_header: bool = False) -> Content:
        """The message as it is stored."""
        message = self._batch.message
        envelope = message.envelope
        if self._means.final and (envelope.deliver_by or envelope.requiretls):
            # RFC 2852 4.1.1, RFC 8689 4.4: what is asked for the way is fulfilled where the way ends.
            envelope = replace(envelope, deliver_by=0, requiretls=False)
        binary = envelope.body == "BINARYMIME"
        return Content(envelope, message.open, message.size, envelope.eight_bit, binary, utf8_header)

    async def _read_headers(self) -> Content | None:
        """The same, of one that was declared with SMTPUTF8: is there more than ASCII in its header, or in that of a
        part?  None: it cannot be read, which is reported."""
        message = self._batch.message
        try:
            header = message.header()
            found = not (header if isinstance(header, bytes) else await header).isascii()
            if not found and message.envelope.eight_bit:
                # RFC 6531 3.2: at any level within its MIME structure.
                found = await has_utf8_header(message.open)
        except CancelledError:
            raise
        except Exception:
            log.failure("a message could not be read")
            for recipient in self._batch.pending:
                self._report(recipient, Answer(LOCAL_ERROR, "data", Scope.MESSAGE), self._hop)
            return None
        return self._stored(found)

    async def _convert(self, content: Content) -> Content | Lack:
        """The message in 7 bits, which is tried once."""
        try:
            found = await seven_bit(self._batch.message, content.open, self._means.signer)
        except CancelledError:
            raise
        except Exception:
            log.failure("a message could not be converted")
            self._converted = Lack(LOCAL_ERROR, final=True)
        else:
            if isinstance(found, CannotConvert):
                self._converted = Lack(found.reply)
            else:
                self._converted = content._replace(open=found.open, size=found.size, eight_bit=False, binary=False)
        return self._converted

    # --- a transaction -------------------------------------------------------------------------------------

    def _note_chosen(self, planned: Transmission, connection: Connection) -> None:
        if planned.lacking:
            self._elsewhere = self._elsewhere or _Elsewhere()
        if self._elsewhere is not None:
            for recipient, lack in planned.lacking.items():
                self._elsewhere.note(recipient, lack, connection.where)
            for chosen in planned.recipients:
                self._elsewhere.lacks.pop(chosen.id, None)
        if connection.client.capabilities.limits:
            seen = connection.domains or set()
            connection.domains = seen | {recipient.address.domain for recipient in planned.recipients}

    def _let_go(self, planned: Transmission, connection: Connection) -> None:
        if planned.full and connection.client.usable:
            connection.client.quit()
        else:
            self._means.pool.give_back(connection)

    def _report_sent(self, planned: Transmission, sent: Sent, connection: Connection) -> None:
        """Report what is known; those whom the host takes in another transaction stay pending."""
        for recipient, answer in zip(planned.recipients, sent.answers, strict=True):
            if answer.stage == "RCPT" and _too_many(answer.reply) and sent.some:
                continue
            lost = self._doubt or (sent.lost_after_dot and answer.scope is Scope.HOST)
            self._report(recipient, answer, connection.where, connection.tls, lost, planned)

    def _report(
        self,
        recipient: Recipient,
        answer: Answer,
        where: str,
        tls: str = "",
        lost: bool = False,
        planned: Transmission | None = None,
    ) -> None:
        reply = answer.reply
        if 200 <= reply.code < 300:
            status = Status.DELIVERED if self._means.final else Status.RELAYED
        elif reply.permanent and answer.scope is not Scope.HOST:
            status = Status.FAILED
        else:
            status = Status.DEFERRED
        seconds = round(self._means.seconds() - self._started, 3)
        self._batch.report(
            Outcome(
                recipient=recipient.id,
                status=status,
                reply=reply,
                scope=answer.scope,
                may_duplicate=lost,
                dsn_taken_over=planned is not None and planned.taken_over and reply.positive,
                time_dropped=planned is not None and planned.time_dropped and reply.positive,
                attempt={"host": where, "stage": answer.stage, "tls": tls, "seconds": seconds},
            )
        )


def _took_nothing(sent: Sent) -> bool:
    """The connection ended before the server said anything of this transaction."""
    for answer in sent.answers:  # noqa: SIM110  # each message passes: no generator
        if answer.stage != "MAIL" or answer.scope is not Scope.HOST:
            return False
    return True


def _too_many(reply: Reply) -> bool:
    """More recipients than the host takes at once: by RFC 5321 4.5.3.1.10, or by an old server's code for it.

    A mailbox that is full (X.2.2) is none of these.
    """
    return reply.code in (452, 552) and (not reply.enhanced or reply.enhanced.endswith(".5.3"))


def _for_now(reply: Reply) -> Reply:
    """The same, as what may be otherwise another time."""
    if not reply.permanent:
        return reply
    return Reply(450, f"4{reply.enhanced[1:]}" if reply.enhanced else "", reply.lines)
