"""Who a client is beside its address, as far as others tell us: its login, its names, its proxies.

What it is: ``Standing`` belongs to a session and outlives transactions; ``become`` makes the session that of the
client that XCLIENT names (commands/xclient.py).
Contract: who may say XCLIENT and XFORWARD goes by ``peer``, which no command changes: a client that was named never
gets the rights of who named it, nor the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mta import events
from mta.envelope import Origin, Right
from mta.policy.heard import Heard
from mta.reply import Reply
from mta.routing.values import Answer
from mta.waiting import as_deferred, background

if TYPE_CHECKING:
    from mta.accounts.values import Account
    from mta.smtp.session import Session


@dataclass(slots=True, kw_only=True)
class Standing:
    """See the module's text.

    ``recount`` counts the connection for another client's address, or gives the reply that it is one too many.
    ``forwarded`` is what XFORWARD said of the next message, by attribute.  ``account`` is that of the login as it was
    at the last MAIL.
    """

    peer: str
    login: str = ""
    account: Account | None = None
    named: bool = False  # the reverse name was asked for, or told
    recount: Callable[[str], Reply | None] | None = None
    forwarded: Mapping[str, str] = field(default_factory=dict)
    told: bool = False  # by XCLIENT: the client is not who is at the other end
    refused: int = 0  # recipients that were refused for good
    heard: Heard | None = None  # from policies, where there are any
    asked: bool = False  # it said AUTH, so what is no command may be a secret
    tries: int = 0  # logins that failed
    entered: bool = False  # by AUTH, though the login may count no longer

    def forget_login(self, session: Session) -> None:
        """Who is there now is somebody else, or might be: what AUTH gave is taken back."""
        if session.login is not None:
            session.login, self.login, self.account = None, "", None
            session.rights = rights(session)
        self.entered = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What XCLIENT said: None where it said nothing, "" where it said that it does not know."""

    client: str | None = None
    port: int | None = None
    reverse_name: str | None = None
    helo: str | None = None
    protocol: str | None = None
    login: str | None = None


def rights(session: Session) -> frozenset[Right]:
    """What the client may: by its address, and by its login."""
    found = session.context.rights_of(session.client)
    # By LMTP mail is for mailboxes, whoever brings it.
    return found | {Right.AUTHENTICATED} if session.standing.login and not session.context.lmtp else found


def become(session: Session, named: Named) -> Reply:
    """The session is that of the client named, from its greeting on (XCLIENT_README, "XCLIENT Server response")."""
    standing = session.standing
    client = session.client if named.client is None else named.client
    if standing.recount is not None:
        refusal = standing.recount(client)
        if refusal is not None:
            return refusal
    standing.forget_login(session)
    standing.heard = None
    if client != session.client:
        # What is known of another is not known of this one, and what that one may is not for this one.
        standing.named, session.reverse_name, session.port = False, "", 0
        standing.login = ""
        session.client = client
    if named.port is not None:
        session.port = named.port
    if named.reverse_name is not None:
        standing.named, session.reverse_name = True, named.reverse_name
    if named.login is not None:
        standing.login = named.login
    standing.told = True
    session.reset()
    session.renew_context()
    session.rights = rights(session)
    session.helo = ""
    session.origin = Origin(
        listener=session.context.listener, protocol="SMTP", client=client, port=session.port, tls=session.tls
    )
    if named.helo:
        # XCLIENT_README: what the command itself has told stays.
        session.greeted(named.helo, named.protocol or "SMTP")
    session.context.emit(
        events.RENAMED(peer=standing.peer, client=client, login=f"({standing.login})" if standing.login else ""), ""
    )
    return session.context.banner


def look_up_name(session: Session) -> None:
    """Ask for the client's reverse name, once; it stands in Received if it comes in time, nobody waits."""
    client = session.client
    if session.standing.named or not client:
        return
    session.standing.named = True

    def found(answer: Answer) -> None:
        if answer.records and session.client == client:
            session.reverse_name = str(answer.records[0])
            session.origin = replace(session.origin, reverse_name=session.reverse_name)

    background(as_deferred(session.context.resolver.ptr(client)).addCallback(found), "reverse lookup")
