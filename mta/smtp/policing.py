"""Where a session asks its policies, and what it does with what they say.

What it is: one function for each stage; a session comes here only where its listener has policies for that stage.
Contract: a refusal is the reply to the command that it belongs to.  HOLD, QUARANTINE and DISCARD of connection,
greeting and sender hold for every message that follows, those of a recipient for that one alone.  Each message has the
verdict of every policy in its story; of a refusal the log has them.  A configuration that comes in force while a
session is open has its policies on connection and greeting asked at the next MAIL.
How it fails: as ``mta.policy.engine``: a policy in trouble has its ``on_error``.
Limits: ``MOST_NOTABLE`` verdicts on recipients of one message are told, of those that say nothing ``MOST_TOLD``.
"""

from __future__ import annotations

from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from mta import events
from mta.envelope import Origin
from mta.events import Event
from mta.message.edits import Edit, merge
from mta.message.header import Header
from mta.policy.engine import SILENT, Policies, Ruling, Stage
from mta.policy.fates import Fates
from mta.policy.heard import Heard, Policed
from mta.policy.values import (
    ConnectionContext,
    GreetingContext,
    MessageContext,
    RecipientContext,
    SenderContext,
)
from mta.reply import PermanentFailure, Reply, TemporaryFailure
from mta.routing.recipients import Forward
from mta.smtp import replies
from mta.smtp.patience import only_quit
from mta.smtp.transaction import Transaction
from mta.verdict import Decision

if TYPE_CHECKING:
    from mta.smtp.session import Session

#: Verdicts on recipients of one message that are told: of those that say nothing, and of all.
MOST_TOLD: Final = 50
MOST_NOTABLE: Final = 500
_SENDER_FIELDS: Final = tuple(one.name for one in fields(SenderContext))


# --- the connection ----------------------------------------------------------------------------------------


async def at_connect(session: Session) -> Reply:
    """The greeting, or what stands in its place (RFC 5321 3.1, 4.3.2: 421 and 554 alone)."""
    policies = session.context.policies
    assert policies is not None
    refusal = await _connection(session, policies)
    if refusal is None:
        return session.context.banner
    if refusal.temporary:
        said = Reply(421, "", refusal.lines)
    else:
        said = Reply(554, "", refusal.lines)
        session.find = partial(only_quit, session.find)
    session.told = said
    why = _why(_heard(session).connection)
    session.context.emit(events.CONNECTION_REFUSED(client=session.client, reply=str(said), why=why), "")
    return said


async def _connection(session: Session, policies: Policies) -> Reply | None:
    heard = _heard(session)
    heard.by = policies
    ruling = SILENT
    if Stage.CONNECT in policies.stages:
        about = ConnectionContext(
            listener=session.context.listener, client=session.client, port=session.port, tls=session.tls
        )
        ruling = await policies.check(Stage.CONNECT, about)
    heard.connection = ruling
    return _refusal(session, ruling)


async def at_greeting(session: Session, reply: Reply) -> Reply:
    """``reply``, or a refusal: then the client has not greeted."""
    policies = session.context.policies
    assert policies is not None
    refusal = await _greeting(session, policies)
    if refusal is None:
        return reply
    session.helo = ""
    return _refused(session, refusal, "EHLO", _heard(session).greeting)


async def _greeting(session: Session, policies: Policies) -> Reply | None:
    heard = _heard(session)
    ruling = SILENT
    if Stage.GREETING in policies.stages:
        about = GreetingContext(
            listener=session.context.listener,
            client=session.client,
            port=session.port,
            tls=session.tls,
            helo=session.helo,
            reverse_name=session.reverse_name,
            facts=_facts(heard.connection),
        )
        ruling = await policies.check(Stage.GREETING, about)
    heard.greeting = ruling
    return _refusal(session, ruling)


async def _catch_up(session: Session, policies: Policies) -> Reply | None:
    """What has not been asked of this connection: the policies are new, or XCLIENT told who it is."""
    heard = _heard(session)
    if heard.by is not policies:
        heard.connection = heard.greeting = None
        heard.by = policies
    refusal = None
    if heard.connection is None:
        refusal = await _connection(session, policies)
    if refusal is None and heard.greeting is None:
        refusal = await _greeting(session, policies)
    return refusal


