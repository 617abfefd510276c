"""From the tree of what stands in the files to the typed options: one cattrs converter with our hooks.

What it is: ``converter`` makes a cattrs converter whose hooks take a ``Node`` and return the value of an option's
type; a plugin's ``Options`` are read by the same hooks.
Contract: a hook returns a value or raises ``ConfigurationError`` with ALL problems at and below its node, each
with the file and key path.  Unknown keys are problems with the nearest known name.
How it fails: an option whose type has no hook is a problem that names it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import NoneType, SimpleNamespace, UnionType
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from cattrs import Converter

from mta.address import Address
from mta.config import values
from mta.config.endpoint import endpoint
from mta.config.option import (
    MISSING,
    DomainName,
    DomainPattern,
    Duration,
    Endpoint,
    ListName,
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
from mta.config.problems import ConfigurationError, Problem, Wrong, show
from mta.config.providers import Providers, origin
from mta.config.render import option_fields, required
from mta.config.secret import secret
from mta.config.section import Section
from mta.config.tree import Node
from mta.config.values import nearest

Hook = Callable[[Node, Any], Any]

#: Types whose values need nothing but the text.
_PLAIN: Final[dict[Any, Callable[[Any], Any]]] = {
    str: values.text,
    bool: values.boolean,
    int: values.integer,
    float: values.number,
    Duration: values.duration,
    Size: values.size,
    Name: values.name,
    DomainName: values.domain,
    DomainPattern: values.domain_pattern,
    Address: values.address,
    ListName: values.list_name,
    Server: values.server,
    Url: values.url,
}
#: Types whose values need the folder of the file as well.
_BASED: Final[dict[Any, Callable[[Any, str], Any]]] = {
    Path: values.path,
    Endpoint: endpoint,
    TableName: values.table_name,
}


def converter(providers: Providers, environ: Mapping[str, str]) -> Converter:
    """A converter that reads sections by ``providers`` and secrets with ``environ``; see the module's text."""
    made = Converter()
    made.register_structure_hook_factory(lambda kind: True, _unknown_type)
    for kind, read in _PLAIN.items():
        made.register_structure_hook(kind, _leaf(_from_value(read)))
    for kind, read_at in _BASED.items():
        made.register_structure_hook(kind, _leaf(_from_place(read_at)))
    made.register_structure_hook(Secret, _leaf(lambda node: secret(node, environ)))
    made.register_structure_hook_factory(_is_literal, lambda kind: _leaf(_one_of(get_args(kind))))
    made.register_structure_hook_factory(_is_union, lambda kind: _union(kind, made))
    made.register_structure_hook_factory(_is_tuple, lambda kind: _tuple(get_args(kind)[0], made))
    made.register_structure_hook_factory(_is_mapping, lambda kind: _mapping(get_args(kind), made))
    made.register_structure_hook_factory(_is_options, lambda kind: _options(kind, made))
    made.register_structure_hook_factory(_is_section, lambda kind: _section(get_args(kind)[1], made, providers))
    made.register_structure_hook(Table, _leaf(_from_place(lambda value, base: Table(values.table_name(value, base)))))
    return made


class ReadFields(NamedTuple):
    """What could be read of a table, and what is wrong with the rest."""

    found: dict[str, Any]
    problems: list[Problem]


def read_options(made: Converter, kind: type[Options], node: Node, ignore: frozenset[str] = frozenset()) -> Any:
    """Read a table into its options; ``ignore`` are keys that somebody else reads."""
    read = read_fields(made, kind, node, ignore)
    if read.problems:
        raise ConfigurationError(read.problems)
    return _consistent(kind(**read.found), node)


