"""A message to the service that runs, over its socket for local programs: a small client of SMTP that waits.

Contract: ``submit`` returns what became of each recipient: those refused, with the reply.  A message goes to those that
were taken; to none it is not sent.  More recipients than one transaction may have get several.
How it fails: ``NotRunning`` where nobody listens, or nobody serves now: nothing was sent then.  ``Trouble``
otherwise, with the service's own words.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from mta.sendmail.domains import with_domains
from mta.sendmail.statuses import DATAERR, NOPERM, TEMPFAIL, Trouble, status_of

#: Seconds for a reply: RFC 5321 4.5.3.2.6 has ten minutes for that to the final dot.
PATIENCE: Final = 600.0
#: Recipients of one transaction where the service does not say.
RECIPIENTS: Final = 100
#: Recipients that are named before the replies to them are read.
AT_ONCE: Final = 50
#: The keyword by which the service says which domain names without one get.
DOMAIN: Final = "XDOMAIN"
_MOST_LINE: Final = 16384


class NotRunning(Exception):
    """No service takes mail at the moment; ``str()`` says why."""


class Reply(NamedTuple):
    """What the service said."""

    code: int
    lines: tuple[str, ...]

    @property
    def positive(self) -> bool:
        return self.code < 400

    @property
    def enhanced(self) -> str:
        """The enhanced code (RFC 2034), "" for none."""
        first = self.lines[0].partition(" ")[0]
        return first if first.count(".") == 2 and first[:1] in "245" else ""

    @property
    def status(self) -> int:
        """The exit status that it comes to."""
        return status_of(self.code, self.enhanced)

    def __str__(self) -> str:
        return f"{self.code} {' '.join(self.lines)}"


class Message(NamedTuple):
    """What is sent.  ``head`` is the header section, with its closing empty line; ``size`` octets come out of ``body``,
    which gives them anew each time.  ``mail`` and ``rcpt`` are further parameters of these commands."""

    sender: str
    recipients: Sequence[str]
    head: bytes
    size: int
    body: Callable[[], Iterable[bytes]]
    mail: str = ""
    rcpt: str = ""


class Refusal(NamedTuple):
    """A recipient that was not taken."""

    recipient: str
    reply: Reply


class Submitted(NamedTuple):
    """``taken``: for how many; ``last``: the reply to the message."""

    taken: int
    refused: tuple[Refusal, ...]
    last: Reply | None


def connect(path: str) -> socket.socket:
    """A connection to the service.  Raises ``NotRunning``, ``Trouble``."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(path)  # waits, where many connect at once
    except (FileNotFoundError, ConnectionRefusedError):
        sock.close()
        raise NotRunning("nobody listens") from None
    except PermissionError:
        sock.close()
        raise Trouble(NOPERM, f"you may not send mail: {path} is not for you") from None
    except OSError as error:
        sock.close()
        raise Trouble(TEMPFAIL, f"the service cannot be reached at {path}: {error.strerror or error}") from None
    sock.settimeout(PATIENCE)
    return sock


