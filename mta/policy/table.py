"""The policies of type "table": what a table says of a client, greeting, sender, recipient or account.

What it is: one class for each stage; ``by`` says what is looked up, and so at which stage it is asked.
Contract: a key is looked up as it is, then as less and less of it: an address, its domain, each domain above that with
a dot before it.  The first value counts: OK, REJECT, DEFER, HOLD, QUARANTINE or DISCARD in any case, and what is said
of it; or a reply, as "550 5.7.1 No thanks".
How it fails: ``TemporaryFailure`` for a value that says none of these, and where the table cannot know: ``on_error``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar, Final, Literal

from zope.interface import implementer

from mta.address import Address, ReversePath
from mta.config.option import Options, Table, option
from mta.events import SAID
from mta.interfaces import IConnectPolicy, IGreetingPolicy, IRecipientPolicy, ISenderPolicy
from mta.plugin import Services, provider
from mta.policy.sound import DEFERRED, REFUSED
from mta.policy.values import ConnectionContext, GreetingContext, RecipientContext, SenderContext
from mta.reply import LOCAL_ERROR, Reply, TemporaryFailure
from mta.routing.keys import address_keys
from mta.verdict import Decision, Verdict

_REPLY: Final = re.compile(r"([45]\d\d)(?:[ ]+([45]\.\d{1,3}\.\d{1,3}))?(?:[ ]+(.*))?\Z", re.DOTALL)
_WORDS: Final = {
    "OK": Decision.ACCEPT,
    "QUARANTINE": Decision.QUARANTINE,
    "HOLD": Decision.HOLD,
    "DISCARD": Decision.DISCARD,
    "DEFER": Decision.DEFER,
    "REJECT": Decision.REJECT,
}
_REPLIES: Final = {Decision.REJECT: REFUSED, Decision.DEFER: DEFERRED}


class TablePolicyOptions(Options):
    """Looks something up in a table and does what the value says: `OK`, `REJECT`, `DEFER`, `HOLD`, `QUARANTINE` or
    `DISCARD`, each with what is said of it behind; or a reply, as `550 5.7.1 No thanks`. No value: no objection."""

    table: Table = option(doc="The table.", example='"file:senders"')
    by: Literal["client", "helo", "sender", "recipient", "account"] = option(
        "sender",
        doc='What is looked up, and so when: "client" (its IP address, before the greeting), "helo" (the name that it '
        'calls itself), "sender" and "account" (at MAIL), "recipient" (at RCPT). An address is looked up whole, then '
        'its domain, then ".example.org" for what is below a domain; the null sender as "<>".',
    )


class _TablePolicy:
    """What the stages have in common."""

    at: ClassVar[tuple[str, ...]] = ()

    def __init__(self, options: TablePolicyOptions, services: Services) -> None:
        self._table = options.table
        self._by = options.by
        self.idle = options.by not in self.at

    async def look_up(self, keys: Iterator[str]) -> Verdict:
        for key in keys:
            value = await self._table.lookup(key)
            if value is not None:
                return verdict_of(value, f"{self._by} {key}")
        return Verdict.none()


@implementer(IConnectPolicy)
@provider("policy.connect", "table", TablePolicyOptions)
class TableAtConnect(_TablePolicy):
    """By the client's address."""

    at = ("client",)

    async def check(self, connection: ConnectionContext) -> Verdict:
        """See ``IConnectPolicy``."""
        return await self.look_up(iter((connection.client,) if connection.client else ()))


@implementer(IGreetingPolicy)
@provider("policy.greeting", "table", TablePolicyOptions)
class TableAtGreeting(_TablePolicy):
    """By what the client calls itself."""

    at = ("helo",)

    async def check(self, greeting: GreetingContext) -> Verdict:
        """See ``IGreetingPolicy``."""
        return await self.look_up(_of_domain(greeting.helo.lower()))


@implementer(ISenderPolicy)
@provider("policy.sender", "table", TablePolicyOptions)
class TableAtSender(_TablePolicy):
    """By the sender, or by who has logged in."""

    at = ("sender", "account")

    async def check(self, sender: SenderContext) -> Verdict:
        """See ``ISenderPolicy``."""
        if self._by == "sender":
            return await self.look_up(_of_address(sender.reverse_path))
        return await self.look_up(iter((sender.origin.login,) if sender.origin.login else ()))


@implementer(IRecipientPolicy)
@provider("policy.recipient", "table", TablePolicyOptions)
class TableAtRecipient(_TablePolicy):
    """By the recipient."""

    at = ("recipient",)

    async def check(self, recipient: RecipientContext) -> Verdict:
        """See ``IRecipientPolicy``."""
        return await self.look_up(_of_address(recipient.recipient))


def _of_address(address: ReversePath | Address) -> Iterator[str]:
    if address is None:
        yield "<>"
        return
    yield address_keys(address)[0]
    yield from _of_domain(address.domain)


def _of_domain(domain: str) -> Iterator[str]:
    """Itself, then what it is below: ".b.example", ".example"."""
    if not domain:
        return
    yield domain
    while "." in domain and not domain.startswith("["):
        domain = domain.partition(".")[2]
        yield f".{domain}"


def verdict_of(value: str, about: str) -> Verdict:
    """What a value says.  Raises ``TemporaryFailure``."""
    match = _REPLY.match(value.strip())
    if match is not None:
        code, enhanced, text = int(match[1]), match[2] or f"{match[1][0]}.7.1", match[3] or ""
        if enhanced[0] != match[1][0]:
            raise TemporaryFailure(LOCAL_ERROR, f"the value for {about} has two classes of reply: {value}")
        reply = Reply.of(code, enhanced, text or _REPLIES[_decision(code)].text)
        return Verdict(decision=_decision(code), reply=reply, reasons=(SAID(text=about),))
    word, _, text = value.strip().partition(" ")
    decision = _WORDS.get(word.upper())
    if decision is None:
        raise TemporaryFailure(LOCAL_ERROR, f"the value for {about} says nothing that is known: {value}")
    text = text.strip()
    standard = _REPLIES.get(decision)
    reply_or_none = Reply.of(standard.code, standard.enhanced, text or standard.text) if standard is not None else None
    said = about if standard is not None or not text else f"{about}: {text}"
    return Verdict(decision=decision, reply=reply_or_none, reasons=(SAID(text=said),))


def _decision(code: int) -> Decision:
    return Decision.DEFER if code < 500 else Decision.REJECT
