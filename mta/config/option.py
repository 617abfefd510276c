"""How an option is declared, so that its documentation, default, unit and check stand in one place.

An option is a dataclass field made by ``option``; its type says how the text of the configuration is read
(``mta.config.convert``).  Nothing here reads a file.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NewType, TypeAlias, dataclass_transform

from mta.address import Address
from mta.routing.keys import address_keys

if TYPE_CHECKING:
    from mta.interfaces import ITable

#: Seconds; in a configuration a string with a unit: "90s", "5m", "4h", "5d".
Duration = NewType("Duration", float)
#: Octets; in a configuration a string with a unit: "512KiB", "50MiB".
Size = NewType("Size", int)
#: A path, made absolute: relative ones are relative to the file that holds the key.
Path = NewType("Path", str)
#: A Twisted server endpoint string of a plain kind.
Endpoint = NewType("Endpoint", str)
#: The name of a table or a file: "table:users", "file:mailboxes" (the file's path is made absolute).
TableName = NewType("TableName", str)
#: The address of a web service: "https://host/path".
Url = NewType("Url", str)
#: A password or key: may also stand as { file = ... }, { env = ... } or { credential = ... }.
Secret = NewType("Secret", str)
#: The name of a section: letters, digits, ".", "_" and "-".
Name = NewType("Name", str)
#: A domain in the form in which domains are compared (``mta.address.normal_domain``).
DomainName = NewType("DomainName", str)
#: The address of a mailing list, as text, its local part in lower case.
ListName = NewType("ListName", str)
#: A domain, "*.domain" (what is below it, not itself) or "*".
DomainPattern = NewType("DomainPattern", str)
#: A network in CIDR form: "192.0.2.0/24", "2001:db8::/32"; an address stands for itself alone.
Network: TypeAlias = IPv4Network | IPv6Network


class Table(str):
    """A table that an option names, as by ``TableName``; once its owner is made it can be asked.

    Raises ``TemporaryFailure`` when it cannot know.
    """

    _table: ITable | None = None

    def bound(self, get: Callable[[str], ITable]) -> Table:
        """The one to be asked; ``get`` gives tables by name.  Raises as that."""
        bound = Table(self)
        bound._table = get(self)
        return bound

    async def lookup(self, key: str | Address) -> str | None:
        """The value under the key, None where there is none.  An address is looked up whole, local part folded."""
        if self._table is None:
            raise ValueError(f"{self} is only a name here")
        found = self._table.lookup(address_keys(key)[0] if isinstance(key, Address) else key)
        return found if found is None or isinstance(found, str) else await found


#: The types of options that name tables.
TABLES: Final = (TableName, Table)


def bound(options: Options, get: Callable[[str], ITable]) -> Any:
    """The options with their ``Table``s bound."""
    tables: dict[str, Any] = {}
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if isinstance(value, Table):
            tables[field.name] = value.bound(get)
        elif isinstance(value, tuple) and any(isinstance(one, Table) for one in value):
            tables[field.name] = tuple(one.bound(get) if isinstance(one, Table) else one for one in value)
    return dataclasses.replace(options, **tables) if tables else options


class Server(NamedTuple):
    """The address and port of a server: "192.0.2.1", "192.0.2.1:53", "[2001:db8::1]:53"."""

    host: str
    port: int


MISSING: Any = dataclasses.MISSING
Check: TypeAlias = Callable[[Any], str | None]


def option(
    default: Any = MISSING,
    *,
    doc: str,
    factory: Callable[[], Any] | Any = MISSING,
    unit: str = "",
    example: str = "",
    shown: bool = False,
    check: Check | None = None,
) -> Any:
    """A dataclass field that is a configuration option.

    ``doc``: what it means and does, for people, in the generated documentation.  ``default`` is in the form
    that the program uses (seconds, octets).  ``unit``: what is counted, where the type does not say it.
    ``example``: TOML to show where a default says too little.
    ``shown``: the shipped configuration sets it (``example``) rather than showing it as a comment.
    ``check`` gets the value and returns what is wrong with it and what would be right, as words that can follow
    the value ("is too small; write 1 or more"), or None.
    """
    metadata = {"doc": doc, "unit": unit, "example": example, "shown": shown, "check": check}
    if factory is not MISSING:
        return dataclasses.field(default_factory=factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def at_least(least: float, shown: str = "") -> Check:
    """A check: the value, or each value of a list, is not below ``least`` (``shown``: as text with its unit)."""
    written = f'"{shown}"' if shown else f"{least:g}"

    def check(value: Any) -> str | None:
        if isinstance(value, tuple):
            small = any(one < least for one in value)
            return f"has a value that is too small; write {written} or more" if small else None
        return None if value >= least else f"is too small; write {written} or more"

    return check


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(option,))
@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Base of a section's options: a subclass is a frozen keyword-only dataclass without further ado.

    Its docstring is the section's text in the generated documentation.  As it stands it has no option.  A plugin may
    leave out ``option``: ``plans: Table`` is one that has to be written, ``level: int = 3`` one with a default.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, kind in inspect.get_annotations(cls).items():
            default = cls.__dict__.get(name, MISSING)
            if not isinstance(default, dataclasses.Field) and "ClassVar" not in str(kind):
                setattr(cls, name, option(default, doc=""))
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)

    def contradictions(self) -> Iterable[tuple[str, str, str]]:
        """What is wrong with options that are right by themselves: the key, what, and what to write instead."""
        return ()
