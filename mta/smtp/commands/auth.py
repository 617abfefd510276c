"""AUTH (RFC 4954): a client logs in by a mechanism of SASL.

What it is: the command, and ``Dialog``, which takes the client's responses to our challenges; the mechanisms are in
``mta.sasl``, who is let in is decided by ``IAccounts``.
Contract: base64 is read as strictly as RFC 4954 4 wants it.  Every login that is refused for good has the same reply,
whatever the reason.  What a client sends before it was asked is no response: it ends the session, since it would be
commands and secrets in each other's place.
How it fails: a refused login changes nothing, and the client may try again; ``Offer.tries`` times.
Limits: ``MOST_LINE`` octets a response; an exchange counts as one command that carries no mail.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Coroutine
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final

from mta import events
from mta.accounts.replies import REFUSED
from mta.accounts.values import Login
from mta.reply import PermanentFailure, Reply
from mta.sasl.exchange import MOST_LINE, Challenge, Done, Exchange, Failed, NeedsKeys, Step
from mta.sasl.server import MECHANISMS, Offer, begin
from mta.smtp import replies
from mta.smtp.commands.plain import count_idle
from mta.smtp.login import enter, mechanisms

if TYPE_CHECKING:
    from mta.interfaces import IAccounts
    from mta.smtp.session import Session

#: RFC 4422 3.1: sasl-mech.
_NAME: Final = re.compile(r"[A-Z0-9_-]{1,20}\Z")
#: RFC 4954 4: "=" stands at the end alone.
_BASE64: Final = re.compile(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?\Z")


def auth(session: Session, argument: bytes) -> Reply | Coroutine[Any, Any, Reply]:
    count_idle(session)
    context, standing = session.context, session.standing
    standing.asked = True
    if context.auth is None or context.accounts is None:
        return replies.NOT_IMPLEMENTED
    if not session.helo:
        return replies.NEEDS_EHLO
    if standing.login or standing.entered:
        # RFC 4954 4: one in a session, even if it counts no longer.
        return replies.LOGGED_IN_ALREADY
    if session.transaction is not None:
        return replies.NOT_IN_TRANSACTION
    said, space, initial = argument.partition(b" ")
    name = said.decode("ascii", "replace").upper()
    if not name:
        return replies.AUTH_SYNTAX
    exchange = begin(name, context.auth, mechanisms(session), session.channel)
    if exchange is None:
        return _not_offered(session, context.auth, name)
    dialog = Dialog(session, context.accounts, exchange, context.auth.tries)
    if not space:
        return dialog.begin()
    if not exchange.initial:
        # RFC 4954 4: the server speaks first.
        return replies.NO_INITIAL_RESPONSE
    # RFC 4954 4: "=" is a response of no octets.
    return dialog.line(b"" if initial == b"=" else initial)


def _not_offered(session: Session, offer: Offer, name: str) -> Reply:
    if not session.tls and name in offer.mechanisms and name in MECHANISMS:
        # RFC 4954 6: it would be, over TLS.
        return replies.AUTH_NEEDS_TLS
    return replies.NO_SUCH_MECHANISM if _NAME.match(name) else replies.AUTH_SYNTAX


class Dialog:
    """One exchange; see the module's text."""

    __slots__ = ("_accounts", "_exchange", "_login", "_refused", "_session", "_tries")

    name = b"AUTH"

    def __init__(self, session: Session, accounts: IAccounts, exchange: Exchange, tries: int) -> None:
        self._session = session
        self._accounts = accounts
        self._exchange = exchange
        self._tries = tries
        self._login: Login | None = None  # it is let in once it has taken our last word
        self._refused: Reply | None = None  # it is not, once it has taken the reason

    def begin(self) -> Reply:
        """Without an initial response: the server's first word, or an empty one."""
        first = self._exchange.start()
        assert isinstance(first, Challenge)
        return self._ask(first.octets)

    async def line(self, line: bytes) -> Reply:
        """A response."""
        self._session.end_dialog()
        if line == b"*":
            # RFC 4954 4: the client gives up.
            return self._failed(replies.AUTH_CANCELLED, "the client gave up")
        if not _BASE64.match(line):
            return self._failed(replies.NOT_BASE64, "it is not")
        response = b64decode(line)
        if self._refused is not None:
            return self._failed(self._refused)
        if self._login is not None:
            if response:
                return self._failed(REFUSED, "it had more to say after its proof")
            return self._enter(self._login)
        return await self._go_on(self._exchange.step(response))

    def broken(self, too_long: bool) -> Reply:
        """See ``turns.Dialog``.  RFC 4954 4: 500 5.5.6 for one that is too long."""
        self._session.end_dialog()
        return self._failed(replies.RESPONSE_TOO_LONG if too_long else replies.BAD_LINE, "it was no response")

    async def _go_on(self, step: Step) -> Reply:
        while isinstance(step, NeedsKeys):
            keys: Any = self._accounts.scram(step.name, step.hash_name)
            step = self._exchange.told(await keys if isawaitable(keys) else keys)
        if isinstance(step, Challenge):
            return self._ask(step.octets)
        if isinstance(step, Failed):
            return self._failed(REFUSED, step.why)
        return await self._judge(step)

    async def _judge(self, done: Done) -> Reply:
        try:
            login = await self._accounts.login(done.credentials, self._session.client)
        except PermanentFailure as failure:
            last = self._exchange.refusal()
            if not last:
                return self._failed(failure.reply)
            # RFC 7628 3.2.2: why, and then the reply to whatever it says to that.
            self._refused = failure.reply
            return self._ask(last)
        if done.last:
            self._login = login
            return self._ask(done.last)
        return self._enter(login)

    def _ask(self, challenge: bytes) -> Reply:
        session = self._session
        if session.spoken:
            # RFC 4954 4: AUTH is the last command of a group, where it is not over with its initial response.
            return replies.SPOKE_IN_AUTH
        session.begin_dialog(self, MOST_LINE)
        return Reply(334, "", (b64encode(challenge).decode("ascii"),))

    def _enter(self, login: Login) -> Reply:
        enter(self._session, login)
        return replies.AUTHENTICATED

    def _failed(self, reply: Reply, why: str = "") -> Reply:
        """``why``: where the accounts were not asked, which tell of it themselves."""
        session = self._session
        session.standing.tries += 1
        if session.standing.tries >= self._tries:
            # The reply is the last error that the session may have.
            session.errors = max(session.errors, session.context.limits.errors - 1)
        session.told = reply
        if why:
            mechanism = self._exchange.name
            session.context.emit(
                events.LOGIN_BROKEN(client=session.client, mechanism=mechanism, reply=str(reply), why=why), ""
            )
        return reply
