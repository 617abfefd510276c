"""Questions to DNS from the command line, all at once.

Contract: every question has its answer; one that DNS did not give in time is a failed one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from mta.admin.trying import Outside
from mta.config.load import Configuration
from mta.routing.values import Answer


class Asked(NamedTuple):
    """``kind`` is the method of ``IResolver``: mx, addresses, txt, tlsa, srv, ptr."""

    kind: str
    name: str


def ask_dns(configuration: Configuration, questions: Iterable[Asked]) -> dict[Asked, Answer]:
    """The answers, as the service would get them."""
    wanted = list(dict.fromkeys(questions))
    if not wanted:
        return {}
    outside = Outside()
    resolver = outside.resolver(configuration)

    async def ask() -> dict[Asked, Answer]:
        waiting = [(question, getattr(resolver, question.kind)(question.name)) for question in wanted]
        return {question: await answer for question, answer in waiting}

    return outside.run(ask, most=None)
