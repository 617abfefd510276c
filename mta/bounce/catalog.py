"""The texts of reports, by language: one file for each, ``texts/LANGUAGE.toml``, shipped or of the site's own.

What it is: a ``Catalog`` holds the sentences of one language by their keys ("cause.no_mailbox"); the file's tables
make the keys.  English is the measure: every other file has the same keys, each with the same ``{placeholders}``.  A
folder of the site's (``reports.texts``) may have more languages, or other texts for those there are; what such a file
leaves out is as shipped, or English where that language is not.
Contract: the text of a placeholder is put in as it is and never read for placeholders itself.
How it fails: a file that is wrong, or cannot be read, is a ``CatalogError`` that says what, when it is loaded: at the
check of the configuration, so that no report finds a hole.
Limits: a file of the site's has ``MAX_FILE`` octets, a text ``MAX_TEXT`` characters; what they say is trusted, as the
configuration is.
"""

from __future__ import annotations

import os
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
MAX_FILE: Final = 256 << 10
MAX_TEXT: Final = 2000
_SIMPLE = re.compile(r"[a-z_]+\Z")
# The name of a file; RFC 5646 2.1, as far as it matters here: it stands in Content-Language.
_TAG = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,4}\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_MONTHS: Final = "date.months"
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

    def months(self) -> list[str]:
        """The names of the twelve."""
        return _parts(self.texts[_MONTHS])


@cache
def languages() -> tuple[str, ...]:
    """The languages that are there, by the names of their files."""
    names = (entry.name for entry in _folder().iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)))


def catalogs(chosen: Sequence[str], folder: str | None = None) -> tuple[Catalog, ...]:
    """The texts of these languages, ``folder``: with those of the site; raises ``CatalogError``."""
    own = own_languages(folder) if folder else ()
    return tuple(
        _own_catalog(language, folder) if folder and language in own else catalog(language) for language in chosen
    )


def own_languages(folder: str) -> tuple[str, ...]:
    """The languages of the site's folder, by the names of its files; raises ``CatalogError``."""
    try:
        names = [name for name in os.listdir(folder) if name.endswith(_SUFFIX)]
    except OSError as error:
        raise CatalogError(f"{folder} cannot be read: {error.strerror or error}") from error
    for name in names:
        if not _TAG.match(name.removesuffix(_SUFFIX)):
            raise CatalogError(f"{os.path.join(folder, name)}: the name of a file is a language, as in pt-BR{_SUFFIX}")
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in names))


def _own_catalog(language: str, folder: str) -> Catalog:
    """Not kept: a reload reads it again."""
    file = os.path.join(folder, f"{language}{_SUFFIX}")
    base = catalog(language if language in languages() else MEASURE)
    try:
        with open(file, "rb") as stream:
            octets = stream.read(MAX_FILE + 1)
        if len(octets) > MAX_FILE:
            raise CatalogError(f"has more than {MAX_FILE >> 10} KiB")
        found = dict(_flat(tomllib.loads(octets.decode("utf-8"))))
    except OSError as error:
        raise CatalogError(f"{file} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise CatalogError(f"{file}: {error}") from error
    # A language of its own has to say which it is; of one that is shipped this is known.
    named = base if language in languages() else Catalog("", "", {})
    name, tag = found.pop("language.name", named.name), found.pop("language.tag", named.tag)
    _refuse(file, [f"{key} is missing" for key, text in (("language.name", name), ("language.tag", tag)) if not text])
    read = Catalog(name, tag, {**base.texts, **found})
    _refuse(file, list(differences(catalog(MEASURE), read)))
    return read


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
    if language != MEASURE:
        _refuse(file, list(differences(catalog(MEASURE), read)))
    return read


def _refuse(file: str, wrong: Sequence[str]) -> None:
    if wrong:
        more = ["..."] if len(wrong) > _MOST_TOLD else []
        raise CatalogError(f"{file}: {'; '.join([*wrong[:_MOST_TOLD], *more])}")


def read_catalog(text: str) -> Catalog:
    """From the text of a file; raises ``ValueError``."""
    found = dict(_flat(tomllib.loads(text)))
    try:
        return Catalog(found.pop("language.name"), found.pop("language.tag"), found)
    except KeyError as missing:
        raise CatalogError(f"{missing} is missing") from None


def differences(measure: Catalog, other: Catalog) -> Iterator[str]:
    """What is wrong with a catalog: keys and placeholders that it lacks or has too many of, its tag, its months."""
    if not _TAG.match(other.tag):
        yield f'language.tag: "{other.tag}" is no tag of a language (RFC 5646)'
    if _MONTHS in other.texts and len(_parts(other.texts[_MONTHS])) != 12:
        yield f"{_MONTHS} has not twelve names, each after a comma"
    for key in sorted(measure.texts.keys() - other.texts.keys()):
        yield f"{key} is missing"
    for key in sorted(other.texts.keys() - measure.texts.keys()):
        yield f"{key} is not known"
    for key in sorted(measure.texts.keys() & other.texts.keys()):
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


def wrong_languages(value: Sequence[str], folder: str | None = None) -> str | None:
    """For the check of the configuration: what is wrong with a choice, and what would be right; or None."""
    try:
        there = sorted({*languages(), *(own_languages(folder) if folder else ())})
    except CatalogError as error:
        return f"cannot be used: {error}"
    known = " or ".join(f'"{language}"' for language in there)
    if not value:
        return f"is empty; write {known}"
    if len(set(value)) < len(value):
        return "has one of them twice; write each once"
    for language in value:
        if language not in there:
            return f'has "{language}", for which there are no texts; write {known}'
        try:
            catalogs((language,), folder)
        except CatalogError as error:
            return f"cannot be used: {error}; correct the file"
    return None


def _folder() -> Any:
    return resources.files("mta.bounce").joinpath("texts")


def _parts(text: str) -> list[str]:
    return [part for one in text.split(",") if (part := one.strip())]


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _flat(value, f"{key}.")
        elif not isinstance(value, str) or not value.strip() or len(value) > MAX_TEXT or _CONTROL.search(value):
            raise CatalogError(f"{key} is not a text in one line of at most {MAX_TEXT} characters")
        else:
            try:
                placeholders(value)
            except ValueError as error:
                raise CatalogError(f"{key}: {error}") from error
            yield key, value
