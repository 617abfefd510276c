"""Canonical addresses and masquerading in a session: at RCPT, and of sender and header at the end of data.

What it is: the bridge from a session to the pure decision ``mta.routing.canonical``; ``context.canonical`` is None on
sites that have none of it, which cost nothing.
Contract: a recipient is judged, expanded and routed in its new form, so that no rewriting permits what the new address
does not; its sender's form is kept as the original.  The header is changed by edits in the place of single addresses.
Mail that is signed keeps its header, unless ``rewrite.signed``.  What is changed is told in the message's story.
How it fails: ``TemporaryFailure`` where a table cannot answer.  A new address outside ASCII is used only where the
transaction has SMTPUTF8 (RFC 6531 3.4); else the address stays.
Limits: ``mta.message.addresses.MOST`` addresses of a header; ``MOST_TOLD`` of them are told.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mta import events
from mta.address import Address, ReversePath
from mta.events import Event
from mta.message.addresses import Place, found
from mta.message.convert import is_signed
from mta.message.edits import Edit, merge
from mta.message.header import Header
from mta.routing.ask import resolve
from mta.routing.canonical import HEADER, Canonical, Kind, Renamed, canonical
from mta.routing.disclosure import may
from mta.routing.values import Facts, Needs, Question

if TYPE_CHECKING:
    from mta.smtp.session import Session
    from mta.smtp.transaction import Transaction

MOST_TOLD: Final = 20


def rules_for(session: Session) -> Canonical | None:
    """Those by which this client's mail is changed; None: it is not."""
    rules = session.context.canonical
    return rules if rules is not None and may(rules.who, session.rights) else None


async def rewrite_recipient(session: Session, transaction: Transaction, address: Address) -> Address:
    """The address of RCPT as it is judged."""
    rules = rules_for(session)
    if rules is None or not rules.counts_in(Kind.ENVELOPE_RECIPIENT):
        return address
    renamed = await _ask(session, transaction, partial(canonical, rules, address, Kind.ENVELOPE_RECIPIENT))
    new: Address = renamed.address
    return new if _fits(transaction, new) else address


class Rewritten(NamedTuple):
    """The reverse-path as it is stored, all edits of the header, and what is told of it."""

    sender: ReversePath
    edits: tuple[Edit, ...]
    story: list[Event]


async def rewrite_message(
    session: Session, transaction: Transaction, header: Header, edits: tuple[Edit, ...]
) -> Rewritten:
    """At the end of data; ``edits`` are those that there are already."""
    rules = rules_for(session)
    if rules is None:
        return Rewritten(transaction.reverse_path, edits, [])
    story = [
        _told("recipient", one.given, renamed)
        for one in transaction.recipients
        if one.given is not None
        # What RCPT had asked for is known.
        and isinstance(renamed := canonical(rules, one.given, Kind.ENVELOPE_RECIPIENT, transaction.facts), Renamed)
    ][:MOST_TOLD]
    sender = transaction.reverse_path
    if sender is not None and rules.counts_in(Kind.ENVELOPE_SENDER):
        renamed = await _ask(session, transaction, partial(canonical, rules, sender, Kind.ENVELOPE_SENDER))
        if renamed.address != sender and _fits(transaction, renamed.address):
            story.append(_told("sender", sender, renamed))
            sender = renamed.address
    kinds = [kind for kind in HEADER if rules.counts_in(kind)]
    if not kinds:
        return Rewritten(sender, edits, story)
    if not rules.signed and is_signed(header):
        return Rewritten(sender, edits, [*story, events.NOT_RENAMED(why="the message is signed or encrypted")])
    made, told = await _in_header(session, transaction, rules, [one for one in found(header) if _kind(one) in kinds])
    made = [edit for edit in made if not _cut(edit, edits)]
    return Rewritten(sender, merge(edits, made) if made else edits, story + told)


async def _in_header(
    session: Session, transaction: Transaction, rules: Canonical, places: list[Place]
) -> tuple[list[Edit], list[Event]]:
    made, told = list[Edit](), list[Event]()
    for place, new in zip(places, await _ask(session, transaction, partial(_all, rules, places)), strict=True):
        if new.address != place.address and _fits(transaction, new.address):
            made.append(Edit(place.start, place.end - place.start, str(new.address).encode("utf-8")))
            told.append(_told("header", place.address, new))
    return made, told[:MOST_TOLD]


def _all(rules: Canonical, places: list[Place], facts: Facts) -> list[Renamed] | Needs:
    """All addresses of a header, with what is missing asked for together."""
    renamed: list[Renamed] = []
    missing: dict[Question, None] = {}
    for place in places:
        one = canonical(rules, place.address, _kind(place), facts)
        if isinstance(one, Needs):
            missing.update(dict.fromkeys(one.questions))
        else:
            renamed.append(one)
    return Needs(tuple(missing)) if missing else renamed


def _kind(place: Place) -> Kind:
    return Kind.HEADER_SENDER if place.sender else Kind.HEADER_RECIPIENT


async def _ask(session: Session, transaction: Transaction, decision: Callable[[Facts], Any]) -> Any:
    decided = resolve(decision, transaction.facts, session.context.answerer)
    return decided if isinstance(decided, Renamed | list) else await decided


def _fits(transaction: Transaction, new: Address) -> bool:
    return transaction.terms.smtputf8 or new.local.isascii()


def _cut(one: Edit, edits: tuple[Edit, ...]) -> bool:
    """Its field goes anyway."""
    return any(edit.offset < one.offset + one.cut and one.offset < edit.offset + edit.cut for edit in edits)


def _told(where: str, address: Address, new: Renamed) -> Event:
    return events.RENAMED_ADDRESS(where=where, address=str(address), to=str(new.address), rule=new.rule)
