"""The policies that every listener for submission has before those of the configuration: identity, and the account.

What it is: ``IdentityPolicy`` at MAIL and at the end of the message: syntax, in whose name, completion (RFC 6409 6, 8);
``AccountPolicy`` at the end of the message and before each attempt: what an account that may not send now has sent, is
held.  The decisions are in ``identity``, ``ownership``, ``syntax`` and ``fields``.
Contract: a reply names the check that failed; mail whose account nobody knows any more is held, not lost.
How it fails: ``TemporaryFailure`` where a table or the accounts cannot answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mta import events
from mta.accounts.values import Account, State
from mta.address import Address
from mta.policy.values import DispatchContext, MessageContext, RecipientContext, SenderContext
from mta.reply import PermanentFailure
from mta.routing.ask import Answerer, resolve
from mta.routing.values import Question
from mta.submission.brakes import Brakes, Find
from mta.submission.fields import Charset, Completed, ascii_header, complete, declare, joined, undeclared
from mta.submission.holding import held, held_reason
from mta.submission.identity import Authors, Finding, Mode, authors, sender
from mta.submission.ownership import Ownership, main_address
from mta.submission.syntax import Names, check_addresses, not_qualified, read_names
from mta.verdict import Decision, Verdict


class IdentityPolicy:
    """See the module's text.  ``whole``: domains have to be whole ones (RFC 6409 4.2)."""

    def __init__(self, ownership: Ownership, answerer: Answerer, mode: Mode, hostname: str, whole: bool = True) -> None:
        self._whole = whole
        self._ownership = ownership
        self._answerer = answerer
        self._mode = mode
        self._hostname = hostname

    async def at_mail(self, about: SenderContext) -> Verdict:
        """MAIL FROM against the login."""
        account = about.account
        if about.reverse_path is not None and not self._qualified(about.reverse_path):
            return Verdict(decision=Decision.REJECT, reply=not_qualified(about.reverse_path).reply)
        if account is None:
            return Verdict.none()  # a proxy has logged it in, and knows who it is
        facts: dict[Question, Any] = {}
        found = resolve(
            lambda known: sender(self._ownership, account, about.reverse_path, self._mode, known),
            facts,
            self._answerer,
        )
        finding = found if found is None or isinstance(found, Finding) else await found
        return Verdict.none() if finding is None else _refused(account, finding)

    def at_rcpt(self, about: RecipientContext) -> Verdict:
        """RFC 6409 4.2: a domain in the envelope is a whole one."""
        if self._qualified(about.recipient):
            return Verdict.none()
        return Verdict(decision=Decision.REJECT, reply=not_qualified(about.recipient).reply)

    async def at_end(self, about: MessageContext) -> Verdict:
        """Syntax, then names, then what is missing."""
        try:
            names = read_names(about.header)
            check_addresses(about.header, names, self._qualified)
            found = await self._authors(about.account, names)
            if about.account is not None and found.finding is not None:
                return _refused(about.account, found.finding)
            done = await self._complete(about, found)
        except PermanentFailure as failure:
            return Verdict(decision=Decision.REJECT, reply=failure.reply)
        reasons = (events.IDENTITY(grounds=list(found.grounds), mode=self._mode.value),) if found.grounds else ()
        if done.did:
            reasons = (*reasons, events.HEADER_ADDED(fields=list(done.did)))
        return Verdict(edits=done.edits, reasons=reasons)

    def _qualified(self, address: Address) -> bool:
        return not self._whole or self._ownership.qualified(address)

    async def _authors(self, account: Account | None, names: Names) -> Authors:
        if account is None:
            return Authors()
        facts: dict[Question, Any] = {}
        found = resolve(
            lambda known: authors(self._ownership, account, names, self._mode, known), facts, self._answerer
        )
        return found if isinstance(found, Authors) else await found

    async def _complete(self, about: MessageContext, found: Authors) -> Completed:
        own = None if about.account is None else main_address(about.account.addresses)
        header = about.header
        done = [complete(header, found, own, about.id, self._hostname, about.now)]
        if not about.smtputf8:
            done.append(ascii_header(header))
        if undeclared(header, about.eight_bit) and (charset := await _charset(about)):
            done.append(declare(header, charset))
        return joined(done)


def _refused(account: Account, finding: Finding) -> Verdict:
    reason = events.NOT_OWN(check=finding.check, address=finding.address, account=account.name)
    return Verdict(decision=Decision.REJECT, reply=finding.reply(account), reasons=(reason,))


async def _charset(about: MessageContext) -> str:
    """Of the body; "" where that is ASCII, and the octets over 127 were in the header."""
    charset, ascii, left = Charset(), True, about.header.end
    chunks = about.source(())
    try:
        while True:
            piece = chunks.next()
            octets = piece if isinstance(piece, bytes) else await piece
            if not octets:
                return "" if ascii else charset.name
            body = octets[left:] if left else octets
            left = max(0, left - len(octets))
            ascii = ascii and body.isascii()
            charset.feed(body)
    finally:
        chunks.close()


class AccountPolicy:
    """See the module's text.  ``find_of`` says who knows the accounts of a listener, None: nobody; and whether it knows
    all of them."""

    def __init__(self, find_of: Callable[[str], tuple[Find | None, bool]], brakes: Brakes) -> None:
        self._find_of = find_of
        self._brakes = brakes

    async def at_end(self, about: MessageContext) -> Verdict:
        """An account that is held sends, and its mail waits; else the brake."""
        account = about.account
        if account is None or account.state is not State.HELD:
            return await self._brakes.at_end(about)
        await self._brakes.waits(account.name)
        return held(held_reason(account.name, account.why or "by the administrator"))

    async def at_dispatch(self, about: DispatchContext) -> Verdict:
        """Whether who sent it may send now."""
        origin = about.message.envelope.origin
        name = origin.login
        if not name:
            return Verdict.none()
        why = await self._brakes.why(name)
        if why:
            return held(held_reason(name, why))
        find, knows_all = self._find_of(origin.listener)
        if find is None:
            return Verdict.none()
        found = find(name)
        account = found if found is None or isinstance(found, Account) else await found
        if account is None and not knows_all:
            return Verdict.none()
        if account is not None and account.state is State.ACTIVE:
            return Verdict.none()
        await self._brakes.waits(name)
        if account is None:
            return held(held_reason(name, "there is no such account any more", State.DISABLED))
        return held(held_reason(name, account.why or "by the administrator", account.state))
