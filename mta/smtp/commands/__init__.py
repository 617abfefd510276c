"""The commands, one file each.  A command takes the session and its argument and returns a ``Reply``, or a
coroutine of one where it may have to wait; it may raise ``MailFailure``.  It never writes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mta.reply import Reply
from mta.smtp import replies
from mta.smtp.commands.data import data
from mta.smtp.commands.ehlo import ehlo, helo
from mta.smtp.commands.mail import mail
from mta.smtp.commands.plain import help_, noop, quit_, rset
from mta.smtp.commands.rcpt import rcpt
from mta.smtp.commands.vrfy import vrfy

if TYPE_CHECKING:
    from mta.smtp.session import Session

Command: TypeAlias = "Callable[[Session, bytes], Reply | Coroutine[Any, Any, Reply]]"


def _unknown(session: Session, argument: bytes) -> Reply:
    return replies.UNKNOWN_COMMAND


def _not_implemented(session: Session, argument: bytes) -> Reply:
    # RFC 5321 4.2.4: recognized, but not implemented.
    return replies.NOT_IMPLEMENTED


def _not_http(session: Session, argument: bytes) -> Reply:
    # A browser or proxy made to speak to our port: what follows would be headers and a body of its choice.
    return replies.NOT_HTTP


COMMANDS: Final[dict[bytes, Command]] = {
    b"HELO": helo,
    b"EHLO": ehlo,
    b"MAIL": mail,
    b"RCPT": rcpt,
    b"DATA": data,
    b"RSET": rset,
    b"NOOP": noop,
    b"QUIT": quit_,
    b"HELP": help_,
    b"VRFY": vrfy,
    b"EXPN": _not_implemented,
    b"SEND": _not_implemented,
    b"SOML": _not_implemented,
    b"SAML": _not_implemented,
    b"TURN": _not_implemented,
    b"GET": _not_http,
    b"POST": _not_http,
    b"PUT": _not_http,
    b"CONNECT": _not_http,
    b"HOST:": _not_http,
}


def find(name: bytes) -> Command:
    """The command by its name in capitals."""
    return COMMANDS.get(name, _unknown)
