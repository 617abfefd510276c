"""In whose name does a forwarded message go on: its sender's, ours by SRS, or wholly ours?  A pure decision.

What it is: ``decide_rewrite`` for a recipient whom an address of ours led to and whose copy leaves for another domain.
There our host is not among those that the sender's domain names (SPF), so the return path may have to become ours
(``mta.routing.srs``); and where the author's domain demands that mail of its own is proven (DMARC) and no signature
proves it, the author has to become ours too (``mta.message.munge``).
Contract: the first ``[[forward]]`` that matches says what is done; without one, and with ``auto``, what is needed and
no more.  The null reverse-path is never changed, nor is a sender at a domain of ours.  The result is the same at each
try of a message as long as DNS says the same: the day in an SRS address is that of the arrival.
How it fails: what DNS cannot say delays nothing: a return path of ours does no harm, so it is made; an author is
changed only where that is known to be needed.
Limits: no SPF record is evaluated, only how it ends; signatures are looked at, not verified.  ``docs/forwarding.rst``
has the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from mta import events
from mta.address import Address
from mta.envelope import Envelope, Recipient, Right
from mta.message.author import aligned, author_domain, signers
from mta.message.edits import growth
from mta.message.header import Header, scan
from mta.message.munge import munge
from mta.reply import LOCAL_ERROR, TemporaryFailure
from mta.routing.patterns import DomainPatterns
from mta.routing.sender_policy import Said, dmarc, spf
from mta.routing.srs import Srs, TooLong, day_of
from mta.routing.values import CannotKnow, Facts, HeaderQuestion, Needs, Rewrite, Route, is_place

HEADER: Final = HeaderQuestion()


class Rewriting(StrEnum):
    """What is done, as ``rewrite`` of ``[[forward]]`` says it."""

    AUTO = "auto"
    NONE = "none"
    SRS = "srs"
    FROM = "from"


class Proof(StrEnum):
    """What is known of who sent a message, as ``sender_auth`` of ``[[forward]]`` says it."""

    LOGIN = "login"
    NETWORK = "network"
    STRANGER = "stranger"
    SIGNED = "signed"  # in the name of the author's domain; not verified
    UNSIGNED = "unsigned"


_OF_MESSAGE: Final = frozenset({Proof.SIGNED, Proof.UNSIGNED})


class ForwardRule(NamedTuple):
    """One ``[[forward]]``: domains of the recipient and of the sender, what is known of the sender (nothing: any)."""

    name: str
    to: DomainPatterns
    sender: DomainPatterns
    proofs: frozenset[Proof]
    rewriting: Rewriting


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarding:
    """What it goes by.  ``ours``: domains that we are the end or a backup MX for; ``final``: services of mailboxes."""

    srs: Srs
    ours: frozenset[str]
    final: frozenset[str] = frozenset()
    rules: tuple[ForwardRule, ...] = ()


def decide_rewrite(
    forwarding: Forwarding, envelope: Envelope, recipient: Recipient, route: Route, facts: Facts
) -> Rewrite | Needs | None:
    """See the module's text; None: it is no forwarding.  Raises ``TemporaryFailure``: the header cannot be read."""
    destination = route.destination
    # An address in another form (mta.routing.canonical) is no forwarding.
    path = recipient.path[1:] if recipient.path[0:1] and recipient.path[0].startswith("canonical:") else recipient.path
    if not path or recipient.address.domain in forwarding.ours:
        return None
    if is_place(destination) or destination.service in forwarding.final:
        return None
    if Right.OURSELVES in envelope.rights:
        return None  # reports, and copies of a list, which has decided in whose name they go (mta.lists.author)
    if path[0].startswith("list:"):
        return None  # a list's copy: decided once for all members (mta.lists.author)
    sender = envelope.reverse_path
    if sender is None:
        # RFC 5321 4.5.5: to whom it came it has to go on as what it is, a report.
        return _unchanged(None, "the null sender is never changed")
    rule = _find(forwarding, envelope, sender, recipient.address.domain, facts)
    if isinstance(rule, Needs):
        return rule
    rewriting = Rewriting.AUTO if rule is None else rule.rewriting
    said = f"rule {rule.name}" if rule is not None else ""
    if rewriting is Rewriting.NONE:
        return _unchanged(sender, said)
    letter = _Letter(forwarding, envelope, sender, recipient, facts)
    if rewriting is Rewriting.SRS:
        return letter.with_srs(said)
    if rewriting is Rewriting.FROM:
        return letter.with_author(said)
    return letter.as_needed()


