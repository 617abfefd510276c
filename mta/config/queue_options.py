"""How long mail waits, how often it is tried, and how much of it there may be: ``[queue]`` and ``[[retry]]``.

Contract: re-exported by ``mta.config.schema``; durations are seconds, sizes octets.
"""

from __future__ import annotations

from typing import Literal

from mta.config.option import DomainPattern, Duration, Name, Options, Size, at_least, option
from mta.config.policy_options import once_each

_MINUTE = 60.0
_HOUR = 3600.0
_DAY = 86400.0
#: The most warnings that one message can cause.
_MOST_WARNINGS = 10


def _retry(value: tuple[float, ...]) -> str | None:
    return _some(value) or at_least(1, "1s")(value)


def _some(value: tuple[object, ...]) -> str | None:
    return None if value else "is empty; write at least one"


def _fraction(value: float) -> str | None:
    return None if 0 <= value < 1 else "is not a part of one; write a number from 0 to 0.9, such as 0.2"


def _warnings(value: tuple[float, ...]) -> str | None:
    if len(value) > _MOST_WARNINGS:
        return f"has more than {_MOST_WARNINGS} times; write fewer"
    if list(value) != sorted(set(value)):
        return 'is not in order; write such as ["4h", "2d"]'
    return at_least(1, "1s")(value)


class Queue(Options):
    """How long mail waits, and how often it is tried."""

    retry: tuple[Duration, ...] | None = option(
        None,
        doc="The waits between tries, whatever the trouble; the last one repeats. Left out: times that suit the class "
        "of trouble, for most 1m, 5m, 15m, 30m, 1h, 2h, then every 4h. `[[retry]]` comes before it.",
        example='["1m", "5m", "15m", "30m", "1h", "2h", "4h"]',
        check=_retry,
    )
    jitter: float = option(
        0.1,
        doc="Each wait is made longer or shorter by up to this part of it, by chance, so that what failed "
        "together does not come back together.",
        unit="part of one",
        check=_fraction,
    )
    expire_after: Duration = option(
        5 * _DAY,
        doc="When a message is given up and its sender told; RFC 5321 4.5.4.1 wants 4 to 5 days. It counts from the "
        "arrival, whatever changed meanwhile. What is held does not expire.",
        check=at_least(1, "1s"),
    )
    warn_after: tuple[Duration, ...] = option(
        (4 * _HOUR,),
        doc="When the sender of what still waits is warned that it is late; once at each of these times. Only "
        "authenticated senders and those of our networks are, unless `queue.tell_strangers` is set. With [] nobody is.",
        check=_warnings,
    )
    tell_strangers: bool = option(
        False,
        doc="Success and delay are reported to authenticated senders and those of our networks who ask for it. With "
        "true to everybody who does, and DSN and DELIVERBY are offered to all: senders are easily forged.",
    )
    active: int = option(
        20_000,
        doc="How many recipients are worked on in memory; the others wait on disk. With 0 mail is taken in and kept, "
        "and nothing goes out.",
        unit="recipients",
        check=at_least(0),
    )
    attempts: int = option(
        1000,
        doc="The most deliveries at once by one `[delivery.X]`. Senders take turns where more could begin.",
        unit="deliveries",
        check=at_least(1),
    )
    max_size: int = option(
        0,
        doc="The most recipients that may wait in the queue, held ones too. Beyond: 452 4.3.1 to MAIL. "
        "0: as many as the disk has room for.",
        unit="recipients",
        check=at_least(0),
    )
    max_per_sender: int = option(
        0,
        doc="The most recipients that one sender may have waiting: an authenticated login; for `relay.networks` an "
        "address; for strangers that of the client (a /64 of IPv6). Beyond: 452 4.3.2 to MAIL. 0: no such limit.",
        unit="recipients",
        check=at_least(0),
    )
    poison_tries: int = option(
        3,
        doc="A message at which a part of this program fails so many times (an error in the router or a delivery "
        "service, not a refusal) is set aside: held, with the reason, and the postmaster is told.",
        unit="tries",
        check=at_least(1),
    )
    reserve: Size = option(
        64 << 20,
        doc="Disk that is kept for the outcomes of deliveries: below it, MAIL gets 452 4.3.1.",
        check=at_least(0),
    )
    policy: tuple[Name, ...] = option(
        (),
        doc="The policies that are asked before each attempt to deliver, in order: names of `[policy.X]`.",
        check=once_each,
    )


#: ``mta.queue.trouble.Trouble``, as it is written.
TroubleName = Literal[
    "unreachable", "greylisted", "over-quota", "rate-limited", "tls", "dns", "disk", "internal", "other"
]


class Retry(Options):
    """When what failed is tried again, by class of trouble and by destination: the first `[[retry]]` that matches."""

    on: tuple[TroubleName, ...] = option(
        (),
        doc='Classes of trouble: "unreachable" (no connection, or it was lost), "greylisted", "over-quota", '
        '"rate-limited", "tls", "dns", "disk" (ours is full or broken), "internal" (a part of this program failed), '
        '"other". Left out: all of them.',
        example='["over-quota"]',
    )
    to: tuple[DomainPattern, ...] = option(
        ("*",),
        doc='Recipient domains: "partner.example" alone, "*.partner.example" for all below it, "*" for all.',
        example='["partner.example", "*.partner.example"]',
        check=_some,
    )
    after: tuple[Duration, ...] | None = option(
        None,
        doc="The waits between tries; the last one repeats. Left out: as without this rule.",
        example='["30m", "1h", "4h"]',
        check=_retry,
    )
    expire_after: Duration | None = option(
        None,
        doc="When a message is given up. Left out: `queue.expire_after`.",
        example='"2d"',
        check=at_least(1, "1s"),
    )
    warn_after: tuple[Duration, ...] | None = option(
        None,
        doc="When its sender is warned. Left out: `queue.warn_after`.",
        example='["1h", "1d"]',
        check=_warnings,
    )
