"""HELO and EHLO (RFC 5321 4.1.1.1)."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from mta.envelope import Right
from mta.message.trace import protocol_name
from mta.policy.engine import Stage
from mta.reply import Reply
from mta.routing.disclosure import may
from mta.smtp.commands.plain import count_idle
from mta.smtp.context import listed
from mta.smtp.extensions import Circumstances, ehlo_lines, latest_release
from mta.smtp.grammar import parse_greeting
from mta.smtp.login import mechanisms
from mta.smtp.policing import at_greeting
from mta.smtp.standing import look_up_name

if TYPE_CHECKING:
    from mta.smtp.session import Session


def ehlo(session: Session, argument: bytes) -> Reply | Coroutine[Any, Any, Reply]:
    protocol = protocol_name(
        tls=bool(session.tls), auth=Right.AUTHENTICATED in session.rights, lmtp=session.context.lmtp
    )
    name = _greeted(session, argument, protocol)
    # RFC 2034 4: the replies to HELO and EHLO carry no enhanced code.
    reply = Reply(250, "", (f"{session.context.hostname} greets {name}", *ehlo_lines(circumstances(session))))
    return _answered(session, reply)


def helo(session: Session, argument: bytes) -> Reply | Coroutine[Any, Any, Reply]:
    _greeted(session, argument, "SMTP")
    return _answered(session, Reply(250, "", (session.context.hostname,)))


def _answered(session: Session, reply: Reply) -> Reply | Coroutine[Any, Any, Reply]:
    """The reply, if policies let it be."""
    policies = session.context.policies
    if policies is None or Stage.GREETING not in policies.stages:
        return reply
    return at_greeting(session, reply)


def circumstances(session: Session) -> Circumstances:
    """What this session may be offered."""
    context = session.context
    limits = context.limits
    return Circumstances(
        message_size=limits.message_size,
        recipients=limits.recipients,
        transactions=limits.transactions,
        deliver_by=int(limits.deliver_by),
        future_release=int(limits.future_release),
        # RFC 4865 3: a date in the offer, by the minute, so that most sessions get the same reply, made once.
        latest_release=latest_release(context.now(), int(limits.future_release)) if session.rights else 0,
        rights=bool(session.rights),
        tls=bool(session.tls),
        starttls=context.tls is not None and not session.standing.told,
        xclient=listed(session.standing.peer, context.xclient),
        xforward=listed(session.standing.peer, context.xforward),
        reports=bool(session.rights) or context.tell_strangers,
        auth=() if context.auth is None else mechanisms(session),
        expn=not context.lmtp and may(context.disclosure.expn_widest, session.rights),
    )


def _greeted(session: Session, argument: bytes, protocol: str) -> str:
    count_idle(session)
    name = parse_greeting(argument)
    # RFC 5321 4.1.4: a greeting in the middle of a session acts as RSET too.
    session.reset()
    session.renew_context()
    session.greeted(name, protocol)
    look_up_name(session)
    return name
