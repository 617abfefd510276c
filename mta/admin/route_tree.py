"""The tree that an address leads along, out of the events that its expansion returned.

Contract: nothing is decided here.  A target that the walk had been at before has a ``note``: "loop" where it is one of
those above it, "duplicate" where it is in another branch, which goes once.  ``where`` is the file and line of the entry
that led on, where its table can tell.
Limits: ``MOST_NODES`` of one tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from mta.address import Address, AddressError
from mta.config.lines import section_line
from mta.deciding import Deciding
from mta.events import EXPANDED, Event
from mta.routing.keys import address_keys
from mta.routing.tables.made import where

MOST_NODES: Final = 2000

Node = dict[str, Any]


def tree_of(address: Address, steps: Iterable[Event], decides: Deciding) -> Node:
    """The node of the address, with those below it as ``targets``."""
    known = {event.args["address"]: event.args for event in steps if event.code == EXPANDED.code}
    return _Tree(known, decides).node(str(address), ())


def place_of_entry(decides: Deciding, table: str, address: str) -> str:
    """``FILE:LINE`` of what a table has under an address, "" where it cannot tell."""
    found = decides.tables.made.get(table)
    if found is None:
        return ""
    try:
        keys = address_keys(Address.parse(address, utf8=True))
    except AddressError:
        keys = (address,)
    return next((place for key in keys if (place := where(found, key))), "")


class _Tree:
    def __init__(self, known: Mapping[str, Mapping[str, Any]], decides: Deciding) -> None:
        self._known = known
        self._decides = decides
        self._met: set[str] = set()

    def node(self, address: str, above: tuple[str, ...]) -> Node:
        made: Node = {"address": address, "rule": "", "table": "", "where": "", "note": "", "targets": []}
        if address in self._met:
            made["note"] = "loop" if address in above else "duplicate"
            return made
        self._met.add(address)
        step = self._known.get(address)
        if step is None:
            return made
        rule, table = str(step.get("rule", "")), str(step.get("table") or "")
        place = place_of_entry(self._decides, table, address) if table else self._section(rule, address)
        made.update(rule=rule, table=table, where=place)
        for target in step.get("targets", ()):
            if len(self._met) >= MOST_NODES:
                made["note"] = "more"
                break
            if target == address:
                made["targets"].append(self._itself(target))
            else:
                made["targets"].append(self.node(target, (*above, address)))
        return made

    def _itself(self, address: str) -> Node:
        """An alias that names itself: its own mailbox, if it has one."""
        return {"address": address, "rule": "", "table": "", "where": "", "note": "itself", "targets": []}

    def _section(self, rule: str, address: str) -> str:
        """What is no table's entry is a list, or an option of the domain."""
        files, domain = self._decides.configuration.files, address.rpartition("@")[2]
        if rule == "list":
            return section_line(files, "lists", address)
        return section_line(files, "domains", domain) if domain else ""
