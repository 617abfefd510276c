"""From a configuration to the rules by which mail is tried again."""

from __future__ import annotations

from mta.config.schema import Configuration
from mta.queue.retry import USUAL, Case, RetryRule, RetryRules, by_class
from mta.routing.patterns import DomainPatterns


def retry_rules(configuration: Configuration) -> RetryRules:
    """``[queue]`` and ``[[retry]]``.  Where ``queue.retry`` is set it is for every class of trouble."""
    queue = configuration.queue
    usual = RetryRule(
        after=queue.retry or USUAL,
        jitter=queue.jitter,
        expire_after=queue.expire_after,
        warn_after=queue.warn_after,
        name="queue.retry" if queue.retry else "",
    )
    cases = tuple(
        Case(
            on=frozenset(one.on),
            to=DomainPatterns(one.to),
            after=one.after,
            expire_after=one.expire_after,
            warn_after=one.warn_after,
            name=f"retry[{number}]",
        )
        for number, one in enumerate(configuration.retry)
    )
    return RetryRules(usual=usual, classes={} if queue.retry else by_class(usual), cases=cases)
