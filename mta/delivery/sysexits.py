"""What the end of a program means for the mail that it was given: the statuses of sysexits.h, as mail systems use them.

Contract: pure; every end has a reply.  What is known to be for ever fails; all else waits: a mistake in a program or
in the configuration never bounces mail (docs/pipe.rst has the table).  Output whose first line begins with an
enhanced status code of the same class (RFC 3463) gives that in place of ours; its words go into the reply, made
harmless and cut.
"""

from __future__ import annotations

import re
import signal
from typing import Final, NamedTuple

from mta.delivery.launch import CANNOT_START
from mta.delivery.running import Ended
from mta.envelope import Scope, Status
from mta.reply import Reply

#: Characters of the output that a reply takes, and those that the story keeps.
MOST_SAID: Final = 200
MOST_KEPT: Final = 1000

#: Enhanced code and meaning by exit status: those that last, then those that may pass.
_LASTING: Final = {
    65: ("5.6.0", "the message is not as it takes it"),  # EX_DATAERR
    67: ("5.1.1", "it knows no such user"),  # EX_NOUSER
    68: ("5.1.2", "it knows no such host"),  # EX_NOHOST
    69: ("5.3.0", "it does not take the message"),  # EX_UNAVAILABLE
    76: ("5.5.0", "a protocol was violated"),  # EX_PROTOCOL
    77: ("5.7.0", "permission denied"),  # EX_NOPERM
}
_PASSING: Final = {
    64: ("4.3.5", "it does not understand its arguments"),  # EX_USAGE
    66: ("4.3.0", "it cannot open its input"),  # EX_NOINPUT
    70: ("4.3.0", "an internal error"),  # EX_SOFTWARE
    71: ("4.3.0", "a system error"),  # EX_OSERR
    72: ("4.3.5", "a system file is missing"),  # EX_OSFILE
    73: ("4.2.0", "it cannot make a file"),  # EX_CANTCREAT
    74: ("4.3.0", "an input or output error"),  # EX_IOERR
    75: ("4.3.0", "it failed for now"),  # EX_TEMPFAIL
    78: ("4.3.5", "it is configured wrongly"),  # EX_CONFIG
    126: ("4.3.5", "it cannot be run"),
    CANNOT_START: ("4.3.5", "it cannot be started"),
}
#: All mail for the program has this trouble: others need not be tried for now.
_ALL: Final = frozenset({64, 71, 72, 78, 126, CANNOT_START})
_CODE = re.compile(r"([45])(\.[0-9]{1,3}\.[0-9]{1,3})(?:[ \t:]+|\Z)")
_CONTROL = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029]+")

DELIVERED: Final = Reply.of(250, "2.0.0", "Delivered to the program")


class Meaning(NamedTuple):
    """An outcome but for whom.  ``error`` is for the operator."""

    status: Status
    reply: Reply
    scope: Scope = Scope.RECIPIENT
    error: str = ""


def meaning(ended: Ended, lasting: frozenset[int] = frozenset()) -> Meaning:
    """See the module's text.  ``lasting``: further statuses that mean that it will never work."""
    said = words(ended.output)
    error = "; ".join(part for part in (ended.why, said[:MOST_KEPT]) if part)
    if not ended.began:
        return Meaning(Status.DEFERRED, Reply.of(451, "4.3.5", "The program cannot be started"), Scope.HOST, error)
    if ended.why:
        reply = Reply.of(451, "4.3.0", "The program was stopped: it took too long, or the service stops")
        return Meaning(Status.DEFERRED, reply, Scope.MESSAGE, error)
    if ended.status == 0:
        return Meaning(Status.DELIVERED, DELIVERED, error=said[:MOST_KEPT])
    if ended.status < 0:
        text = f"The program was ended by {_signal_name(-ended.status)}"
        return Meaning(Status.DEFERRED, Reply.of(451, "4.3.0", text), Scope.MESSAGE, error)
    return _failed(ended.status, said, lasting)


def _failed(number: int, said: str, lasting: frozenset[int]) -> Meaning:
    for_ever = number in _LASTING or number in lasting
    if for_ever:
        code, text = _LASTING.get(number, ("5.3.0", f"exit status {number}"))
    else:
        code, text = _PASSING.get(number, ("4.3.0", f"exit status {number}"))
    own = _CODE.match(said)
    shown = said
    if own is not None and own[1] == code[0]:
        code, shown = own[1] + own[2], said[own.end() :]
    text = f"The program says: {shown[:MOST_SAID]}" if shown else f"The program failed: {text}"
    scope = Scope.HOST if number in _ALL else Scope.RECIPIENT
    status, reply = (Status.FAILED, 550) if for_ever else (Status.DEFERRED, 451)
    error = f"exit status {number}" + (f"; {said[:MOST_KEPT]}" if said else "")
    return Meaning(status, Reply.of(reply, code, text), scope, error)


def words(output: bytes) -> str:
    """What a program wrote, as one harmless line."""
    return _CONTROL.sub(" ", output.decode("utf-8", "replace")).strip()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
