"""The protocols of Dovecot's authentication sockets, client side; pure: octets in, answers out.

What it is: ``Handshake`` reads what a server says first, ``auth_request`` and ``user_request`` make requests, and
``answer`` reads what became of one.  https://doc.dovecot.org/main/developers/design/auth_protocol.html
Contract: fields are separated by tabs, lines by LF; what could end either is escaped (``\\x01`` and a letter).  Major
versions other than ours are refused.
How it fails: ``BadAnswer`` for what the protocol does not have; the connection is to be closed then.
Limits: ``MOST_LINE`` octets.
"""

from __future__ import annotations

from base64 import b64encode
from enum import Enum
from typing import Final, NamedTuple

MOST_LINE: Final = 8192
_ESCAPED: Final = {b"\x01": b"\x011", b"\t": b"\x01t", b"\r": b"\x01r", b"\n": b"\x01n", b"\0": b"\x010"}
_UNESCAPED: Final = {b"1": b"\x01", b"t": b"\t", b"r": b"\r", b"n": b"\n", b"0": b"\0"}


class BadAnswer(ValueError):
    """The server said what it cannot say."""


class Verdict(Enum):
    """What became of a request."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"  # the server cannot tell now


class Answer(NamedTuple):
    """To request ``number``: the verdict, the user's name where there is one, and why not, for the log."""

    number: int
    verdict: Verdict
    user: str = ""
    why: str = ""


def escaped(octets: bytes) -> bytes:
    """A value as it stands in a field."""
    return b"".join(_ESCAPED.get(octets[at : at + 1], octets[at : at + 1]) for at in range(len(octets)))


def unescaped(octets: bytes) -> bytes:
    """The value of a field.  Raises ``BadAnswer``."""
    first, *rest = octets.split(b"\x01")
    try:
        return first + b"".join(_UNESCAPED[part[:1]] + part[1:] for part in rest)
    except KeyError:
        raise BadAnswer("an escape that is none") from None


class Handshake:
    """What a server says of itself before anything else; ``done`` when requests may follow."""

    def __init__(self, major: int, end: bytes) -> None:
        self._major = major
        self._end = end
        self._version = False
        self.done = False

    def line(self, line: bytes) -> None:
        """One line of it.  Raises ``BadAnswer``."""
        command, *fields = line.split(b"\t")
        if command == b"VERSION":
            if not fields or fields[0] != b"%d" % self._major:
                raise BadAnswer(f"it speaks version {b'.'.join(fields)[:20].decode('ascii', 'replace')}")
            self._version = True
        if command == self._end:
            if not self._version:
                raise BadAnswer("it said no version")
            self.done = True


def client_greeting(pid: int) -> bytes:
    """What an authentication client says first."""
    return b"VERSION\t1\t2\nCPID\t%d\n" % pid


def master_greeting() -> bytes:
    """The same of one that looks for users."""
    return b"VERSION\t1\t1\n"


def auth_request(number: int, name: str, password: bytes, service: str) -> bytes:
    """Is it the password?  ``no-penalty``: to Dovecot all come from one address, and the brakes are ours.  ``resp``
    has to stand last."""
    response = b64encode(b"\0".join((b"", name.encode(), password)))
    said = (b"service=" + escaped(service.encode()), b"secured", b"no-penalty", b"nologin", b"resp=" + response)
    return b"\t".join((b"AUTH", b"%d" % number, b"PLAIN", *said)) + b"\n"


def user_request(number: int, name: str, service: str) -> bytes:
    """Is there such a user?"""
    fields = (b"USER", b"%d" % number, escaped(name.encode()), b"service=" + escaped(service.encode()))
    return b"\t".join(fields) + b"\n"


def answer(line: bytes) -> Answer | None:
    """What a line says of a request; None where it is about something else.  Raises ``BadAnswer``."""
    command, *fields = line.split(b"\t")
    if command not in (b"OK", b"FAIL", b"CONT", b"USER", b"NOTFOUND"):
        return None
    number, said = _number(fields), dict(field.partition(b"=")[::2] for field in fields[1:])
    if command == b"USER":
        return Answer(number, Verdict.YES, _user(fields[1] if len(fields) > 1 else b""))
    if command == b"OK":
        return Answer(number, Verdict.YES, _user(said.get(b"user", b"")))
    if command == b"NOTFOUND":
        return Answer(number, Verdict.NO, why="no such user")
    why = unescaped(said.get(b"reason", b"") or said.get(b"code", b"")).decode("utf-8", "replace")[:200]
    if command == b"CONT" or b"temp" in said or said.get(b"code") == b"temp_fail":
        return Answer(number, Verdict.UNKNOWN, why=why or "it cannot tell now")
    return Answer(number, Verdict.NO, why=why or "it says no")


def user_answer(line: bytes) -> Answer | None:
    """The same of one that looks for users: there a FAIL is no answer."""
    found = answer(line)
    if found is not None and line.startswith(b"FAIL\t"):
        return found._replace(verdict=Verdict.UNKNOWN)
    return found


def _number(fields: list[bytes]) -> int:
    if not fields or not fields[0].isdigit() or len(fields[0]) > 10:
        raise BadAnswer("an answer to nothing")
    return int(fields[0])


def _user(octets: bytes) -> str:
    try:
        return unescaped(octets).decode()
    except UnicodeDecodeError:
        raise BadAnswer("a name that is not UTF-8") from None