def read_fields(made: Converter, kind: type[Options], node: Node, ignore: frozenset[str] = frozenset()) -> ReadFields:
    """As ``read_options``, one by one, and going on after each mistake."""
    if not isinstance(node.value, dict):
        return ReadFields({}, [node.problem(f"{show(node.value)} is not a table", f"write {_header(node)}")])
    problems: list[Problem] = []
    found: dict[str, Any] = {}
    # A key that is a word of Python's own ("from") has an underscore after it there.
    fields = {field.name.removesuffix("_"): field for field in option_fields(kind)}
    hints = get_type_hints(kind, include_extras=True)
    for key, child in node.value.items():
        if key in fields:
            name = fields[key].name
            try:
                found[name] = _checked(fields[key], hints[name], child, made.structure(child, hints[name]))
            except ConfigurationError as error:
                problems += error.problems
                if error.partial is not None:
                    found[name] = error.partial
        elif key not in ignore:
            problems.append(child.problem("is not known", nearest(key, [*fields, *ignore])))
    for name, field in fields.items():
        if name not in node.value and field.default is MISSING and field.default_factory is MISSING:
            problems.append(node.problem(f"{name} is missing", _how_to_write(name, field, hints[field.name])))
    return ReadFields(found, problems)


def _consistent(options: Options, node: Node) -> Options:
    """The options, unless they contradict each other."""
    problems = [node.value.get(key, node).problem(what, instead) for key, what, instead in options.contradictions()]
    if problems:
        raise ConfigurationError(problems, options)
    return options


def _how_to_write(name: str, field: dataclasses.Field[Any], kind: Any) -> str:
    if _is_tuple(kind) and _is_options(get_args(kind)[0]):
        return f"write [[{name}]] and its keys below"
    return f"write {name} = {field.metadata['example'] or '...'}"


def _checked(field: dataclasses.Field[Any], kind: Any, node: Node, value: Any) -> Any:
    check = field.metadata["check"]
    wrong = check(value) if check is not None else None
    if wrong is not None:
        shown = "the secret" if required(kind) is Secret else show(node.value)
        raise ConfigurationError([node.problem(wrong if isinstance(value, tuple) else f"{shown} {wrong}")])
    return value


def _header(node: Node) -> str:
    return f"[{node.path}] and its keys below" if "[" not in node.path else "it as a table"


def _from_value(read: Callable[[Any], Any]) -> Callable[[Node], Any]:
    return lambda node: read(node.value)


def _from_place(read: Callable[[Any, str], Any]) -> Callable[[Node], Any]:
    return lambda node: read(node.value, node.source.base)


def _leaf(read: Callable[[Node], Any]) -> Hook:
    def hook(node: Node, kind: Any) -> Any:
        try:
            return read(node)
        except Wrong as wrong:
            raise ConfigurationError([node.problem(wrong.what, wrong.instead)]) from None

    return hook


def _unknown_type(kind: Any) -> Hook:
    def hook(node: Node, kind: Any) -> Any:
        raise ConfigurationError([node.problem(f"the program declares it as {kind}, which no text can give")])

    return hook


def _one_of(choices: tuple[Any, ...]) -> Callable[[Node], Any]:
    def read(node: Node) -> Any:
        # True == 1 in Python, and not in a configuration.
        if any(type(node.value) is type(choice) and node.value == choice for choice in choices):
            return node.value
        known = " or ".join(show(choice) for choice in choices)
        raise Wrong(f"{show(node.value)} is not one of its values", f"write {known}")

    return read


def _is_literal(kind: Any) -> bool:
    return get_origin(kind) is Literal


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, UnionType)


def _union(kind: Any, made: Converter) -> Hook:
    """``X | None`` is X: what is not written is None.  Networks and IP addresses come in two versions."""
    members = set(get_args(kind)) - {NoneType}
    if members == {IPv4Network, IPv6Network}:
        return _leaf(lambda node: values.network(node.value))
    if members == {IPv4Address, IPv6Address}:
        return _leaf(lambda node: values.ip(node.value))
    if len(members) == 1:
        (member,) = members
        return lambda node, _: made.structure(node, member)
    return _unknown_type(kind)


def _is_tuple(kind: Any) -> bool:
    return get_origin(kind) is tuple and len(get_args(kind)) == 2 and get_args(kind)[1] is ...


def _tuple(member: Any, made: Converter) -> Hook:
    """A list; one value that is no table may stand for a list of one."""
    tables = _is_options(member)

    def hook(node: Node, kind: Any) -> tuple[Any, ...]:
        if tables and (not isinstance(node.value, list) or (node.value and not node.is_tables)):
            raise ConfigurationError([node.problem("is not a list of tables", f"write [[{node.path}]] for each")])
        found: list[Any] = []  # None stands for what could not be read
        problems: list[Problem] = []
        for child in node.value if isinstance(node.value, list) else [node]:
            try:
                found.append(made.structure(child, member))
            except ConfigurationError as error:
                found.append(None)
                problems += error.problems
        if problems:
            raise ConfigurationError(problems, tuple(found))
        return tuple(found)

    return hook


