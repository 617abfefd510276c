"""HELO and EHLO (RFC 5321 4.1.1.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mta.reply import Reply
from mta.smtp.commands.plain import count_idle
from mta.smtp.grammar import parse_greeting

if TYPE_CHECKING:
    from mta.smtp.session import Session


def ehlo(session: Session, argument: bytes) -> Reply:
    name = _greeted(session, argument, "ESMTP")
    context = session.context
    # RFC 2034 4: the replies to HELO and EHLO carry no enhanced code.
    return Reply(250, "", (f"{context.hostname} greets {name}", *context.ehlo))


def helo(session: Session, argument: bytes) -> Reply:
    _greeted(session, argument, "SMTP")
    return Reply(250, "", (session.context.hostname,))


def _greeted(session: Session, argument: bytes, protocol: str) -> str:
    count_idle(session)
    name = parse_greeting(argument)
    # RFC 5321 4.1.4: a greeting in the middle of a session acts as RSET too.
    session.reset()
    session.renew_context()
    session.greeted(name, protocol)
    session.look_up_name()
    return name
