"""What the log says of mail that was not taken: one event a refusal, with the addresses that people will ask about.

Contract: a refusal is told once.  Whoever tells of one that will be the reply to the command under way sets
``Session.told``, and the session does not tell it again.  Of a command line only those of MAIL and RCPT are shown: in
others may be what is secret.
Limits: ``MOST_NAMED`` recipients of one message are named, and ``MOST_SAID`` octets of a command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from mta import events
from mta.reply import MailFailure, Reply
from mta.smtp import replies
from mta.smtp.transaction import Transaction

if TYPE_CHECKING:
    from mta.smtp.session import Session

MOST_NAMED: Final = 20
MOST_SAID: Final = 400


def tell_command(session: Session, name: bytes, argument: bytes, reply: Reply) -> None:
    """A command got 4yz or 5yz."""
    if reply is session.told:
        session.told = None
        return
    said = ""
    if name in (b"MAIL", b"RCPT"):
        said = argument[:MOST_SAID].decode("utf-8", "backslashreplace")
        if name == b"RCPT" and session.transaction is not None:
            said += f"   from <{_sender(session.transaction)}>"
    # A client that goes on with responses to an AUTH that was refused says its secrets as commands.
    secret = session.standing.asked and reply is replies.UNKNOWN_COMMAND
    command = "(not shown)" if secret else name.decode("ascii", "replace")
    event = events.COMMAND_REFUSED(client=session.client, command=command, reply=str(reply), said=said)
    session.context.emit(event, "")


def tell_recipient(session: Session, transaction: Transaction, address: str, reply: Reply, why: Sequence[str]) -> None:
    """A recipient was refused."""
    session.context.emit(
        events.RECIPIENT_REFUSED(
            client=session.client, sender=_sender(transaction), address=address, reply=str(reply), why=list(why)
        ),
        "",
    )


def tell_message(session: Session, transaction: Transaction, failure: MailFailure) -> None:
    """A message was refused at its end."""
    session.told = failure.reply
    session.context.emit(
        events.REFUSED(
            client=session.client,
            sender=_sender(transaction),
            count=len(transaction.recipients),
            recipients=_recipients(transaction),
            reply=str(failure.reply),
            why=failure.reason,
        ),
        "",
    )


def tell_unfinished(session: Session, transaction: Transaction, why: str) -> None:
    """A message had begun and never came to its end."""
    session.context.emit(
        events.UNFINISHED(
            client=session.client,
            sender=_sender(transaction),
            count=len(transaction.recipients),
            recipients=_recipients(transaction),
            why=why,
        ),
        "",
    )


def _sender(transaction: Transaction) -> str:
    return str(transaction.reverse_path or "")


def _recipients(transaction: Transaction) -> list[str]:
    return [str(forward.address) for forward in transaction.recipients[:MOST_NAMED]]
