"""What a policy decided: a value, with reasons; it never touches the wire.

Verdicts of one stage join in configured order: the first reject, defer or discard ends the stage; hold,
quarantine, edits, facts and reasons add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from mta.events import SAID, Event
from mta.message.edits import Edit
from mta.reply import Reply


class Decision(Enum):
    """From the mildest to the hardest; ``value`` orders them when verdicts join."""

    ACCEPT = 0
    QUARANTINE = 1
    HOLD = 2
    DISCARD = 3
    DEFER = 4
    REJECT = 5

    @property
    def final(self) -> bool:
        """Nothing after it in the stage is asked."""
        return self.value >= Decision.DISCARD.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A policy's answer.  ``reply`` is set for DEFER and REJECT; ``per_recipient`` maps a recipient's
    number to a verdict of its own (message stage); ``reasons`` are codes with arguments."""

    decision: Decision = Decision.ACCEPT
    reply: Reply | None = None
    edits: tuple[Edit, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    per_recipient: Mapping[int, Verdict] = field(default_factory=dict)
    reasons: tuple[Event, ...] = ()

    @classmethod
    def none(cls) -> Verdict:
        """No objection and nothing to add."""
        return _NONE

    @classmethod
    def reject(cls, code: int, enhanced: str, text: str, *reasons: Event, reason: str = "") -> Verdict:
        """Refuse for good; ``code`` is 5yz.  ``reason``, here and below: one in words, for the operator alone."""
        return cls(decision=Decision.REJECT, reply=Reply.of(code, enhanced, text), reasons=_with(reasons, reason))

    @classmethod
    def defer(cls, code: int, enhanced: str, text: str, *reasons: Event, reason: str = "") -> Verdict:
        """Refuse for now; ``code`` is 4yz, 421 ends the session."""
        return cls(decision=Decision.DEFER, reply=Reply.of(code, enhanced, text), reasons=_with(reasons, reason))

    @classmethod
    def hold(cls, *reasons: Event, reason: str = "") -> Verdict:
        """Take it, and let nothing leave before an operator releases it."""
        return cls(decision=Decision.HOLD, reasons=_with(reasons, reason))

    @classmethod
    def quarantine(cls, *reasons: Event, reason: str = "") -> Verdict:
        """Take it, and mark it as suspect."""
        return cls(decision=Decision.QUARANTINE, reasons=_with(reasons, reason))

    @classmethod
    def discard(cls, *reasons: Event, reason: str = "") -> Verdict:
        """Take it, and throw it away: counted under the policy's name."""
        return cls(decision=Decision.DISCARD, reasons=_with(reasons, reason))

    @classmethod
    def edit(cls, *edits: Edit, reason: str = "") -> Verdict:
        """No objection; the message is changed so.  At the end of a message alone."""
        return cls(edits=edits, reasons=_with((), reason))

    @classmethod
    def join(cls, verdicts: Iterable[Verdict]) -> Verdict:
        """One verdict for a stage, as the module's text says."""
        whole = _NONE
        for verdict in verdicts:
            harder = verdict.decision.value > whole.decision.value
            whole = replace(
                whole,
                decision=verdict.decision if harder else whole.decision,
                reply=verdict.reply if harder else whole.reply,
                edits=whole.edits + verdict.edits,
                facts={**whole.facts, **verdict.facts},
                per_recipient={**whole.per_recipient, **verdict.per_recipient},
                reasons=whole.reasons + verdict.reasons,
            )
            if whole.decision.final:
                break
        return whole


def _with(reasons: tuple[Event, ...], reason: str) -> tuple[Event, ...]:
    return (*reasons, SAID(text=reason)) if reason else reasons


_NONE = Verdict()
