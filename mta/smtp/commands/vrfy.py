"""VRFY and EXPN (RFC 5321 3.5, 4.1.1.6, 4.1.1.7), with the parameter SMTPUTF8 (RFC 6531 3.7.4.2).

Contract: a stranger learns nothing: 252 to VRFY, 550 to EXPN, whatever the address (RFC 5321 7.3).  Clients that may
send anywhere are told what there is here, and where an alias leads.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mta.address import Address, AddressError, unicode_text
from mta.reply import PermanentFailure, Reply
from mta.routing.ask import resolve
from mta.routing.values import Admission, Expansion, Question
from mta.smtp import replies
from mta.smtp.commands.plain import count_idle
from mta.smtp.grammar import parse_mailbox

if TYPE_CHECKING:
    from mta.smtp.session import Session

_SMTPUTF8 = " smtputf8"


async def vrfy(session: Session, argument: bytes) -> Reply:
    address, utf8 = _asked(session, argument, replies.VRFY_SYNTAX)
    if not session.rights or address is None:
        return replies.CANNOT_VERIFY
    admission = await _admission(session, address, {})
    if admission.reply is not None:
        return admission.reply
    if not admission.known or not address.domain:
        # RFC 5321 3.5.3, 3.5.2: 250 only for what has been verified, and only with its domain.
        return replies.CANNOT_VERIFY
    return _told([address], utf8) or replies.CANNOT_SHOW


async def expn(session: Session, argument: bytes) -> Reply:
    address, utf8 = _asked(session, argument, replies.EXPN_SYNTAX)
    if not session.rights:
        return replies.MAY_NOT_EXPAND
    if address is None:
        return replies.NOTHING_TO_EXPAND
    facts: dict[Question, Any] = {}
    admission = await _admission(session, address, facts)
    if admission.reply is not None:
        return admission.reply
    context = session.context
    expansion = resolve(lambda known: context.router.expand(address, known), facts, context.answerer)
    if not isinstance(expansion, Expansion):
        expansion = await expansion
    targets = [target for target, _ in expansion.targets]
    if targets == [address]:
        return replies.NOTHING_TO_EXPAND
    return _told(targets, utf8) or replies.MAY_NOT_SHOW


def _asked(session: Session, argument: bytes, syntax: Reply) -> tuple[Address | None, bool]:
    """The address, None for what may be a name but is none; and whether the reply may be UTF-8.

    RFC 6531 3.7.4.2: the argument may be UTF-8 in any case; the parameter is about the reply.
    """
    count_idle(session)
    try:
        text = argument.decode("utf-8")
    except UnicodeDecodeError:
        raise PermanentFailure(syntax) from None
    utf8 = text.lower().endswith(_SMTPUTF8)
    text = text[: -len(_SMTPUTF8)].rstrip(" ") if utf8 else text
    if not text:
        raise PermanentFailure(syntax)
    if text.startswith("<") and text.endswith(">"):
        text = text[1:-1]
    if text.lower() == "postmaster":
        return Address(text, ""), utf8  # RFC 5321 4.5.1
    try:
        return parse_mailbox(text), utf8
    except AddressError:
        return None, utf8


async def _admission(session: Session, address: Address, facts: dict[Question, Any]) -> Admission:
    """What RCPT would say."""
    context, rights = session.context, session.rights
    admission = resolve(lambda known: context.router.admit(address, rights, known), facts, context.answerer)
    return admission if isinstance(admission, Admission) else await admission


def _told(addresses: Iterable[Address], utf8: bool) -> Reply | None:
    """The addresses; None where the client did not say that it can read them (RFC 6531 3.7.4.2)."""
    lines = [f"<{unicode_text(address) if utf8 else address}>" for address in addresses]
    if all(line.isascii() for line in lines):
        return Reply.of(250, "2.1.5", *lines)
    return Reply.in_utf8(250, "2.1.5", *lines) if utf8 else None