# --- the envelope ------------------------------------------------------------------------------------------


async def at_mail(session: Session, transaction: Transaction) -> Reply:
    """Begins the transaction, or refuses it."""
    policies = session.context.policies
    assert policies is not None
    said = f"FROM:<{transaction.reverse_path or ''}>"
    refusal = await _catch_up(session, policies)
    heard = _heard(session)
    if refusal is not None:
        return _refused(session, refusal, "MAIL", heard.greeting or heard.connection, said)
    about = _sender(session, transaction, {**_facts(heard.connection), **_facts(heard.greeting)})
    ruling = await policies.check(Stage.SENDER, about) if Stage.SENDER in policies.stages else SILENT
    refusal = _refusal(session, ruling, f"<{transaction.reverse_path or ''}>")
    if refusal is not None:
        return _refused(session, refusal, "MAIL", ruling, said)
    fates, story = Fates(), list[Event]()
    for one in (heard.connection or SILENT, heard.greeting or SILENT, ruling):
        fates.add(one)
        story += one.events
    if ruling.verdict.facts:
        about = replace(about, facts={**about.facts, **ruling.verdict.facts})
    transaction.policed = Policed(about, fates, story)
    session.begin(transaction)
    return replies.SENDER_OK


def _sender(session: Session, transaction: Transaction, facts: dict[str, Any]) -> SenderContext:
    terms = transaction.terms
    return SenderContext(
        origin=session.origin,
        reverse_path=transaction.reverse_path,
        now=session.context.now(),
        rights=session.rights,
        account=session.standing.account,
        submission=session.context.submission,
        size=transaction.size,
        body=transaction.body,
        smtputf8=terms.smtputf8,
        requiretls=terms.requiretls,
        ret=terms.ret,
        envid=terms.envid,
        deliver_by=terms.deliver_by,
        hold_until=terms.hold_until,
        priority=terms.priority,
        facts=facts,
    )


async def at_rcpt(session: Session, transaction: Transaction, forward: Forward) -> tuple[Reply, list[Event]] | None:
    """A recipient that the router admits: why it is refused all the same, None where it is not."""
    policies, policed = session.context.policies, transaction.policed
    assert policies is not None
    assert policed is not None
    if Stage.RECIPIENT not in policies.stages or policed.fates.whole.discard:
        return None
    about = RecipientContext(
        **_fields(policed.sender),
        recipient=forward.address,
        accepted=len(transaction.recipients),
        orcpt=forward.orcpt,
        notify=forward.notify,
    )
    ruling = await policies.check(Stage.RECIPIENT, about)
    address = str(forward.address)
    if ruling.verdict.decision in (Decision.DEFER, Decision.REJECT):
        reply = ruling.verdict.reply
        assert reply is not None
        _tell(session, ruling, address)
        return reply, [events.SAID(text=ruling.counted[-1].why)]
    policed.fates.add(ruling, forward.address)
    for opinion in ruling.opinions:
        if policed.told < (MOST_NOTABLE if opinion.notable else MOST_TOLD):
            policed.told += 1
            policed.story.append(_about(opinion.event, address))
    return None


# --- the message -------------------------------------------------------------------------------------------


async def at_end(
    session: Session, transaction: Transaction, origin: Origin, header: Header, edits: tuple[Edit, ...]
) -> tuple[Edit, ...]:
    """The edits with those of policies; whose mail is held, discarded or refused then stands in the transaction.

    Raises ``MailFailure`` where the message is refused.
    """
    policies, policed = session.context.policies, transaction.policed
    assert policies is not None
    assert policed is not None
    fates = policed.fates
    if Stage.MESSAGE in policies.stages and not fates.whole.discard:
        about = _message(transaction, policed, origin, header, merge(edits))
        ruling = await policies.check(Stage.MESSAGE, about)
        if ruling.verdict.decision in (Decision.DEFER, Decision.REJECT):
            assert ruling.verdict.reply is not None
            _tell(session, ruling)
            raise _failure(ruling.verdict.reply, ruling.counted[-1].why)
        policed.story += ruling.events
        edits = (*edits, *ruling.verdict.edits)
        fates.add(ruling)
        fates.add_each(ruling, about.recipients)
    _refuse_some(session, transaction, policed)
    mark = fates.mark(session.context.hostname)
    return (*edits, Edit(0, 0, mark)) if mark else edits


