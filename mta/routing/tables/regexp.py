"""Tables of regular expressions (``type = "regexp"``): the first pattern that matches answers.

What it is: a file of lines ``/PATTERN/ VALUE``.  ``$1``, ``${1}`` or ``\\1`` in a value is what the pattern's first
group matched, ``$$`` a dollar sign.  Patterns are Python's; they match anywhere in the key unless ``^`` and ``$`` say
otherwise, without regard to case.
Contract: a key has no way to make a pattern take long: patterns are looked at when the file is read
(``mta.routing.tables.backtracking``), and keys over ``MAX_KEY`` characters are not matched.
How it fails: see ``mta.routing.tables.watched``.  A key that is too long or has controls is ``TemporaryFailure``.
Limits: what a stranger wrote into an address never becomes more than a part of an address: where a group matched a
character that has a meaning in values (``| / : , ; " \\ < > ( ) [ ]``, a blank), its entry counts as not matching.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import ClassVar, Final, NamedTuple

from zope.interface import implementer

from mta.config.option import Path, option
from mta.interfaces import IPlacedTable
from mta.plugin import Services, provider
from mta.reply import TemporaryFailure
from mta.routing.keys import table_key
from mta.routing.tables.backtracking import MAX_KEY, MOST_WAYS, ways
from mta.routing.tables.entries import TableError
from mta.routing.tables.lines import content_lines
from mta.routing.tables.watched import CONTROL, TABLE_FAILED, FileOptions, Watched, examine

#: Patterns a file: each is tried for a key that no one before matches.
MOST_PATTERNS: Final = 1000
MAX_PATTERN: Final = 1000
#: Ways to match of all patterns together: some tenths of a second for the worst key.
ALL_WAYS: Final = 4 * MOST_WAYS
_FLAGS: Final = re.IGNORECASE
_LINE: Final = re.compile(r"/((?:[^/\\]|\\.)+)/(\S*)(?:\s+(.*))?\Z")
_PLACE: Final = re.compile(r"\$(\$)|\$([0-9])|\$\{([0-9]{1,2})\}|\\([0-9])|(\$)")
_MEANT: Final = re.compile(r'[|/:,;"\\<>()\[\]\s\x00-\x1f\x7f]')


class Pattern(NamedTuple):
    """One line.  ``parts`` of the value: text, or the number of a group."""

    compiled: re.Pattern[str]
    ways: int
    parts: tuple[str | int, ...]
    line: int

    def value(self, key: str) -> str | None:
        """The value for a key, None where this does not match."""
        found = self.compiled.search(key)
        if found is None:
            return None
        texts = [part if isinstance(part, str) else found[part] or "" for part in self.parts]
        for part, text in zip(self.parts, texts, strict=True):
            if isinstance(part, int) and _MEANT.search(text):
                return None
        return "".join(texts)


class Patterns(tuple[Pattern, ...]):
    """All of a file, in order."""

    __slots__ = ()

    def find(self, key: str) -> tuple[str, int] | None:
        """The value and the line of the first that matches."""
        for pattern in self:
            value = pattern.value(key)
            if value is not None:
                return value, pattern.line
        return None


def parse_patterns(blocks: Iterable[bytes], lines: int, path: str) -> Patterns:
    """The patterns of a file.  Raises ``TableError``."""
    found = [_pattern(line, path, number) for number, line in content_lines(blocks, path)]
    if len(found) > MOST_PATTERNS:
        raise TableError(path, found[MOST_PATTERNS].line, f"there are more than {MOST_PATTERNS} patterns")
    if sum(pattern.ways for pattern in found) > ALL_WAYS:
        raise TableError(
            path, 0, "all patterns together can match in too many ways: let fewer parts like .* stand in them"
        )
    return Patterns(found)


def _pattern(line: str, path: str, number: int) -> Pattern:
    parts = _LINE.match(line)
    if parts is None:
        raise TableError(path, number, f'"{line[:60]}" is not "/pattern/ value"')
    written, flags, value = parts[1], parts[2], parts[3] or ""
    if flags:
        raise TableError(
            path, number, f'"{flags[:20]}" stands behind the pattern: case is not looked at, nor are flags'
        )
    if len(written) > MAX_PATTERN:
        raise TableError(path, number, f"the pattern is over {MAX_PATTERN} characters")
    try:
        compiled = re.compile(written, _FLAGS)
        known = ways(written, _FLAGS)
    except (re.error, OverflowError, RecursionError) as error:
        raise TableError(path, number, f"the pattern is wrong: {error}") from error
    except ValueError as error:
        raise TableError(path, number, f"the pattern is not taken: {error}") from error
    return Pattern(compiled, known, tuple(_parts(value, compiled.groups, path, number)), number)


def _parts(value: str, groups: int, path: str, number: int) -> Iterable[str | int]:
    at = 0
    for place in _PLACE.finditer(value):
        if place.start() > at:
            yield value[at : place.start()]
        at = place.end()
        dollar, *named, lone = place.groups()
        if lone:
            raise TableError(path, number, "a $ stands before no number; write $$ for the sign itself")
        if dollar:
            yield dollar
            continue
        group = int(next(text for text in named if text))
        if group > groups:
            raise TableError(path, number, f"${group} is used, and the pattern has {groups} groups")
        yield group
    if at < len(value):
        yield value[at:]


class RegexpTableOptions(FileOptions):
    """Options of a table of regular expressions; the first that matches counts."""

    path: Path = option(
        doc="The file: one `/pattern/ value` a line, `$1` being what the first group matched; `#` begins a comment "
        "line.",
        example='"patterns"',
    )


@provider("table", "regexp", RegexpTableOptions)
@implementer(IPlacedTable)
class RegexpTable:
    """See the module's text."""

    file_option: ClassVar = "path"

    def __init__(self, options: RegexpTableOptions, services: Services) -> None:
        self._file = Watched(options.path, parse_patterns, services)

    @staticmethod
    def examine(options: RegexpTableOptions) -> None:
        """Raise what would stop the start."""
        examine(options.path, parse_patterns)

    def lookup(self, key: str) -> str | None:
        """See ``ITable``."""
        found = self._find(key)
        return None if found is None else found[0]

    def where(self, key: str) -> str:
        """See ``IPlacedTable``."""
        found = self._find(key)
        return "" if found is None else f"{self._file.path}:{found[1]}"

    def _find(self, key: str) -> tuple[str, int] | None:
        patterns = self._file.current()
        folded = table_key(key)
        if len(folded) > MAX_KEY or CONTROL.search(folded):  # "$" matches before a line feed
            what = f"the key is over {MAX_KEY} characters, or has control characters"
            raise TemporaryFailure(TABLE_FAILED, f"{self._file.path}: {what}")
        return patterns.find(folded)
