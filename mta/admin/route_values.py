"""What came of a trial as the values that ``mta route --json`` prints, and out of which its text is made.

Contract: the keys are those that docs/route.rst lists.  Nothing is decided here: replies are the session's, ways those
of the router, hosts what the delivery services foresee, paces what the queue would go by.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from math import inf
from typing import Any, Final

from mta import events
from mta.address import Address, AddressError
from mta.admin.route_near import near
from mta.admin.route_tree import Node, place_of_entry, tree_of
from mta.config.lines import element_line, section_line
from mta.config.retry_rules import retry_rules
from mta.deciding import Deciding
from mta.envelope import Destination
from mta.queue.pace import NO_LIMIT, Gate, Pace
from mta.reply import MailFailure, Reply
from mta.routing.ask import resolve
from mta.routing.values import Admission, Expansion, Route, is_place
from mta.smtp.grammar import parse_mailbox
from mta.trial.values import Copy, Mail, Result

#: A queue id, which nobody has been given.
_ID: Final = re.compile(r"queued as [0-9A-Z]{13}\b")
_RENAMED: Final = frozenset({events.RENAMED_ADDRESS.code, events.NOT_RENAMED.code})
_LIMITS: Final = ("message_size", "recipients", "header", "data_line", "received_hops")
#: Reply codes with which an address is unknown here.
_UNKNOWN: Final = ("5.1.1", "5.7.1")


def said(reply: Reply | None) -> str:
    """A reply as text; "" where it did not come to one."""
    return "" if reply is None else _ID.sub("queued", str(reply))


def summary(mail: Mail, result: Result) -> dict[str, Any]:
    """The parts that ``--against`` compares: what becomes of the mail."""
    return {
        "replies": [
            {"address": address, "reply": said(result.final(number))} for number, address in enumerate(mail.recipients)
        ],
        "recipients": [_whither(copy) for copy in result.copies],
    }


def _whither(copy: Copy) -> dict[str, Any]:
    route, foresight = copy.route, copy.foresight
    return {
        "address": str(copy.recipient.address),
        "service": route.destination.service,
        "next_hop": route.destination.next_hop,
        "held": route.hold,
        "trouble": said(copy.trouble),
        "rewrite": "" if route.rewrite is None else str(route.rewrite.reason),
        "place": foresight.place if foresight else "",
        "tls": foresight.tls if foresight else "",
    }


async def values(decides: Deciding, mail: Mail, result: Result) -> dict[str, Any]:
    """All that there is to show."""
    configuration = decides.configuration
    trees, nearly = [], []
    called: dict[str, list[str]] = {}
    for number, text in enumerate(mail.recipients):
        reply = result.final(number)
        address = _address(text)
        if address is not None:
            called[text] = await _called(decides, address, result)
            trees.append(await _tree(decides, _renamed(address, result)))
            unknown = reply is not None and reply.permanent and reply.enhanced in _UNKNOWN
            nearly += near(decides, address, unknown)
    return {
        "configuration": configuration.files[0],
        "client": {
            "address": mail.client,
            "helo": mail.helo,
            "login": mail.login,
            "rights": sorted(right.value for right in result.rights),
        },
        "sender": mail.sender,
        "size": mail.size,
        "accepted": not result.refused,
        "greeting": said(result.opening[0].reply) if result.opening else "",
        "mail": said(result.mail),
        "rcpt": [_rcpt(mail.recipients[number], reply, result, called) for number, reply in enumerate(result.rcpt)],
        "data": [said(reply) for reply in result.data],
        "why": [one.args["why"] for one in result.events if one.code == events.REFUSED.code and one.args.get("why")],
        "renamed": [str(one) for one in result.events if one.code in _RENAMED],
        "trees": trees,
        "near": [one._asdict() for one in dict.fromkeys(nearly)],
        "recipients": [_recipient(decides, copy) for copy in result.copies],
        "limits": {key: getattr(configuration.limits, key) for key in _LIMITS},
    }


def _renamed(address: Address, result: Result) -> Address:
    """The form in which it was judged (``[rewrite]``)."""
    for one in result.events:
        if one.code == events.RENAMED_ADDRESS.code and (one.args["where"], one.args["address"]) == (
            "recipient",
            str(address),
        ):
            return _address(one.args["to"]) or address
    return address


async def _called(decides: Deciding, address: Address, result: Result) -> list[str]:
    """What the next host has said of the address, where it is asked."""
    rule = decides.router.rules.domains.get(address.domain)
    if rule is None or not rule.call_ahead:
        return []
    found = resolve(partial(decides.router.admit, address, result.rights), {}, decides.answerer)
    admission = found if isinstance(found, Admission) else await found
    return [str(reason) for reason in admission.reasons if "call-ahead" in str(reason)]


def _rcpt(address: str, reply: Reply | None, result: Result, called: Mapping[str, list[str]]) -> dict[str, Any]:
    why = [
        text
        for one in result.events
        if one.code == events.RECIPIENT_REFUSED.code and one.args["address"].lower() == address.lower()
        for text in one.args["why"]
    ]
    return {"address": address, "reply": said(reply), "why": why or called.get(address, [])}


def _address(text: str) -> Address | None:
    try:
        return parse_mailbox(text)
    except AddressError:
        # RFC 5321 4.5.1: postmaster alone.
        return Address("postmaster", "") if text.lower() == "postmaster" else None


async def _tree(decides: Deciding, address: Address) -> Node:
    """Where it leads, also where that is nowhere."""
    try:
        found = resolve(partial(decides.router.expand, address), {}, decides.answerer)
        steps = (found if isinstance(found, Expansion) else await found).reasons
    except MailFailure as failure:
        return {**tree_of(address, failure.steps, decides), "failure": f"{failure.reply} ({failure.reason})"}
    return {**tree_of(address, steps, decides), "failure": ""}


def _recipient(decides: Deciding, copy: Copy) -> dict[str, Any]:
    recipient, route, foresight, _ = copy
    hosts = foresight.hosts if foresight else ()
    service = decides.services.get(route.destination.service)
    limits = None if service is None else service.limits(route)
    expire = retry_rules(decides.configuration).rule("", route.destination.next_hop).expire_after
    return {
        **_whither(copy),
        "original": str(recipient.original),
        "reverse_path": "" if route.rewrite is None else str(route.rewrite.reverse_path or ""),
        "path": list(recipient.path),
        "rules": [*_mailbox(decides, copy), *(_rule(decides, str(reason)) for reason in route.reasons)],
        "hosts": [
            {"name": host.name, "preference": host.preference, "port": host.port, "addresses": list(host.addresses)}
            for host in hosts
        ],
        "failure": said(foresight.failure) if foresight else "",
        "left_out": _left_out(copy),
        "at_once": {} if limits is None else {"deliveries": limits.concurrency, "recipients": limits.recipients},
        "pace": _pace(decides, route, [host.name for host in hosts]),
        "expire_after": expire,
    }


def _mailbox(decides: Deciding, copy: Copy) -> list[dict[str, str]]:
    """The entry of the mailbox, where a table has the mailboxes of its domain."""
    address, facts = copy.recipient.address, copy.route.facts
    rule = decides.router.rules.domains.get(address.domain)
    if rule is None or rule.mailboxes is None or rule.relay or copy.route.hold or is_place(copy.route.destination):
        return []
    base = Address(facts.get("local_part", address.local), address.domain)
    return [{"rule": f"{base} in {rule.mailboxes}", "where": place_of_entry(decides, rule.mailboxes, str(base))}]


def _left_out(copy: Copy) -> list[str]:
    reasons = copy.foresight.reasons if copy.foresight else ()
    return [str(reason) for reason in reasons if reason.code == events.MX_DROPPED.code]


def _rule(decides: Deciding, text: str) -> dict[str, str]:
    """A rule that decided, and where it stands."""
    kind, _, rest = text.partition(" ")
    files, place = decides.configuration.files, ""
    if kind == "route":
        place = element_line(files, "route", rest)
    elif kind == "domain":
        place = section_line(files, "domains", rest.partition(" ")[0])
    elif (table := rest.removeprefix("in ")) != rest:  # the mailbox's own service
        place = place_of_entry(decides, table, kind)
    return {"rule": text, "where": place}


def _pace(decides: Deciding, route: Route, hosts: Sequence[str]) -> list[dict[str, Any]]:
    """The rules of ``[[pace]]`` that this would go by."""
    pace = Pace(tuple(one.rule for one in decides.configuration.pace))
    gates: dict[str, Gate] = {}
    destination: Destination = route.destination
    for gate in (*pace.for_destination(destination), *(gate for host in hosts for gate in pace.for_host(host, ""))):
        gates.setdefault(gate.name, gate)
    return [
        {
            "name": gate.name,
            "where": element_line(decides.configuration.files, "pace", gate.name),
            "connections": 0 if gate.most == NO_LIMIT else gate.most,
            "messages_per_minute": 0 if gate.rate is None or gate.rate.ceiling == inf else gate.rate.ceiling,
            "recipients_per_minute": 0 if gate.recipients is None else gate.recipients.ceiling,
        }
        for gate in gates.values()
    ]
