"""``maildir``: final delivery into Maildir folders.

What it is: each recipient's copy is a file in ``new`` of the mailbox's folder, with Return-Path, Delivered-To
and, where the sender wrote to another address, X-Original-To in front; a Return-Path that came along is
left out (RFC 5321 4.4).  A message that has the mailbox's Delivered-To already is in a loop: 554 5.4.6.  Line
ends: see ``line_ends`` and docs/decisions/maildir-line-ends.rst.
Contract: DELIVERED means that the file and its name are on disk (mta/delivery/maildir_store.py).  All disk work
runs in threads: small messages that wait together are written by one call, and those that go to one folder
share its sync; a large message is written piece by piece and never held whole.
How it fails: trouble of ours is always temporary.  A full disk, a read-only or failing one, no descriptors:
scope host.  One mailbox that cannot be written or is over a quota: scope recipient.  A message that cannot be
read: scope message.  A delivery that was cut off may come twice, and is never lost.
Limits: ``THREADS`` calls at once, ``AT_ONCE`` messages in one of them.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Final, Literal, NamedTuple

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.address import Address
from mta.delivery.maildir_path import MailboxPath, MailboxPathError, check_template
from mta.delivery.maildir_store import Job, LargeFile, deliver_all, final_name, folder_size
from mta.delivery.under_way import UnderWay
from mta.delivery.values import Batch, Foresight, Limits
from mta.envelope import Envelope, Outcome, Recipient, Scope, Status
from mta.interfaces import IForeseeing, IMessage, IResolver
from mta.message.edits import apply
from mta.message.header import Header, scan
from mta.message.lines import to_lf
from mta.message.reading import read_whole
from mta.message.trace import delivered_to, original_to, return_path, value_of
from mta.plugin import Options, Path, Services, option, provider
from mta.reply import Reply
from mta.routing.values import Route
from mta.spool.values import Damaged
from mta.waiting import background

log = Logger()

THREADS: Final = 4
AT_ONCE: Final = 64
#: Octets; a larger message is written piece by piece.
SMALL: Final = 256 * 1024

_DELIVERED: Final = Reply.of(250, "2.0.0", "Delivered into the mailbox")
_UNREADABLE: Final = Reply.of(451, "4.3.0", "The stored message cannot be read")
LOOP: Final = Reply.of(554, "5.4.6", "The message has been in this mailbox before: it is in a loop")
_NO_PATH: Final = Reply.of(451, "4.3.5", "The mailbox has no folder by this configuration")
_WHOLE_HOST: Final = frozenset(
    {errno.ENOSPC, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENODEV}
)


class MaildirOptions(Options):
    """``maildir``: mail that comes here ends in Maildir folders."""

    path: Path = option(
        doc="The folder of a mailbox.  {domain}, {local_part} (in lower case, without its tag) and {mailbox}, the "
        "value that the mailbox table holds for the address, are put in, each safely encoded.  It is made where it is "
        "missing.  A last part `.{tag}` is for mail to `user+tag` alone; then any sender can have folders made.",
        example='"../var/mail/{domain}/{local_part}"',
        shown=True,
        check=check_template,
    )
    line_ends: Literal["lf", "crlf"] = option(
        "lf",
        doc='How lines end in the files: "lf", as readers of Maildir expect, or "crlf", byte for byte as mail '
        "travels.  Nothing is lost either way.",
    )


class _Names:
    """Unique file names: time, process, counter, a random number of this process, and the host."""

    def __init__(self, services: Services) -> None:
        self._now = services.now
        self._counter = count(1)
        # Containers share host names and process ids; then the random number tells them apart.
        self._rest = f"R{services.random.getrandbits(64):016x}"
        self._host = services.hostname.replace("/", "\\057").replace(":", "\\072")

    def next(self) -> str:
        seconds, ms = divmod(self._now(), 1000)
        return f"{seconds}.M{ms}P{os.getpid()}Q{next(self._counter)}{self._rest}.{self._host}"


class _Waiting(NamedTuple):
    job: Job
    done: Deferred[Exception | None]


@provider("delivery", "maildir", MaildirOptions)
@implementer(IForeseeing)
class Maildir:
    """See the module's text."""

    #: Mail ends here: docs/decisions/held-not-bounced.rst.
    final = True

    def __init__(self, options: MaildirOptions, services: Services) -> None:
        self.name = services.name
        self._path = MailboxPath(options.path)
        self._lf = options.line_ends == "lf"
        self._services = services
        self._names = _Names(services)
        self._waiting: deque[_Waiting] = deque()
        self._calls = 0  # of deliver_all, in threads
        self._deliveries = UnderWay()
        self._closed = False

    def limits(self, route: Route) -> Limits:
        """Enough at once that calls are shared."""
        return Limits(recipients=AT_ONCE, messages=AT_ONCE, concurrency=THREADS * AT_ONCE)

    def foresee(self, address: Address, route: Route, envelope: Envelope, resolver: IResolver | None) -> Foresight:
        """See ``IForeseeing``."""
        try:
            return Foresight(place=self._path.folder(address, route.facts))
        except MailboxPathError as error:
            return Foresight(failure=Reply.of(451, "4.3.5", str(error)))

    def usage(self, address: Address, values: Mapping[str, Any]) -> Deferred[int]:
        """The octets of a mailbox.  Fails with ``OSError``, ``MailboxPathError``."""
        return self._services.in_thread(folder_size, self._path.folder(address, values))

    async def deliver(self, batch: Batch) -> None:
        """Write a copy for each recipient and report it."""
        with self._deliveries:
            try:
                if batch.message.size <= SMALL:
                    await self._deliver_small(batch)
                else:
                    await self._deliver_large(batch)
            except Damaged as damaged:
                attempt = {"stage": "read", "error": str(damaged)}
                batch.report_all(Status.DEFERRED, _UNREADABLE, Scope.MESSAGE, attempt)

    async def stop(self, deadline: float) -> None:
        """Wait for what is being written, at most so long; what has not begun by then is given up."""
        await self._deliveries.over(deadline, self._services.reactor)
        self._closed = True
        while self._waiting:
            self._waiting.popleft().done.callback(OSError(errno.ECANCELED, "the service stops"))

    # --- small messages: many in one call ------------------------------------------------------------------

    async def _deliver_small(self, batch: Batch) -> None:
        octets = await read_whole(batch.message)
        header = scan(octets)
        octets = apply(octets, header.cuts(b"return-path"))
        if self._lf:
            octets = to_lf(octets)
        started = self._services.reactor.seconds()
        begun: list[tuple[Recipient, str, Deferred[Exception | None]]] = []
        for recipient, folder in self._folders(batch, header):
            begun.append((recipient, folder, self._submit(folder, self._prefix(batch, recipient) + octets)))
        self._start_calls()
        for recipient, folder, done in begun:
            batch.report(self._outcome(recipient, folder, await done, started))

    def _submit(self, folder: str, octets: bytes) -> Deferred[Exception | None]:
        name = self._names.next()
        final = final_name(name, len(octets), octets.count(b"\n"), self._lf)
        waiting = _Waiting(Job(folder, name, final, octets), Deferred())
        self._waiting.append(waiting)
        return waiting.done

    def _start_calls(self) -> None:
        """While calls run, what comes collects for the next: the busier, the more share a sync."""
        while self._waiting and self._calls < THREADS:
            taken = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
            self._calls += 1
            call = self._services.in_thread(deliver_all, [waiting.job for waiting in taken])
            call.addBoth(self._call_ended, taken)

    def _call_ended(self, result: list[OSError | None] | Failure, taken: Sequence[_Waiting]) -> None:
        self._calls -= 1
        errors: Sequence[Exception | None]
        if isinstance(result, Failure):
            log.failure("delivery service {name}: a call failed", failure=result, name=self.name)
            errors = [Exception(str(result.value))] * len(taken)
        else:
            errors = result
        for waiting, error in zip(taken, errors, strict=True):
            waiting.done.callback(error)
        self._start_calls()

    # --- large messages: piece by piece --------------------------------------------------------------------

    async def _deliver_large(self, batch: Batch) -> None:
        header = batch.message.header()
        scanned = scan(header if isinstance(header, bytes) else await header)
        # A section that the limit cut short could end within the field.
        edits = scanned.cuts(b"return-path") if scanned.complete else ()
        for recipient, folder in self._folders(batch, scanned):
            started = self._services.reactor.seconds()
            trouble: Exception | None = None
            try:
                file = LargeFile(folder, self._names.next(), edits, self._lf)
                await self._copy(batch.message, file, self._prefix(batch, recipient))
            except OSError as error:
                trouble = error
            batch.report(self._outcome(recipient, folder, trouble, started))

    async def _copy(self, message: IMessage, file: LargeFile, prefix: bytes) -> None:
        in_thread = self._services.in_thread
        chunks = message.open()
        try:
            await in_thread(file.begin, prefix)
            while True:
                piece = chunks.next()
                octets = piece if isinstance(piece, bytes) else await piece
                if not octets:
                    break
                if self._closed:
                    raise OSError(errno.ECANCELED, "the service stops")
                await in_thread(file.append, octets)
            await in_thread(file.finish)
        except BaseException:
            # Cancelled too: a call may still run in its thread, and ``abandon`` waits for it there.
            background(in_thread(file.abandon), "removal of an unfinished delivery")
            raise
        finally:
            chunks.close()

    # --- what both do --------------------------------------------------------------------------------------

    def _folders(self, batch: Batch, header: Header) -> Iterator[tuple[Recipient, str]]:
        """The recipients with their folders; those that have none, or have had the message, are reported at once."""
        before = {header.value(field).lower() for field in header.all(b"delivered-to")}
        for recipient in batch.recipients:
            if before and value_of(delivered_to(recipient.address)).lower() in before:
                # RFC 5321 6.3: it was delivered here, and something has sent it again.
                batch.report(_failed(recipient.id, LOOP, {"stage": "mailbox"}))
                continue
            try:
                folder = self._path.folder(recipient.address, batch.route.facts)
            except MailboxPathError as error:
                batch.report(_deferred(recipient.id, _NO_PATH, Scope.RECIPIENT, {"error": str(error)}))
            else:
                yield recipient, folder

    def _prefix(self, batch: Batch, recipient: Recipient) -> bytes:
        prefix = return_path(batch.message.envelope.reverse_path) + delivered_to(recipient.address)
        if recipient.original != recipient.address:
            prefix += original_to(recipient.original)
        return to_lf(prefix) if self._lf else prefix

    def _outcome(self, recipient: Recipient, folder: str, error: Exception | None, started: float) -> Outcome:
        attempt = {
            "host": "",
            "tls": "",
            "stage": folder,
            "seconds": round(self._services.reactor.seconds() - started, 3),
        }
        if error is None:
            return Outcome(recipient=recipient.id, status=Status.DELIVERED, reply=_DELIVERED, attempt=attempt)
        attempt["error"] = str(error)
        return _deferred(recipient.id, *_judge(error), attempt)


def _judge(error: Exception) -> tuple[Reply, Scope]:
    """What trouble with the disk means: always temporary (it is ours), and whom it concerns."""
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ENOSPC:
        return Reply.of(452, "4.3.1", "The disk of the mailboxes is full"), Scope.HOST
    if number == errno.EDQUOT:
        # It may be the quota of one folder: to let all mailboxes rest for it is worse than to try each.
        return Reply.of(452, "4.2.2", "The mailbox is over its quota"), Scope.RECIPIENT
    scope = Scope.HOST if number is None or number in _WHOLE_HOST else Scope.RECIPIENT
    return Reply.of(451, "4.3.0", "The mailbox cannot be written"), scope


def _failed(number: int, reply: Reply, attempt: Mapping[str, Any]) -> Outcome:
    return Outcome(recipient=number, status=Status.FAILED, reply=reply, attempt=attempt)


def _deferred(number: int, reply: Reply, scope: Scope, attempt: Mapping[str, Any]) -> Outcome:
    return Outcome(recipient=number, status=Status.DEFERRED, reply=reply, scope=scope, attempt=attempt)
