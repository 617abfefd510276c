"""Whether a regular expression can take for ever.

What it is: ``ways`` looks at the parsed form of a pattern and bounds in how many ways Python's matcher, which
tries one way after the other, can divide a key among the parts of the pattern.
Contract: a pattern with more than ``MOST_WAYS`` ways, which are those of three ``.*``, is refused with what is wrong
and what to write.  Keys have ``MAX_KEY`` characters at most, so the longest a pattern can take is some 50 ms.
How it is done: a part that repeats has as many ways as it has counts, a choice those of all its branches; parts
after each other multiply; so a repetition within a repetition has more than there are atoms.  What is atomic
(``(?>...)``, ``*+``, ``++``) is left in one way alone.  A pattern without ``^`` is tried at each place of the key.
Limits: it is careful rather than exact: ``([a-z]+[.])+`` is refused, though the dot divides it in one way alone;
``(?:[a-z]+[.])++`` says the same to the matcher.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from math import prod
from typing import Any, Final

# Python's own parser: what it makes is what the matcher runs.
_parser: Final[Any] = importlib.import_module("re._parser")
_is: Final[Any] = importlib.import_module("re._constants")

MAX_KEY: Final = 320  # RFC 5321 4.5.3.1: a local part of 64 octets, "@", a domain of 255
MOST_WAYS: Final = (MAX_KEY + 1) ** 3
_TOO_MANY: Final = MOST_WAYS + 1
_ANCHORS: Final = ((_is.AT, _is.AT_BEGINNING), (_is.AT, _is.AT_BEGINNING_STRING))


def ways(pattern: str, flags: int) -> int:
    """In how many ways, at most, the matcher tries a pattern that compiles.  ``ValueError``: in too many, and why."""
    parsed = list(_parser.parse(pattern, flags))
    if any(operation in (_is.GROUPREF, _is.GROUPREF_EXISTS) for operation, _ in _all(parsed)):
        raise ValueError("it refers to a group within itself, which a table's pattern may not")
    found = _ways(parsed)
    if found > MOST_WAYS:
        raise ValueError(
            "it can match in too many ways, and may take for ever: make repetitions and choices within repetitions "
            "atomic, as in (?:[a-z]+[.])++ or (?>...), and let no more than three parts like .* stand in it"
        )
    if parsed and parsed[0] in _ANCHORS:
        return found
    if found * MAX_KEY > MOST_WAYS:
        raise ValueError("it can match in too many ways at each place of the key: begin it with ^")
    return found * MAX_KEY


def _ways(items: Iterable[Any]) -> int:
    """In how many ways these parts, one after the other, can match the same text: a bound, or ``_TOO_MANY``."""
    return min(int(prod(_ways_of(operation, argument) for operation, argument in items)), _TOO_MANY)


def _ways_of(operation: Any, argument: Any) -> int:
    if operation in (_is.MAX_REPEAT, _is.MIN_REPEAT):
        least, most, body = argument
        most = min(int(most), MAX_KEY)
        once = _ways(body)
        all_times: int = once**most
        return min(all_times, _TOO_MANY) * max(most - int(least) + 1, 1)
    if operation is _is.SUBPATTERN:
        return _ways(argument[-1])
    if operation is _is.BRANCH:
        return sum(_ways(branch) for branch in argument[1])
    # What is within these is gone through, and then left in one way: its ways add to those of the rest, at the most
    # at each place of the key.
    if operation is _is.POSSESSIVE_REPEAT:
        return 1 if _ways(argument[2]) <= MAX_KEY + 1 else _TOO_MANY
    if operation is _is.ATOMIC_GROUP:
        return 1 if _ways(argument) <= MAX_KEY + 1 else _TOO_MANY
    if operation in (_is.ASSERT, _is.ASSERT_NOT):
        return _ways(argument[1])
    return 1


def _all(items: Iterable[Any]) -> Iterable[tuple[Any, Any]]:
    """Every part, also those within others."""
    for operation, argument in items:
        yield operation, argument
        if operation is _is.BRANCH:
            inner = argument[1]
        elif isinstance(argument, tuple):
            inner = [part for part in argument if isinstance(part, _parser.SubPattern)]
        else:
            inner = [argument] if isinstance(argument, _parser.SubPattern) else []
        for body in inner:
            yield from _all(body)
