"""Tables in text files (``type = "file"``, ``file:NAME``), and one in memory for tests.

What it is: one entry a line, ``key: value`` or a key alone; a line that begins with white space goes on with the
one before (the classic aliases file is a file of this form); ``#`` at its begin makes a line a comment.  Keys are
compared as by ``mta.routing.keys.table_key``.
Contract: a look-up is one look in a dictionary.  The file is read again when it has changed, which is looked for
at most once a second; what it held stays in force until all of the new is read and right.
How it fails: ``TableError`` names file and line; it stops the start, and is told by ``TABLE_REFUSED`` later.  A
file that cannot be read is ``TemporaryFailure`` at each look-up: nobody is unknown because a disk is away.
Limits: ``MAX_OCTETS`` a file; a file over ``INLINE_OCTETS`` is read again outside of the reactor's thread.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from zope.interface import implementer

from mta import events
from mta.config.option import Options, Path, option
from mta.interfaces import ITable
from mta.plugin import Services, provider
from mta.reply import Reply, TemporaryFailure
from mta.routing.keys import table_key
from mta.waiting import background

MAX_OCTETS: Final = 64 << 20
INLINE_OCTETS: Final = 256 << 10  # some 15 ms
CHECK_SECONDS: Final = 1.0
#: A file that was changed so recently may be in the middle of being written.
SETTLE_SECONDS: Final = 1.0

# A key ends at the first colon outside of a quoted local part and of an address literal.
_ENTRY: Final = re.compile(r'((?:"(?:\\.|[^"\\])*"|\[[^\]]*\]|[^\s:"\[])+)\s*(?::\s*(.*))?\Z')
_UNREADABLE: Final = Reply.of(451, "4.3.0", "Temporary lookup failure, please try again later")


class TableError(ValueError):
    """A table file that is wrong: file, line (0: the whole file) and what is wrong with it."""

    def __init__(self, path: str, line: int, problem: str) -> None:
        super().__init__(f"{path}:{line}: {problem}" if line else f"{path}: {problem}")
        self.path = path
        self.line = line
        self.problem = problem


def parse_table(text: str, path: str) -> dict[str, str]:
    """The entries of a table file.  Raises ``TableError``; ``path`` is for its message only."""
    entries: dict[str, str] = {}
    lines: dict[str, int] = {}
    for number, line in _logical_lines(text, path):
        found = _ENTRY.match(line)
        if found is None:
            raise TableError(path, number, f'"{line[:60]}" is not "key: value" nor a single key')
        key = table_key(found[1])
        if key in entries:
            raise TableError(path, number, f"the key {key} stands already in line {lines[key]}")
        entries[key] = found[2] or ""
        lines[key] = number
    return entries


def _logical_lines(text: str, path: str) -> Iterator[tuple[int, str]]:
    """Entries with the number of their first line, continuation lines joined by a space."""
    start, parts = 0, [""]
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        content = line.strip()
        if not content or content.startswith("#"):
            continue
        if line[0] in " \t":
            if not start:
                raise TableError(path, number, "the first entry is indented: it would go on with a line before it")
            parts.append(content)
            continue
        if start:
            yield start, " ".join(parts)
        start, parts = number, [content]
    if start:
        yield start, " ".join(parts)


class _Signature(NamedTuple):
    """What tells one version of a file from another."""

    modified: int
    size: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> _Signature:
        return cls(status.st_mtime_ns, status.st_size, status.st_ino)


class _Version(NamedTuple):
    signature: _Signature
    entries: Mapping[str, str]


def read_table(path: str) -> _Version:
    """Read a table file whole.  Raises ``TableError``, ``OSError``."""
    with open(path, "rb") as file:
        signature = _Signature.of(os.fstat(file.fileno()))
        if signature.size > MAX_OCTETS:
            raise TableError(path, 0, f"{signature.size} octets are over the limit of {MAX_OCTETS}")
        octets = file.read(MAX_OCTETS + 1)
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise TableError(path, line, "the text is not UTF-8") from error
    return _Version(signature, parse_table(text, path))


class FileTableOptions(Options):
    """Options of a table in a text file."""

    path: Path = option(
        doc="The file: one `key: value` or one key a line; `#` begins a comment line.", example='"users"'
    )


@provider("table", "file", FileTableOptions)
@implementer(ITable)
class FileTable:
    """See the module's text.  Making one reads the file: ``TableError`` and ``OSError`` stop the start."""

    def __init__(self, options: FileTableOptions, services: Services) -> None:
        self._path = options.path
        self._services = services
        self._seconds = services.reactor.seconds
        version = read_table(options.path)
        self._entries = version.entries
        self._seen = version.signature  # the version last read, or last found wrong
        self._trouble = ""
        self._loading = False
        self._next_check: float = self._seconds() + CHECK_SECONDS

    def lookup(self, key: str) -> str | None:
        """See ``ITable``."""
        now = self._seconds()
        if now >= self._next_check:
            self._next_check = now + CHECK_SECONDS
            self._check()
        if self._trouble:
            raise TemporaryFailure(_UNREADABLE, self._trouble)
        return self._entries.get(table_key(key))

    def _check(self) -> None:
        try:
            signature = _Signature.of(os.stat(self._path))
            if signature != self._seen and not self._loading and not self._in_writing(signature):
                background(self._read(signature), f"reading {self._path}")
            elif signature == self._seen:
                self._trouble = ""
        except OSError as error:
            self._unreadable(error)

    def _in_writing(self, signature: _Signature) -> bool:
        # A file put in place by rename is whole; one that is written where it stands may not be yet.
        if signature.inode != self._seen.inode:
            return False
        age = self._services.now() / 1000 - signature.modified / 1e9
        return 0 <= age < SETTLE_SECONDS

    async def _read(self, signature: _Signature) -> None:
        self._loading = True
        try:
            if signature.size <= INLINE_OCTETS:
                version = read_table(self._path)
            else:
                version = await self._services.in_thread(read_table, self._path)
        except TableError as error:
            self._refuse(error, signature)
        except OSError as error:
            self._unreadable(error)
        else:
            self._entries, self._seen, self._trouble = version.entries, version.signature, ""
            self._services.emit(events.TABLE_LOADED(table=self._services.name, entries=len(version.entries)), "")
        finally:
            self._loading = False

    def _refuse(self, error: TableError, signature: _Signature) -> None:
        self._seen, self._trouble = signature, ""
        self._services.emit(events.TABLE_REFUSED(table=self._services.name, error=str(error)), "")

    def _unreadable(self, error: OSError) -> None:
        self._trouble = f"{self._path}: {error.strerror or error}"


@implementer(ITable)
class MemoryTable:
    """A table for tests.  ``failing`` is a reason: every look-up then fails with it; ``asked`` are the keys."""

    def __init__(self, entries: Mapping[str, str] | None = None, failing: str = "") -> None:
        self.entries = {table_key(key): value for key, value in (entries or {}).items()}
        self.failing = failing
        self.asked: list[str] = []

    def lookup(self, key: str) -> str | None:
        """See ``ITable``."""
        self.asked.append(key)
        if self.failing:
            raise TemporaryFailure(_UNREADABLE, self.failing)
        return self.entries.get(table_key(key))
