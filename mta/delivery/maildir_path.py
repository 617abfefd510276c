"""The folder of a mailbox, from a template and from what strangers may have chosen.

What it is: ``{domain}``, ``{local_part}`` and values of the mailbox table's entry are put into a path.
A last part ``.{tag}``, a folder for the tag of a subaddress (``user+tag``), is left out where there is none.
Contract: no value can leave its own part of the path, whatever it holds; unequal values give unequal
folders (also on a file system that takes upper and lower case for equal, for local parts: they are folded as
our mailboxes are compared); ordinary names look ordinary.
How: letters, digits and ``_ - + = .`` stand for themselves, each other octet of the UTF-8 form as ``%XX``, and
so does a dot or dash that begins a value.  A part of the path over ``MAX_PART`` octets is cut and ends in
``%h`` and its SHA-256.
Failure: ``MailboxPathError`` where the template names a value that is missing or empty.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from mta.address import Address
from mta.routing.keys import fold

#: NAME_MAX of the usual file systems, in octets.
MAX_PART: Final = 255
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
# Always encoded in a value: one of them between two values keeps different pairs apart.
_SEPARATORS: Final = "@,:~!"
_ODD = re.compile(rb"[^A-Za-z0-9_+=.-]|\A[.-]")
_ORDINARY = re.compile(r"[a-z0-9_][a-z0-9_+=.-]{0,63}\Z")


class MailboxPathError(ValueError):
    """The mailbox has no path; ``str()`` says why, for the operator."""


def check_template(template: str) -> str | None:
    """What is wrong with a template and what would be right, or None."""
    *above, last = template.split("/")
    if any("{tag}" in part for part in above) or ("{tag}" in last and last != ".{tag}"):
        return "has {tag} in a place where folders of mailboxes could run into each other; let it end in /.{tag}"
    for part in template.split("/"):
        rest = _PLACEHOLDER.sub("", part)
        if "{" in rest or "}" in rest:
            return "has a brace without its pair; write {domain}, {local_part} or a value of the mailbox table"
        for between in _PLACEHOLDER.split(part)[2:-1:2]:
            if not set(between) & set(_SEPARATORS):
                return (
                    "has two values in one part of the path that could run into each other; "
                    "put a / or an @ between them"
                )
    return None


def encoded(value: str) -> str:
    """A value as (part of) a file name; see the module's text."""
    if _ORDINARY.match(value):
        return value
    octets = value.encode("utf-8", "surrogatepass")
    return _ODD.sub(lambda match: b"%%%02X" % match[0][0], octets).decode("ascii")


class MailboxPath:
    """A template that was checked.  ``folder`` is its only method."""

    __slots__ = ("_parts", "_without_tag")

    def __init__(self, template: str) -> None:
        self._parts = template.split("/")
        self._without_tag = [part for part in self._parts if part != ".{tag}"]

    def folder(self, address: Address, values: Mapping[str, Any]) -> str:
        """The folder of the mailbox.  Raises ``MailboxPathError``."""

        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name == "local_part":  # of "user+tag" it is "user", where the mailbox is that one's
                found = fold(values.get(name) or address.local)
            elif name == "tag":
                found = fold(values[name])
            elif name == "domain":
                found = address.domain
            else:
                found = str(values.get(name, ""))
            if not found:
                raise MailboxPathError(f"the path of the mailbox needs {{{name}}}, and there is none")
            return encoded(found)

        parts = self._parts if values.get("tag") else self._without_tag
        return "/".join([_bounded(_PLACEHOLDER.sub(value, part)) for part in parts])


def _bounded(part: str) -> str:
    if len(part) <= MAX_PART or len(part.encode()) <= MAX_PART:
        return part
    digest = sha256(part.encode()).hexdigest()
    return part.encode()[: MAX_PART - 66].decode("utf-8", "ignore") + "%h" + digest
