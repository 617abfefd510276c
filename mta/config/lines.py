"""In which line of a configuration's files a section begins, for people who look for it.

Contract: ``FILE:LINE``, or "" where no header of such a section is found (it was given by ``--set``, or stands in a
form that is not read here: a table in braces).  The files are those that the configuration was read from.
Limits: each header is one line, as TOML has it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from typing import Any

from mta.address import AddressError, normal_domain
from mta.config.files import contents
from mta.config.problems import Wrong


def section_line(files: Sequence[str], section: str, name: str) -> str:
    """Where ``[section.name]`` stands, the name being one that was written in any spelling of a domain."""
    for file, number, keys, _ in _headers(files):
        if len(keys) == 2 and keys[0] == section and name in (keys[1], _domain(keys[1])):
            return f"{file}:{number}"
    return ""


def key_line(files: Sequence[str], key: str) -> str:
    """Where ``[key]`` stands, or ``key = ...`` before the first section of a file."""
    for file, number, keys, _ in _headers(files):
        if keys == [key]:
            return f"{file}:{number}"
    for file in files:
        for number, line in enumerate(_lines(file), 1):
            if line.lstrip().startswith("["):
                break
            if key in _parsed(line):
                return f"{file}:{number}"
    return ""


def element_line(files: Sequence[str], array: str, name: str) -> str:
    """Where the ``[[array]]`` with this ``name`` begins."""
    for file, number, keys, rest in _headers(files):
        if keys == [array] and _parsed("\n".join(rest)).get("name") == name:
            return f"{file}:{number}"
    return ""


def _headers(files: Sequence[str]) -> Iterator[tuple[str, int, list[str], list[str]]]:
    """File, line, the keys of the header, and the lines below it up to the next."""
    for file in files:
        lines = _lines(file)
        places = [index for index, line in enumerate(lines) if line.lstrip().startswith("[")]
        for index, end in zip(places, [*places[1:], len(lines)], strict=False):  # the last has no next
            keys = _keys(_parsed(lines[index]))
            if keys:
                yield file, index + 1, keys, lines[index + 1 : end]


def _lines(file: str) -> list[str]:
    try:
        return contents(file).decode("utf-8").split("\n")
    except (Wrong, UnicodeDecodeError):
        return []


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return {}


def _keys(found: Any) -> list[str]:
    """``{"a": {"b": {}}}`` or ``{"a": [{}]}`` as the keys that lead there."""
    keys = []
    while found and isinstance(found, dict):
        ((key, found),) = found.items()
        keys.append(key)
        found = found[0] if isinstance(found, list) else found
    return keys


def _domain(text: str) -> str:
    try:
        return normal_domain(text)
    except AddressError:
        return text
