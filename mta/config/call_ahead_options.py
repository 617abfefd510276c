"""The options of ``[call_ahead]``: how the next hosts of relayed domains are asked whether addresses exist."""

from __future__ import annotations

from typing import Final, Literal

from mta.address import Address
from mta.config.option import Duration, Options, at_least, option

_HOUR: Final = 3600.0
_DAY: Final = 24 * _HOUR


class CallAheadOptions(Options):
    """How the next host of a domain with `call_ahead` is asked whether an address exists. See `docs/addresses.rst`."""

    sender: Address | None = option(
        None,
        doc="The address in MAIL. Left out: the null sender `<>`, which every host has to take (RFC 5321 4.5.5), and "
        "with which nobody sends anything back. For a host that refuses it all the same, one of yours.",
        example='"postmaster@example.org"',
    )
    wait: Duration = option(
        Duration(10.0),
        doc="How long RCPT waits for the answer. Then it is 450, and the answer is there when the sender tries again.",
        check=at_least(0),
    )
    timeout: Duration = option(Duration(60.0), doc="How long one host may take in all.", check=at_least(1, "1s"))
    yes: Duration = option(
        Duration(_DAY), doc="How long an address that exists is not asked for again.", check=at_least(1, "1s")
    )
    no: Duration = option(
        Duration(_HOUR), doc="How long an address that does not exist is not asked for again.", check=at_least(1, "1s")
    )
    pause: Duration = option(
        Duration(60.0),
        doc="How long a host is not asked again that could not be reached or did not answer, or an address of which "
        "it could not say anything.",
        check=at_least(1, "1s"),
    )
    when_down: Literal["known", "defer"] = option(
        "known",
        doc='What is taken while the host cannot be asked: "known" takes the addresses that it said yes to within '
        '`remember`, and puts off all others with 451; "defer" puts off all that `yes` is over for.',
    )
    remember: Duration = option(
        Duration(31 * _DAY), doc="How long a yes counts while the host cannot be asked.", check=at_least(1, "1s")
    )
    addresses: int = option(
        50_000,
        doc="Addresses of which a yes is remembered, and as many with a no; the oldest goes. A restart forgets them.",
        unit="addresses",
        check=at_least(1),
    )
    per_minute: int = option(
        60,
        doc="How many addresses of one domain the host is asked for in a minute, whoever sends to them; beyond: 450.",
        unit="addresses",
        check=at_least(1),
    )
    per_domain: int = option(
        2, doc="How many addresses of one domain are asked for at once.", unit="addresses", check=at_least(1)
    )
    at_once: int = option(
        20, doc="How many addresses of all domains are asked for at once.", unit="addresses", check=at_least(1)
    )
    waiting: int = option(
        500,
        doc="How many may wait for an answer or for their turn, in all; beyond: 450.",
        unit="recipients",
        check=at_least(1),
    )
