"""Who may begin a message on a listener for submission (RFC 6409 4.3): one who has logged in, whose login still counts
and whose account may send now.  Asked at each MAIL.

Contract: the account is looked at anew for each message, so that one which was disabled meanwhile sends nothing more
on an open connection; a login that counts no longer is forgotten.  Limits of the account take the place of those of
the listener for this message, where they are lower.
How it fails: ``TemporaryFailure`` where the accounts cannot be asked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from mta.accounts.values import Account, State
from mta.reply import Reply
from mta.smtp import replies
from mta.smtp.standing import rights

if TYPE_CHECKING:
    from mta.smtp.context import SessionLimits
    from mta.smtp.session import Session

#: Who logs in; what one that is held sends is taken in, and held (mta/submission/).
SENDING = frozenset((State.ACTIVE, State.HELD))


async def may_submit(session: Session) -> Reply | None:
    """The refusal; None: go on.  See the module's text."""
    standing, accounts = session.standing, session.context.accounts
    if not standing.login:
        # RFC 4954 6
        return replies.NEEDS_LOGIN
    if accounts is None and session.login is not None:
        forget_login(session)  # the configuration has none any more
        return replies.NEEDS_LOGIN
    if accounts is None:
        standing.account = None  # a proxy has told who it is, and knows its own
        return None
    login = session.login
    found: Any = accounts.find(standing.login) if login is None else accounts.current(login)
    account: Account | None = found if found is None or isinstance(found, Account) else await found
    standing.account = account
    if account is None:
        forget_login(session)
        return replies.NEEDS_LOGIN
    if account.state not in SENDING:
        forget_login(session)
        return replies.may_not_send(account.state.value, account.why)
    if account.message_size or account.recipients:
        session.context = replace(session.context, limits=narrowed(session.context.limits, account))
    return None


def forget_login(session: Session) -> None:
    """It counts no longer: who is there has not logged in."""
    session.standing.login, session.standing.account, session.login = "", None, None
    session.rights = rights(session)
    session.origin = replace(session.origin, login="")


@dataclass(frozen=True, slots=True)
class _Narrowed:
    """Limits with those of an account in place of two of them."""

    whole: SessionLimits
    message_size: int
    recipients: int

    def __getattr__(self, name: str) -> Any:
        return getattr(self.whole, name)


def narrowed(limits: SessionLimits, account: Account) -> SessionLimits:
    """The limits of the listener, those of the account where they are lower."""
    size, recipients = account.message_size, account.recipients
    size = min(size, limits.message_size) if size else limits.message_size
    recipients = min(recipients, limits.recipients) if recipients else limits.recipients
    return cast("SessionLimits", _Narrowed(limits, size, recipients))
