"""What concerns the tables of a configuration: their files, queries, and those that are made of others.

Contract: as ``mta.config.check``, of which it is a part.  A provider with ``file_option`` (the option that names its
file) and ``examine`` (raises ``ValueError`` or ``OSError`` for what would be wrong at every look-up) is looked at here,
a plugin's as well as ours.  No network is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, get_args, get_origin

from mta.config.files import unsafe
from mta.config.option import TABLES, Options, Path
from mta.config.problems import Problem
from mta.config.render import walk
from mta.config.section import Section
from mta.config.tree import key_path
from mta.routing.tables import FileTable, FileTableOptions

if TYPE_CHECKING:
    from mta.config.check import Draft


def table_files(draft: Draft, named: Iterable[tuple[str, str]]) -> Iterator[Problem]:
    """The files of tables, each once; ``named`` are the key paths and names of tables that options name."""
    files: dict[str, str] = {}
    for path, table in named:
        if table.startswith("file:"):
            files.setdefault(table.removeprefix("file:"), path)
    for name, section in draft.tables.items():
        key = getattr(section.provider, "file_option", "")
        if key:
            path = f"{key_path('tables', name)}.{key}"
            file = getattr(section.options, key)
            files.pop(file, None)
            yield from _examined(draft, path, file, partial(section.provider.examine, section.options))
    for file, path in files.items():
        yield from _examined(draft, path, file, partial(FileTable.examine, FileTableOptions(path=Path(file))))


def _examined(draft: Draft, path: str, file: str, examine: Callable[[], object]) -> Iterator[Problem]:
    try:
        trouble = unsafe(file)
        if trouble is not None:
            yield draft.problem(path, f"{file}: {trouble.what}", trouble.instead)
        examine()
    except ValueError as error:
        yield draft.problem(path, str(error), "correct the file")
    except OSError as error:
        what = f"{file} cannot be read: {error.strerror or error}"
        yield draft.problem(path, what, "correct the path, or make the file; it may be empty")


def table_circles(draft: Draft) -> Iterator[Problem]:
    """Tables that are made of themselves."""
    for name in draft.tables:
        circle = _circle(name, draft.tables, (name,))
        if circle:
            what = f"it leads back to itself: {' -> '.join(circle)}"
            yield draft.problem(key_path("tables", name), what, "leave one of them out")


def _circle(name: str, tables: Mapping[str, Section], path: tuple[str, ...]) -> tuple[str, ...]:
    """The way back to where ``path`` began, or nothing."""
    for other in tables_of(tables[name].options):
        if other == path[0]:
            return (*path, other)
        if other in tables and other not in path:
            found = _circle(other, tables, (*path, other))
            if found:
                return found
    return ()


def tables_of(options: Options) -> Iterator[str]:
    """The tables that the options of a table name."""
    for _, kind, value in walk(options):
        if kind in TABLES and value is not None:
            yield value.removeprefix("table:")
        elif get_origin(kind) is tuple and get_args(kind)[0] in TABLES:
            yield from (one.removeprefix("table:") for one in value)
