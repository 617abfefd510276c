"""A worker's share of the limits that no process can count for the others.

Contract: the shares together are never more than what is configured, and none is nothing.  Where a limit cannot be
divided, since it is smaller than the number of workers, ``indivisible`` says so, and the configuration is wrong.
Divided are: ``limits.memory``, ``queue.active``, ``attempts``, ``max_size`` and ``max_per_sender``, each ``[[pace]]``,
and (by the queue manager) how much a delivery service does at once.  Connections of clients are not: counts.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from mta.config.option import Size
from mta.config.pace_options import Pace
from mta.config.queue_options import Queue
from mta.config.schema import Configuration
from mta.queue.pace import PaceRule

#: What is too small, and why: key path, and the limit.
Small = tuple[str, int]


def shared(configuration: Configuration, share: int) -> Configuration:
    """The configuration of one of ``share`` processes.  What is told of it (its fingerprint) is that of the whole."""
    if share == 1:
        return configuration
    queue, limits = configuration.queue, configuration.limits
    return replace(
        configuration,
        limits=replace(limits, memory=Size(max(1, limits.memory // share))),
        queue=replace(
            queue,
            active=_part(queue.active, share),
            attempts=max(1, queue.attempts // share),
            max_size=_part(queue.max_size, share),
            max_per_sender=_part(queue.max_per_sender, share),
        ),
    )


def shared_pace(rule: PaceRule, share: int) -> PaceRule:
    """One process's part of a rule; what goes on one connection is not divided."""
    if share == 1:
        return rule
    return replace(
        rule,
        connections=_part(rule.connections, share),
        messages_per_minute=rule.messages_per_minute / share,
        recipients_per_minute=rule.recipients_per_minute / share,
    )


def _part(limit: int, share: int) -> int:
    """0 is no limit, and stays so."""
    return max(1, limit // share) if limit else 0


def indivisible(
    share: int, queue: Queue | None, pace: Iterable[Pace | None], delivery: Mapping[str, Any]
) -> Iterator[Small]:
    """The limits that so many processes cannot share."""
    if queue is not None:
        for key in ("active", "attempts", "max_size", "max_per_sender"):
            if 0 < (limit := getattr(queue, key)) < share:
                yield f"queue.{key}", limit
    for index, rule in enumerate(pace):
        if rule is not None and 0 < rule.connections < share:
            yield f"pace[{index}].connections", rule.connections
    for name, section in delivery.items():
        limit = getattr(getattr(section, "options", None), "connections", 0)
        if isinstance(limit, int) and 0 < limit < share:
            yield f"delivery.{name}.connections", limit
