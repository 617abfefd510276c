"""DNS answers that are kept as long as they may be.

Contract: an answer is given until its ``expires``, in monotonic seconds; of more than ``size`` answers the one
that was not used for the longest goes first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mta.routing.values import Answer, Found

Key = tuple[str, str]

#: How long an answer is kept at most, and a failure exactly: seconds.
MAX_TTL: Final = 86_400.0
MAX_NEGATIVE_TTL: Final = 900.0  # a domain that is set up just now is tried again soon (RFC 2308 5 allows up to 3 h)
FAILURE_TTL: Final = 5.0  # RFC 2308 7 allows up to 5 min
_TOP_BIT: Final = 2.0**31  # RFC 2181 8: with its top bit set it is taken for 0
PARTIAL_TTL: Final = 60.0  # one of AAAA and A failed, the other is known


class Cache:
    """Answers by (kind of question, name).  ``seconds`` is monotonic."""

    __slots__ = ("_answers", "_seconds", "_size")

    def __init__(self, size: int, seconds: Callable[[], float]) -> None:
        self._size = size
        self._seconds = seconds
        self._answers: dict[Key, Answer] = {}  # in order of use

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: Key) -> Answer | None:
        """The answer, where it is known and still good."""
        answer = self._answers.pop(key, None)
        if answer is None or answer.expires <= self._seconds():
            return None
        self._answers[key] = answer
        return answer

    def put(self, key: Key, answer: Answer) -> None:
        """Keep it; one that is over at once is not kept."""
        self._answers.pop(key, None)
        if answer.expires <= self._seconds() or self._size < 1:
            return
        while len(self._answers) >= self._size:
            del self._answers[next(iter(self._answers))]
        self._answers[key] = answer


def bounded_ttl(found: Found, ttl: float) -> float:
    """For how many seconds an answer is kept."""
    if found is Found.FAILED:
        return FAILURE_TTL
    if ttl >= _TOP_BIT:
        return 0.0
    return min(ttl, MAX_TTL if found is Found.OK else MAX_NEGATIVE_TTL)
