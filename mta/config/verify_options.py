"""The options of ``[verify]``: who has VRFY and EXPN answered, and how much of it."""

from __future__ import annotations

from collections.abc import Mapping

from mta.config.option import Options, at_least, option
from mta.routing.disclosure import Askers, Disclosure, disclosure
from mta.routing.rules import DomainRule


class VerifyOptions(Options):
    """VRFY and EXPN: who is told which mailboxes there are, and where addresses lead. See `docs/verify.rst`."""

    vrfy: Askers = option(
        "networks",
        doc='Who has VRFY answered: "networks" are clients that may send anywhere, by `relay.networks` or by login, '
        '"authenticated" those with a login alone. All others get 252, whatever they ask. A domain may say otherwise.',
    )
    expn: Askers = option(
        "networks",
        doc="Who has EXPN answered; the words are those of `vrfy`. All others get 550 5.7.1. A domain may say "
        "otherwise; the members of a list are told to nobody unless its own `expn` says so.",
    )
    per_hour: int = option(
        300,
        doc="How many questions of one client are answered in an hour, after so many at once: of a login, else of an "
        "IPv4 address or a /64 of IPv6. Beyond: 450 4.7.0.",
        unit="questions",
        check=at_least(1),
    )
    candidates: int = option(
        20,
        doc="The most people that VRFY names where several bear a name. With more of them it only says so: 553 5.1.4.",
        unit="people",
        check=at_least(1),
    )
    members: int = option(
        1000,
        doc="The most addresses that EXPN tells. What leads to more gets 252: a part of it would not be true.",
        unit="addresses",
        check=at_least(1),
    )


def disclosed(options: VerifyOptions, domains: Mapping[str, DomainRule]) -> Disclosure:
    """What the options come to, for the domains of a configuration."""
    return disclosure(
        domains,
        options.vrfy,
        options.expn,
        per_hour=options.per_hour,
        candidates=options.candidates,
        members=options.members,
    )
