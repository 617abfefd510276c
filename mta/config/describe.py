"""Writes what people read of the configuration: the shipped ``etc/mta.toml`` and ``docs/configuration.rst``; and, from
the table of SMTP extensions, ``docs/extensions.rst`` (``mta.smtp.describe``).

What it is: both are generated from the schema and from the options of the built-in providers, so an option cannot
be without its explanation; a test compares them with the files.
``python -m mta.config.describe`` writes them below the current folder.
"""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import Field
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

import mta.plugins.builtin
from mta.address import Address
from mta.config.domain_options import Domain
from mta.config.option import (
    MISSING,
    DomainName,
    DomainPattern,
    Duration,
    Endpoint,
    Name,
    Options,
    Path,
    Secret,
    Server,
    Size,
    Table,
    TableName,
    Url,
)
from mta.config.policy_options import PolicyOptions
from mta.config.providers import Providers
from mta.config.render import as_toml, option_fields, required
from mta.config.schema import Configuration
from mta.config.section import Section
from mta.smtp.describe import extensions

_WIDTH: Final = 100
_TYPES: Final[dict[Any, str]] = {
    str: "text",
    bool: "true or false",
    int: "whole number",
    float: "number",
    Duration: "duration",
    Size: "size",
    Path: "path",
    Endpoint: "endpoint",
    TableName: "table",
    Table: "table",
    Url: "URL",
    Secret: "secret",
    Name: "name",
    DomainName: "domain",
    DomainPattern: "domain pattern",
    Server: "address and port",
    Address: "address",
    IPv4Network | IPv6Network: "network",
}
#: The sections of the demonstration: their names by kind and type; then names for those that are comments.
_SHOWN: Final = {"accounts": {"file": "main"}, "delivery": {"maildir": "local", "smtp": "internet"}}
_NAMES: Final = {
    "cached": "remembered",
    "chain": "all",
    "cidr": "clients",
    "file": "users",
    "http": "billing",
    "ldap": "people",
    "postgresql": "customers-database",
    "regexp": "patterns",
    "sqlite": "accounts",
    "static": "special",
    "table": "known-senders",
}
#: Domains of which each kind has keys of its own.
_OTHER_DOMAINS: Final = {
    "customer.example": ("relay", "recipients"),
    "other.example": ("alias_of",),
    "silent.example": ("null",),
}
#: What else is shown of a list of tables.
_MORE: Final = {
    "listen": """\
# Where mail programs send from, with a login: port 587 of a real site, or 465 with `tls = "implicit"`.
[[listen]]
name = "submission"
endpoint = "tcp:2587:interface=127.0.0.1"
service = "submission"

"""
}
_UNSET: Final = (None, "[]", '""')
_BUILT_IN: Final = Providers(vars(mta.plugins.builtin)[name] for name in mta.plugins.builtin.__all__)

_HEAD_TOML: Final = """\
The configuration of txmta, with every option there is, explained where it stands.

A line that begins with "#" and a key is an option that is not set: it shows the default, or an example where it
says so.  Durations and sizes are text with a unit: "90s", "5m", "4h", "5d"; "512KiB", "50MiB".  Paths are relative
to the file that holds them.  `mta check` says what is wrong with a file, and `mta config show` how it was
understood.  This file is a demonstration: it listens on this machine alone.
"""

_HEAD_RST: Final = """\
The configuration
=================

.. This file is written by ``python -m mta.config.describe``; change mta/config/schema.py instead.

txmta reads one TOML file, by default ``etc/mta.toml``, and those that it includes.  ``mta check`` lists everything
that is wrong with them at once, each with the file, the key and what to write instead.

* Durations are text with units: ``"90s"``, ``"5m"``, ``"1h30m"``, ``"5d"`` (ms, s, m, h, d, w); so are sizes:
  ``"512KiB"``, ``"50MiB"`` (B, KiB, MiB, GiB, TiB).
* Paths are relative to the file that holds them; those of ``--set`` to the current folder.
* A list of one value may be written without its brackets.
* A secret may be written as ``{ file = "..." }``, ``{ env = "..." }`` or ``{ credential = "..." }`` (systemd's
  ``LoadCredential=``) in place of the text.
* ``--set key=value`` overrides one option, ``include`` excepted: ``--set limits.recipients=50``.  In a list of tables
  the name of one is part of the key: ``--set listen.mx.endpoint=tcp:25``.
* A file, or the folder of a file, that anybody may write is refused: who can write it would be the MTA.
* ``mta reload`` puts a changed configuration in force, except for ``hostname``, ``state``, ``workers``, ``[[listen]]``,
  ``[local]``, ``[dns]``, ``[log]`` and ``queue.reserve``, which need a restart.
* A plugin is a module in ``mta/plugins/`` of an installed distribution, or a file in a folder of
  ``plugins.paths``; its types stand in ``type`` as the built-in ones do.
"""


