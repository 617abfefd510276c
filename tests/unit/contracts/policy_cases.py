"""Policies that say what a test tells them to."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from mta.policy.engine import OnError, Policies, Policy, Stage
from mta.verdict import Verdict

NOW = 1_700_000_000_000


class Said:
    """Answers with ``answer``: a value, what is raised, or what is called with the context."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = Verdict.none() if answer is None else answer
        self.seen: list[Any] = []

    def check(self, context: Any) -> Any:
        self.seen.append(context)
        if isinstance(self.answer, Exception):
            raise self.answer
        if isinstance(self.answer, Verdict) or not callable(self.answer):
            return self.answer
        return self.answer(context)


def policy(
    stage: Stage,
    answer: Any = None,
    name: str = "one",
    timeout: float = 10.0,
    on_error: OnError = "defer",
    shadow: bool = False,
) -> Policy:
    said = answer if isinstance(answer, Said) else Said(answer)
    return Policy(name=name, stage=stage, check=said.check, timeout=timeout, on_error=on_error, shadow=shadow)


def policies(clock: Clock, *some: Policy, told: list[Any] | None = None) -> Policies:
    """``told`` gets what is for the log alone."""
    notes: list[Any] = [] if told is None else told
    return Policies(some, clock.callLater, clock.seconds, lambda: NOW, lambda event, id: notes.append((id, event)))