def _unchanged(sender: Address | None, why: str) -> Rewrite:
    return Rewrite(sender, None, events.REWRITE(how="unchanged", why=why))


def _header(facts: Facts) -> Header | Needs:
    if HEADER not in facts:
        return Needs((HEADER,))
    octets = facts[HEADER]
    if isinstance(octets, CannotKnow):
        raise TemporaryFailure(LOCAL_ERROR, f"the header cannot be read: {octets.error}")
    return scan(octets)


def _find(
    forwarding: Forwarding, envelope: Envelope, sender: Address, domain: str, facts: Facts
) -> ForwardRule | Needs | None:
    """The rule that counts.  Whether a message is signed is asked only if a rule hangs on that."""
    for rule in forwarding.rules:
        if not (rule.to.match(domain) and rule.sender.match(sender.domain)):
            continue
        if not rule.proofs:
            return rule
        proofs = {_by_right(envelope.rights)}
        if rule.proofs & _OF_MESSAGE:
            header = _header(facts)
            if isinstance(header, Needs):
                return header
            proofs.add(Proof.SIGNED if _signed(header, author_domain(header)) else Proof.UNSIGNED)
        if rule.proofs & proofs:
            return rule
    return None


def _by_right(rights: frozenset[Right]) -> Proof:
    if Right.AUTHENTICATED in rights:
        return Proof.LOGIN
    return Proof.NETWORK if rights else Proof.STRANGER


def _signed(header: Header, author: str) -> bool:
    return bool(author) and any(aligned(signer, author) for signer in signers(header))


class _Letter(NamedTuple):
    """A message on its way to one recipient, and the ways in which it can go on."""

    forwarding: Forwarding
    envelope: Envelope
    sender: Address
    recipient: Recipient
    facts: Facts

    def as_needed(self) -> Rewrite | Needs:
        """What SPF and DMARC make necessary."""
        path, author = self._path_policy(), self._author_policy()
        missing = [it.questions for it in (path, author) if isinstance(it, Needs)]
        if isinstance(path, Needs) or isinstance(author, Needs):
            return Needs(tuple(question for questions in missing for question in questions))
        if author.demands:
            return self.with_author(author.text)
        return self.with_srs(path.text) if path.demands else _unchanged(self.sender, path.text)

    def with_srs(self, why: str) -> Rewrite:
        """The return path becomes ours."""
        if self.sender.domain in self.forwarding.ours:
            return _unchanged(self.sender, f"{self.sender.domain} is ours")
        try:
            return Rewrite(self._srs(), None, events.REWRITE(how="SRS", why=why))
        except TooLong as error:
            return _unchanged(self.sender, f"{why}, but with SRS {error}")

    def with_author(self, why: str) -> Rewrite | Needs:
        """Return path and author become ours: the next host sees no other domain (RFC 7489 3.1)."""
        header = _header(self.facts)
        if isinstance(header, Needs):
            return header
        path, how = self.sender, "From changed"
        if self.sender.domain not in self.forwarding.ours:
            try:
                path, how = self._srs(), "From changed, SRS"
            except TooLong as error:
                return _unchanged(self.sender, f"{why}, but with SRS {error}")
        original = self.recipient.original
        author = original if original.domain else Address(original.local, self.forwarding.srs.domain)
        edits = munge(header, author, author.domain)
        if not edits:
            return self.with_srs(f"{why}, but the header has no end")
        return Rewrite(path, author, events.REWRITE(how=how, why=why), growth(edits))

    def _srs(self) -> Address:
        # The day of the arrival, not of the try: greylisting must see the same sender each time.
        day = day_of(max(self.envelope.arrived, self.envelope.hold_until))
        return self.forwarding.srs.forward(self.sender, day)

    def _path_policy(self) -> Said | Needs:
        if self.sender.domain in self.forwarding.ours:
            return Said(False, f"{self.sender.domain} is ours")
        return spf(self.sender.domain, self.facts)

    def _author_policy(self) -> Said | Needs:
        header = _header(self.facts)
        if isinstance(header, Needs):
            return header
        domain = author_domain(header)
        if not domain or domain in self.forwarding.ours or _signed(header, domain):
            return Said(False, "")
        said = dmarc(domain, self.facts)
        if isinstance(said, Needs) or not said.demands:
            return said
        return Said(True, f"{said.text} and no signature of its own")
