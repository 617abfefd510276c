"""The right side of an alias: ``target, target``, as in the classic aliases file.

Contract: a target is an address, or a local part of the alias's own domain; ``\\bob`` (sendmail's sign for "do
not expand further") is read as ``bob``, since an alias that names itself means its own mailbox here.  Where
``Allowed`` says so it may also be ``:include:PATH`` (a file of further targets), ``|PROGRAM ARGUMENTS`` or ``/PATH``;
one with commas or spaces stands in double quotes: ``"|/usr/bin/prog -x, y"``.  A command is never given to a shell:
it is split into its arguments as a shell would, and its program has an absolute path.
How it fails: ``ValueError`` in plain words.
Limits: ``MAX_PLACE`` characters of a command or path.
"""

from __future__ import annotations

import os
import re
import shlex
from typing import Final, NamedTuple

from mta.address import Address, AddressError
from mta.envelope import Destination
from mta.routing.values import COMMAND, FILE

MAX_PLACE: Final = 2000
_INCLUDE: Final = ":include:"
# One target: quoted strings may hold commas; what stands outside of them may not.
_TARGET: Final = re.compile(r'\s*((?:"(?:\\.|[^"\\])*"|\[[^\]]*\]|[^,"\[])*)(,|\Z)')
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Include(NamedTuple):
    """A file of further targets, by its absolute path."""

    path: str


class Allowed(NamedTuple):
    """What a table may hold beside addresses: commands and files if the administrator said so, and ``:include:`` in
    a table that is a file: ``folder`` is where relative paths begin."""

    commands: bool = False
    folder: str = ""


ADDRESSES: Final = Allowed()
AliasTarget = Address | Destination | Include


def parse_targets(text: str, domain: str, allowed: Allowed = ADDRESSES) -> tuple[AliasTarget, ...]:
    """Where an alias of ``domain`` leads, in order, each once.  Raises ``ValueError``."""
    targets: dict[AliasTarget, None] = {}
    position = 0
    while position < len(text):
        found = _TARGET.match(text, position)
        if found is None:
            raise ValueError("a quoted string or bracket is not closed")
        target = found[1].strip()
        if target:
            targets[_target(target, domain, allowed)] = None
        position = found.end()
    if not targets:
        raise ValueError("no target")
    return tuple(targets)


def _target(text: str, domain: str, allowed: Allowed) -> AliasTarget:
    try:
        return _special(text, allowed) or _address(text, domain)
    except ValueError as error:  # AddressError is one
        raise ValueError(f"target {text}: {error}") from None


def _address(text: str, domain: str) -> Address:
    text = text.removeprefix("\\")
    return Address.parse(text if "@" in text else f"{text}@{domain}", utf8=True)


def _special(text: str, allowed: Allowed) -> Destination | Include | None:
    """What is no address, or None."""
    plain = _unquoted(text)
    if plain.lower().startswith(_INCLUDE):
        if not allowed.folder:
            raise ValueError(":include: may stand in tables that are files alone")
        return Include(_path(os.path.join(allowed.folder, plain[len(_INCLUDE) :].strip())))
    if plain[:1] == ":":
        raise ValueError("of what begins with a colon there is :include: alone")
    if plain[:1] not in ("|", "/") or _is_address(text):
        return None
    if not allowed.commands:
        raise ValueError("commands and files need a table of type file with commands = true")
    if plain[0] == "/":
        return Destination(FILE, _path(plain))
    return Destination(COMMAND, _command(_unquoted(plain[1:].strip())))


def _is_address(text: str) -> bool:
    """``/x@example.org`` is none of ours to write into, but an address that X.400 gateways have."""
    try:
        return "@" in text and text[0] != "|" and bool(Address.parse(text, utf8=True))
    except AddressError:
        return False


def _unquoted(text: str) -> str:
    """Without the quotes around all of it."""
    if len(text) >= 2 and text[0] == text[-1] == '"' and re.fullmatch(r'"(?:\\.|[^"\\])*"', text):
        return _ESCAPED.sub(r"\1", text[1:-1])
    return text


def _path(path: str) -> str:
    if len(path) > MAX_PLACE or _CONTROL.search(path):
        raise ValueError("the path is too long or has a control character")
    if ".." in path.split("/"):
        raise ValueError('the path has ".." in it; write it without')
    return path


def _command(text: str) -> str:
    if len(text) > MAX_PLACE or _CONTROL.search(text):
        raise ValueError("the command is too long or has a control character")
    try:
        argv = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"the command cannot be divided into its arguments: {error}") from None
    if not argv or not argv[0].startswith("/"):
        raise ValueError("the command's program needs its whole path")
    return shlex.join(argv)
