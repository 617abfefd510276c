"""What becomes of a message and of each of its recipients by what policies said.  Pure.

What it is: ``Fates`` collects rulings, ``settle`` makes the recipients that are stored out of it.
Contract: nothing that is accepted vanishes: a recipient that is discarded is stored for the place ``DISCARD``, whose
service ends it as discarded, counted and told by the policy's name.  An address that another way leads to as well goes
there, whatever becomes of the first.
Of a whole message a quarantine is a mark in its header, for filters of mailboxes; of one recipient it is a hold, since
all have one copy.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from mta import events
from mta.address import Address
from mta.envelope import Destination, Recipient
from mta.policy.engine import Opinion, Ruling
from mta.reply import Reply
from mta.routing.recipients import Forward, Leads
from mta.routing.values import DISCARD, EXPANSION, Route
from mta.verdict import Decision

#: The field that marks a message.
MARK: Final = "X-Quarantine"


@dataclass(slots=True)
class Fate:
    """Why it is held, who marks it, who throws it away; why it is refused, and with what reply."""

    holds: list[str] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    discard: str = ""
    refusal: Reply | None = None
    why: str = ""

    def __bool__(self) -> bool:
        return bool(self.holds or self.discard or self.refusal)

    def add(self, opinion: Opinion, *, one: bool = False) -> None:
        """``one``: it concerns one recipient."""
        verdict = opinion.verdict
        if verdict.decision is Decision.HOLD or (one and verdict.decision is Decision.QUARANTINE):
            self.holds.append(opinion.why)
        elif verdict.decision is Decision.QUARANTINE:
            self.marks.append(opinion.policy)
        elif verdict.decision is Decision.DISCARD:
            self.discard = self.discard or opinion.policy
        elif verdict.decision in (Decision.DEFER, Decision.REJECT) and self.refusal is None:
            self.refusal, self.why = verdict.reply, opinion.why


class Fates:
    """See the module's text."""

    __slots__ = ("own", "whole")

    def __init__(self) -> None:
        self.whole = Fate()
        self.own: dict[Address, Fate] = {}

    def add(self, ruling: Ruling, address: Address | None = None) -> None:
        """What was said of the whole message, or of the recipient with the address."""
        for opinion in ruling.counted:
            if opinion.verdict.decision is not Decision.ACCEPT:
                fate = self.whole if address is None else self._of(address)
                fate.add(opinion, one=address is not None)

    def add_each(self, ruling: Ruling, recipients: Sequence[Address]) -> None:
        """What was said of some recipients, by their number; first by each whom it ends with."""
        for opinion in ruling.counted:
            for number, verdict in opinion.verdict.per_recipient.items():
                fate = self._of(recipients[number])
                if not fate.discard and fate.refusal is None:
                    fate.add(opinion._replace(verdict=verdict), one=True)

    def hold(self, address: Address, why: str) -> None:
        """A recipient waits for an operator."""
        fate = self._of(address)
        fate.holds.append(why)
        fate.refusal = None

    def of(self, address: Address) -> Fate:
        """That of one recipient alone."""
        return self.own.get(address, _NOTHING)

    def _of(self, address: Address) -> Fate:
        return self.own.setdefault(address, Fate())

    def mark(self, hostname: str) -> bytes:
        """The field that marks the message, b"" where nothing does."""
        if not self.whole.marks:
            return b""
        return f"{MARK}: {', '.join(self.whole.marks)} ({hostname})\r\n".encode("ascii", "replace")

    async def settle(
        self, forwards: Sequence[Forward], leads: Leads, now: int, lead: Callable[[Sequence[Forward]], Awaitable[Leads]]
    ) -> Leads:
        """Where they lead now.  ``leads``: where they would lead without policies; ``lead`` finds it for some."""
        if self.whole.discard:
            thrown = [(forward, self.whole.discard) for forward in forwards]
            return _discarded(Leads((), (), (), leads.router), thrown, now)
        if any(self.own.values()):
            leads = await self._each(forwards, now, lead)
        return _held(leads, "; ".join(self.whole.holds)) if self.whole.holds else leads

    async def _each(
        self, forwards: Sequence[Forward], now: int, lead: Callable[[Sequence[Forward]], Awaitable[Leads]]
    ) -> Leads:
        """Some have a fate of their own.  Those that are free come first: where two ways lead to one address, it is
        theirs."""
        free, held, thrown = list[Forward](), list[Forward](), list[tuple[Forward, str]]()
        for forward in forwards:
            fate = self.of(forward.address)
            if fate.discard:
                thrown.append((forward, fate.discard))
            else:
                (held if fate.holds else free).append(forward)
        leads = await lead([*free, *held]) if free or held else Leads((), (), ())
        for forward in held:
            leads = _held(leads, "; ".join(self.of(forward.address).holds), forward.given or forward.address)
        return _discarded(leads, thrown, now) if thrown else leads


_NOTHING: Final = Fate()


def _held(leads: Leads, why: str, original: Address | None = None) -> Leads:
    """All of them, or those that an address of the transaction led to, wait for an operator."""
    recipients = tuple(
        replace(one, hold="; ".join(reason for reason in (why, one.hold) if reason))
        if one.destination != EXPANSION and original in (None, one.original)
        else one
        for one in leads.recipients
    )
    return leads._replace(recipients=recipients)


def _discarded(leads: Leads, thrown: Sequence[tuple[Forward, str]], now: int) -> Leads:
    """With those that are thrown away, as the sender named them."""
    recipients, routes, told = list(leads.recipients), list(leads.routes), list(leads.events)
    for forward, policy in thrown:
        destination = Destination(DISCARD, policy)
        number = len(recipients)
        told.append(events.ROUTED(now, number, address=str(forward.address), service=DISCARD, next_hop=policy, rule=[]))
        routes.append(Route(destination=destination))
        recipients.append(
            Recipient(
                id=number,
                address=forward.address,
                original=forward.address,
                destination=destination,
                due=now,
                orcpt=forward.orcpt,
                notify=forward.notify,
            )
        )
    return Leads(tuple(recipients), tuple(told), tuple(routes), leads.router)
