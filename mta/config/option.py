"""How an option is declared, so that its documentation, default, unit and check stand in one place.

An option is a dataclass field made by ``option``; its type says how the text of the configuration is read
(``mta.config.load``).  Nothing here reads a file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NewType, dataclass_transform

#: Seconds; in a configuration a string with a unit: "90s", "5m", "4h", "5d".
Duration = NewType("Duration", float)
#: Octets; in a configuration a string with a unit: "512KiB", "50MiB".
Size = NewType("Size", int)
#: A path, made absolute: relative ones are relative to the file that holds the key.
Path = NewType("Path", str)
#: A Twisted server endpoint string of a plain kind.
Endpoint = NewType("Endpoint", str)
#: The name of a table or a file: "table:users", "file:mailboxes".
TableName = NewType("TableName", str)
#: A password or key: may also stand as { file = ... }, { env = ... } or { credential = ... }.
Secret = NewType("Secret", str)

MISSING: Any = dataclasses.MISSING


def option(
    default: Any = MISSING,
    *,
    doc: str,
    factory: Callable[[], Any] | Any = MISSING,
    example: str = "",
    shown: bool = False,
    check: Callable[[Any], str | None] | None = None,
) -> Any:
    """A dataclass field that is a configuration option.

    ``doc``: what it means and does, for people, in the generated documentation.  ``default`` is in the form
    that the program uses (seconds, octets).  ``example``: TOML to show where a default says too little.
    ``shown``: the shipped configuration sets it (``example``) rather than showing it as a comment.
    ``check`` gets the value and returns what is wrong and what would be right, or None.
    """
    metadata = {"doc": doc, "example": example, "shown": shown, "check": check}
    if factory is not MISSING:
        return dataclasses.field(default_factory=factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(option,))
class Options:
    """Base of a section's options: a subclass is a frozen keyword-only dataclass without further ado."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)
