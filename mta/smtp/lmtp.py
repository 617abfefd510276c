"""LMTP, server side: what a session does differently from SMTP (RFC 2033).

What it is: a listener with ``service = "lmtp"`` has ``Context.lmtp`` set; then LHLO takes the place of HELO and EHLO
(``commands/lhlo.py``), and the end of a message has a reply for each recipient that was accepted, in their order.
Contract: all recipients that are told 250 are in one commit, under one queue id.  One that cannot be led anywhere is
told so and is not in it; the others are not held up by it (RFC 2033 4.2).
How it fails: what concerns the whole message is told once for each recipient.
Limits: all replies come together, after the commit; there is nothing to be had earlier.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError

from mta.reply import MailFailure, Reply
from mta.routing.recipients import lead
from mta.smtp.telling import tell_recipient
from mta.smtp.transaction import Transaction

if TYPE_CHECKING:
    from mta.smtp.intake import Ending
    from mta.smtp.session import Session


@dataclass(frozen=True, slots=True)
class EachReply(Reply):
    """A reply for each recipient, which a session writes and counts as one: ``code`` is that of the worst."""

    each: tuple[Reply, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "wire", b"".join([reply.wire for reply in self.each]))

    @classmethod
    def join(cls, replies: Iterable[Reply]) -> EachReply:
        """The replies, in the order of the recipients; there is one at least."""
        each = tuple(replies)
        worst = max(each, key=lambda reply: reply.code)
        return cls(worst.code, worst.enhanced, worst.lines, each)


def same_for_each(session: Session, reply: Reply) -> Reply:
    """The reply to a last chunk that is refused: by LMTP once for each recipient so far (RFC 2033 4.3)."""
    transaction = session.transaction
    if not session.context.lmtp or transaction is None or not transaction.recipients:
        return reply
    return EachReply.join([reply] * len(transaction.recipients))


async def end_for_each(session: Session, transaction: Transaction, end: Ending) -> Reply:
    """After the final dot, or the last chunk, by LMTP: ``end`` for those who can be led on, a reply for each."""
    forwards = tuple(transaction.recipients)
    own: dict[int, Reply] = {}
    whole: Reply | None = None
    try:
        if len(forwards) > 1:
            own = await _lead_nowhere(session, transaction)
            transaction.recipients[:] = [forward for index, forward in enumerate(forwards) if index not in own]
        if transaction.recipients:
            whole = await end(session, transaction)
        else:
            session.reset()
    except Exception as error:
        if session.closing and isinstance(error, CancelledError):
            raise  # nobody is there to be told
        whole = session.trouble(error)
    if whole is None:
        return EachReply.join(own.values())
    if whole.permanent:
        own = {}  # nobody will ever get this message
    replies = transaction.policed.replies if transaction.policed is not None else {}
    each = (own.get(index) or replies.get(forward.address) or whole for index, forward in enumerate(forwards))
    return EachReply.join(each)


async def _lead_nowhere(session: Session, transaction: Transaction) -> dict[int, Reply]:
    """The recipients, by their place, that would fail the whole message, and why.

    The answers of tables are kept in ``transaction.facts``: nothing is asked twice.
    """
    context = session.context
    failed: dict[int, Reply] = {}
    for index, forward in enumerate(transaction.recipients):
        try:
            await lead(context.router, context.answerer, (forward,), transaction.facts, context.now())
        except MailFailure as failure:
            failed[index] = failure.reply
            why = [failure.reason] if failure.reason else []
            tell_recipient(session, transaction, str(forward.address), failure.reply, why)
    return failed
