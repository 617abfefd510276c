"""The options of a configuration as a flat list, and their values as TOML: for people, checks and fingerprints.

Contract: ``walk`` yields every option that holds a value, also those of plugins, with its key path and type.
A secret is never rendered.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from mta.config.option import Duration, Options, Secret, Server, Size
from mta.config.section import Section
from mta.config.tree import key_path
from mta.config.values import show_duration, show_size


class Leaf(NamedTuple):
    """One option: its key path, its type without ``| None``, and its value (None: not set)."""

    path: str
    kind: Any
    value: Any


def walk(options: Options, path: str = "") -> Iterator[Leaf]:
    """All options, in the order of the schema."""
    hints = get_type_hints(type(options), include_extras=True)
    for field in option_fields(type(options)):
        yield from walk_value(key_path(path, field.name), hints[field.name], getattr(options, field.name))


def walk_value(path: str, kind: Any, value: Any) -> Iterator[Leaf]:
    """The options within one value; ``path`` and ``kind`` are its own."""
    if isinstance(value, Options):
        yield from walk(value, path)
    elif isinstance(value, Section):
        yield Leaf(key_path(path, "type"), str, value.type_name)
        if value.common is not None:
            yield from walk(value.common, path)
        yield from walk(value.options, path)
    elif isinstance(value, Mapping):
        for name, member in value.items():
            yield from walk_value(key_path(path, name), get_args(kind)[1], member)
    elif isinstance(value, tuple) and any(isinstance(member, Options) for member in value):
        for index, member in enumerate(value):
            if member is not None:  # None stands for what could not be read
                yield from walk(member, f"{path}[{index}]")
    else:
        yield Leaf(path, required(kind), value)


def option_fields(kind: type[Options]) -> list[dataclasses.Field[Any]]:
    """The fields of a section that are options."""
    return [field for field in dataclasses.fields(kind) if "doc" in field.metadata]


def required(kind: Any) -> Any:
    """``X`` of ``X | None``; any other type as it is."""
    if get_origin(kind) in (Union, UnionType):
        members = [member for member in get_args(kind) if member is not NoneType]
        if len(members) == 1:
            return members[0]
    return kind


def as_toml(value: Any, kind: Any) -> str:
    """A value as it would stand in the configuration; ``kind`` is the option's type."""
    kind = required(kind)
    if kind is Secret:
        return '"(secret)"'
    if get_origin(kind) is tuple:
        return f"[{', '.join(as_toml(one, get_args(kind)[0]) for one in value)}]"
    if kind is Duration:
        return f'"{show_duration(value)}"'
    if kind is Size:
        return f'"{show_size(value)}"'
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, Server):
        value = f"[{value.host}]:{value.port}" if ":" in value.host else f"{value.host}:{value.port}"
    return json.dumps(str(value), ensure_ascii=False)
