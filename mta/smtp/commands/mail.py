"""MAIL (RFC 5321 4.1.1.2) with its parameters: what a client asks for a message, and whether it is granted.

The parameters' syntax is in ``mta.smtp.parameters``."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from mta.address import ReversePath
from mta.envelope import Envelope
from mta.reply import PermanentFailure, Reply
from mta.smtp import replies
from mta.smtp.extensions import latest_release
from mta.smtp.grammar import parse_mail
from mta.smtp.login import mechanisms
from mta.smtp.parameters import Wishes, parse_body, parse_size, read_mail
from mta.smtp.policing import at_mail
from mta.smtp.submitting import may_submit
from mta.smtp.transaction import PLAIN, Terms, Transaction

if TYPE_CHECKING:
    from mta.smtp.session import Session


def mail(session: Session, argument: bytes) -> Reply | Coroutine[Any, Any, Reply]:
    if not session.helo:
        return replies.NEEDS_LHLO if session.context.lmtp else replies.NEEDS_EHLO
    if session.transaction is not None:
        # RFC 5321 4.1.4: MAIL in an open transaction is refused and changes nothing.
        return replies.NESTED_MAIL
    session.renew_context()
    if session.context.submission or session.login is not None:
        return _submitted(session, argument)
    return _begin(session, argument)


async def _submitted(session: Session, argument: bytes) -> Reply:
    refused = await may_submit(session)
    if refused is not None:
        return refused
    begun = _begin(session, argument)
    return begun if isinstance(begun, Reply) else await begun


def _begin(session: Session, argument: bytes) -> Reply | Coroutine[Any, Any, Reply]:
    context = session.context
    command = parse_mail(argument)
    size, body, more = 0, "", False
    for keyword, value in command.parameters.items():
        if keyword == "SIZE":
            size = parse_size(value)
        elif keyword == "BODY":
            body = parse_body(value)
        else:
            more = True
    terms = _grant(session, read_mail(command.parameters)) if more else PLAIN
    if size > context.limits.message_size:
        # RFC 1870 6.1
        return replies.MESSAGE_TOO_BIG
    unhealthy = context.spool.unhealthy()
    if unhealthy is not None:
        return unhealthy
    if session.transactions >= context.limits.transactions:
        return replies.TOO_MANY_TRANSACTIONS
    if context.queue_limited and (refused := context.queue.refuses(_sender(session, command.path))) is not None:
        return refused
    transaction = Transaction(command.path, size, body, terms)
    if context.policies is not None:
        return at_mail(session, transaction)
    session.begin(transaction)
    return replies.SENDER_OK


def _sender(session: Session, path: ReversePath) -> Envelope:
    """What of the envelope says whose mail it is."""
    return Envelope(origin=session.origin, reverse_path=path, arrived=0, rights=session.rights)


def _grant(session: Session, wishes: Wishes) -> Terms:
    """What of its wishes this client may have.  Raises ``PermanentFailure``."""
    if wishes.requiretls and not session.tls:
        # RFC 8689 2: "the session itself MUST employ TLS"
        raise PermanentFailure(replies.NEEDS_TLS)
    if wishes.auth and not mechanisms(session):
        # RFC 4954 5: it belongs to those whom AUTH is offered to.
        raise PermanentFailure(replies.unknown_parameter("AUTH"))
    now = session.context.now()
    hold_until = _hold_until(session, wishes, now)
    # RFC 6710 4.1: only who is trusted may raise it.
    priority = wishes.priority or 0
    return Terms(
        ret=wishes.ret,
        envid=wishes.envid,
        smtputf8=wishes.smtputf8,
        requiretls=wishes.requiretls,
        deliver_by=_deliver_by(session, wishes, now, hold_until),
        by_mode=wishes.by_mode,
        hold_until=hold_until,
        priority=priority if session.rights else min(priority, 0),
        asked=wishes.priority,
    )


def _hold_until(session: Session, wishes: Wishes, now: int) -> int:
    """FUTURERELEASE (RFC 4865 4.2): for those who may send through us."""
    if not wishes.hold_for and not wishes.hold_until:
        return 0
    longest = session.context.limits.future_release
    if not session.rights or not longest:
        raise PermanentFailure(replies.unknown_parameter("HOLDFOR" if wishes.hold_for else "HOLDUNTIL"))
    if wishes.hold_for > longest or wishes.hold_until > latest_release(now, int(longest)) * 1000:
        raise PermanentFailure(replies.HOLD_TOO_LONG)
    until = wishes.hold_until or now + wishes.hold_for * 1000
    if until <= now:
        raise PermanentFailure(replies.HOLD_IS_PAST)
    return until


def _deliver_by(session: Session, wishes: Wishes, now: int, hold_until: int) -> int:
    """DELIVERBY (RFC 2852 4): the time from now."""
    if wishes.by is None:
        return 0
    deliver_by = now + wishes.by * 1000
    if wishes.by_mode[0] == "R" and wishes.by < session.context.limits.deliver_by:
        # RFC 2852 3, 4: what is to come back needs some time to be delivered.
        raise PermanentFailure(replies.DELIVER_BY_TOO_SOON)
    if hold_until and deliver_by <= hold_until:
        # RFC 4865 5.2.2
        raise PermanentFailure(replies.HOLD_OVER_DELIVER_BY)
    return deliver_by
