"""VRFY and EXPN (RFC 5321 3.5, 4.1.1.6, 4.1.1.7), with the parameter SMTPUTF8 (RFC 6531 3.7.4.2).

Contract: a client that may not know learns nothing: 252 to VRFY, 550 to EXPN, whatever it asks (RFC 5321 7.3); nothing
is looked up for it.  Who may know is said by ``mta.routing.disclosure``.  Each answer is an event.
VRFY: 250 with mailbox and full name for what was verified; 251 and 551 for who has moved, as RCPT would say; 252 where
only the end of a delivery can tell; 550 for who is not here; 553 with the candidates where several bear a name.
EXPN: 250 with all that a list or alias leads to, or nothing of it: 252 where that is too much, or cannot be told.
Limits: those of ``[verify]``; ``MAX_NAME`` characters of a name.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from mta import events
from mta.address import Address, AddressError, client_key
from mta.envelope import Right
from mta.reply import MailFailure, PermanentFailure, Reply, TemporaryFailure
from mta.routing.ask import resolve
from mta.routing.disclosure import Bearers, bearers, full_names, may, members, same, shown
from mta.routing.values import Admission, Facts, Needs, Question
from mta.smtp import replies
from mta.smtp.commands.plain import count_idle
from mta.smtp.grammar import parse_mailbox
from mta.smtp.told import readable, told

if TYPE_CHECKING:
    from mta.smtp.session import Session

R = TypeVar("R")
MAX_NAME: Final = 200
_REFUSALS: Final = (550, 551, 553)
_SMTPUTF8: Final = " smtputf8"
# RFC 5321 4.1.2: String is an atom or a quoted string; a name of several words comes without quotes too.
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"\Z')
_PAIR: Final = re.compile(r"\\(.)")


class Asked(NamedTuple):
    """What a client asks for: an address, or with None a name; and whether the reply may be UTF-8."""

    text: str
    address: Address | None
    utf8: bool


async def vrfy(session: Session, argument: bytes) -> Reply:
    asked = _asked(session, argument, replies.VRFY_SYNTAX)
    context, rights = session.context, session.rights
    rules = context.disclosure
    if context.lmtp:
        # RFC 2033 4: as SMTP has it; who hands over mail has no rights here (RFC 5321 7.3).
        return replies.CANNOT_VERIFY
    if asked.address is not None:
        if not may(rules.vrfy_of(asked.address.domain), rights):
            return replies.CANNOT_VERIFY
        _count(session)
        return await _answered(session, "VRFY", asked, _verified(session, asked.address, asked.utf8, {}))
    domains = [domain for domain in rules.searched if may(rules.vrfy_of(domain), rights)]
    if not domains:
        return replies.CANNOT_VERIFY
    _count(session)
    return await _answered(session, "VRFY", asked, _verified_name(session, asked, domains))


async def expn(session: Session, argument: bytes) -> Reply:
    asked = _asked(session, argument, replies.EXPN_SYNTAX)
    rules, rights = session.context.disclosure, session.rights
    if asked.address is not None:
        candidates = [asked.address]
    else:
        candidates = [Address(asked.text, domain) for domain in rules.searched]
    candidates = [address for address in candidates if may(rules.expn_of(address), rights)]
    if not candidates:
        return replies.MAY_NOT_EXPAND
    _count(session)
    if asked.address is not None:
        return await _answered(session, "EXPN", asked, _expanded(session, asked.address, asked.utf8, {}))
    return await _answered(session, "EXPN", asked, _expanded_name(session, asked, candidates))


# --- VRFY --------------------------------------------------------------------------------------------------------


async def _verified(session: Session, address: Address, utf8: bool, facts: dict[Question, Any]) -> Reply:
    """What is said of an address."""
    admission = await _admission(session, address, facts)
    if admission.reply is not None:
        return readable(admission.reply, utf8) or replies.CANNOT_VERIFY
    if admission.told is not None:
        # RFC 5321 3.5.3, 3.4: 251; whom it reaches outside ASCII cannot be shown to all.
        return readable(admission.told, utf8) or replies.CANNOT_SHOW
    if not admission.known or not address.domain:
        # RFC 5321 3.5.3, 3.5.2: 250 only for what has been verified, and only with its domain.
        return replies.CANNOT_VERIFY
    rules = session.context.disclosure
    names = await _decided(session, lambda known: full_names(rules, [address], known), facts)
    return told(250, "2.1.5", [address], names, utf8) or replies.CANNOT_SHOW


async def _verified_name(session: Session, asked: Asked, domains: Sequence[str]) -> Reply:
    """What is said of a name: as a local part in one of our domains, and as that of a person."""
    rules = session.context.disclosure
    facts: dict[Question, Any] = {}
    found: dict[Address, None] = {}
    elsewhere: Reply | None = None
    for address in [Address(asked.text, domain) for domain in domains]:
        # RFC 5321 3.5.1: local mailboxes MUST be recognized as user names.
        if _is_address(address) and (await _admission(session, address, facts)).known:
            found[address] = None
    named: Bearers = await _decided(session, lambda known: bearers(rules, domains, asked.text, known), facts)
    people = [person for person in named.people if not any(same(person, address) for address in found)]
    if len(found) + len(people) > rules.candidates:
        return replies.TOO_AMBIGUOUS
    for address in people:
        # A table of names may be older than that of mailboxes.
        reply = (await _admission(session, address, facts)).reply
        if reply is None:
            found[address] = None
        elif reply.code == 551:
            elsewhere = readable(reply, asked.utf8)
    if len(found) == 1:
        return await _verified(session, next(iter(found)), asked.utf8, facts)
    if not found:
        return elsewhere or (replies.NO_SUCH_NAME if named.whole else replies.CANNOT_VERIFY)
    candidates = tuple(found)
    names = await _decided(session, lambda known: full_names(rules, candidates, known), facts)
    return _ambiguous(candidates, names, asked.utf8)


def _ambiguous(candidates: Sequence[Address], names: Mapping[Address, str], utf8: bool) -> Reply:
    """RFC 5321 3.5.1, in the words that it has for that."""
    return told(553, "5.1.4", candidates, names, utf8, head="Ambiguous; Possibilities are") or replies.CANNOT_SHOW


# --- EXPN --------------------------------------------------------------------------------------------------------


async def _expanded_name(session: Session, asked: Asked, candidates: Sequence[Address]) -> Reply:
    """What is said of a name without a domain, as a local part in ours."""
    facts: dict[Question, Any] = {}
    found: dict[Address, Reply] = {}
    for address in candidates:
        if _is_address(address):
            reply = await _expanded(session, address, asked.utf8, facts)
            if reply.enhanced != "5.1.1":
                found[address] = reply
    if len(found) > 1:
        return _ambiguous(tuple(found), {}, asked.utf8)
    return next(iter(found.values()), replies.NOTHING_TO_EXPAND)


async def _expanded(session: Session, address: Address, utf8: bool, facts: dict[Question, Any]) -> Reply:
    """What is said of where an address leads."""
    context, rules = session.context, session.context.disclosure
    admission = await _admission(session, address, facts)
    if admission.reply is not None:
        return readable(admission.reply, utf8) or replies.CANNOT_SHOW
    named = rules.list_named(address)
    if named is not None and named.posts:
        found = await _decided(session, lambda known: _members(session, address, known), facts)
        if found is None:
            return replies.MEMBERS_UNKNOWN
        targets: Sequence[Address] = found
    else:
        expansion = await _decided(session, lambda known: context.router.expand(address, known), facts)
        targets = shown(rules, expansion.targets, session.rights)
    if not targets or list(targets) == [address]:
        return replies.NOTHING_TO_EXPAND
    if len(targets) > rules.members:
        # RFC 5321 3.5.1: 250 gives the mailboxes, all of them.
        return replies.too_many_members(rules.members)
    names = await _decided(session, lambda known: full_names(rules, targets, known), facts)
    return told(250, "2.1.5", targets, names, utf8) or replies.MAY_NOT_SHOW


def _members(session: Session, address: Address, facts: Facts) -> Sequence[Address] | Needs | None:
    rules = session.context.disclosure
    named = rules.list_named(address)
    return None if named is None else members(rules, named, facts)


# --- both --------------------------------------------------------------------------------------------------------


def _asked(session: Session, argument: bytes, syntax: Reply) -> Asked:
    """The argument, read.

    RFC 6531 3.7.4.2: the argument may be UTF-8 in any case; the parameter is about the reply.
    """
    count_idle(session)
    try:
        text = argument.decode("utf-8")
    except UnicodeDecodeError:
        raise PermanentFailure(syntax) from None
    utf8 = text.lower().endswith(_SMTPUTF8)
    text = text[: -len(_SMTPUTF8)].rstrip(" ") if utf8 else text
    if text.startswith("<") and text.endswith(">"):
        text = text[1:-1]
    if not text:
        raise PermanentFailure(syntax)
    if text.lower() == "postmaster":
        return Asked(text, Address(text, ""), utf8)  # RFC 5321 4.5.1
    try:
        return Asked(text, parse_mailbox(text), utf8)
    except AddressError:
        quoted = _QUOTED.match(text)
        name = _PAIR.sub(r"\1", quoted[1]) if quoted is not None else text
        return Asked(name[:MAX_NAME], None, utf8)


def _is_address(address: Address) -> bool:
    """Is it one that could stand in RCPT?"""
    try:
        return bool(Address.parse(str(address), utf8=True))
    except AddressError:
        return False


def _count(session: Session) -> None:
    """A question is about to be answered; raises ``TemporaryFailure`` where it is one too many."""
    context = session.context
    login = session.standing.login if Right.AUTHENTICATED in session.rights else ""
    asks = f"login {login}" if login else client_key(session.client)
    if not context.questions.take(asks, context.disclosure.per_hour, context.seconds()):
        raise TemporaryFailure(replies.TOO_MANY_QUESTIONS, f"{asks} asks too much")


async def _answered(session: Session, command: str, asked: Asked, answer: Awaitable[Reply]) -> Reply:
    """It is told who asked what, and not again as a command that was refused."""
    try:
        reply = await answer
    except MailFailure as failure:
        reply = failure.reply
    if reply.permanent and reply.code not in _REFUSALS:
        # What RCPT says with a code of its own, such as 556, these have 550 for (RFC 5321 4.3.2).
        reply = Reply.of(550, reply.enhanced, *reply.lines)
    login = session.standing.login
    session.context.emit(
        events.ASKED(
            client=session.client,
            login=f"({login})" if login else "",
            command=command,
            what=asked.text,
            reply=f"{reply.code} {reply.enhanced}",
            addresses=sum(line.endswith(">") for line in reply.lines),
        ),
        "",
    )
    if reply.code >= 400:
        session.told = reply
    return reply


async def _admission(session: Session, address: Address, facts: dict[Question, Any]) -> Admission:
    """What RCPT would say."""
    router, rights = session.context.router, session.rights
    admission = await _decided(session, lambda known: router.admit(address, rights, known), facts)
    if admission.reply is not None and admission.reply.temporary:
        raise TemporaryFailure(admission.reply)  # nobody is unknown because of that
    return admission


async def _decided(session: Session, decision: Callable[[Facts], R | Needs], facts: dict[Question, Any]) -> R:
    """The decision, with what it asks for."""
    found: Any = resolve(decision, facts, session.context.answerer)
    decided: R = await found if hasattr(found, "__await__") else found
    return decided
