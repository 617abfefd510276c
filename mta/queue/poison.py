"""Tells a message at which a part of this program fails each time from a part that fails at every message.

What it is: a part (the router, a delivery service) that raises for one message and works for others has met a poison
message: that is set aside after some tries, and the others go on.  A part that raises for many messages and works for
none is broken itself: then nothing is set aside, the mail waits and is tried by its retry rule.
Contract: ``failed`` and ``worked`` are told of what happens; ``reason`` is asked at each failure.
Limits: ``FEW`` messages a part are remembered.
"""

from __future__ import annotations

from typing import Final

from mta.envelope import Outcome, Recipient, Scope

#: More messages than these, with no success between them, and it is the part that is broken.
FEW: Final = 10


class Poison:
    """See the module's text."""

    def __init__(self) -> None:
        self._parts: dict[str, set[str]] = {}

    def __bool__(self) -> bool:
        """Is any part in trouble?  Where none is nobody need say that one worked."""
        return bool(self._parts)

    def failed(self, part: str, id: str) -> Scope:
        """The part raised at this message.  Whom the trouble concerns: a poison message slows nobody else."""
        ids = self._parts.setdefault(part, set())
        if len(ids) <= FEW:
            ids.add(id)
        return Scope.MESSAGE if len(ids) <= FEW else Scope.HOST

    def worked(self, part: str) -> None:
        """It did what it is for."""
        self._parts.pop(part, None)

    def reason(self, recipient: Recipient, outcome: Outcome, part: str, tries: int) -> str:
        """Why a recipient is set aside at this failure, or ""."""
        count = recipient.progress.get("raised", 0) + 1
        if count < tries or len(self._parts.get(part, ())) > FEW:
            return ""
        return f"set aside: {part} failed at it {count} times: {outcome.attempt.get('error', outcome.reply)}"
