"""The brake on accounts that suddenly send much: what is counted, and when it closes.  Pure.

What it is: ``seen`` and ``counted`` (together ``tallied``) say what is to be asked of the state (``mta.state``) for a
message, ``crossed`` reads the answers.
Contract: a limit is on the last hour or day, whenever that began: the count of the running slot and, as much as the
last hour (day) still covers of it, that of the slot before.  A recipient or network is new that the account has not had
within ``KNOWN``; an account's first network is not new: it has to come from somewhere.
Limits: an account costs ``FEW`` counters, and one key for each recipient and network of 90 days; recipients are known
by a hash alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from ipaddress import ip_address, ip_network
from typing import Final, NamedTuple

from mta.address import Address
from mta.state.values import Add, Ask, Get, Mark, Op, Put

HOUR: Final = 3600
DAY: Final = 86400
#: Seconds for which a recipient or network is known.
KNOWN: Final = 90 * DAY
FEW: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """As ``[brake]`` has them; 0 is no limit."""

    messages_per_hour: int = 0
    messages_per_day: int = 0
    recipients_per_hour: int = 0
    recipients_per_day: int = 0
    new_recipients_per_hour: int = 0
    bounces: int = 0  # percent
    bounces_least: int = 1
    networks_per_day: int = 0


def bounces_alone(limits: Limits) -> Limits:
    """What a failure can cross."""
    return Limits(bounces=limits.bounces, bounces_least=limits.bounces_least)


class Measure(NamedTuple):
    """Something that is counted over a span of seconds; ``words`` for people."""

    name: str
    span: int
    words: str


MESSAGES_HOUR: Final = Measure("messages-hour", HOUR, "messages in an hour")
MESSAGES_DAY: Final = Measure("messages-day", DAY, "messages in a day")
RECIPIENTS_HOUR: Final = Measure("recipients-hour", HOUR, "recipients in an hour")
RECIPIENTS_DAY: Final = Measure("recipients-day", DAY, "recipients in a day")
NEW_HOUR: Final = Measure("new-hour", HOUR, "recipients in an hour to whom it had not written before")
NETWORKS_DAY: Final = Measure("networks-day", DAY, "networks in a day from which it had not sent before")
FAILED_DAY: Final = Measure("failed-day", DAY, "recipients in a day that failed")
MEASURES: Final = (
    MESSAGES_HOUR,
    MESSAGES_DAY,
    RECIPIENTS_HOUR,
    RECIPIENTS_DAY,
    NEW_HOUR,
    NETWORKS_DAY,
    FAILED_DAY,
)


class Crossed(NamedTuple):
    """A limit that was crossed: how much there was, and how much there may be."""

    words: str
    found: int
    limit: int

    def __str__(self) -> str:
        return f"{self.found} {self.words}, and {self.limit} are allowed"


class Fresh(NamedTuple):
    """How much of a message is new to its account."""

    recipients: int = 0
    networks: int = 0


def network_of(client: str) -> str:
    """The /24 of an IPv4 address, the /56 of IPv6; "" where there is none."""
    try:
        address = ip_address(client)
    except ValueError:
        return ""
    return str(ip_network((address, 24 if address.version == 4 else 56), strict=False))


def seen(account: str, recipients: Iterable[Address], client: str) -> list[Op]:
    """Is each known?  It is, from now on.  The last one is the network, where there is one; before it whether the
    account has had any."""
    keys = [f"to/{_hash(account, str(address))}" for address in dict.fromkeys(recipients)]
    network = network_of(client)
    if network:
        keys += (f"any/{account}", f"net/{network}/{account}")
    return [Mark(key, KNOWN) for key in keys]


def fresh(answers: Sequence[str | None], client: str) -> Fresh:
    """What the answers to ``seen`` say."""
    known = list(answers)
    networks = 0
    if network_of(client):
        *known, had_any, network = known
        networks = int(had_any is not None and network is None)
    return Fresh(sum(answer is None for answer in known), networks)


def counted(account: str, recipients: int, new: Fresh, now: int) -> list[Op]:
    """Count a message; ``now`` is UTC milliseconds."""
    amounts = {
        MESSAGES_HOUR: 1,
        MESSAGES_DAY: 1,
        RECIPIENTS_HOUR: recipients,
        RECIPIENTS_DAY: recipients,
        NEW_HOUR: new.recipients,
        NETWORKS_DAY: new.networks,
        FAILED_DAY: 0,
    }
    return [op for measure in MEASURES for op in _count(account, measure, amounts[measure], now)]


def tallied(ask: Ask, account: str, recipients: Sequence[Address], client: str, now: int) -> list[str | None]:
    """Count a message: the answers to ``counted``."""
    new = fresh(ask(seen(account, recipients, client)), client)
    return ask(counted(account, len(recipients), new, now))


def failed(account: str, recipients: int, now: int) -> list[Op]:
    """Count recipients that failed for good."""
    amounts = {FAILED_DAY: recipients}
    return [op for measure in MEASURES for op in _count(account, measure, amounts.get(measure, 0), now)]


def _count(account: str, measure: Measure, amount: int, now: int) -> Iterator[Op]:
    slot = now // (measure.span * 1000)
    current = f"sum/{measure.name}/{slot}/{account}"
    yield Add(current, amount, 2 * measure.span) if amount else Get(current)
    yield Get(f"sum/{measure.name}/{slot - 1}/{account}")


def forgotten(account: str, now: int) -> list[Op]:
    """Begin anew: all counts of an account at 0; what it knows stays known."""
    return [
        Put(f"sum/{measure.name}/{now // (measure.span * 1000) - back}/{account}", "", 0)
        for measure in MEASURES
        for back in (0, 1)
    ]


def crossed(answers: Sequence[str | None], limits: Limits, now: int) -> Crossed | None:
    """The first limit that the answers to ``counted`` are above."""
    found = {
        measure: _over_span(measure, answers[2 * index], answers[2 * index + 1], now)
        for index, measure in enumerate(MEASURES)
    }
    for measure, limit in (
        (MESSAGES_HOUR, limits.messages_per_hour),
        (MESSAGES_DAY, limits.messages_per_day),
        (RECIPIENTS_HOUR, limits.recipients_per_hour),
        (RECIPIENTS_DAY, limits.recipients_per_day),
        (NEW_HOUR, limits.new_recipients_per_hour),
        (NETWORKS_DAY, limits.networks_per_day),
    ):
        if limit and found[measure] > limit:
            return Crossed(measure.words, found[measure], limit)
    wrong, sent = found[FAILED_DAY], max(found[RECIPIENTS_DAY], found[FAILED_DAY])
    allowed = sent * limits.bounces // 100
    if limits.bounces and wrong >= limits.bounces_least and wrong > allowed:
        return Crossed(f"of {sent} {FAILED_DAY.words}", wrong, allowed)
    return None


def _over_span(measure: Measure, current: str | None, before: str | None, now: int) -> int:
    span = measure.span * 1000
    return int(int(current or 0) + int(before or 0) * (1 - now % span / span))


def _hash(account: str, text: str) -> str:
    return blake2b(f"{account}\0{text}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
