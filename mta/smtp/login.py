"""Logging in: what a session is offered, and what becomes of it once somebody has logged in (RFC 4954).

What it is: ``mechanisms`` for EHLO and AUTH; ``enter`` makes the session that of an account.
Contract: no password, no token and nothing else that a client sent in an exchange is ever told.  Who is not let in is
told by the accounts (``LOGIN_FAILED``), as far as they know who that is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mta import events
from mta.accounts.values import Login
from mta.message.trace import protocol_name
from mta.sasl.server import offered
from mta.smtp.standing import rights

if TYPE_CHECKING:
    from mta.smtp.session import Session


def mechanisms(session: Session) -> tuple[str, ...]:
    """Those by which this client may log in now, the strongest first."""
    context = session.context
    if context.auth is None or context.accounts is None:
        return ()
    return offered(context.auth, context.accounts.takes(), session.channel)


def enter(session: Session, login: Login) -> None:
    """The session is that of this account from here on.

    RFC 4954 4: without a security layer of SASL nothing that was said before is forgotten."""
    standing = session.standing
    session.login, standing.login, standing.account = login, login.account.name, login.account
    standing.entered = True
    session.rights = rights(session)
    # RFC 4954 7, RFC 3848: what Received says it came by.
    protocol = protocol_name(tls=bool(session.tls), auth=True)
    session.origin = replace(session.origin, protocol=protocol, login=standing.login)
    session.context.emit(
        events.LOGGED_IN(
            client=session.client,
            account=standing.login,
            mechanism=login.mechanism,
            credential=f"({login.credential})" if login.credential else "",
            tls=session.tls or "in clear",
        ),
        "",
    )
