"""The tree that an address leads along, out of the events that its expansion returned.

Contract: nothing is decided here.  A target that the walk had been at before has a ``note``: "loop" where it is one of
those above it, "duplicate" where it is in another branch, which goes once.  ``where`` is the file and line of the entry
that led on, where its table can tell; ``stands`` those of the address itself, where an alias included the file.
Limits: ``MOST_NODES`` of one tree.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Final

from mta.address import Address
from mta.config.lines import key_line, section_line
from mta.deciding import Deciding
from mta.events import EXPANDED, Event
from mta.lists.values import BOUNCES, OWNER
from mta.reply import MailFailure
from mta.routing.aliases import ADDRESSES, AliasTarget, Allowed, Include, parse_targets
from mta.routing.keys import address_keys
from mta.routing.steps.alias import MAX_FILES
from mta.routing.tables.watched import read

MOST_NODES: Final = 2000

Node = dict[str, Any]


def tree_of(address: Address, steps: Iterable[Event], decides: Deciding) -> Node:
    """The node of the address, with those below it as ``targets``."""
    known = {event.args["address"]: event.args for event in steps if event.code == EXPANDED.code}
    return _Tree(known, decides).node(str(address), ())


def place_of_entry(decides: Deciding, table: str, address: str) -> str:
    """``FILE:LINE`` of what a table has under an address; of its section where it cannot tell, or is none of files."""
    place = decides.answerer.where(table, address)
    return place or section_line(decides.configuration.files, "tables", table.removeprefix("table:"))


def _node(address: str) -> Node:
    return {"address": address, "rule": "", "table": "", "where": "", "stands": "", "note": "", "targets": []}


def included(decides: Deciding, table: str, address: str) -> dict[str, str]:
    """Where the targets of an alias stand that come out of files which it includes: ``FILE:LINE`` by their texts."""
    found, domain = decides.tables.made.get(table), address.rpartition("@")[2]
    allowed = decides.router.rules.allowed.get(table, ADDRESSES)
    if found is None or not allowed.folder:
        return {}
    places: dict[str, str] = {}
    try:
        values = (found.lookup(key) for key in address_keys(Address.parse(address, utf8=True)))
        value = next((one for one in values if isinstance(one, str)), "")
        files = [one.path for one in parse_targets(value, domain, allowed) if isinstance(one, Include)]
    except (MailFailure, ValueError):
        return {}
    for path in files:  # it grows
        try:
            lines = read(path, _lines).entries
        except (OSError, ValueError):
            continue  # the alias fails by it, and says so
        for number, line in enumerate(lines, 1):
            for target in _targets(line, domain, path):
                if not isinstance(target, Include):
                    places.setdefault(str(target), f"{path}:{number}")
                elif target.path not in files and len(files) < MAX_FILES:
                    files.append(target.path)
    return places


def _lines(blocks: Iterable[bytes], lines: int, path: str) -> list[str]:
    return b"\n".join(blocks).decode("utf-8").split("\n")


def _targets(line: str, domain: str, path: str) -> tuple[AliasTarget, ...]:
    line = line.strip().rstrip(",")
    try:
        return () if not line or line[0] == "#" else parse_targets(line, domain, Allowed(folder=os.path.dirname(path)))
    except ValueError:
        return ()


class _Tree:
    def __init__(self, known: Mapping[str, Mapping[str, Any]], decides: Deciding) -> None:
        self._known = known
        self._decides = decides
        self._met: set[str] = set()

    def node(self, address: str, above: tuple[str, ...]) -> Node:
        made = _node(address)
        if address in self._met:
            made["note"] = "loop" if address in above else "duplicate"
            return made
        self._met.add(address)
        step = self._known.get(address)
        if step is None:
            return made
        rule, table = str(step.get("rule", "")), str(step.get("table") or "")
        if rule == "forward":
            place = table  # the file itself
        else:
            place = place_of_entry(self._decides, table, address) if table else self._section(rule, address)
        made.update(rule=rule, table=table, where=place)
        stands = included(self._decides, table, address) if rule == "alias" else {}
        for target in step.get("targets", ()):
            if len(self._met) >= MOST_NODES:
                made["note"] = "more"
                break
            if target == address:
                made["targets"].append(self._itself(target))
            else:
                made["targets"].append({**self.node(target, (*above, address)), "stands": stands.get(target, "")})
        return made

    def _itself(self, address: str) -> Node:
        """An alias that names itself: its own mailbox, if it has one."""
        return {**_node(address), "note": "itself"}

    def _section(self, rule: str, address: str) -> str:
        """What is no table's entry is a list, or an option of the domain or of all."""
        files, (local, _, domain) = self._decides.configuration.files, address.rpartition("@")
        if rule in ("list", "list-owner"):
            for suffix in ("", OWNER, BOUNCES) if rule == "list-owner" else ("",):
                if place := section_line(files, "lists", f"{local.removesuffix(suffix).lower()}@{domain}"):
                    return place
        if rule in ("srs", "postmaster"):
            return key_line(files, rule)
        return section_line(files, "domains", domain) if domain else ""
