"""Who is told by VRFY and EXPN which addresses there are here, and what they are told (RFC 5321 3.5, 7.3).  Pure.

What it is: ``Disclosure`` is what a configuration says of it; ``may`` holds its words against what a client may do;
``bearers``, ``full_names``, ``shown`` and ``members`` are the decisions.
Contract: what is closed is never asked for: a client that may not know costs no look-up, so that not even the time of
the reply tells anything.  The nearest word counts: the list's, then the domain's, then that for all.  Where an
expansion passes an address whose targets the client may not know, that address stands for them.
How it fails: ``TemporaryFailure`` where a table cannot answer.
Limits: names without a domain are looked for in ``SEARCHED`` domains; up to ``NAMED`` addresses are told with their
full names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, get_args

from mta.address import Address, AddressError
from mta.envelope import Right
from mta.lists.values import Named
from mta.routing.keys import fold
from mta.routing.lookup import cannot_know, look
from mta.routing.ours import list_name
from mta.routing.rules import DomainRule
from mta.routing.values import CannotKnow, Facts, MembersQuestion, NameQuestion, Needs, Person, Question, Target

#: From the narrowest to the widest; the options of lists have the same words.
Askers = Literal["nobody", "authenticated", "networks", "anyone"]
_WIDTH: Final = get_args(Askers)
SEARCHED: Final = 20
NAMED: Final = 100


def may(askers: str, rights: Collection[Right]) -> bool:
    """Is a client with these rights one of them?  ``networks``: who may send anywhere, by network or by login."""
    if askers == "anyone":
        return True
    return bool(rights) if askers == "networks" else askers == "authenticated" and Right.AUTHENTICATED in rights


@dataclass(frozen=True, slots=True, kw_only=True)
class Disclosure:
    """See the module's text.

    ``per_hour``: questions of one client that are answered; ``candidates`` and ``members``: the most addresses of one
    reply to VRFY and to EXPN.  ``searched``: the domains in which names without a domain are looked for; there are no
    others of ours if ``all_searched``.
    ``expn_widest``: who may have any EXPN answered at all, and so is offered it.
    """

    vrfy: str = "networks"
    expn: str = "networks"
    per_hour: int = 300
    candidates: int = 20
    members: int = 1000
    domains: Mapping[str, DomainRule] = field(default_factory=dict)
    searched: tuple[str, ...] = ()
    all_searched: bool = True
    expn_widest: str = "networks"

    def own(self, address: Address) -> Address:
        """The address in the domain that its domain is another name of."""
        rule = self.domains.get(address.domain)
        return Address(address.local, rule.alias_of) if rule is not None and rule.alias_of else address

    def vrfy_of(self, domain: str) -> str:
        """Who may know which mailboxes a domain has."""
        return self._word(domain, "vrfy") or self.vrfy

    def expn_of(self, address: Address) -> str:
        """Who may know where an address leads."""
        named = self.list_named(address)
        return named.rule.expn if named is not None else self._word(address.domain, "expn") or self.expn

    def list_named(self, address: Address) -> Named | None:
        """What the address is to a mailing list."""
        address = self.own(address)
        rule = self.domains.get(address.domain)
        return None if rule is None else list_name(rule, address)

    def names_of(self, address: Address) -> str | None:
        """The table of full names for an address of ours."""
        rule = self.domains.get(self.own(address).domain)
        return None if rule is None else rule.names

    def _word(self, domain: str, key: str) -> str:
        rule = self.domains.get(domain)
        if rule is None:
            return ""
        word: str = getattr(rule, key)
        return word or (self._word(rule.alias_of, key) if rule.alias_of else "")


def disclosure(domains: Mapping[str, DomainRule], vrfy: str, expn: str, **bounds: int) -> Disclosure:
    """For the domains of a configuration; ``bounds`` as ``Disclosure`` has them."""
    ours = [rule for rule in domains.values() if not (rule.relay or rule.alias_of or rule.null)]
    ours.sort(key=lambda rule: rule.names is None)  # those with names first; otherwise in their order
    words = {expn, *(rule.expn for rule in domains.values() if rule.expn)}
    words.update(named.rule.expn for rule in ours for named in rule.lists.values())
    return Disclosure(
        vrfy=vrfy,
        expn=expn,
        domains=domains,
        searched=tuple(rule.name for rule in ours[:SEARCHED]),
        all_searched=len(ours) <= SEARCHED,
        expn_widest=max(words, key=_WIDTH.index),
        **bounds,
    )


class Bearers(NamedTuple):
    """Who bears a name; ``whole`` is False where there may be others: in tables that cannot be searched, and in domains
    that are closed or too many."""

    people: tuple[Address, ...]
    whole: bool


def bearers(rules: Disclosure, domains: Collection[str], name: str, facts: Facts) -> Bearers | Needs:
    """Whose full name, or a part of it, it is in these domains; one more than ``candidates`` of each at most."""
    missing: list[Question] = []
    found: dict[Address, None] = {}
    # RFC 5321 7.3: what is closed must not look as if it had been verified, nor as if it had not been found.
    whole = rules.all_searched and len(domains) == len(rules.searched)
    for domain in domains:
        table = rules.domains[domain].names
        if table is None:
            continue
        question = NameQuestion(table, domain, name, rules.candidates + 1)
        if question not in facts:
            missing.append(question)
            continue
        people: Sequence[Person] | CannotKnow | None = facts[question]
        if isinstance(people, CannotKnow):
            raise cannot_know(table, people)
        if people is None:
            whole = False
        else:
            found.update(dict.fromkeys(person.address for person in people))
    return Needs(tuple(missing)) if missing else Bearers(tuple(found), whole)


def full_names(rules: Disclosure, addresses: Sequence[Address], facts: Facts) -> Mapping[Address, str] | Needs:
    """The full names of those that have one.  It is an ornament: a table that cannot answer has none."""
    found: dict[Address, str] = {}
    missing: dict[Question, None] = {}
    for address in addresses if len(addresses) <= NAMED else ():
        table = rules.names_of(address)
        if table is None:
            continue
        name = look(table, rules.own(address), facts)
        if isinstance(name, Needs):
            missing.update(dict.fromkeys(name.questions))
        elif isinstance(name, str):
            found[address] = name
    return Needs(tuple(missing)) if missing else found


def shown(rules: Disclosure, targets: Iterable[Target], rights: Collection[Right]) -> tuple[Address, ...]:
    """The addresses that an expansion comes to, each once.

    Places (commands, files, lists) are nobody's business: what is shown of them is the address that leads there.
    """
    return tuple(dict.fromkeys(_as_shown(rules, target, rights) for target in targets))


def _as_shown(rules: Disclosure, target: Target, rights: Collection[Right]) -> Address:
    for step in target.path[1:]:
        try:
            passed = Address.parse(step.partition(":")[2], utf8=True)
        except AddressError:  # "postmaster" alone
            continue
        if not may(rules.expn_of(passed), rights):
            return passed
    return target.address


def members(rules: Disclosure, named: Named, facts: Facts) -> Sequence[Address] | Needs | None:
    """The members of a list, one more than may be told at most; None where nobody can tell them."""
    question = MembersQuestion(named.rule.address, rules.members + 1)
    if question not in facts:
        return Needs((question,))
    found: Sequence[Address] | CannotKnow | None = facts[question]
    if isinstance(found, CannotKnow):
        raise cannot_know(", ".join(named.rule.tables), found)
    return found


def same(one: Address, other: Address) -> bool:
    """Are they the same mailbox of ours?"""
    return one.domain == other.domain and fold(one.local) == fold(other.local)
