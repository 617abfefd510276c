"""XCLIENT and XFORWARD: who the client is, and where a message came from, as a proxy or a filter says.

Contract: only peers that the listener's ``xclient`` and ``xforward`` name may say them; to others they are refused
with 550 and not shown by EHLO.  After XCLIENT the session is that of the client named, from its greeting on.  What
XFORWARD says stands in the story of the next message, and decides nothing.
Limits: they count as commands that carry no mail (``limits.idle_commands``).
Source: Postfix's XCLIENT_README and XFORWARD_README.  Of XCLIENT's attributes DESTADDR and DESTPORT are checked and
have no effect: nothing here goes by the address that a client came to.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from mta.policy.engine import Stage
from mta.reply import Reply
from mta.smtp import attributes, replies
from mta.smtp.commands.plain import count_idle
from mta.smtp.context import listed
from mta.smtp.policing import at_connect
from mta.smtp.standing import Named, become

if TYPE_CHECKING:
    from mta.smtp.session import Session


def xclient(session: Session, argument: bytes) -> Reply | Coroutine[Any, Any, Reply]:
    count_idle(session)
    if not listed(session.standing.peer, session.context.xclient):
        return replies.NOT_A_PROXY
    if session.transaction is not None:
        # XCLIENT_README: at any time, except in the middle of a mail transaction.
        return replies.NESTED_MAIL
    said = attributes.read(argument, attributes.XCLIENT)
    port = said.get("PORT")
    reply = become(
        session,
        Named(
            client=said.get("ADDR"),
            port=None if port is None else int(port or 0),
            reverse_name=said.get("NAME"),
            helo=said.get("HELO"),
            protocol=said.get("PROTO"),
            login=said.get("LOGIN"),
        ),
    )
    policies = session.context.policies
    if policies is None or Stage.CONNECT not in policies.stages or not reply.positive:
        return reply
    return at_connect(session)


def xforward(session: Session, argument: bytes) -> Reply:
    count_idle(session)
    if not listed(session.standing.peer, session.context.xforward):
        return replies.NOT_A_PROXY
    if session.transaction is not None:
        # XFORWARD_README: at any time, except in the middle of a mail transaction.
        return replies.NESTED_MAIL
    # Several commands tell together what is too long for one.
    session.standing.forwarded = {**session.standing.forwarded, **attributes.read(argument, attributes.XFORWARD)}
    return replies.OK
