"""Where ``|command`` and ``/file`` targets of aliases lead: two delivery services that no configuration names.

What it is: the next hop is the command's argv, as ``shlex.join`` writes it, or the path of the file.  ``[commands]``
says which programs and folders may be reached, and as whom a program runs.
Contract: a program that is not in ``commands.programs`` is never run, and a file outside of ``commands.folders`` never
written, whatever an alias says and whatever links there are; no shell reads a command, and nothing is done as root.  A
path that ends with "/" is a Maildir, any other an mbox file (``mta.delivery.mbox_store``); /dev/null takes everything.
What lies above an mbox file is held open while it is written.  A Maildir takes many steps by path, so all between the
folder of the list and it must be such that nobody but root and the service's user can put a link there.
How it fails: as ``mta.delivery.programs``; a command or file that is not allowed (any more), or that cannot be written,
waits with the reason, scope recipient: it is a matter of the configuration.
Limits: the lock of an mbox file is tried ``LOCK_TRIES`` times in as many seconds.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
from collections.abc import Callable
from itertools import accumulate
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.task import deferLater
from zope.interface import implementer

from mta.config.command_options import CommandOptions
from mta.config.option import Path
from mta.delivery.copying import envelope_fields, pieces
from mta.delivery.maildir import Maildir, MaildirOptions
from mta.delivery.mbox_store import MboxFile
from mta.delivery.programs import UNREADABLE, Form, Programs
from mta.delivery.values import Batch, Limits
from mta.envelope import Scope, Status
from mta.interfaces import IDeliveryService
from mta.message.mbox import from_line
from mta.plugin import Services
from mta.reply import Reply
from mta.routing.values import COMMAND, FILE, Route
from mta.spool.values import Damaged
from mta.waiting import background

NULL: Final = "/dev/null"
LOCK_TRIES: Final = 10

_NOT_ALLOWED: Final = Reply.of(451, "4.3.5", "The address is not well configured here, please try again later")
_THROWN_AWAY: Final = Reply.of(250, "2.0.0", "Discarded, as the address is configured")
_DELIVERED: Final = Reply.of(250, "2.0.0", "Delivered into the file")
_FULL: Final = Reply.of(452, "4.3.1", "The disk of the mailbox is full")
_QUOTA: Final = Reply.of(452, "4.2.2", "The mailbox is over its quota")
_LOCKED: Final = Reply.of(451, "4.2.0", "The mailbox is in use by another program")
_UNWRITABLE: Final = Reply.of(451, "4.3.0", "The mailbox cannot be written")
_REMOVAL: Final = "removal of an unfinished delivery"


@implementer(IDeliveryService)
class Commands:
    """``|command``: see the module's text."""

    name = COMMAND

    def __init__(self, options: CommandOptions, services: Services) -> None:
        self._allowed = frozenset(options.programs)
        self._concurrency = options.concurrency
        self._programs = Programs(options, services, options.concurrency, Form(envelope=True, from_line=True, lf=True))

    def limits(self, route: Route) -> Limits:
        """One recipient a run: each has its own Delivered-To."""
        return Limits(recipients=1, concurrency=self._concurrency)

    async def deliver(self, batch: Batch) -> None:
        """See ``IDeliveryService``."""
        argv, why = self._argv(batch.route.destination.next_hop)
        if why:
            _refuse(batch, _NOT_ALLOWED, why)
        else:
            await self._programs.deliver(batch, tuple(one.replace("{", "{{").replace("}", "}}") for one in argv))

    def _argv(self, command: str) -> tuple[list[str], str]:
        try:
            argv = shlex.split(command)
        except ValueError as error:
            return [], f"the command is not well formed: {error}"
        if not argv or argv[0] not in self._allowed:
            return [], f"{argv[0] if argv else 'nothing'} is not in commands.programs"
        return argv, ""

    async def stop(self, deadline: float) -> None:
        """See ``IDeliveryService``."""
        await self._programs.stop(deadline)


