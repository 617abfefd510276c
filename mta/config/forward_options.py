"""Forwarding that survives: ``[srs]`` and ``[[forward]]``.

Contract: what concerns other sections is told by ``forwarding``; the rest stands in ``mta.routing.forwarding``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

from mta.config.option import DomainName, DomainPattern, Duration, Name, Options, Secret, option
from mta.config.problems import Problem
from mta.routing.forwarding import Forwarding, ForwardRule, Proof, Rewriting
from mta.routing.patterns import DomainPatterns
from mta.routing.rules import DomainRule, RoutingRules
from mta.routing.srs import Srs

if TYPE_CHECKING:
    from mta.config.check import Draft
    from mta.config.schema import Configuration

_DAY: Final = 86400.0
#: Years beyond this would come round again (mta.routing.srs).
_MOST_DAYS: Final = 1000
SHORTEST_KEY: Final = 8


def _days(value: float) -> str | None:
    if value % _DAY or not _DAY <= value <= _MOST_DAYS * _DAY:
        return f'is not in whole days from "1d" to "{_MOST_DAYS}d"; write such as "21d"'
    return None


def _hash_length(value: int) -> str | None:
    return None if 4 <= value <= 27 else "is not from 4 to 27"


def _longest(value: int) -> str | None:
    return None if 64 <= value <= 240 else "is not from 64 to 240"


def _long_keys(value: tuple[str, ...]) -> str | None:
    if any(len(key) < SHORTEST_KEY for key in value):
        return f"has a key that is too short; write {SHORTEST_KEY} characters or more"
    return None


class SrsOptions(Options):
    """Return paths of ours for mail that is forwarded (SRS), so that it passes the SPF of the next host."""

    domain: DomainName | None = option(
        None,
        doc="The domain of these addresses: one of `[domains.X]`, or one more whose mail comes here and that has no "
        "other addresses. Its SPF record must name this host. Left out: forwarded mail keeps its sender.",
        example='"srs.example.org"',
    )
    keys: tuple[Secret, ...] = option(
        (),
        doc="What the addresses are signed with. The first signs, all are good: put a new one in front, and take the "
        "old one away after `max_age`. Left out: those in `srs.key` in the state folder, one a line; the file is made "
        "at the first start.",
        example='[{ file = "srs-key" }]',
        check=_long_keys,
    )
    max_age: Duration = option(21 * _DAY, doc="How long they lead back. Then: 550 5.1.1.", check=_days)
    hash_length: int = option(
        4,
        doc="Characters of the signature. With more, the addresses of before are no longer good.",
        unit="characters",
        check=_hash_length,
    )
    separator: Literal["=", "-", "+"] = option("=", doc='What stands behind "SRS0" and "SRS1".')
    longest: int = option(
        128,
        doc="The longest local part that is made. Hosts need take 64 octets only (RFC 5321 4.5.3.1.1), and nearly all "
        "take more. Beyond: the sender is left as it is.",
        unit="octets",
        check=_longest,
    )
    bounces_only: bool = option(
        True,
        doc="Only reports (MAIL FROM:<>) are taken for them; all else: 550 5.7.1. With false all mail goes on to the "
        "sender whom they stand for.",
    )


class Forward(Options):
    """In whose name forwarded mail goes on. The first that matches is taken; without one it is as with `auto`."""

    name: Name = option(doc="Stands in stories and in `mta explain`; unique.", example='"partner"')
    to: tuple[DomainPattern, ...] = option(
        ("*",), doc='Domains that it is forwarded to: "partner.example" alone, "*.partner.example" for all below it.'
    )
    sender: tuple[DomainPattern, ...] = option(
        ("*",), doc="Domains of senders (MAIL FROM).", example='["bank.example", "*.bank.example"]'
    )
    sender_auth: tuple[Literal["login", "network", "stranger", "signed", "unsigned"], ...] = option(
        (),
        doc='What is known of the sender, any of these: "login" (authenticated), "network" (`relay.networks`), '
        '"stranger" (neither), "signed" and "unsigned" (whether there is a DKIM signature in the name of the author\'s '
        "domain; it is not verified). Left out: whatever it is.",
        example='["stranger"]',
    )
    rewrite: Literal["auto", "none", "srs", "from"] = option(
        doc='"none": nothing is changed. "srs": the return path becomes ours. "from": the author in From too, as '
        '"Ann via example.org". "auto": what is needed, by SPF and DMARC of the domains in question.',
        example='"srs"',
    )


def forwarding(draft: Draft) -> Iterator[Problem]:
    """What is wrong with them together; as ``mta.config.check``, of which it is a part."""
    srs, rules = draft.found.get("srs"), draft.found.get("forward", ())
    if isinstance(srs, SrsOptions) and srs.domain is not None:
        domain = draft.domains.get(srs.domain)
        if srs.domain.startswith("["):
            yield draft.problem("srs.domain", f'"{srs.domain}" is no name', 'write such as "srs.example.org"')
        elif domain is not None and (domain.relay or domain.null or domain.alias_of):
            what = f'"{srs.domain}" has no addresses of its own here'
            yield draft.problem("srs.domain", what, "name one that is ours, or one more")
    off = "srs" not in draft.origins or (isinstance(srs, SrsOptions) and srs.domain is None)
    counts = Counter(rule.name for rule in rules if rule is not None)
    for index, rule in enumerate(rules):
        if rule is not None and counts[rule.name] > 1:
            what = f'"{rule.name}" is the name of {counts[rule.name]} of them'
            yield draft.problem(f"forward[{index}].name", what, "give each a name of its own")
        if rule is not None and off and rule.rewrite != "none":
            what = f'"{rule.rewrite}" needs return paths of ours, and there is no srs.domain'
            yield draft.problem(f"forward[{index}].rewrite", what, "set that, or write none")


def srs_of(options: SrsOptions, keys: Sequence[bytes]) -> Srs | None:
    """What makes and reads the addresses; None without ``srs.domain``.  ``keys``: where the options have none."""
    if options.domain is None:
        return None
    return Srs(
        domain=options.domain,
        keys=tuple(key.encode() for key in options.keys) or keys,
        separator=options.separator,
        hash_length=options.hash_length,
        max_age=int(options.max_age // _DAY),
        longest=options.longest,
    )


def with_srs(rules: RoutingRules, options: SrsOptions, keys: Sequence[bytes]) -> RoutingRules:
    """The rules of a router that knows these addresses; their domain is ours if it was not."""
    srs = srs_of(options, keys)
    if srs is None:
        return rules
    domains = rules.domains
    if srs.domain not in domains:
        domains = {**domains, srs.domain: DomainRule(name=srs.domain)}
    return replace(rules, domains=domains, srs=srs, srs_from_any=not options.bounces_only)


def forwarding_of(configuration: Configuration, rules: RoutingRules) -> Forwarding | None:
    """What the queue goes by; None where nothing is ever changed.  ``rules`` as by ``with_srs``."""
    if rules.srs is None:
        return None
    return Forwarding(
        srs=rules.srs,
        ours=frozenset(rules.domains),
        final=rules.final,
        rules=tuple(
            ForwardRule(
                rule.name,
                DomainPatterns(rule.to),
                DomainPatterns(rule.sender),
                frozenset(Proof(proof) for proof in rule.sender_auth),
                Rewriting(rule.rewrite),
            )
            for rule in configuration.forward
        ),
    )
