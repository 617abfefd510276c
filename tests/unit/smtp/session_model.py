"""A session as RFC 5321 tells of it, in a few variables: an independent model for ``test_model.py``.

It knows nothing of the code.  Each method is one command: it returns the codes that the server may give to it, one
set for each reply, and what else the server says when it closes; then it is in the state that follows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

#: The replies to come: each is one of these codes.
Replies = list[frozenset[int]]


def one(*codes: int) -> Replies:
    """One reply."""
    return [frozenset(codes)]


@dataclass
class Limits:
    """Small: a short run reaches each."""

    message_size: int = 300
    recipients: int = 3
    header: int = 200
    data_line: int = 80
    command_line: int = 100
    errors: int = 8
    idle_commands: int = 10
    transactions: int = 5
    received_hops: int = 3


@dataclass
class Message:
    """What was accepted."""

    sender: str
    recipients: frozenset[str]
    octets: bytes


@dataclass
class Model:
    """The server's side of one connection, and all messages accepted."""

    limits: Limits = field(default_factory=Limits)
    healthy: bool = True
    greeted: bool = False
    may_relay: bool = False
    secured: bool = False
    sender: str | None = None  # of the open transaction
    recipients: list[str] = field(default_factory=list)
    refused: int = 0
    binary: bool = False
    chunks: bytes | None = None  # of a message that has begun by BDAT
    errors: int = 0
    idle: int = 0
    transactions: int = 0
    closed: bool = False
    accepted: list[Message] = field(default_factory=list)

    def connect(self, may_relay: bool = False) -> Replies:
        """A new connection knows nothing of the one before (RFC 5321 4.1.1.4)."""
        self.may_relay = may_relay
        self.greeted = self.closed = self.secured = False
        self.errors = self.idle = self.transactions = 0
        self.forget()
        return one(220)

    def forget(self) -> None:
        self.sender, self.recipients, self.refused, self.binary, self.chunks = None, [], 0, False, None

    # --- how each command ends -------------------------------------------------------------------------------

    def _say(self, *codes: int) -> Replies:
        """The reply to one command: errors are counted, too many end the session (RFC 5321 4.3.2, 7.8)."""
        if min(codes) >= 500:
            self.errors += 1
            if self.errors >= self.limits.errors:
                self.closed = True
                return [*one(*codes), *one(421)]
        elif codes in ((221,), (421,)):
            self.closed = True
        return one(*codes)

    def _is_idle(self) -> bool:
        """One more command that carries no mail: too many of them end the session."""
        self.idle += 1
        return self.idle > self.limits.idle_commands

    # --- commands ----------------------------------------------------------------------------------------------

    def greet(self, good: bool) -> Replies:
        """EHLO or HELO: resets too (RFC 5321 4.1.4); without a name it is nothing."""
        if self._is_idle():
            return self._say(421)
        if not good:
            return self._say(501)
        self.greeted = True
        self.forget()
        return self._say(250)

    def mail(self, sender: str, wrong: int = 0, binary: bool = False) -> Replies:
        """``wrong`` is the code for an argument that is refused for what it is."""
        if not self.greeted or self.sender is not None:
            return self._say(503)
        if wrong:
            return self._say(wrong)
        if not self.healthy:
            return self._say(452)
        if self.transactions >= self.limits.transactions:
            return self._say(421)
        self.transactions += 1
        self.sender, self.binary = sender, binary
        return self._say(250)

    def rcpt(self, address: str, wrong: int = 0, *, stays: bool = False) -> Replies:
        """``address`` is where it leads; ``stays``: a wrong one that is no recipient at all, but no syntax."""
        if self.sender is None or self.chunks is not None:
            return self._say(503)
        if wrong and not stays:
            return self._say(wrong)
        full = len(self.recipients) >= self.limits.recipients
        if full or len(self.recipients) + self.refused >= 2 * self.limits.recipients:
            return self._say(452)
        if wrong:
            self.refused += 1
            return self._say(wrong)
        self.recipients.append(address)
        return self._say(250)

    def foreign(self) -> Replies:
        """RCPT with an address of others (RFC 5321 3.6.2): who may not relay is refused."""
        if self.may_relay:
            return self.rcpt("x@foreign.example")
        return self.rcpt("", 550, stays=True)

    def data(self, message: bytes, argument: bool = False) -> tuple[Replies, bool]:
        """The replies; and whether the message is sent at all: only after 354 (RFC 5321 4.1.1.4)."""
        if argument:
            return self._say(501), False
        if self.sender is None or self.chunks is not None or self.binary:
            return self._say(503), False
        refusal = self._cannot_begin()
        if refusal:
            return self._say(refusal), False
        return [*one(354), *self._end(message)], True

    def bdat(self, octets: bytes, last: bool) -> Replies:
        """A chunk (RFC 3030 2): one reply, after its octets; a refused one fails the transaction."""
        if self.sender is None:
            return self._say(503)
        refusal = self._cannot_begin() if self.chunks is None else 0
        message = (self.chunks or b"") + octets
        if refusal or len(message) > self.limits.message_size:
            self.forget()
            return self._say(refusal or 552)
        if last:
            return self._end(message)
        self.chunks = message
        if not octets and self._is_idle():
            return self._say(421)
        wrong = self._wrong_octets(message.removesuffix(b"\r"))
        if wrong:
            self.forget()
        return self._say(*wrong or {250})

    def bdat_without_size(self, code: int) -> Replies:
        """Nobody knows what the octets behind it are: the session ends."""
        self.closed = True
        return one(code)

    def _cannot_begin(self) -> int:
        if not self.recipients:
            return 554 if self.refused else 503
        return 0 if self.healthy else 452

    def _end(self, message: bytes) -> Replies:
        wrong = self._wrong(message)
        sender, recipients = self.sender, frozenset(self.recipients)
        assert sender is not None
        self.forget()
        if wrong:
            return self._say(*wrong)
        self.idle = 0
        self.accepted.append(Message(sender, recipients, message))
        return self._say(250)

    def _wrong(self, message: bytes) -> set[int]:
        """Every code that one of the faults of a message deserves."""
        header = b"" if message.startswith(b"\r\n") else message.partition(b"\r\n\r\n")[0]
        hops = sum(line.lower().startswith(b"received:") for line in header.split(b"\r\n"))
        wrong = self._wrong_octets(message)
        if self.binary:
            # RFC 3030 3: the body may be any octets; its header is lines as ever.
            wrong |= _wrong_lines(header)
        return wrong | ({554} if hops >= self.limits.received_hops else set())

    def _wrong_octets(self, message: bytes) -> set[int]:
        """The same for what may be the beginning of a message."""
        limits, lines = self.limits, message.split(b"\r\n")
        header, end, _ = message.partition(b"\r\n\r\n")
        section = 2 if message.startswith(b"\r\n") else len(header) + len(end)
        wrong = {552} if len(message) > limits.message_size or section > limits.header else set()
        if self.binary:
            return wrong
        long = any(len(line) + 2 > limits.data_line for line in lines)
        return wrong | _wrong_lines(message) | ({554} if long else set())

    def plain(self, *codes: int, idle: bool = True, resets: bool = False) -> Replies:
        """A command that may come at any time: NOOP, RSET, VRFY, HELP, and what is no command."""
        if idle and self._is_idle():
            return self._say(421)
        if resets:
            self.forget()
        return self._say(*codes)

    def rights_only(self, allowed: int, refused: int) -> Replies:
        """VRFY, EXPN and ETRN: those who may relay are told, others are not (RFC 5321 7.3)."""
        return self.plain(allowed if self.may_relay else refused)

    def starttls(self) -> Replies:
        """Once; and nothing that was said before counts after it (RFC 3207 4.2)."""
        if self.secured:
            return self._say(503)
        self.secured, self.greeted = True, False
        self.forget()
        return one(220)

    def silent(self) -> Replies:
        """The client has said nothing for too long (RFC 5321 4.5.3.2.7)."""
        return self._say(421)


def _wrong_lines(octets: bytes) -> set[int]:
    alone = octets.replace(b"\r\n", b"")
    return ({550} if b"\r" in alone or b"\n" in alone else set()) | ({554} if b"\0" in octets else set())
