"""Which addresses are an account's own: the decision behind the identity policy.  Pure.

What it is: ``Ownership.basis`` says on what ground an account may send as an address: it is its own, a subaddress of
its own or an alias that leads to its own alone; or it is delegated, by itself or with its domain.
Contract: an address that stands in a table as it is, is no subaddress; another's mailbox is nobody else's alias,
whatever its owner forwards.  Local parts are compared folded, domains as A-labels, another name of a domain of ours
(``alias_of``) as that domain.
How it fails: ``TemporaryFailure`` where a table cannot answer: nobody is a stranger because of that.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Final, NamedTuple

from mta.accounts.values import Account
from mta.address import Address, AddressError, normal_domain
from mta.reply import PermanentFailure
from mta.routing.expand import expand
from mta.routing.keys import fold
from mta.routing.ours import Standing, exact, our_rule, splits, untagged
from mta.routing.rules import DomainRule, RoutingRules
from mta.routing.values import Facts, Needs

#: In ``Account.delegated``: any address.
ANYBODY: Final = "*"


class Ownership:
    """See the module's text."""

    def __init__(self, rules: RoutingRules) -> None:
        # What the owner of a mailbox forwards gives nobody his name.
        domains = {
            name: replace(rule, dot_forward="") if rule.dot_forward else rule for name, rule in rules.domains.items()
        }
        self._rules = replace(rules, domains=domains)

    def basis(self, account: Account, address: Address, facts: Facts) -> str | Needs:
        """The ground in a word or two; "" where there is none."""
        own, delegated, domains, anybody = _grants(account.addresses, account.delegated)
        address = self._same(address)
        if address in self._all(own):
            return "own"
        if address in self._all(delegated):
            return "delegated"
        if any(self._domain(domain) == address.domain for domain in domains):
            return "delegated domain"
        if anybody:
            return "anybody"
        rule = our_rule(self._rules, address)
        if rule is None or rule.null:
            return ""
        return self._leads(rule, address, self._all(own | delegated), facts)

    def qualified(self, address: Address) -> bool:
        """Is its domain a whole one (RFC 6409 4.2), or one of ours all the same?"""
        domain = address.domain
        return not domain or "." in domain or domain.startswith("[") or domain in self._rules.domains

    def _leads(self, rule: DomainRule, address: Address, granted: frozenset[Address], facts: Facts) -> str | Needs:
        standing = exact(rule, address, facts)
        if isinstance(standing, Needs):
            return standing
        if standing is Standing.MAILBOX:
            return ""
        if standing is Standing.ANY:
            # The service alone knows its mailboxes; what its domain separates by is all that we know.
            found = any(Address(fold(name), rule.name) in granted for name, _ in splits(address.local, rule.separators))
            return "subaddress" if found else ""
        if standing is Standing.UNKNOWN:
            tagged = untagged(rule, address, facts)
            if isinstance(tagged, Needs):
                return tagged
            if tagged is not None and self._same(tagged.base) in granted:
                return "subaddress"
        try:
            leads = expand(self._rules, address, facts)
        except PermanentFailure:
            return ""  # to nobody, or to one who has left
        if isinstance(leads, Needs):
            return leads
        targets = leads.targets
        alone = len(targets) == 1 and targets[0].destination is None and self._same(targets[0].address) in granted
        return "alias" if alone else ""

    def _all(self, addresses: frozenset[Address]) -> frozenset[Address]:
        return frozenset(map(self._same, addresses))

    def _same(self, address: Address) -> Address:
        return Address(fold(address.local), self._domain(address.domain))

    def _domain(self, domain: str) -> str:
        rule = self._rules.domains.get(domain)
        return rule.alias_of if rule is not None and rule.alias_of else domain


class _Grants(NamedTuple):
    own: frozenset[Address]
    delegated: frozenset[Address]
    domains: frozenset[str]
    anybody: bool


@lru_cache(maxsize=1024)
def _grants(addresses: tuple[str, ...], delegated: tuple[str, ...]) -> _Grants:
    """What is no address grants nothing."""
    domains = set()
    for text in delegated:
        if text.startswith("@"):
            try:
                domains.add(normal_domain(text[1:]))
            except AddressError:
                continue
    return _Grants(_addresses(addresses), _addresses(delegated), frozenset(domains), ANYBODY in delegated)


def _addresses(texts: tuple[str, ...]) -> frozenset[Address]:
    return frozenset(address for text in texts if (address := main_address((text,))) is not None)


def main_address(addresses: tuple[str, ...]) -> Address | None:
    """The first of them; None where there is none, or it is no address."""
    try:
        return Address.parse(addresses[0], utf8=True) if addresses else None
    except AddressError:
        return None