def _message(
    transaction: Transaction, policed: Policed, origin: Origin, header: Header, edits: tuple[Edit, ...]
) -> MessageContext:
    incoming, decoder = transaction.incoming, transaction.decoder
    assert incoming is not None
    assert decoder is not None
    about = _fields(policed.sender)
    about["size"], about["origin"] = decoder.size, origin
    return MessageContext(
        **about,
        id=incoming.id,
        recipients=tuple(forward.address for forward in transaction.recipients),
        header=header,
        eight_bit=decoder.eight_bit,
        edits=edits,
        source=incoming.open,
    )


def _refuse_some(session: Session, transaction: Transaction, policed: Policed) -> None:
    """Recipients that are refused at the end of the message, where others are not.

    By LMTP each has its reply.  By SMTP there is one reply for all (RFC 5321 4.1.1.4): what cannot be told so is held,
    since a report to whoever is named as the sender would be backscatter.
    """
    fates = policed.fates
    refused = [
        (forward.address, fate)
        for forward in transaction.recipients
        if (fate := fates.of(forward.address)).refusal is not None and not fate.discard
    ]
    if not refused:
        return
    if len(refused) == len(transaction.recipients) or session.context.lmtp:
        for address, fate in refused:
            assert fate.refusal is not None
            policed.replies[address] = fate.refusal
        transaction.recipients[:] = [one for one in transaction.recipients if one.address not in policed.replies]
        if transaction.recipients:
            return
        # RFC 5321 4.2.5: if it is only put off for one, the client has to come again.
        worst = min((fate for _, fate in refused), key=lambda fate: fate.refusal.code if fate.refusal else 0)
        assert worst.refusal is not None
        raise _failure(worst.refusal, worst.why)
    for address, fate in refused:
        fates.hold(address, f"{fate.why}: {fate.refusal}")


# --- what all do -------------------------------------------------------------------------------------------


def _refusal(session: Session, ruling: Ruling, about: str = "") -> Reply | None:
    if ruling.verdict.decision not in (Decision.DEFER, Decision.REJECT):
        return None
    _tell(session, ruling, about)
    return ruling.verdict.reply


def _refused(session: Session, reply: Reply, command: str, ruling: Ruling | None, said: str = "") -> Reply:
    """Told here, with the reason, and not once more where the session answers."""
    session.told = reply
    event = events.COMMAND_REFUSED(
        client=session.client, command=command, reply=str(reply), said=said, why=_why(ruling)
    )
    session.context.emit(event, "")
    return reply


def _why(ruling: Ruling | None) -> list[str]:
    return [ruling.counted[-1].why] if ruling is not None and ruling.counted else []


def _tell(session: Session, ruling: Ruling, about: str = "") -> None:
    """Of what is refused the log has what policies said, since there is no story."""
    for opinion in ruling.opinions:
        if opinion.notable:
            session.context.emit(_about(opinion.event, " ".join(word for word in (session.client, about) if word)), "")


def _about(event: Event, about: str) -> Event:
    return event._replace(args={**event.args, "about": about})


def _failure(reply: Reply, reason: str) -> PermanentFailure | TemporaryFailure:
    return (PermanentFailure if reply.permanent else TemporaryFailure)(reply, reason)


def _heard(session: Session) -> Heard:
    standing = session.standing
    if standing.heard is None:
        standing.heard = Heard()
    return standing.heard


def _facts(ruling: Ruling | None) -> dict[str, Any]:
    return dict(ruling.verdict.facts) if ruling is not None else {}


def _fields(sender: SenderContext) -> dict[str, Any]:
    return {name: getattr(sender, name) for name in _SENDER_FIELDS}
