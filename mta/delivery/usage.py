"""How much mailboxes hold, for the answer to RCPT: asked of their delivery service, and remembered for a while.

Contract: ``answer`` is octets, at most ``SECONDS`` old, or ``CannotKnow``: the service cannot say (it has no ``usage``,
the disk does not answer), or somebody is finding it out right now.
Limits: ``MAX_KNOWN`` mailboxes are remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mta.routing.values import CannotKnow, UsageQuestion

SECONDS: Final = 60.0
MAX_KNOWN: Final = 10_000
_ASKED: Final = CannotKnow("it is being found out")


class Usage:
    """Answers ``UsageQuestion``.  ``services`` by name; ``seconds`` is monotonic time."""

    def __init__(self, services: Mapping[str, Any], seconds: Callable[[], float]) -> None:
        self._services = services
        self._seconds = seconds
        self._known: dict[UsageQuestion, tuple[float, int | CannotKnow]] = {}

    def answer(self, question: UsageQuestion) -> int | CannotKnow | Deferred[int | CannotKnow]:
        """See the module's text."""
        until, known = self._known.get(question, (0.0, _ASKED))
        if self._seconds() < until:
            return known
        ask = getattr(self._services.get(question.service), "usage", None)
        if ask is None:
            return CannotKnow(f"the delivery service {question.service} does not know what its mailboxes hold")
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[question] = (self._seconds() + SECONDS, _ASKED)
        asked: Deferred[int] = ask(question.address, {"mailbox": question.mailbox})
        return asked.addCallbacks(self._found, self._failed, callbackArgs=(question,), errbackArgs=(question,))

    def _found(self, octets: int, question: UsageQuestion) -> int:
        self._known[question] = (self._seconds() + SECONDS, octets)
        return octets

    def _failed(self, failure: Failure, question: UsageQuestion) -> CannotKnow:
        known = CannotKnow(f"the size of the mailbox of {question.address}: {failure.getErrorMessage()}")
        self._known[question] = (self._seconds() + SECONDS, known)
        return known
