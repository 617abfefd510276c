"""MAIL (RFC 5321 4.1.1.2), with SIZE (RFC 1870) and BODY (RFC 6152)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mta.reply import Reply
from mta.smtp import replies
from mta.smtp.grammar import parse_body, parse_mail, parse_size
from mta.smtp.transaction import Transaction

if TYPE_CHECKING:
    from mta.smtp.session import Session

BODIES: Final = frozenset({"7BIT", "8BITMIME"})


def mail(session: Session, argument: bytes) -> Reply:
    if not session.helo:
        return replies.NEEDS_EHLO
    if session.transaction is not None:
        # RFC 5321 4.1.4: MAIL in an open transaction is refused and changes nothing.
        return replies.NESTED_MAIL
    session.renew_context()
    context = session.context
    command = parse_mail(argument)
    size, body = 0, ""
    for keyword, value in command.parameters.items():
        if keyword == "SIZE":
            size = parse_size(value)
        elif keyword == "BODY":
            body = parse_body(value, BODIES)
        else:
            # RFC 5321 4.1.1.11
            return replies.UNKNOWN_PARAMETER
    if size > context.limits.message_size:
        # RFC 1870 6.1
        return replies.MESSAGE_TOO_BIG
    unhealthy = context.spool.unhealthy()
    if unhealthy is not None:
        return unhealthy
    if session.transactions >= context.limits.transactions:
        return replies.TOO_MANY_TRANSACTIONS
    session.begin(Transaction(command.path, size, body))
    return replies.SENDER_OK
