"""The router: may mail to an address be taken, where does it lead, and how does it go on?  Pure decisions.

Contract: the order of DESIGN: permission, recipient validity, ``[[route]]`` in order, the domain's ``deliver``,
the default service.  Permission comes only from: the address is ours, we relay for its domain, or the client has
a right; a route chooses, it never permits.  An address literal is ours only where the configuration lists it.
How it fails: what a table cannot answer is 451 4.3.0, never "unknown"; what vanished from the configuration or
from a mailbox table after acceptance is held with the reason, never bounced.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from zope.interface import implementer

from mta import events
from mta.address import Address
from mta.envelope import Destination, Right
from mta.events import Event
from mta.interfaces import IRouter
from mta.reply import MailFailure, Reply
from mta.routing import expand as expansion
from mta.routing.lookup import cannot_know, look
from mta.routing.patterns import DomainPatterns
from mta.routing.rules import DomainRule, RoutingRules
from mta.routing.values import EXPANSION, Admission, CannotKnow, Expansion, Facts, Needs, Question, Route

NO_RELAY: Final = Reply.of(550, "5.7.1", "Relaying denied: this address is not ours and you may not send to it")
NO_MAILBOX: Final = Reply.of(550, "5.1.1", "No such mailbox here")
NO_ROUTING: Final = Reply.of(550, "5.7.1", "Relaying denied: no routing in the local part")

#: Routes to domains of others that a router remembers: they depend on the domain alone.
REMEMBERED: Final = 4000
#: Sendmail's and UUCP's ways to write a further hop into a local part (RFC 5321 appendix C speaks of them).
_ROUTING_SIGNS: Final = frozenset("@%!")


@implementer(IRouter)
class Router:
    """Decides by ``RoutingRules``.  Raises ``ValueError`` for a wrong pattern in a route."""

    def __init__(self, rules: RoutingRules) -> None:
        self.rules = rules
        self._routes = tuple(
            (DomainPatterns(rule.to), rule.via, events.RULE(rule=f"route {rule.name}")) for rule in rules.routes
        )
        self._elsewhere: dict[tuple[str, str], Route] = {}
        self._reasons = {
            name: (events.RULE(rule=f"domain {name} is {'relayed for' if rule.relay else 'ours'}"),)
            for name, rule in rules.domains.items()
        }

    # --- at RCPT -------------------------------------------------------------------------------------------

    def admit(self, recipient: Address, rights: frozenset[Right], facts: Facts) -> Admission | Needs:
        """See ``IRouter``."""
        rule = self.rules.domains.get(recipient.domain)
        if recipient.is_postmaster and (rule is not None or not recipient.domain):
            # RFC 5321 4.5.1: whatever the tables say, or cannot say.
            return Admission(reply=None, reasons=(events.RULE(rule="postmaster is always taken"),), known=True)
        if rule is None:
            return _by_right(rights)
        if rule.relay:
            return self._admit_relayed(recipient, rule, rights, facts)
        return self._admit_ours(recipient, rule, facts)

    def _admit_relayed(
        self, recipient: Address, rule: DomainRule, rights: frozenset[Right], facts: Facts
    ) -> Admission | Needs:
        if rule.recipients is None:
            # The next host may still follow them: then we would be the open relay (RFC 5321 3.6.1).
            if not rights and not _ROUTING_SIGNS.isdisjoint(recipient.local):
                return Admission(reply=NO_ROUTING)
            return self._taken(rule)
        found = look(rule.recipients, recipient, facts)
        if isinstance(found, Needs):
            return found
        if isinstance(found, CannotKnow):
            return _refused(cannot_know(rule.recipients, found))
        return self._taken(rule, known=True) if found is not None else Admission(reply=NO_MAILBOX)

    def _admit_ours(self, recipient: Address, rule: DomainRule, facts: Facts) -> Admission | Needs:
        alias = mailbox = None
        questions: tuple[Question, ...] = ()
        if rule.aliases is not None:
            alias = look(rule.aliases, recipient, facts)
            if isinstance(alias, Needs):
                questions, alias = alias.questions, None
            elif isinstance(alias, CannotKnow):
                return _refused(cannot_know(rule.aliases, alias))
        if alias is not None:
            # An alias that cannot be followed is told now, not after the data.
            try:
                leads = expansion.expand(self.rules, recipient, facts)
            except MailFailure as failure:
                return _refused(failure)
            return leads if isinstance(leads, Needs) else self._taken(rule, known=True)
        if rule.mailboxes is not None:
            mailbox = look(rule.mailboxes, recipient, facts)
            if isinstance(mailbox, Needs):
                return Needs((*questions, *mailbox.questions))
        if questions:
            return Needs(questions)
        if isinstance(mailbox, CannotKnow):
            return _refused(cannot_know(rule.mailboxes or "", mailbox))
        if mailbox is None and not rule.takes_all:
            return Admission(reply=NO_MAILBOX)
        return self._taken(rule, known=mailbox is not None)

    def _taken(self, rule: DomainRule, known: bool = False) -> Admission:
        return Admission(reply=None, reasons=self._reasons[rule.name], known=known)

    # --- at acceptance -------------------------------------------------------------------------------------

    def expand(self, recipient: Address, facts: Facts) -> Expansion | Needs:
        """See ``IRouter`` and ``mta.routing.expand``."""
        return expansion.expand(self.rules, recipient, facts)

    def identity(self, address: Address) -> Address:
        """See ``IRouter``."""
        return expansion.identity(self.rules, address)

    # --- at each attempt -----------------------------------------------------------------------------------

    def route(self, address: Address, waiting: Destination | None, facts: Facts) -> Route | Needs:
        """See ``IRouter``.  The next hop is the recipient's domain; a service may have a host of its own."""
        if waiting is not None and waiting.service == EXPANSION.service:
            return Route(destination=EXPANSION)
        rule = self.rules.domains.get(address.domain)
        if rule is None:
            key = (address.domain, waiting.service if waiting else "")
            known = self._elsewhere.get(key)
            if known is None:
                if len(self._elsewhere) >= REMEMBERED:
                    self._elsewhere.clear()
                known = self._elsewhere[key] = self._route(address, waiting, None, "", "")
            return known
        value, hold = "", ""
        if not rule.relay and rule.mailboxes is not None:
            found = look(rule.mailboxes, address, facts)
            if isinstance(found, Needs):
                return found
            if isinstance(found, CannotKnow):
                raise cannot_know(rule.mailboxes, found)
            if found is None:
                hold = f"the mailbox is not in {rule.mailboxes}"
            else:
                value = found
        return self._route(address, waiting, rule, value, hold)

    def _route(
        self, address: Address, waiting: Destination | None, rule: DomainRule | None, value: str, hold: str
    ) -> Route:
        service, reason, trouble = self._service(address, waiting.service if waiting else "", rule)
        if not trouble and service not in self.rules.services:
            trouble = f"the delivery service {service} is not in the configuration"
        return Route(
            destination=Destination(service, address.domain),
            reasons=(reason,),
            hold=trouble or hold,
            facts={"mailbox": value} if value else {},
        )

    def _service(self, address: Address, before: str, rule: DomainRule | None) -> tuple[str, Event, str]:
        """The service, the rule that chose it, and why it cannot be used after all."""
        domain = address.domain
        waits = before or self.rules.default
        # What was delivered here and is no longer ours must not leave by a route for everything.
        was_ours = rule is None and before in self.rules.final
        for patterns, service, reason in self._routes:
            if patterns.names(domain) if was_ours else patterns.match(domain):
                return service, reason, ""
        if rule is not None:
            reason = self._reasons[rule.name][0]
            if rule.deliver:
                return rule.deliver, reason, ""
            if not rule.relay:
                return waits, reason, f"the domain {domain} has no delivery service"
        reason = events.RULE(rule=f"no rule for {domain or 'it'}")
        if not domain:
            return waits, reason, "the address has no domain"
        if was_ours:
            return before, reason, f"the domain {domain} is no longer in the configuration"
        if before and before not in self.rules.services:
            return before, reason, f"the delivery service {before} is no longer in the configuration"
        return self.rules.default, reason, ""


@cache  # there are few sets of rights
def _by_right(rights: frozenset[Right]) -> Admission:
    """What is neither ours nor relayed for is taken from those who have a right alone."""
    if not rights:
        return Admission(reply=NO_RELAY)
    return Admission(reply=None, reasons=tuple(events.RIGHT(right=right.value) for right in sorted(rights)))


def _refused(failure: MailFailure) -> Admission:
    return Admission(reply=failure.reply, reasons=(events.RULE(rule=failure.reason),))