def _is_mapping(kind: Any) -> bool:
    return get_origin(kind) is Mapping


def _mapping(kinds: tuple[Any, ...], made: Converter) -> Hook:
    """Named tables.  Two names that mean the same are a problem.

    The keys are ``str`` to the program; ``Annotated[str, Name]`` says how they are read.
    """
    key_kind, member = get_args(kinds[0])[1], kinds[1]

    def hook(node: Node, kind: Any) -> dict[Any, Any]:
        if not isinstance(node.value, dict):
            what = f"{show(node.value)} is not a table of named tables"
            raise ConfigurationError([node.problem(what, f"write [{node.path}.NAME] for each")])
        found: dict[Any, Any] = {}
        problems: list[Problem] = []
        for key, child in node.value.items():
            try:
                name = made.structure(Node(key, child.source, child.path), key_kind)
                if name in found:
                    problems.append(child.problem("is there already under another spelling", "write it once"))
                found[name] = made.structure(child, member)
            except ConfigurationError as error:
                problems += error.problems
        if problems:
            raise ConfigurationError(problems, found)
        return found

    return hook


def _is_options(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Options)


def _options(kind: type[Options], made: Converter) -> Hook:
    def hook(node: Node, _: Any) -> Any:
        read = read_fields(made, kind, node)
        if read.problems:
            raise ConfigurationError(read.problems, SimpleNamespace(**read.found))
        return _consistent(kind(**read.found), node)

    return hook


def _is_section(kind: Any) -> bool:
    return get_origin(kind) is Annotated and get_args(kind)[0] is Section


def _section(kind_name: str, made: Converter, providers: Providers) -> Hook:
    """A section whose ``type`` names a provider, and whose other keys are that provider's options."""

    def hook(node: Node, kind: Any) -> Section:
        if not isinstance(node.value, dict):
            raise ConfigurationError([node.problem(f"{show(node.value)} is not a table", f"write {_header(node)}")])
        known = providers.types(kind_name)
        written = node.value.get("type")
        if written is None:
            choices = " or ".join(show(name) for name in known)
            raise ConfigurationError([node.problem("type is missing", f"write type = {choices}")])
        type_name = made.structure(written, str)
        try:
            family = providers.family(kind_name, type_name)
        except Wrong as wrong:
            raise ConfigurationError([written.problem(wrong.what, wrong.instead)]) from None
        provider = family[0]
        if kind_name == "policy":
            return _policy(made, node, type_name, family)
        try:
            options = read_options(made, provider.options, node, frozenset({"type"}))
        except ConfigurationError:
            raise
        except Exception as error:
            raise _unreadable(provider, node, error) from error
        return Section(type_name=type_name, provider=provider, options=options)

    return hook


def _unreadable(provider: Any, node: Node, error: Exception) -> ConfigurationError:
    """A stranger's options: a type hint without its import, a check that raises."""
    what = f"{origin(provider)} declares options that cannot be read: {type(error).__name__}: {error}"
    return ConfigurationError([node.problem(what, "repair the plugin")])


def _policy(made: Converter, node: Node, type_name: str, family: tuple[Any, ...]) -> Section:
    """A policy: the options of its type, and those that all have."""
    provider = family[0]
    for other in family:
        if other.options is not provider.options:
            what = f"{origin(other)} registers the type with other options than {origin(provider)} does"
            raise ConfigurationError([node.problem(what, "give all stages of one type the same options")])
    ours = frozenset(field.name for field in option_fields(PolicyOptions))
    problems: list[Problem] = []
    read: list[Any] = []
    for kind, ignore in ((PolicyOptions, frozenset(node.value)), (provider.options, ours | {"type"})):
        try:
            read.append(read_options(made, kind, node, ignore))
        except ConfigurationError as error:
            problems += error.problems
        except Exception as error:
            raise _unreadable(provider, node, error) from error
    if problems:
        raise ConfigurationError(problems)
    common, options = read
    return Section(type_name=type_name, provider=provider, options=options, providers=family, common=common)
