"""What of a configuration counts in a simulation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mta.address import Address
from mta.config.load import Configuration
from mta.config.retry_rules import retry_rules
from mta.delivery.values import Limits
from mta.queue.pace import NO_LIMIT, PaceRule
from mta.queue.retry import Retries


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """``limits`` are those of the delivery services, by name; the rest as in ``mta.queue.manager.Setup`` and of
    reports: ``postmaster``, and whether ``strangers`` are told of delay."""

    retry: Retries
    active: int
    postmaster: Address
    strangers: bool = False
    limits: Mapping[str, Limits] = field(default_factory=dict)
    pace: tuple[PaceRule, ...] = ()
    attempts: int = NO_LIMIT
    poison_tries: int = 3


def rules_of(configuration: Configuration) -> Rules:
    """From a configuration that is in order."""
    queue = configuration.queue
    return Rules(
        retry=retry_rules(configuration),
        active=queue.active,
        postmaster=configuration.postmaster,
        strangers=queue.tell_strangers,
        limits={name: _limits(section.options) for name, section in configuration.delivery.items()},
        pace=tuple(pace.rule for pace in configuration.pace),
        attempts=queue.attempts,
        poison_tries=queue.poison_tries,
    )


def _limits(options: Any) -> Limits:
    """Of a delivery service, by the names that SMTP and LMTP use for them; others are not built for a simulation."""
    usual = Limits()
    return Limits(
        recipients=getattr(options, "recipients", usual.recipients),
        messages=getattr(options, "messages", usual.messages),
        concurrency=getattr(options, "connections", usual.concurrency),
    )
