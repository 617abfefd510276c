"""The commands, one file each.  A command takes the session and its argument and returns a ``Reply``, or a
coroutine of one where it may have to wait, or None where the reply comes from the ``intake`` that it has set; it may
raise ``MailFailure``.  It never writes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from mta.reply import Reply
from mta.smtp import replies
from mta.smtp.commands.auth import auth
from mta.smtp.commands.bdat import bdat, unreadable
from mta.smtp.commands.data import data
from mta.smtp.commands.ehlo import ehlo, helo
from mta.smtp.commands.etrn import etrn
from mta.smtp.commands.help import help_on
from mta.smtp.commands.lhlo import lhlo, not_by_lmtp
from mta.smtp.commands.mail import mail
from mta.smtp.commands.plain import noop, quit_, rset
from mta.smtp.commands.rcpt import rcpt
from mta.smtp.commands.starttls import starttls
from mta.smtp.commands.vrfy import expn, vrfy
from mta.smtp.commands.xclient import xclient, xforward

if TYPE_CHECKING:
    from mta.smtp.session import Session

Command: TypeAlias = "Callable[[Session, bytes], Reply | Coroutine[Any, Any, Reply] | None]"


class Verb(NamedTuple):
    """A command with what HELP says of it: how it is written, and what it does ("": HELP does not speak of it)."""

    run: Command
    syntax: str = ""
    text: str = ""


def _unknown(session: Session, argument: bytes) -> Reply:
    return replies.UNKNOWN_COMMAND


def _not_implemented(session: Session, argument: bytes) -> Reply:
    # RFC 5321 4.2.4: recognized, but not implemented.
    return replies.NOT_IMPLEMENTED


def _no_proxy(session: Session, argument: bytes) -> Reply:
    # The PROXY protocol wants the connection of a peer closed that is not to be believed (factory.py has the others).
    return replies.NO_PROXY


def _not_http(session: Session, argument: bytes) -> Reply:
    # A browser or proxy made to speak to our port: what follows would be headers and a body of its choice.
    return replies.NOT_HTTP


def _topics(lmtp: bool) -> dict[str, tuple[str, str]]:
    verbs = VERBS | BY_LMTP if lmtp else VERBS
    return {name.decode(): (verb.syntax, verb.text) for name, verb in verbs.items() if verb.syntax}


VERBS: Final[dict[bytes, Verb]] = {
    b"HELO": Verb(helo, "HELO name", "Greets, without extensions."),
    b"EHLO": Verb(ehlo, "EHLO name", "Greets, and asks which extensions are offered."),
    b"MAIL": Verb(mail, "MAIL FROM:<address> [parameters]", "Begins a message; the address is where reports go."),
    b"RCPT": Verb(rcpt, "RCPT TO:<address> [parameters]", "Adds a recipient."),
    b"DATA": Verb(data, "DATA", "The message follows, up to a line of one dot."),
    b"BDAT": Verb(bdat, "BDAT octets [LAST]", "A chunk of the message follows, of so many octets."),
    b"RSET": Verb(rset, "RSET", "Forgets the message that was begun."),
    b"NOOP": Verb(noop, "NOOP [text]", "Does nothing."),
    b"QUIT": Verb(quit_, "QUIT", "Ends the session."),
    b"STARTTLS": Verb(starttls, "STARTTLS", "Goes on with TLS, where it is offered."),
    b"AUTH": Verb(auth, "AUTH mechanism [initial-response]", "Logs in, where it is offered."),
    b"ETRN": Verb(etrn, "ETRN [@]domain", "Has the mail that waits for a domain tried now, for those who may."),
    b"VRFY": Verb(
        vrfy,
        "VRFY address-or-name [SMTPUTF8]",
        "Asks who has a mailbox. Who may know gets 250, 251, 551, 550, 553 if several have the name, 252 if we cannot "
        "tell, 4yz to ask again later; all others 252.",
    ),
    b"EXPN": Verb(
        expn,
        "EXPN address-or-name [SMTPUTF8]",
        "Asks where a list or alias leads. Who may know gets 250, 550 if it leads nowhere else, 551 or 553 as by VRFY, "
        "252 if we cannot tell all, 4yz to ask again later; all others 550.",
    ),
    b"HELP": Verb(help_on(_topics), "HELP [topic]", "Tells how a command is written."),
    b"SEND": Verb(_not_implemented),
    b"SOML": Verb(_not_implemented),
    b"SAML": Verb(_not_implemented),
    b"TURN": Verb(_not_implemented),
    b"GET": Verb(_not_http),
    b"POST": Verb(_not_http),
    b"PUT": Verb(_not_http),
    b"CONNECT": Verb(_not_http),
    b"HOST:": Verb(_not_http),
    b"PROXY": Verb(_no_proxy),
    b"XCLIENT": Verb(xclient),
    b"XFORWARD": Verb(xforward),
}
#: What a listener for LMTP has otherwise (RFC 2033 4.1).
BY_LMTP: Final[dict[bytes, Verb]] = {
    b"LHLO": Verb(lhlo, "LHLO name", "Greets, and asks which extensions are offered."),
    b"AUTH": Verb(_not_implemented),
    b"HELO": Verb(not_by_lmtp),
    b"EHLO": Verb(not_by_lmtp),
    # It hands over mail, and its clients may know nothing.
    b"VRFY": Verb(vrfy, "VRFY address-or-name [SMTPUTF8]", "Is answered with 252, whatever is asked."),
    b"EXPN": Verb(_not_implemented),
}
COMMANDS: Final[dict[bytes, Command]] = {name: verb.run for name, verb in VERBS.items()}
_LMTP_COMMANDS: Final[dict[bytes, Command]] = COMMANDS | {name: verb.run for name, verb in BY_LMTP.items()}


def find(name: bytes, lmtp: bool = False) -> Command:
    """The command by its name in capitals, on a listener for SMTP or LMTP."""
    found = (_LMTP_COMMANDS if lmtp else COMMANDS).get(name)
    if found is None:
        return unreadable if name[:4] == b"BDAT" else _unknown
    return found
