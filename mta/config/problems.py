"""What is wrong with a configuration: problems as values, and the one error that holds them all.

A problem names the file, the key path, what is wrong and what would be right; warnings are problems that do
not stop the start.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

_MAX_SHOWN: Final = 80


class Problem(NamedTuple):
    """One mistake.  ``key_path`` is like ``listen[0].endpoint``, or ``line 3`` where no key can be named."""

    file: str
    key_path: str
    what: str
    instead: str = ""

    def __str__(self) -> str:
        """One line, whatever a plugin's exception says."""
        said = f"{self.what}; {self.instead}" if self.instead else self.what
        whole = ": ".join(part for part in (self.file, self.key_path, said) if part)
        return " ".join(line.strip() for line in whole.split("\n"))


class ConfigurationError(Exception):
    """The configuration cannot be used; ``problems`` are all that is wrong with it, never only the first.

    ``partial`` is what could be read of a section, a list (None in place of what could not) or named tables, for
    the checks that look at the rest.
    """

    def __init__(self, problems: Iterable[Problem], partial: Any = None) -> None:
        self.problems = tuple(problems)
        self.partial = partial
        super().__init__("\n".join(map(str, self.problems)))


class Wrong(ValueError):
    """A text is not what its option needs; whoever knows the key makes a ``Problem`` of it."""

    def __init__(self, what: str, instead: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.instead = instead


def show(value: Any) -> str:
    """A value of the configuration, short and in the way TOML writes it."""
    if isinstance(value, dict):
        return "the table"
    if isinstance(value, list):
        return "the list"
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except ValueError:  # an integer of thousands of digits: Python does not print it
        return "the number"
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 4] + '..."'