class Dialogue:
    """A session.  ``tell`` gets each line that goes either way."""

    def __init__(self, sock: socket.socket, tell: Callable[[str], None]) -> None:
        self._sock = sock
        self._file = sock.makefile("rb")
        self._tell = tell
        self.offers: dict[str, str] = {}
        self._served(self.reply())
        greeting = self._served(self.ask("EHLO localhost"))
        for line in greeting.lines[1:]:
            keyword, _, more = line.partition(" ")
            self.offers[keyword.upper()] = more

    def _served(self, reply: Reply) -> Reply:
        """The reply, where it is none that sends us away."""
        if reply.code >= 500:
            raise Trouble(reply.status, str(reply))
        if not reply.positive:
            raise NotRunning(str(reply))
        return reply

    @property
    def most_recipients(self) -> int:
        """Of one transaction (RFC 9422)."""
        for limit in self.offers.get("LIMITS", "").split():
            name, _, value = limit.partition("=")
            if name == "RCPTMAX" and value.isdigit() and int(value):
                return int(value)
        return RECIPIENTS

    def send(self, octets: bytes) -> None:
        try:
            self._sock.sendall(octets)
        except TimeoutError:
            raise Trouble(TEMPFAIL, "the service does not read what it is sent") from None
        except OSError:
            # It has said why, if at all, before it closed.
            self._last_words()

    def say(self, *commands: str) -> None:
        """Send some commands; the replies are to be read."""
        for command in commands:
            self._tell(f">>> {command}")
        self.send("".join(f"{command}\r\n" for command in commands).encode("utf-8", "surrogateescape"))

    def ask(self, command: str) -> Reply:
        self.say(command)
        return self.reply()

    def reply(self) -> Reply:
        """The next reply."""
        lines: list[str] = []
        while True:
            try:
                line = self._file.readline(_MOST_LINE)
            except TimeoutError:
                raise Trouble(TEMPFAIL, f"the service did not answer within {PATIENCE:.0f} s") from None
            except OSError as error:
                raise Trouble(TEMPFAIL, f"the service ended the session: {error.strerror or error}") from None
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            if not line.endswith(b"\n"):
                raise Trouble(TEMPFAIL, "the service ended the session")
            self._tell(text)
            if not (text[:3].isascii() and text[:3].isdigit()):
                raise Trouble(TEMPFAIL, "what listens there speaks no SMTP")
            lines.append(text[4:])
            if text[3:4] != "-":
                return Reply(int(text[:3]), tuple(lines))

    def _last_words(self) -> None:
        last = self.reply()
        raise Trouble(last.status, str(last))

    def close(self) -> None:
        self._file.close()
        self._sock.close()


def submit(path: str, message: Message, tell: Callable[[str], None]) -> Submitted:
    """See the module's text."""
    dialogue = Dialogue(connect(path), tell)
    try:
        taken, refused = 0, list[Refusal]()
        last: Reply | None = None
        for some in _parts(message.recipients, dialogue.most_recipients):
            if last is not None and not last.positive:
                refused += [Refusal(recipient, last) for recipient in some]
                continue
            bad, reply = _transaction(dialogue, message, some)
            taken += len(some) - len(bad)
            last = reply or last
            refused += bad
        if last is None or last.positive:
            dialogue.ask("QUIT")
        return Submitted(taken, tuple(refused), last)
    finally:
        dialogue.close()


def _parts(recipients: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(recipients), most):
        yield recipients[start : start + most]


def _transaction(dialogue: Dialogue, message: Message, recipients: Sequence[str]) -> tuple[list[Refusal], Reply | None]:
    """Who was refused, and the reply to the message; None where it was not sent."""
    head = with_domains(message.head, dialogue.offers.get(DOMAIN, ""))
    size = len(head) + message.size
    international = not all(one.isascii() for one in (message.sender, *recipients))
    utf8 = " SMTPUTF8" if international else ""
    begun = dialogue.ask(f"MAIL FROM:<{message.sender}> SIZE={size}{utf8}{message.mail}")
    if not begun.positive:
        return [Refusal(recipient, begun) for recipient in recipients], begun
    refused: list[Refusal] = []
    for start in range(0, len(recipients), AT_ONCE):
        some = recipients[start : start + AT_ONCE]
        # RFC 2920: the service offers PIPELINING.
        dialogue.say(*(f"RCPT TO:<{recipient}>{message.rcpt}" for recipient in some))
        replies = [dialogue.reply() for _ in some]
        refused += [Refusal(one, reply) for one, reply in zip(some, replies, strict=True) if not reply.positive]
    if len(refused) == len(recipients):
        dialogue.ask("RSET")
        return refused, None
    # RFC 3030 2: the octets as they are.
    dialogue.say(f"BDAT {size} LAST")
    dialogue.send(head)
    sent = len(head)
    for piece in message.body():
        dialogue.send(piece)
        sent += len(piece)
    if sent != size:
        raise Trouble(DATAERR, "the message changed while it was sent")
    reply = dialogue.reply()
    if reply.positive:
        return refused, reply
    known = {recipient for recipient, _ in refused}
    return refused + [Refusal(recipient, reply) for recipient in recipients if recipient not in known], reply
