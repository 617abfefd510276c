"""The texts of reports, by language: one file for each, ``texts/LANGUAGE.toml``, shipped with the program.

What it is: a ``Catalog`` holds the sentences of one language by their keys ("cause.no_mailbox"); the file's tables
make the keys.  English is the measure: every other file has the same keys, each with the same ``{placeholders}``.
Contract: the text of a placeholder is put in as it is and never read for placeholders itself.
How it fails: a file that lacks something, or cannot be read, is a ``CatalogError`` that says what, when it is loaded:
at the check of the configuration, so that no report finds a hole.
Limits: what the file says is trusted, as the program is.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from string import Formatter
from typing import Any, Final, NamedTuple

#: The language that every other is measured by.
MEASURE: Final = "en"
_SUFFIX: Final = ".toml"
_SIMPLE = re.compile(r"[a-z_]+\Z")
#: How many mistakes of a file are told.
_MOST_TOLD: Final = 5


class CatalogError(ValueError):
    """The texts of a language cannot be used; it says why."""


class Catalog(NamedTuple):
    """The texts of one language; ``name`` is its own name for itself, ``tag`` that of RFC 5646."""

    name: str
    tag: str
    texts: Mapping[str, str]

    def say(self, key: str, **values: str) -> str:
        """The sentence with its placeholders filled in."""
        return self.texts[key].format_map(values)


@cache
def languages() -> tuple[str, ...]:
    """The languages that are there, by the names of their files."""
    names = (entry.name for entry in _folder().iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)))


def catalogs(chosen: Sequence[str]) -> tuple[Catalog, ...]:
    """The texts of these languages; raises ``CatalogError``."""
    return tuple(catalog(language) for language in chosen)


@cache
def catalog(language: str) -> Catalog:
    """The texts of one language, read once; raises ``CatalogError``."""
    if language not in languages():
        raise CatalogError(f'"{language}" is no language that there are texts for')
    file = f"{language}{_SUFFIX}"
    try:
        read = read_catalog(_folder().joinpath(file).read_text("utf-8"))
    except (OSError, ValueError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise CatalogError(f"{file}: {error}") from error
    if language != MEASURE and (found := list(differences(catalog(MEASURE), read))):
        more = ["..."] if len(found) > _MOST_TOLD else []
        raise CatalogError(f"{file}: {'; '.join(found[:_MOST_TOLD] + more)}")
    return read


def read_catalog(text: str) -> Catalog:
    """From the text of a file; raises ``ValueError``."""
    found = dict(_flat(tomllib.loads(text)))
    try:
        return Catalog(found.pop("language.name"), found.pop("language.tag"), found)
    except KeyError as missing:
        raise CatalogError(f"{missing} is missing") from None


def differences(measure: Catalog, other: Catalog) -> Iterator[str]:
    """What is wrong with a catalog: keys and placeholders that it lacks or has too many of."""
    for key in measure.texts.keys() - other.texts.keys():
        yield f"{key} is missing"
    for key in other.texts.keys() - measure.texts.keys():
        yield f"{key} is not known"
    for key in measure.texts.keys() & other.texts.keys():
        wanted, there = placeholders(measure.texts[key]), placeholders(other.texts[key])
        if wanted != there:
            yield f"{key} has the placeholders {sorted(there)} and not {sorted(wanted)}"


def placeholders(text: str) -> frozenset[str]:
    """The names in braces; raises ``ValueError`` where they are more than names."""
    found = set[str]()
    for _, name, form, conversion in Formatter().parse(text):
        if name is None:
            continue
        if not _SIMPLE.match(name) or form or conversion:
            raise CatalogError(f'"{text}": a placeholder is a name in braces and nothing else')
        found.add(name)
    return frozenset(found)


def wrong_languages(value: tuple[str, ...]) -> str | None:
    """For the check of the configuration: what is wrong with a choice, and what would be right; or None."""
    known = " or ".join(f'"{language}"' for language in languages())
    if not value:
        return f"is empty; write {known}"
    if len(set(value)) < len(value):
        return "has one of them twice; write each once"
    for language in value:
        if language not in languages():
            return f'has "{language}", for which there are no texts; write {known}'
        try:
            catalog(language)
        except CatalogError as error:
            return f"cannot be used: {error}; repair the installation"
    return None


def _folder() -> Any:
    return resources.files("mta.bounce").joinpath("texts")


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _flat(value, f"{key}.")
        elif not isinstance(value, str) or not value.strip() or any(ord(one) < 0x20 for one in value):
            raise CatalogError(f"{key} is not a text in one line")
        else:
            placeholders(value)
            yield key, value
