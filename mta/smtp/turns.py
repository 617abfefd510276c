"""The loop of a session: commands out of octets, one at a time, and their replies in order (RFC 2920).

What it is: the base of ``Session``: what has come and is not looked at yet, what waits, what is to be written.  It
knows no command: ``find`` gives one by its name, ``_answer`` takes its reply.
Contract: exactly one reply to each command, in order, however the input was cut: while one command waits, no
other is looked at, and a client that goes on sending is paused.  All replies to one segment go out in one
write (RFC 2920 3.2).  No exception leaves it.
How it fails: what a command raises becomes its reply; unknown trouble is 451 and is logged.
Limits: one piece of what the network gave is kept of a client that sends while its turn is over; after ``AT_ONCE``
commands in a row it is the others' turn.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol, TypeAlias

from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure

from mta.reply import LOCAL_ERROR, MailFailure, Reply
from mta.smtp import replies
from mta.smtp.context import Context
from mta.smtp.extensions import LONGER
from mta.smtp.intake import Intake
from mta.smtp.transport import Transport, direct_write
from mta.smtp.wire import BadLine, CommandSplitter, LineTooLong
from mta.waiting import drive

log = Logger()

#: A command by its name in capitals, by SMTP or LMTP; what it takes first is the session.
Find: TypeAlias = Callable[[bytes, bool], Callable[[Any, bytes], Any]]


#: Commands of one client until all others have had their turn.  A segment may hold thousands of
#: tiny ones: with fifty such clients nobody else would be served for seconds.
AT_ONCE: Final = 250


class Dialog(Protocol):
    """What takes the lines of the client while a command asks it something (AUTH): they are responses, no commands."""

    #: The command that asks.
    name: bytes

    def line(self, line: bytes) -> Coroutine[Any, Any, Reply]: ...
    def broken(self, too_long: bool) -> Reply:
        """A line that is none; the dialog is over."""


class Waited(Protocol):
    """What a session waits for: a command that is not done, or a TLS handshake."""

    def cancel(self) -> None: ...


class Turns(ABC):
    """See the module's text.  ``client`` is its address, for the log; ``find`` as in ``commands``."""

    __slots__ = (
        "_blocked",
        "_closing",
        "_deciding",
        "_doing",
        "_ended",
        "_held",
        "_must_read",
        "_out",
        "_paused",
        "_said",
        "_splitter",
        "_stopping",
        "_transport",
        "_waiting",
        "_write",
        "client",
        "context",
        "dialog",
        "find",
        "intake",
    )

    def __init__(self, transport: Transport, context: Context, client: str, find: Find) -> None:
        self._transport = transport
        self._write = direct_write(transport)
        self.context = context
        self.client = client
        self.find = find
        self.intake: Intake | None = None  # where octets go that are no commands
        self.dialog: Dialog | None = None  # where lines go that are no commands
        self._splitter = CommandSplitter(context.limits.command_line, LONGER)
        self._out: list[bytes] = []
        self._held: list[bytes] = []
        self._waiting: Waited | None = None
        self._doing = self._said = b""  # the command under way, and what was said with it
        self._deciding = False
        self._paused = False  # reading is paused, because of either of the next two
        self._blocked = False  # the client does not read its replies
        self._must_read = False  # a TLS handshake is under way, which comes to its end only by reading
        self._ended = False  # the client has shut down its side: nothing more will come
        self._closing = False
        self._stopping = False  # it ends after the command under way

    # --- what a session adds -------------------------------------------------------------------------------

    @abstractmethod
    def _answer(self, reply: Reply | None, name: bytes, said: bytes = b"") -> None:
        """Queue the reply to the command, which was given with ``said``; None: it has none."""

    @abstractmethod
    def _data_awaited(self) -> None:
        """The next piece of a message is awaited from now on."""

    @abstractmethod
    def close(self, last: Reply | None = None) -> None:
        """Say a last word, then end the connection."""

    # --- what the protocol calls ---------------------------------------------------------------------------

    def feed(self, octets: bytes) -> None:
        """Octets from the client."""
        if self._closing:
            return
        if self._waiting is not None or self._blocked:
            # It sends while its turn is over: keep this piece, and read no more until then.
            self._held.append(octets)
            self._pause()
            return
        try:
            self._run(octets)
        except Exception:
            log.failure("session with {client} failed", client=self.client)
            self.close(LOCAL_ERROR)

    def blocked(self, blocked: bool) -> None:
        """The transport's buffer of replies is full, or has emptied."""
        self._blocked = blocked
        if blocked:
            if not self._must_read:
                self._pause()
        elif self._waiting is None:
            self._go_on_safely()

    def input_ended(self) -> None:
        """The client will send no more, but may well wait for its replies; then the connection ends."""
        self._ended = True
        if self._waiting is None and not self._blocked:
            self._go_on_safely()

    # --- the loop ------------------------------------------------------------------------------------------

    def _run(self, octets: bytes) -> None:
        if self.intake is not None:
            self._data(self.intake, octets)
        else:
            self._splitter.feed(octets)
        left = AT_ONCE
        while self._waiting is None and not self._closing:
            if self.intake is not None:
                if not self._splitter.waiting:
                    break
                wanted = self.intake.wanted
                self._data(self.intake, self._splitter.take_rest() if wanted is None else self._splitter.take(wanted))
                continue
            # Between commands alone: octets of a message must not be left behind, or later ones would overtake them.
            if not left:
                self._wait(self._others(), b"")
                break
            left -= 1
            try:
                line = self._splitter.next_line()
            except BadLine as error:
                too_long = isinstance(error, LineTooLong)
                dialog = self.dialog
                if dialog is not None:
                    self._answer(dialog.broken(too_long), dialog.name)
                    continue
                self._bad_line(replies.LINE_TOO_LONG if too_long else replies.BAD_LINE, error.verb)
                continue
            if line is None:
                break
            self._command(line)
        self._flush()

    async def _others(self) -> None:
        """Their turn."""
        await self.context.sleep(0.0)

    def _command(self, line: bytes) -> None:
        dialog = self.dialog
        if dialog is not None:
            self._wait(dialog.line(line), dialog.name)
            return
        verb, _, argument = line.rstrip(b" \t").partition(b" ")
        name = verb.upper()
        if b"\r" in line or b"\0" in line:
            # PROXY 2.2: NUL alone is the third line of a binary header, from a peer that is not to be believed.
            self._bad_line(replies.NO_PROXY if line == b"\0" else replies.BAD_LINE, name[:4])
            return
        try:
            answer = self.find(name, self.context.lmtp)(self, argument.strip(b" \t"))
            if isinstance(answer, Reply):
                self._answer(answer, name, argument)
            elif answer is not None:
                self._wait(answer, name, argument)
            else:
                self._data_awaited()
        except Exception as error:
            self._answer(self.trouble(error), name, argument)

    def _bad_line(self, reply: Reply, verb: bytes) -> None:
        """A line that is never run.  RFC 3030 2: of a BDAT nobody knows how many octets follow that are no commands."""
        if verb == b"BDAT":
            self.close(replies.BDAT_SYNTAX)
        else:
            self._answer(reply, b"")

    def _wait(self, coroutine: Any, name: bytes, argument: bytes = b"") -> None:
        """Drive a command that may have to wait; go on when it is done."""
        self._doing, self._said = name, argument
        self._deciding = True  # its reply, if it comes at once, is answered in the loop that is running
        self._waiting = drive(coroutine, self._finished)
        self._deciding = False

    def _finished(self, reply: Reply | Failure | None) -> None:
        if self._closing and isinstance(reply, Failure) and isinstance(reply.value, CancelledError):
            self._waiting = None  # cancelled by ourselves; by anybody else it is trouble like any other
            return
        if isinstance(reply, Failure):
            reply = self.trouble(reply.value)
        if self._deciding:
            self._answer(reply, self._doing, self._said)
            return
        self._waiting = None
        if self._closing:
            return
        try:
            self._answer(reply, self._doing, self._said)
            if self._stopping:
                self.close(replies.SHUTTING_DOWN)
            self._flush()
            self._go_on()
        except Exception:
            log.failure("session with {client} failed", client=self.client)
            self.close(LOCAL_ERROR)

    def _data(self, intake: Intake, octets: bytes) -> None:
        self._data_awaited()
        wait = intake.take(octets)
        if self._closing:
            return
        done = intake.done
        if done:
            self.intake = None
            if intake.rest:
                self._splitter.feed(intake.rest)
        if wait is not None:
            self._wait(self._after(wait, intake), intake.name)
        elif done:
            self._wait(intake.end(), intake.name)

    async def _after(self, wait: Any, intake: Intake) -> Reply | None:
        """The spool wants time; then the end of data, if it has come meanwhile."""
        try:
            await wait
        except CancelledError:
            raise
        except Exception as error:
            intake.failed(error)
        return await intake.end() if intake.done else None

    def _go_on_safely(self) -> None:
        try:
            self._go_on()
        except Exception:
            log.failure("session with {client} failed", client=self.client)
            self.close(LOCAL_ERROR)

    def _go_on(self) -> None:
        """Take up what was kept while a command waited, then let the client send again."""
        while self._held and self._waiting is None and not self._blocked and not self._closing:
            held = b"".join(self._held)
            self._held.clear()
            self._run(held)
        if self._waiting is None and not self._blocked and not self._closing:
            self._run(b"")
            if self._waiting is None and not self._blocked and not self._closing:
                if self._ended:
                    self.close()
                elif self._paused:
                    self._paused = False
                    self._transport.resumeProducing()

    def begin_dialog(self, dialog: Dialog, longest: int) -> None:
        """The next line is for ``dialog``; it may have so many octets."""
        self.dialog = dialog
        self._splitter.limit = max(self.context.limits.command_line, longest)

    def end_dialog(self) -> None:
        """Lines are commands again."""
        self.dialog = None
        self._splitter.limit = self.context.limits.command_line

    @property
    def spoken(self) -> bool:
        """The client has said more already than was looked at."""
        return bool(self._splitter.waiting or self._held)

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._transport.pauseProducing()

    def trouble(self, error: BaseException | None) -> Reply:
        """The reply for what a command raised; what nobody foresaw is logged."""
        if isinstance(error, MailFailure):
            return error.reply
        log.failure("a command of {client} failed", failure=Failure(error), client=self.client)
        return LOCAL_ERROR

    def _flush(self) -> None:
        if self._out:
            out = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out.clear()
            self._write(out)
