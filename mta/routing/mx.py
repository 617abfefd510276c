"""From a next hop to the hosts and addresses to try (RFC 5321 5.1).  A pure decision.

Contract: ``plan`` returns its questions until the facts suffice, then hosts in the order of trying, or the reply
that says why there are none.  Only what may change is temporary: a DNS that does not answer, and anything about a
smart host, which is configuration and never bounces mail.  A host of a preference equal to or worse than our
own is never in it; nor is an address that is not of the public Internet unless its network is listed.
Limits: ``MxPolicy.max_hosts`` hosts are looked up, ``max_addresses`` addresses are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from mta import events
from mta.address import AddressError, literal_address, normal_domain
from mta.events import Event
from mta.reply import Reply
from mta.routing.hosts import Host, MxPolicy, Own, Plan, Target
from mta.routing.networks import IpAddress, plain_ip, refusal
from mta.routing.values import (
    AddressQuestion,
    Answer,
    CannotKnow,
    Facts,
    Found,
    MxQuestion,
    MxRecord,
    Needs,
    Question,
)

NULL_MX: Final = Reply.of(556, "5.1.10", "The domain takes no mail (null MX)")
NO_DOMAIN: Final = Reply.of(550, "5.1.2", "The domain does not exist")
NO_HOST: Final = Reply.of(550, "5.1.2", "The domain has neither a mail host nor an address")
NO_USABLE: Final = Reply.of(550, "5.4.4", "None of the domain's mail hosts has an address that can be used")
REFUSED: Final = Reply.of(550, "5.4.4", "The domain's mail hosts are on private networks")
LOOPS: Final = Reply.of(554, "5.4.6", "Mail for the domain loops back to this host")
DNS_FAILED: Final = Reply.of(451, "4.4.3", "The domain cannot be looked up now")
SMART_HOST: Final = Reply.of(451, "4.4.3", "The configured next host cannot be looked up now")


__all__ = ["Host", "MxPolicy", "Own", "Plan", "Target", "plan"]

Shuffle = Callable[[list[Any]], object]


def plan(domain: str, own: Own, policy: MxPolicy, facts: Facts, shuffle: Shuffle) -> Plan | Needs:
    """Hosts for ``domain``, the next hop as by ``normal_domain``.  ``shuffle`` is that of a ``Random``."""
    return _Planning(domain, own, policy, facts, shuffle).run()


class _Planning:
    """One call of ``plan``: the steps of RFC 5321 5.1, with the reasons gathered on the way."""

    def __init__(self, domain: str, own: Own, policy: MxPolicy, facts: Facts, shuffle: Shuffle) -> None:
        self.domain = domain
        self.own = own
        self.policy = policy
        self.facts = facts
        self.shuffle = shuffle
        self.reasons: list[Event] = []
        self.authentic = False
        self.implicit = False  # the domain has no MX record
        # What became of hosts that would have been tried before ourselves:
        self.failed = False  # its addresses could not be learnt now
        self.refused = False  # it was left out for its network
        self.absent = False  # it has no address
        self.ours = False  # the list leads to ourselves

    def run(self) -> Plan | Needs:
        if self.policy.host:
            return self.smart_host()
        literal = literal_address(self.domain)
        if literal is not None:
            return self.literal(str(literal))
        records = self.records()
        if isinstance(records, Needs | Plan):
            return records
        kept = self.better_than_ourselves(self.well_formed(records))
        if not kept:
            return self.nothing()
        questions: list[Question] = [AddressQuestion(host) for _, host in kept]
        missing = tuple(question for question in questions if question not in self.facts)
        if missing:
            return Needs(missing)
        return self.choose(self.with_addresses(kept))

    # --- the list of hosts ---------------------------------------------------------------------------------

    def records(self) -> tuple[MxRecord, ...] | Plan | Needs:
        question = MxQuestion(self.domain)
        if question not in self.facts:
            return Needs((question,))
        answer = _answer(self.facts[question])
        self.authentic = answer.authentic
        if answer.found is Found.FAILED:
            return self.fail(DNS_FAILED, _why(answer))
        if answer.found is Found.NO_DOMAIN:
            return self.fail(NO_DOMAIN)
        if answer.found is Found.NO_DATA:
            # RFC 5321 5.1: the implicit MX, and only where there is no MX record at all.
            self.implicit = True
            return (MxRecord(0, self.domain),)
        records: tuple[MxRecord, ...] = answer.records
        if records and all(record.host == "." for record in records):
            return self.fail(NULL_MX)  # RFC 7505 3 and 4.2: at once
        return records

    def well_formed(self, records: tuple[MxRecord, ...]) -> list[MxRecord]:
        """Names as they are compared, each with its best preference; sorted, so that every call sees one order."""
        best: dict[str, int] = {}
        for preference, host in records:
            name = _host_name(host)
            if name is None:
                self.drop(host, "it is not a host name")
            elif preference < best.get(name, 1 << 16):
                best[name] = preference
        return sorted(MxRecord(preference, name) for name, preference in best.items())

    def better_than_ourselves(self, records: list[MxRecord]) -> list[MxRecord]:
        """RFC 5321 5.1: our own name in the list cuts it off before its preference."""
        ours = [preference for preference, name in records if name in self.own.names]
        self.ours = bool(ours)
        kept: list[MxRecord] = []
        for preference, name in records:
            if ours and preference >= min(ours):
                self.drop(name, "ourselves" if name in self.own.names else "not nearer than ourselves")
            elif len(kept) == self.policy.max_hosts:
                self.drop(name, f"over {self.policy.max_hosts} hosts")
            else:
                kept.append(MxRecord(preference, name))
        return kept

    # --- their addresses -----------------------------------------------------------------------------------

    def with_addresses(self, records: list[MxRecord]) -> list[Host]:
        """The hosts that have addresses to use, cut off before the first preference that leads to ourselves."""
        answers = [(record, _answer(self.facts[AddressQuestion(record.host)])) for record in records]
        ours = [
            record.preference
            for record, answer in answers
            if any(self.own.has(_plain(address)) for address in answer.records)
        ]
        self.ours = self.ours or bool(ours)
        hosts = []
        for record, answer in answers:
            if ours and record.preference >= min(ours):
                self.drop(record.host, "its address, or that of a host no nearer, is our own")
            elif answer.found is Found.OK:
                host = self.usable(record, answer)
                if host is not None:
                    hosts.append(host)
            elif answer.found is Found.FAILED:
                self.failed = True
                self.drop(record.host, _why(answer))
            else:
                self.absent = True
                self.drop(record.host, _why(answer))
        return hosts

    def usable(self, record: MxRecord, answer: Answer) -> Host | None:
        addresses: dict[str, None] = {}
        for text in answer.records:
            address = _plain(text)
            why = "it is no IP address" if address is None else refusal(address, self.policy.allow)
            if why:
                self.refused = True
                self.drop(f"{record.host}[{text}]", f"{why} network" if address is not None else why)
            else:
                addresses[str(address)] = None
        if not addresses:
            return None
        return Host(
            name=record.host,
            preference=record.preference,
            port=self.policy.port,
            addresses=tuple(addresses),
            authentic=answer.authentic,
        )

    def choose(self, hosts: list[Host]) -> Plan:
        """RFC 5321 5.1: by preference, at random among equals; then the bound on addresses."""
        if not hosts:
            return self.nothing()
        ordered: list[Host] = []
        for _, group in groupby(hosts, key=attrgetter("preference")):
            equals = list(group)
            self.shuffle(equals)
            ordered.extend(equals)
        return self.chosen(ordered)

    # --- without MX ----------------------------------------------------------------------------------------

    def literal(self, address: str) -> Plan:
        plain = str(plain_ip(address))
        if self.own.has(plain):
            return self.fail(LOOPS)
        why = refusal(plain_ip(address), self.policy.allow)
        if why:
            self.drop(address, f"{why} network")
            return self.fail(REFUSED)
        return self.chosen([Host(name=self.domain, preference=0, port=self.policy.port, addresses=(plain,))])

    def smart_host(self) -> Plan | Needs:
        """What the operator wrote is not judged: any network, and no failure that would bounce mail."""
        name, port = self.policy.host, self.policy.port
        address = _plain(name.removeprefix("[").removesuffix("]").removeprefix("IPv6:"))
        if address is not None:
            return self.chosen([Host(name=name, preference=0, port=port, addresses=(str(address),))])
        question = AddressQuestion(name)
        if question not in self.facts:
            return Needs((question,))
        answer = _answer(self.facts[question])
        if answer.found is not Found.OK:
            return self.fail(SMART_HOST, f"smart host {name}: {_why(answer)}")
        addresses = tuple(answer.records)
        return self.chosen([Host(name=name, preference=0, port=port, addresses=addresses, authentic=answer.authentic)])

    # --- results -------------------------------------------------------------------------------------------

    def chosen(self, hosts: list[Host]) -> Plan:
        kept: list[Host] = []
        room = self.policy.max_addresses
        for host in hosts:
            if len(host.addresses) > room:
                self.drop(host.name, f"over {self.policy.max_addresses} addresses")
                if not room:
                    continue
                host = replace(host, addresses=host.addresses[:room])
            room -= len(host.addresses)
            kept.append(host)
        self.reasons.append(events.MX_CHOSEN(domain=self.domain, hosts=[str(host) for host in kept]))
        return Plan(hosts=tuple(kept), reasons=tuple(self.reasons), authentic=self.authentic)

    def nothing(self) -> Plan:
        """No host is left: the reply depends on why."""
        if self.failed:
            return self.fail(DNS_FAILED)
        if self.refused:
            return self.fail(REFUSED)
        if self.implicit and self.absent:
            return self.fail(NO_HOST)
        # RFC 5321 5.1: hosts nearer than ourselves that cannot be used are an error of the domain, not a loop.
        return self.fail(LOOPS if self.ours and not self.absent else NO_USABLE)

    def fail(self, reply: Reply, why: str = "") -> Plan:
        if why:
            self.drop(self.domain, why)
        return Plan(failure=reply, reasons=tuple(self.reasons), authentic=self.authentic)

    def drop(self, host: str, why: str) -> None:
        self.reasons.append(events.MX_DROPPED(host=host, why=why))


def _answer(fact: Answer | CannotKnow) -> Answer:
    if isinstance(fact, CannotKnow):
        return Answer(found=Found.FAILED, error=fact.error)
    return fact


def _why(answer: Answer) -> str:
    if answer.found is Found.NO_DOMAIN:
        return "the name does not exist"
    if answer.found is Found.NO_DATA:
        return "it has no address"
    return answer.error or "it cannot be looked up"


def _host_name(text: str) -> str | None:
    """The name of an MX record as it is compared; None where RFC 5321 5.1's domain name does not stand."""
    if _plain(text.removesuffix(".")) is not None:
        return None
    try:
        name = normal_domain(text)
    except AddressError:
        return None
    return None if name.startswith("[") else name


def _plain(text: str) -> IpAddress | None:
    try:
        return plain_ip(text)
    except ValueError:
        return None
