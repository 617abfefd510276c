"""RCPT (RFC 5321 4.1.1.3), with NOTIFY and ORCPT (RFC 3461 4): reject now rather than bounce later.

Limits: ``limits.recipients``; and ``limits.memory`` holds for recipients too, which are charged by the ``BLOCK``: few
cost nothing, and many thousands of sessions with very many are stopped before they take all memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mta.lists.posting import may_post
from mta.reply import Reply
from mta.routing.ask import resolve
from mta.routing.recipients import Forward
from mta.routing.values import Admission
from mta.smtp import replies
from mta.smtp.grammar import parse_rcpt
from mta.smtp.parameters import read_rcpt
from mta.smtp.patience import slow_down
from mta.smtp.policing import at_rcpt
from mta.smtp.rewriting import rewrite_recipient
from mta.smtp.telling import tell_recipient
from mta.smtp.told import readable
from mta.smtp.transaction import Transaction

if TYPE_CHECKING:
    from mta.smtp.session import Session

#: So many recipients are charged at once.
BLOCK: Final = 50
#: What one takes beside its texts (measured: 175 octets).
_EACH: Final = 200


async def rcpt(session: Session, argument: bytes) -> Reply:
    transaction = session.transaction
    if transaction is None:
        return replies.NEEDS_MAIL
    if transaction.decoder is not None:
        return replies.NO_RCPT_AFTER_BDAT
    command = parse_rcpt(argument, transaction.terms.smtputf8)
    address = command.path
    assert address is not None
    orcpt, notify = read_rcpt(command.parameters) if command.parameters else ("", "")
    context, given = session.context, None
    if len(transaction.recipients) >= context.limits.recipients:
        # RFC 5321 4.5.3.1.10
        return replies.TOO_MANY_RECIPIENTS
    if len(transaction.recipients) + transaction.refused >= 2 * context.limits.recipients:
        return replies.TOO_MANY_RECIPIENTS
    if len(transaction.recipients) % BLOCK == BLOCK - 1 and context.memory.used >= context.limits.memory:
        return replies.NO_MEMORY
    rights = session.rights
    if context.canonical is not None:
        given, address = address, await rewrite_recipient(session, transaction, address)
        given = None if given == address else given
    admission = resolve(lambda facts: context.router.admit(address, rights, facts), transaction.facts, context.answerer)
    if not isinstance(admission, Admission):
        admission = await admission
    if admission.lists:
        admission = await _may_post(session, transaction, admission)
    if admission.only_null is not None and transaction.reverse_path is not None:
        admission = replace(admission, reply=admission.only_null)
    forward = Forward(address, orcpt, notify, given)
    if transaction.policed is not None and admission.reply is None:
        refused = await at_rcpt(session, transaction, forward)
        if refused is not None:
            admission = replace(admission, reply=refused[0], reasons=tuple(refused[1]))
    if admission.reply is None:
        transaction.recipients.append(forward)
        for rule in admission.lists:
            transaction.lists[rule.address] = rule
        if len(transaction.recipients) % BLOCK == 0:
            _charge(session, transaction)
        if admission.told is None:
            return replies.RECIPIENT_OK
        # RFC 5321 3.4: 251 where the administrator chose that
        return readable(admission.told, transaction.terms.smtputf8) or replies.RECIPIENT_OK
    admission = replace(admission, reply=readable(admission.reply, transaction.terms.smtputf8))
    assert admission.reply is not None  # a no stays one
    transaction.refused += 1
    tell_recipient(session, transaction, str(address), admission.reply, [str(reason) for reason in admission.reasons])
    session.told = admission.reply
    if admission.reply.permanent:
        await slow_down(session)
    return admission.reply


async def _may_post(session: Session, transaction: Transaction, admission: Admission) -> Admission:
    """RFC 5321 3.9.2: not everybody may send to a list."""
    sender, rights = transaction.reverse_path, session.rights
    decided = resolve(
        lambda facts: may_post(admission, sender, rights, facts), transaction.facts, session.context.answerer
    )
    return decided if isinstance(decided, Admission) else await decided


def _charge(session: Session, transaction: Transaction) -> None:
    """The last ``BLOCK`` recipients; ``Session.reset`` gives it back."""
    charge = sum(_EACH + len(one.address.local) + len(one.orcpt) for one in transaction.recipients[-BLOCK:])
    transaction.kept += charge
    transaction.charged += charge
    session.context.memory.used += charge
