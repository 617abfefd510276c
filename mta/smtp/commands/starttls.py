"""STARTTLS (RFC 3207 4): the reply; what follows it is the session's (``Session.secured``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mta.reply import Reply
from mta.smtp import replies

if TYPE_CHECKING:
    from mta.smtp.session import Session


def starttls(session: Session, argument: bytes) -> Reply:
    if session.tls:
        # RFC 3207 4.2: only once.
        return replies.TLS_ACTIVE
    if session.context.tls is None:
        return replies.NOT_IMPLEMENTED
    if session.standing.told:
        # It would end at the proxy or behind it, and what the proxy said came in clear.
        return replies.TLS_TOO_LATE
    if argument:
        return replies.NO_ARGUMENT
    return replies.START_TLS
