"""The router: may mail to an address be taken, where does it lead, and how does it go on?  Pure decisions.

Contract: the order of DESIGN: permission, recipient validity, ``[[route]]`` in order, the domain's ``deliver``,
the default service.  Permission comes only from: the address is ours, we relay for its domain, or the client has
a right; a route chooses, it never permits.  An address literal is ours only where the configuration lists it.
How it fails: what a table cannot answer is 451 4.3.0, never "unknown"; what vanished from the configuration or
from a mailbox table after acceptance is held with the reason, never bounced.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final

from zope.interface import implementer

from mta import events
from mta.address import Address
from mta.envelope import Destination, Right
from mta.events import Event
from mta.interfaces import IRouter
from mta.lists.values import SERVICE as LIST
from mta.lists.values import ListRule
from mta.reply import MailFailure, Reply
from mta.routing import expand as expansion
from mta.routing.calling import CANNOT_ASK, Called, CallQuestion, Heard
from mta.routing.lookup import cannot_know, look
from mta.routing.ours import NO_MAILBOX, Standing, exact, identity, in_table, our_rule, untagged
from mta.routing.patterns import DomainPatterns
from mta.routing.quota import over_quota
from mta.routing.rules import DomainRule, RoutingRules
from mta.routing.srs import NOT_A_REPORT, is_srs
from mta.routing.values import Admission, CannotKnow, Expansion, Facts, Needs, Route, Target, is_place

NO_RELAY: Final = Reply.of(550, "5.7.1", "Relaying denied: this address is not ours and you may not send to it")
#: RFC 7504; RFC 7505 4.1.
TAKES_NONE: Final = Reply.of(556, "5.1.10", "This domain takes no mail")
NO_ROUTING: Final = Reply.of(550, "5.7.1", "Relaying denied: no routing in the local part")

#: Routes to domains of others that a router remembers: they depend on the domain alone.
REMEMBERED: Final = 4000
NOTHING: Final[Mapping[str, str]] = {}
_RETURN_PATH: Final = (events.RULE(rule="a return path that we made (SRS)"),)
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
        self._elsewhere: dict[tuple[str, str, bool], Route] = {}
        self._reasons = {
            name: (events.RULE(rule=f"domain {name} is {'relayed for' if rule.relay else 'ours'}"),)
            for name, rule in rules.domains.items()
        }

    # --- at RCPT -------------------------------------------------------------------------------------------

    def admit(self, recipient: Address, rights: frozenset[Right], facts: Facts) -> Admission | Needs:
        """See ``IRouter``."""
        rule = self.rules.domains.get(recipient.domain)
        if rule is not None and rule.null:
            return Admission(reply=TAKES_NONE, reasons=self._reasons[rule.name])
        if recipient.is_postmaster and (rule is not None or not recipient.domain):
            # RFC 5321 4.5.1: whatever the tables say, or cannot say.
            return Admission(reply=None, reasons=(events.RULE(rule="postmaster is always taken"),), known=True)
        if rule is None:
            return _by_right(rights)
        if rule.relay:
            return self._admit_relayed(recipient, rule, rights, facts)
        return self._admit_ours(recipient, rule, rights, facts)

    def _admit_relayed(
        self, recipient: Address, rule: DomainRule, rights: frozenset[Right], facts: Facts
    ) -> Admission | Needs:
        if rule.recipients is not None:
            found = look(rule.recipients, recipient, facts)
            if isinstance(found, Needs):
                return found
            if isinstance(found, CannotKnow):
                return _refused(cannot_know(rule.recipients, found))
            if found is not None:
                return self._taken(rule, known=True)
            if not rule.call_ahead:
                return Admission(reply=NO_MAILBOX)
        # The next host may still follow them: then we would be the open relay (RFC 5321 3.6.1).
        if not rights and not _ROUTING_SIGNS.isdisjoint(recipient.local):
            return Admission(reply=NO_ROUTING)
        return self._admit_called(recipient, rule, rights, facts) if rule.call_ahead else self._taken(rule)

    def _admit_called(
        self, recipient: Address, rule: DomainRule, rights: frozenset[Right], facts: Facts
    ) -> Admission | Needs:
        """What the next host says of the address."""
        route = self.route(recipient, None, facts)
        if isinstance(route, Needs):
            return route
        question = CallQuestion(route.destination, recipient)
        if question not in facts:
            return Needs((question,))
        called: Called | CannotKnow = facts[question]
        if isinstance(called, CannotKnow):
            called = Called(Heard.UNSURE, called.error, CANNOT_ASK)
        reasons = (
            *self._reasons[rule.name],
            events.RULE(rule="; ".join(filter(None, (f"call-ahead: {called.heard}", called.said)))),
        )
        if called.heard is Heard.UNSURE and rights:
            # Who may send anywhere is told by a report, and is no stranger to whom that would be backscatter.
            return Admission(reply=None, reasons=reasons)
        known = called.heard in (Heard.YES, Heard.FULL)
        return Admission(reply=called.reply, reasons=reasons, known=known)

    def _admit_ours(
        self, recipient: Address, rule: DomainRule, rights: frozenset[Right], facts: Facts
    ) -> Admission | Needs:
        srs = self.rules.srs
        if srs is not None and recipient.domain == srs.domain and is_srs(recipient.local):
            return self._admit_return_path(recipient, facts)
        if rule.alias_of:
            return self.admit(Address(recipient.local, rule.alias_of), frozenset(), facts)
        if rule.takes_all and rule.deliver not in self.rules.final and not _ROUTING_SIGNS.isdisjoint(recipient.local):
            return Admission(reply=NO_ROUTING)  # the next host may follow them, as that of a relayed domain
        try:
            standing: Standing | Needs = exact(rule, recipient, facts)
            if standing is Standing.MAILBOX and not rule.dot_forward:
                return self._into_mailbox(recipient, rule, facts)
            if isinstance(standing, Needs):
                return standing
            if standing not in (Standing.LEADS, Standing.MAILBOX):
                tagged = untagged(rule, recipient, facts)
                if isinstance(tagged, Needs):
                    return tagged
                if tagged is not None:
                    standing = tagged.standing
            if standing is not Standing.LEADS and not (rule.dot_forward and standing is not Standing.UNKNOWN):
                if standing is Standing.UNKNOWN and rule.catch_all is None:
                    return Admission(reply=NO_MAILBOX)
                if standing is Standing.MAILBOX:
                    return self._into_mailbox(recipient, rule, facts)
                if standing is Standing.ANY:
                    return self._taken(rule)
            # An address that cannot be followed is told now, not after the data.
            leads = expansion.expand(self.rules, recipient, facts)
            if isinstance(leads, Needs):
                return leads
            if standing is Standing.MAILBOX and any(target.address == recipient for target in leads.targets):
                return self._into_mailbox(recipient, rule, facts)
            if len(leads.targets) == 1:
                # The one mailbox that it comes to; of several, each tells at its delivery.
                no = self._refusing(leads.targets[0], rights, facts)
                if isinstance(no, Needs):
                    return no
                if no is not None:
                    return Admission(reply=no, reasons=self._reasons[rule.name], known=True)
        except MailFailure as failure:
            return _refused(failure)
        places = (target.destination for target in leads.targets if target.destination is not None)
        lists = tuple(found for place in places if (found := self.rules.list_at(place)) is not None)
        return self._taken(rule, known=standing is not Standing.UNKNOWN, told=leads.told, lists=lists)

    def _into_mailbox(self, recipient: Address, rule: DomainRule, facts: Facts) -> Admission | Needs:
        """Raises ``TemporaryFailure``."""
        full = self._full(Target(recipient), facts)
        if isinstance(full, Needs):
            return full
        if full is not None:
            return Admission(reply=full, reasons=self._reasons[rule.name], known=True)
        return self._taken(rule, known=True)

    def _refusing(self, target: Target, rights: frozenset[Right], facts: Facts) -> Reply | Needs | None:
        """The reply where the one end of an address takes nothing: its mailbox is full, or it does not exist in a
        domain that we relay for.  Which address that is stays untold."""
        rule = self.rules.domains.get(target.address.domain)
        if target.destination is not None or rule is None or not rule.relay or target.address.is_postmaster:
            return self._full(target, facts)
        if not _ROUTING_SIGNS.isdisjoint(target.address.local):
            return None  # the administrator has written it so
        there = self._admit_relayed(target.address, rule, rights, facts)
        if isinstance(there, Needs) or there.reply is None:
            return there if isinstance(there, Needs) else None
        return NO_MAILBOX if there.reply.permanent else CANNOT_ASK

    def _full(self, target: Target, facts: Facts) -> Reply | Needs | None:
        """The reply where the target is a mailbox of ours that is full."""
        rule = our_rule(self.rules, target.address)
        if target.destination is not None or rule is None or rule.quota is None:
            return None
        route = self.route(target.address, None, facts)
        return route if isinstance(route, Needs) else over_quota(rule, target.address, route, facts)

    def _admit_return_path(self, recipient: Address, facts: Facts) -> Admission | Needs:
        """One of SRS: that a key of ours has signed it is the permission."""
        try:
            leads = expansion.expand(self.rules, recipient, facts)
        except MailFailure as failure:
            return _refused(failure)
        if isinstance(leads, Needs):
            return leads
        only_null = None if self.rules.srs_from_any else NOT_A_REPORT
        return Admission(reply=None, reasons=_RETURN_PATH, known=True, only_null=only_null)

    def _taken(
        self, rule: DomainRule, known: bool = False, told: Reply | None = None, lists: tuple[ListRule, ...] = ()
    ) -> Admission:
        return Admission(reply=None, reasons=self._reasons[rule.name], known=known, told=told, lists=lists)

    # --- at acceptance -------------------------------------------------------------------------------------

    def expand(self, recipient: Address, facts: Facts) -> Expansion | Needs:
        """See ``IRouter`` and ``mta.routing.expand``."""
        return expansion.expand(self.rules, recipient, facts)

    def identity(self, address: Address) -> Address:
        """See ``IRouter``."""
        return identity(self.rules, address)

    # --- at each attempt -----------------------------------------------------------------------------------

    def route(self, address: Address, waiting: Destination | None, facts: Facts, home: bool = False) -> Route | Needs:
        """See ``IRouter``.  The next hop is the recipient's domain; a service may have a host of its own."""
        if waiting is not None and is_place(waiting):
            return self._place(waiting)
        rule = self.rules.domains.get(address.domain)
        if rule is None:
            key = (address.domain, waiting.service if waiting else "", home)
            known = self._elsewhere.get(key)
            if known is None:
                if len(self._elsewhere) >= REMEMBERED:
                    self._elsewhere.clear()
                known = self._elsewhere[key] = self._route(address, waiting, None, home=home)
            return known
        if rule.relay or (rule.mailboxes is None and rule.services is None):
            return self._route(address, waiting, rule)
        return self._route_mailbox(address, waiting, rule, facts)

    def _route_mailbox(
        self, address: Address, waiting: Destination | None, rule: DomainRule, facts: Facts
    ) -> Route | Needs:
        found: dict[str, str] = {}
        hold, base = "", address
        if rule.mailboxes is not None:
            value = in_table(rule.mailboxes, address, facts)
            if value is None:
                tagged = untagged(rule, address, facts)
                if isinstance(tagged, Needs):
                    return tagged
                if tagged is not None:
                    base = tagged.base
                    found = {"local_part": base.local, "tag": tagged.tag}
                    value = in_table(rule.mailboxes, base, facts)
            if isinstance(value, Needs):
                return value
            if value is None:
                hold = f"the mailbox is not in {rule.mailboxes}"
            elif value:
                found["mailbox"] = value
        own = in_table(rule.services, base, facts) if rule.services is not None else None
        if isinstance(own, Needs):
            return own
        return self._route(address, waiting, rule, found, hold, own or "")

    def _place(self, waiting: Destination) -> Route:
        """It was decided at acceptance, and stays so; held while there is no such service."""
        hold = "" if waiting.service in self.rules.places else f"there is no delivery service {waiting.service}"
        if waiting.service == LIST and self.rules.list_at(waiting) is None:
            hold = f"there is no list {waiting.next_hop} in the configuration"
        return Route(destination=waiting, hold=hold)

    def _route(
        self,
        address: Address,
        waiting: Destination | None,
        rule: DomainRule | None,
        found: Mapping[str, str] = NOTHING,
        hold: str = "",
        own: str = "",
        home: bool = False,
    ) -> Route:
        before = waiting.service if waiting else ""
        # What was ours and no longer is must not leave by MX, nor by a route for everything.
        was_ours = rule is None and (home or before in self.rules.final)
        service, reason, trouble = self._service(address, before, rule, own, was_ours)
        if not trouble and service not in self.rules.services:
            trouble = f"the delivery service {service} is not in the configuration"
        return Route(
            destination=Destination(service, address.domain),
            reasons=(reason,),
            hold=trouble or hold,
            facts=found,
            home=was_ours or (rule is not None and service in (own, rule.deliver)),
        )

    def _service(
        self, address: Address, before: str, rule: DomainRule | None, own: str, was_ours: bool
    ) -> tuple[str, Event, str]:
        """The service (``own``: that of the mailbox), the rule that chose it, and why it cannot be used after all."""
        domain = address.domain
        waits = before or self.rules.default
        for patterns, service, reason in self._routes:
            if patterns.names(domain) if was_ours else patterns.match(domain):
                return service, reason, ""
        if rule is not None:
            reason = self._reasons[rule.name][0]
            if rule.null or rule.alias_of:
                return waits, reason, f"the domain {domain} has no mailboxes of its own"
            if own:
                return own, events.RULE(rule=f"{address} in {rule.services}"), ""
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
