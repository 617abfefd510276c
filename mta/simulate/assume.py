"""What is assumed of each destination: the text of ``--assume``, and which assumption holds.  Pure.

``PATTERN=STATE``.  A pattern is a domain (next hop), ``*.`` and a domain for all below it, the name of a delivery
service, both as ``service:domain``, or ``*``; the most exact one holds, of equals the last.  A state is ``last`` (what
had trouble at its last try has it still, everything else is taken), ``up``, ``down``, ``down:TIME`` (up after that
time), ``refusing:REPLY``, ``greylisting:TIME``, ``slow:TIME`` (for each message) or ``limited:N`` (messages a minute).
Where nothing is said, ``last``.
How it fails: ``AssumptionError`` says what is wrong with the text and what to write.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from mta.config.problems import Wrong
from mta.config.values import duration
from mta.envelope import Destination
from mta.reply import Reply

_REPLY: Final = re.compile(r"([45][0-9]{2})(?:[ -]([245]\.[0-9]{1,3}\.[0-9]{1,3}))?(?:[ -](.*))?\Z", re.DOTALL)
#: A million a minute is as good as no limit.
_MOST_A_MINUTE: Final = 1_000_000
#: More exact than any pattern with a star.
_WHOLE: Final = 1_000_000


class AssumptionError(ValueError):
    """An assumption that cannot be understood; ``str()`` says why, and what to write."""


class State(StrEnum):
    """How a destination is."""

    LAST = "last"
    UP = "up"
    DOWN = "down"
    REFUSING = "refusing"
    GREYLISTING = "greylisting"
    SLOW = "slow"
    LIMITED = "limited"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption:
    """``seconds``: DOWN for so long (0: for ever), GREYLISTING for so long, SLOW by so much a message; ``rate``:
    LIMITED to so many messages a minute; ``reply``: what REFUSING says."""

    state: State
    seconds: float = 0.0
    rate: int = 0
    reply: Reply = Reply.of(451, "4.3.2", "The destination takes nothing now")  # noqa: RUF009  # a frozen value

    def __str__(self) -> str:
        if self.state is State.REFUSING:
            return f"{self.state.value}:{self.reply}"
        if self.state is State.LIMITED:
            return f"{self.state.value}:{self.rate}"
        return f"{self.state.value}:{_span(self.seconds)}" if self.seconds else self.state.value


def _span(seconds: float) -> str:
    """As in the configuration: "90s", "10m", "6h"."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"


AS_LAST: Final = Assumption(state=State.LAST)


def parse_reply(text: str) -> Reply | None:
    """A reply as it is kept in progress and written by people: code, enhanced code, text; None for anything else."""
    match = _REPLY.match(text)
    return None if match is None else Reply.of(int(match[1]), match[2] or "", match[3] or "")


def parse_state(text: str) -> Assumption:
    """The right side of an assumption.  Raises ``AssumptionError``."""
    word, _, argument = text.partition(":")
    try:
        state = State(word)
    except ValueError:
        known = ", ".join(state.value for state in State)
        raise AssumptionError(f"{word!r} is no state of a destination; known are: {known}") from None
    if state in (State.LAST, State.UP) or (state is State.DOWN and not argument):
        if argument:
            raise AssumptionError(f'{text!r}: write "{word}" alone')
        return Assumption(state=state)
    if state is State.REFUSING:
        reply = parse_reply(argument)
        if reply is None:
            raise AssumptionError(f'{text!r}: write the reply, such as "refusing:450" or "refusing:550 5.1.1 No"')
        return Assumption(state=state, reply=reply)
    if state is State.LIMITED:
        if not argument.isascii() or not argument.isdigit() or not 0 < int(argument[:9]) <= _MOST_A_MINUTE:
            raise AssumptionError(f'{text!r}: write how many messages a minute, such as "limited:60"')
        return Assumption(state=state, rate=int(argument))
    try:
        return Assumption(state=state, seconds=duration(argument))
    except Wrong:
        raise AssumptionError(f'{text!r}: write how long, such as "{word}:10m"') from None


class Assumptions:
    """Which assumption holds where.  ``texts`` are as in ``--assume``; raises ``AssumptionError``."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._rules: list[tuple[str, Assumption]] = []
        self._found: dict[Destination, Assumption] = {}
        for text in texts:
            pattern, equals, state = text.partition("=")
            if not equals or not pattern.strip():
                raise AssumptionError(f'{text!r} is no assumption; write such as "partner.example=down" or "*=up"')
            self._rules.append((pattern.strip().lower(), parse_state(state.strip())))

    @property
    def rules(self) -> Sequence[tuple[str, Assumption]]:
        """As they were given."""
        return self._rules

    def of(self, destination: Destination) -> Assumption:
        """The most exact one, of equals the last."""
        found = self._found.get(destination)
        if found is None:
            best = 0
            found = AS_LAST
            for pattern, assumption in self._rules:
                exact = _exactness(pattern, destination)
                if exact and exact >= best:
                    best, found = exact, assumption
            self._found[destination] = found
        return found


def _exactness(pattern: str, destination: Destination) -> int:
    """How exactly the pattern means the destination; 0: it does not."""
    hop = destination.next_hop.lower()
    if pattern == str(destination).lower():
        return 2 * _WHOLE
    if pattern == hop:
        return _WHOLE
    if pattern.startswith("*.") and hop.endswith(pattern[1:]):
        return 2 + len(pattern)
    if pattern == destination.service.lower():
        return 2
    return 1 if pattern == "*" else 0
