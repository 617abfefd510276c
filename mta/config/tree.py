"""What stands in the configuration, each value with where it stands; and how several files become one.

What it is: ``Node`` is a value with its file and key path; ``plant`` makes nodes of a parsed file, ``merge`` adds
a further file, ``override`` applies one ``--set``.
Contract: tables merge, arrays of tables add up in the order of the files, and any other key that stands twice
is a problem that names both files.  Nothing is read here.
How it fails: ``ConfigurationError`` (``plant``, ``override``); ``merge`` returns its problems and goes on.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from mta.config.problems import ConfigurationError, Problem, show
from mta.config.values import nearest

#: No option lies deeper; it also keeps hostile nesting away from the stack.
MAX_DEPTH: Final = 12
_BARE: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


class Source(NamedTuple):
    """Where values come from: the file as shown to people, and the folder its relative paths begin at."""

    file: str
    base: str


@dataclass(slots=True)
class Node:
    """One value: a ``dict`` of nodes, a ``list`` of nodes, or what TOML has else."""

    value: Any
    source: Source
    path: str

    def problem(self, what: str, instead: str = "") -> Problem:
        """A problem of this value."""
        return Problem(self.source.file, self.path, what, instead)

    @property
    def is_tables(self) -> bool:
        """An array of tables, as ``[[listen]]`` makes one."""
        return (
            isinstance(self.value, list) and bool(self.value) and all(isinstance(one.value, dict) for one in self.value)
        )


def key_path(path: str, key: str) -> str:
    """The path of a key in a table, quoted as TOML would have it."""
    part = key if key and _BARE.issuperset(key) else show(key)
    return f"{path}.{part}" if path else part


def plant(value: Any, source: Source, path: str = "", depth: int = 0) -> Node:
    """A parsed file as nodes.  Raises ``ConfigurationError`` where it is nested beyond all sense."""
    if depth > MAX_DEPTH:
        raise ConfigurationError([Problem(source.file, path, "is nested too deeply", "no option lies so deep")])
    if isinstance(value, dict):
        children = {k: plant(v, source, key_path(path, k), depth + 1) for k, v in value.items()}
        return Node(children, source, path)
    if isinstance(value, list):
        items = [plant(v, source, f"{path}[{index}]", depth + 1) for index, v in enumerate(value)]
        return Node(items, source, path)
    return Node(value, source, path)


def merge(into: Node, more: Node) -> list[Problem]:
    """Add the tables of ``more`` to those of ``into``; both are tables."""
    problems: list[Problem] = []
    for key, added in more.value.items():
        there = into.value.get(key)
        if there is None:
            into.value[key] = added
        elif isinstance(there.value, dict) and isinstance(added.value, dict):
            problems += merge(there, added)
        elif there.is_tables and added.is_tables:
            there.value = there.value + added.value
        else:
            problems.append(added.problem(f"stands in {there.source.file} too", "write it in one of them"))
    return problems


def override(root: Node, text: str, source: Source) -> None:
    """Apply ``KEY.PATH=VALUE``: the value is TOML where it can be read as such, else text.

    In an array of tables a part of the path is the ``name`` of an element.  Raises ``ConfigurationError``.
    """
    written, equals, value = text.partition("=")
    parts = _key_parts(written)
    if not equals or not parts:
        raise ConfigurationError(
            [Problem(source.file, text, "is not KEY=VALUE", "write one such as limits.recipients=100")]
        )
    if len(parts) > MAX_DEPTH:
        raise ConfigurationError([Problem(source.file, parts[0], "is nested too deeply", "no option lies so deep")])
    if parts[0] == "include":
        # The files have been read by now: it would be a lie to take it.
        raise ConfigurationError([Problem(source.file, "include", "cannot be overridden", "write it in the file")])
    path, node = "", root
    for part in parts[:-1]:
        path = key_path(path, part)
        node = _descend(node, part, path, source)
    path = key_path(path, parts[-1])
    if not isinstance(node.value, dict):
        raise _not_a_table(node, path, source)
    node.value[parts[-1]] = plant(_toml_or_text(value), source, path)


def _descend(node: Node, part: str, path: str, source: Source) -> Node:
    if node.is_tables:
        names = [one.value["name"].value if "name" in one.value else None for one in node.value]
        if part in names:
            element: Node = node.value[names.index(part)]
            return element
        known = [name for name in names if isinstance(name, str)]
        raise ConfigurationError(
            [Problem(source.file, path, f"there is no {node.path} of that name", nearest(part, known))]
        )
    if not isinstance(node.value, dict):
        raise _not_a_table(node, path, source)
    tables: dict[str, Node] = node.value
    return tables.setdefault(part, Node({}, source, path))


def _not_a_table(node: Node, path: str, source: Source) -> ConfigurationError:
    return ConfigurationError([Problem(source.file, path, f"{node.path} is not a table", "name another key")])


def _key_parts(text: str) -> list[str]:
    """``domains."example.org".deliver`` as its parts, by TOML's own rules; [] for what is no key."""
    try:
        table: Any = tomllib.loads(f"{text} = 0")
    except (ValueError, RecursionError):
        return []
    parts = []
    while isinstance(table, Mapping):
        if len(table) != 1:
            return []
        ((part, table),) = table.items()
        parts.append(part)
    return parts


def _toml_or_text(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return parsed["value"] if len(parsed) == 1 else text