def shipped() -> str:
    """The text of ``etc/mta.toml``."""
    lines = [*_comment(_HEAD_TOML), ""]
    hints = get_type_hints(Configuration, include_extras=True)
    for field in option_fields(Configuration):
        kind = hints[field.name]
        if isinstance(kind, type) and issubclass(kind, Options):
            lines += _section(field.name, kind)
        elif get_origin(kind) is tuple and _is_options(get_args(kind)[0]):
            lines += [*_tables(field.name, get_args(kind)[0]), "", *_MORE.get(field.name, "").splitlines()]
        elif get_origin(kind) is Mapping:
            lines += _named(field, get_args(kind)[1])
        else:
            lines += [*_option(field, kind), ""]
    return "\n".join(lines).rstrip() + "\n"


def reference() -> str:
    """The text of ``docs/configuration.rst``."""
    lines = [*_HEAD_RST.splitlines(), ""]
    hints = get_type_hints(Configuration, include_extras=True)
    sections: list[str] = []
    top: list[str] = []
    for field in option_fields(Configuration):
        kind = hints[field.name]
        member = get_args(kind)[-1] if get_origin(kind) is Mapping else None
        if isinstance(kind, type) and issubclass(kind, Options):
            for path, inner in _sections(field.name, kind):
                sections += _reference_section(f"[{path}]", inner)
        elif get_origin(kind) is tuple and _is_options(get_args(kind)[0]):
            sections += _reference_section(f"[[{field.name}]]", get_args(kind)[0])
        elif member is not None and _is_options(member):
            sections += _reference_section(f"[{field.name}.X]", member)
        elif member is not None:
            sections += _reference_providers(field, get_args(member)[1])
        else:
            top += _reference_option(field, kind)
    return "\n".join([*lines, *_title("Before the first section"), *top, *sections]).rstrip() + "\n"


# --- TOML --------------------------------------------------------------------------------------------------


def _comment(text: str) -> list[str]:
    lines: list[str] = []
    for paragraph in text.strip().split("\n\n"):
        wrapped = textwrap.wrap(paragraph, _WIDTH, break_long_words=False, break_on_hyphens=False)
        lines += ["#"] * bool(lines) + [f"# {line}" for line in wrapped]
    return lines


def _section(path: str, kind: type[Options]) -> Iterator[str]:
    for name, inner in _sections(path, kind):
        yield from (*_comment(_text(inner)), f"[{name}]", *_options(inner), "")


def _options(kind: type[Options], *, hidden: bool = False) -> Iterator[str]:
    hints = get_type_hints(kind, include_extras=True)
    for field in option_fields(kind):
        if not _is_options(hints[field.name]):
            yield from _option(field, hints[field.name], hidden=hidden)


def _option(field: Field[Any], kind: Any, *, hidden: bool = False) -> Iterator[str]:
    """One option with its text; ``hidden`` ones are comments whatever they are."""
    yield from _comment(_plain(field.metadata["doc"]))
    default, example, unit = _default(field, kind), field.metadata["example"], field.metadata["unit"]
    if field.metadata["shown"] and not hidden:
        yield f"{field.name} = {example}"
    elif default in _UNSET and example:
        yield f"#{field.name} = {example}" + ("" if hidden else "   # an example")
    else:
        yield f"#{field.name} = {default}" + (f"   # {unit}" if unit else "")


def _tables(name: str, kind: type[Options]) -> Iterator[str]:
    yield from _comment(_text(kind))
    hidden = not any(field.metadata["shown"] for field in option_fields(kind))
    yield f"{'#' * hidden}[[{name}]]"
    yield from _options(kind, hidden=hidden)


def _named(field: Field[Any], member: Any) -> Iterator[str]:
    if member is Domain:
        yield from _domains()
        return
    if _is_options(member):
        yield from _comment(_text(member))
        yield f"#[{field.name}.{field.metadata['example']}]"
        yield from _options(member, hidden=True)
        yield ""
        return
    yield from _comment(_plain(field.metadata["doc"]))
    yield ""
    kind = get_args(member)[1]
    shown = _SHOWN.get(field.name, {})
    for type_name in sorted(_BUILT_IN.types(kind), key=lambda one: (one not in shown, one)):
        options = _BUILT_IN.get(kind, type_name).options
        hidden = type_name not in shown
        yield from _comment(_text(options))
        name = shown.get(type_name) or _NAMES.get(type_name, type_name)
        yield f"{'#' * hidden}[{field.name}.{name}]"
        yield f"{'#' * hidden}type = {json.dumps(type_name)}"
        if kind == "policy":
            yield from _options(PolicyOptions, hidden=hidden)
        yield from _options(options, hidden=hidden)
        yield ""