@implementer(IDeliveryService)
class Files:
    """``/file``: see the module's text."""

    name = FILE

    def __init__(self, options: CommandOptions, services: Services, euid: Callable[[], int] = os.geteuid) -> None:
        self._folders = options.folders
        self._services = services
        self._euid = euid
        self._locks: dict[str, tuple[DeferredLock, int]] = {}
        self._ending: dict[str, Deferred[Any]] = {}  # what was begun by who had the lock last, until it is cut off

    def limits(self, route: Route) -> Limits:
        """One recipient at a time: each has its own Delivered-To."""
        return Limits(recipients=1, concurrency=1)

    async def deliver(self, batch: Batch) -> None:
        """See ``IDeliveryService``."""
        path = batch.route.destination.next_hop
        if path == NULL:
            batch.report_all(Status.DISCARDED, _THROWN_AWAY, attempt={"stage": path})
            return
        # What is checked is what is opened: a link that is put in the folder's place after this leads nowhere.
        folder = _folder(path)
        place = os.path.join(folder, os.path.basename(path.rstrip("/")))
        if why := self._forbidden(path, folder, place):
            _refuse(batch, _NOT_ALLOWED, why)
        elif path.endswith("/"):
            await Maildir(MaildirOptions(path=Path(place), line_ends="lf"), self._services).deliver(batch)
        else:
            await self._alone(batch, place)

    async def stop(self, deadline: float) -> None:
        """What runs ends by itself soon."""

    def _forbidden(self, path: str, above: str, place: str) -> str:
        """Why the file may not be written, or ""."""
        if self._euid() == 0:
            return "the service runs as root, and files are not written as root"
        if set(path + place) & set("{}\0"):
            return "the path has a character that none may have"
        for folder in [os.path.realpath(one) for one in self._folders]:
            if os.path.commonpath((above, folder)) == folder:
                if os.path.normpath(path) != (path.rstrip("/") or "/"):
                    return "write the path without . and .."
                return self._exposed(folder, place) if path.endswith("/") else ""
        return f"{path} lies in none of commands.folders"

    def _exposed(self, top: str, place: str) -> str:
        """Where others could put a link on the way from ``top`` into the Maildir, or "".

        What is not there yet is made by us, in a folder where nobody else can be quicker.
        """
        way = accumulate(os.path.relpath(place, top).split("/"), os.path.join, initial=top)
        for one in (*way, *(os.path.join(place, part) for part in ("tmp", "new", "cur"))):
            try:
                status = os.lstat(one)
            except FileNotFoundError:
                continue
            except OSError as error:
                return str(error)
            if stat.S_ISLNK(status.st_mode):
                return f"{one} is a link"
            if status.st_uid not in {0, self._euid()} or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return f"others than root and the service's user can write to {one}; run: chmod go-w {one}"
        return ""

    # --- mbox files ----------------------------------------------------------------------------------------

    async def _alone(self, batch: Batch, path: str) -> None:
        """One at a time: locks of fcntl exclude other processes only."""
        lock, users = self._locks.get(path, (DeferredLock(), 0))
        self._locks[path] = (lock, users + 1)
        ours = False
        try:
            await lock.acquire()
            ours = True
            await self._append(batch, path)
        finally:
            # What is cut off again takes all behind it along, and closing the file ends our lock of fcntl: until that
            # is over nobody else begins, though the delivery has ended.
            ending = self._ending.pop(path, None) if ours else None
            if ending is None:
                self._leave(path, ours)
            else:
                ending.addCallback(lambda _: self._leave(path, True))

    def _leave(self, path: str, ours: bool) -> None:
        lock, users = self._locks.pop(path)
        if users > 1:
            self._locks[path] = (lock, users - 1)
        if ours:
            lock.release()

    async def _append(self, batch: Batch, path: str) -> None:
        envelope = batch.message.envelope
        first = from_line(envelope.reverse_path, envelope.arrived)
        first += envelope_fields(envelope.reverse_path, batch.recipients, lf=True)
        try:
            file = await self._locked(path, first)
            await self._copy(batch, file, path)
        except Damaged as damaged:
            _refuse(batch, UNREADABLE, str(damaged), Scope.MESSAGE)
        except OSError as error:
            _refuse(batch, *_judge(error))
        else:
            batch.report_all(Status.DELIVERED, _DELIVERED, attempt={"host": "", "tls": "", "stage": path})

    async def _locked(self, path: str, first: bytes) -> MboxFile:
        services = self._services
        for tries in range(LOCK_TRIES, 0, -1):
            file = MboxFile(path, services.now() / 1000, os.path.dirname(path))
            try:
                await services.in_thread(file.begin, first)
                return file
            except BlockingIOError:
                await services.in_thread(file.abandon)
                if tries == 1:
                    raise
            except BaseException:
                self._ending[path] = background(services.in_thread(file.abandon), _REMOVAL)
                raise
            await deferLater(services.reactor, 1.0)
        raise AssertionError("never reached")

    async def _copy(self, batch: Batch, file: MboxFile, path: str) -> None:
        in_thread = self._services.in_thread
        octets = pieces(batch.message, lf=True)
        try:
            async for piece in octets:
                await in_thread(file.append, piece)
            await in_thread(file.finish)
        except BaseException:
            # Cancelled too: a call may still run in its thread, and ``abandon`` waits for it there.
            self._ending[path] = background(in_thread(file.abandon), _REMOVAL)
            raise
        finally:
            await octets.aclose()


def _folder(path: str) -> str:
    """Where it really lies."""
    return os.path.realpath(os.path.dirname(path.rstrip("/")))


def _judge(error: OSError) -> tuple[Reply, str]:
    replies = {errno.ENOSPC: _FULL, errno.EDQUOT: _QUOTA, errno.EAGAIN: _LOCKED, errno.EACCES: _UNWRITABLE}
    return replies.get(error.errno or 0, _UNWRITABLE), str(error)


def _refuse(batch: Batch, reply: Reply, why: str, scope: Scope = Scope.RECIPIENT) -> None:
    batch.report_all(Status.DEFERRED, reply, scope, {"stage": batch.route.destination.service, "error": why})
