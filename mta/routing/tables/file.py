"""Tables in text files: ``type = "file"``, and ``file:NAME`` wherever a table is named.

What it is: lines of ``key: value``, the classic aliases file, or a plain list; see ``mta.routing.tables.entries``.
Contract: a look-up never waits; see ``mta.routing.tables.watched`` for what happens when the file changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import ClassVar

from zope.interface import implementer

from mta.config.option import Path, option
from mta.interfaces import IPlacedTable, ISearchedTable
from mta.plugin import Services, provider
from mta.routing.keys import table_key
from mta.routing.tables.entries import Entries, TableError, build
from mta.routing.tables.watched import FileOptions, Parser, Version, Watched, blocks_of, examine, read
from mta.routing.trust import untrusted


def parse_table(text: str, path: str) -> Entries:
    """The entries of a table file.  Raises ``TableError``; ``path`` is for its message only."""
    return build(blocks_of(text), text.count("\n") + 1, path)


def read_table(path: str) -> Version[Entries]:
    """Read a table file whole.  Raises ``TableError``, ``OSError``."""
    return read(path, build)


class FileTableOptions(FileOptions):
    """Options of a table in a text file."""

    path: Path = option(
        doc="The file: one `key: value` or one key a line; `#` begins a comment line.", example='"users"'
    )
    commands: bool = option(
        default=False,
        doc="Whether aliases in it may lead to commands (`|/usr/bin/prog`) and files (`/var/mail/archive`). Then "
        "nobody but root and the user of the service may be able to write to it.",
        example="true",
    )


def _parser(options: FileTableOptions) -> Parser[Entries]:
    return _build_trusted if options.commands else build


def _build_trusted(blocks: Iterable[bytes], lines: int, path: str) -> Entries:
    if why := untrusted(path):
        raise TableError(path, 0, f"it may hold commands (commands = true), but {why}")
    return build(blocks, lines, path)


@provider("table", "file", FileTableOptions)
@implementer(IPlacedTable, ISearchedTable)
class FileTable:
    """See the module's text.  Making one reads the file: ``TableError`` and ``OSError`` stop the start."""

    #: The option that names a file which nobody else may write.
    file_option: ClassVar = "path"

    def __init__(self, options: FileTableOptions, services: Services) -> None:
        self._file = Watched(options.path, _parser(options), services)

    @staticmethod
    def examine(options: FileTableOptions) -> None:
        """Raise what would stop the start."""
        examine(options.path, _parser(options))

    def lookup(self, key: str) -> str | None:
        """See ``ITable``."""
        return self._file.current().get(table_key(key))

    def where(self, key: str) -> str:
        """See ``IPlacedTable``."""
        line = self._file.current().line(table_key(key))
        return f"{self._file.path}:{line}" if line else ""

    def items(self, limit: int) -> Iterator[tuple[str, str]]:
        """See ``IListedTable``."""
        return islice(self._file.current().pairs(), limit)

    def count(self) -> int:
        """See ``ISearchedTable``."""
        return len(self._file.current())

    def version(self) -> object:
        """See ``ISearchedTable``."""
        self._file.current()
        return self._file.signature