def _domains() -> Iterator[str]:
    """One domain that is ours, and what those of other kinds would have."""
    hints = get_type_hints(Domain, include_extras=True)
    fields = {field.name: field for field in option_fields(Domain)}
    special = [key for keys in _OTHER_DOMAINS.values() for key in keys]
    ours = sorted((key for key in fields if key not in special), key=lambda key: not fields[key].metadata["shown"])
    yield from _comment(_text(Domain))
    for name, keys in {"example.org": ours, **_OTHER_DOMAINS}.items():
        yield f'{"#" * (name in _OTHER_DOMAINS)}[domains."{name}"]'
        for key in keys:
            yield from _option_example(fields[key], hints[key])
        yield ""


def _option_example(field: Field[Any], kind: Any) -> Iterator[str]:
    *text, line = _option(field, kind)
    yield from text
    yield line if field.metadata["shown"] else f"#{field.name} = {field.metadata['example']}"


# --- reStructuredText --------------------------------------------------------------------------------------


def _title(text: str, line: str = "-") -> list[str]:
    return [text, line * len(text), ""]


def _reference_section(title: str, kind: type[Options], line: str = "-") -> list[str]:
    lines = [*_title(title, line), *textwrap.wrap(_quoted(_text(kind)), _WIDTH), ""]
    hints = get_type_hints(kind, include_extras=True)
    for field in option_fields(kind):
        if not _is_options(hints[field.name]):
            lines += _reference_option(field, hints[field.name])
    return lines


def _reference_option(field: Field[Any], kind: Any) -> list[str]:
    default, example = _default(field, kind), field.metadata["example"]
    facts = [_type_name(kind)]
    if field.metadata["unit"]:
        facts.append(f"in {field.metadata['unit']}")
    if field.default is MISSING and field.default_factory is MISSING:
        facts.append("needed")
    elif default is not None:
        facts.append(f"default ``{default}``")
    if example and example != default:
        facts.append(f"example ``{example}``")
    text = textwrap.wrap(_quoted(_plain(field.metadata["doc"])), _WIDTH - 4, break_on_hyphens=False)
    return [f"``{field.name}``: {', '.join(facts)}", *[f"    {line}" for line in text], ""]


def _reference_providers(field: Field[Any], kind: str) -> list[str]:
    lines = [*_title(f"[{field.name}.X]"), *textwrap.wrap(_quoted(_plain(field.metadata["doc"])), _WIDTH), ""]
    if kind == "policy":
        lines += _reference_section("Whatever its type", PolicyOptions, "~")
    for type_name in _BUILT_IN.types(kind):
        lines += _reference_section(f'type = "{type_name}"', _BUILT_IN.get(kind, type_name).options, "~")
    return lines


# --- both --------------------------------------------------------------------------------------------------


def _is_options(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Options)


def _sections(path: str, kind: type[Options]) -> Iterator[tuple[str, type[Options]]]:
    """A section that has options of its own, then those within it, by their headings."""
    hints = get_type_hints(kind, include_extras=True)
    fields = [(field.name, hints[field.name]) for field in option_fields(kind)]
    if not all(_is_options(inner) for _, inner in fields):
        yield path, kind
    for name, inner in fields:
        if _is_options(inner):
            yield from _sections(f"{path}.{name}", inner)


def _text(kind: type[Options]) -> str:
    return _plain(inspect.getdoc(kind) or "")


def _plain(text: str) -> str:
    """The text of an option or a docstring, in one paragraph, names between single back quotes."""
    return " ".join(text.replace("``", "`").split())


def _quoted(text: str) -> str:
    return text.replace("`", "``").replace("*", "\\*")


def _default(field: Field[Any], kind: Any) -> str | None:
    """The default as TOML; None where there is none to show."""
    if field.default is MISSING or field.default is None:
        return None
    return as_toml(field.default, kind)


def _type_name(kind: Any) -> str:
    kind = required(kind)
    if get_origin(kind) is tuple:
        return f"list of {_type_name(get_args(kind)[0])}"
    if get_origin(kind) is Literal:
        return " or ".join(f"``{as_toml(choice, str)}``" for choice in get_args(kind))
    if get_origin(kind) is Mapping:
        return f"table of {_type_name(get_args(kind)[1])}"
    if get_origin(kind) is Annotated and get_args(kind)[0] is Section:
        return "section"
    return _TYPES.get(kind, "value")


def main() -> None:
    """Write the files below the current folder."""
    files = {"etc/mta.toml": shipped(), "docs/configuration.rst": reference(), "docs/extensions.rst": extensions()}
    for path, text in files.items():
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    main()
