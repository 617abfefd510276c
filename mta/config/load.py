"""Reads a configuration: files, overrides, providers, options, cross-checks; the one way in for all who need it.

Contract: ``load`` returns a ``Configuration`` that can be used, with its warnings, or raises
``ConfigurationError`` with ALL problems: those of the files, of each option, and of options that contradict
each other.
How it fails: never with another exception, whatever the files hold.
Limits: what only the start can show (a port in use, a folder that cannot be written) is not looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mta.config.advice import cross_warnings
from mta.config.check import Draft, cross_check
from mta.config.convert import converter, read_fields, read_options
from mta.config.files import read
from mta.config.fingerprint import fingerprint
from mta.config.problems import ConfigurationError, Problem
from mta.config.providers import Providers
from mta.config.schema import Configuration, Plugins
from mta.config.tree import Node, Source, key_path, override, plant

#: What stands for the file where an override is wrong.
OVERRIDE = "--set"


def load(
    path: str,
    overrides: Sequence[str] = (),
    *,
    providers: Providers | None = None,
    environ: Mapping[str, str] | None = None,
) -> Configuration:
    """Read the configuration in ``path``; ``overrides`` are ``KEY=VALUE``.  Raises ``ConfigurationError``.

    Paths in overrides begin at the current folder.  ``providers`` and ``environ`` (for secrets) are those of the
    process, unless they are handed in.
    """
    found = read(path)
    problems = list(found.problems)
    source = Source(OVERRIDE, os.getcwd())
    for text in overrides:
        try:
            override(found.root, text, source)
        except ConfigurationError as error:
            problems += error.problems
    return _build(found.root, found.files, problems, providers, environ)


def from_mapping(
    mapping: Mapping[str, Any],
    base: str,
    *,
    file: str = "configuration",
    providers: Providers | None = None,
    environ: Mapping[str, str] | None = None,
) -> Configuration:
    """A configuration from what a TOML file would hold; relative paths begin at the folder ``base``.

    Raises ``ConfigurationError``.
    """
    return _build(plant(dict(mapping), Source(file, os.path.abspath(base))), (), [], providers, environ)


def _build(
    root: Node,
    files: tuple[str, ...],
    problems: list[Problem],
    providers: Providers | None,
    environ: Mapping[str, str] | None,
) -> Configuration:
    warnings: list[Problem] = []
    environ = os.environ if environ is None else environ
    if providers is None:
        providers = Providers.find(_plugin_paths(root, environ))
    for module in providers.broken:
        trouble = Problem("plugin", "", str(module), "repair or remove it")
        (problems if module.stops else warnings).append(trouble)
    read = read_fields(converter(providers, environ), Configuration, root)
    origins = _origins(root)
    problems += read.problems
    problems += cross_check(Draft(read.found, root.value, origins))
    if problems:
        raise ConfigurationError(problems)
    configuration: Configuration = Configuration(**read.found)
    return replace(
        configuration,
        fingerprint=fingerprint(configuration),
        files=files,
        warnings=(*warnings, *cross_warnings(configuration, origins)),
    )


def _plugin_paths(root: Node, environ: Mapping[str, str]) -> Sequence[str]:
    """The folders of plugins, which must be known before anything else is read; mistakes are told later."""
    section = root.value.get("plugins")
    if section is None:
        return ()
    try:
        plugins: Plugins = read_options(converter(Providers(), environ), Plugins, section)
    except ConfigurationError:
        return ()
    return plugins.paths


def _origins(root: Node) -> dict[str, str]:
    """In which file each key and table stands."""
    return dict(_places(root, ""))


def _places(node: Node, path: str) -> Iterable[tuple[str, str]]:
    yield path, node.source.file
    if isinstance(node.value, dict):
        for key, child in node.value.items():
            yield from _places(child, key_path(path, key))
    elif isinstance(node.value, list):
        for index, child in enumerate(node.value):
            yield from _places(child, f"{path}[{index}]")


__all__ = ["Configuration", "ConfigurationError", "Problem", "from_mapping", "load"]
