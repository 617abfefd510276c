"""RSET, NOOP and QUIT (RFC 5321 4.1.1.5, 4.1.1.9, 4.1.1.10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mta.reply import PermanentFailure, Reply
from mta.smtp import replies

if TYPE_CHECKING:
    from mta.smtp.session import Session


def count_idle(session: Session) -> None:
    """Commands that carry no mail are counted between messages: beyond ``limits.idle_commands`` the session
    ends, whatever they are."""
    session.idle_commands += 1
    if session.idle_commands > session.context.limits.idle_commands:
        raise PermanentFailure(replies.TOO_MANY_ERRORS, "too many commands that carry no mail")


def rset(session: Session, argument: bytes) -> Reply:
    if argument:
        return replies.NO_ARGUMENT
    count_idle(session)
    session.reset()
    return replies.OK


def noop(session: Session, argument: bytes) -> Reply:
    # RFC 5321 4.1.1.9: an argument is ignored.
    count_idle(session)
    return replies.OK


def quit_(session: Session, argument: bytes) -> Reply:
    # RFC 5321 4.1.1.10 allows no argument; some clients send one, and all they want is to leave.
    return replies.BYE
