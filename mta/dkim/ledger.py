"""The keys of one domain and where each stands in its life: made, then used, then retired (RFC 6376 3.1).  Pure.

What it is: ``Ledger`` is what ``keys.toml`` beside the keys holds.  A new key waits until DNS shows its record; then it
signs, and the one before it signs no more, but its record stays for what is on its way; then it goes.  ``next_step``
says which of these steps comes next, and the ``Ledger``'s methods take them.
Contract: a step changes nothing in place: a new ``Ledger`` comes back.  Of one algorithm one key signs at a time.
How it fails: ``WrongLedger`` for a text that is no ledger.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

from mta.dkim.keys import Algorithm

#: RFC 6376 3.1: labels as of a domain.
SELECTOR: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*\Z")
_PUBLIC: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}\Z")
_HEAD: Final = "# Written by: mta dkim.  One [[key]] for each key; times are UTC.\n"


class WrongLedger(ValueError):
    """The text is no ledger; ``str()`` says where."""


class State(StrEnum):
    """Of a key."""

    NEW = "new"  # its record has to appear in DNS
    ACTIVE = "active"
    RETIRED = "retired"  # its record has to stay in DNS for a while


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A key.  Times are UTC milliseconds; 0: not yet."""

    selector: str
    algorithm: Algorithm
    public: str
    made: int
    used: int = 0
    retired: int = 0

    @property
    def state(self) -> State:
        return State.RETIRED if self.retired else State.ACTIVE if self.used else State.NEW


class Step(StrEnum):
    """What comes next for a domain."""

    MAKE = "make"  # new keys
    USE = "use"  # the new ones, as soon as DNS shows them
    FORGET = "forget"  # the retired ones
    WAIT = "wait"


class Plan(NamedTuple):
    """The next step, the keys that it is about, and the time from which on it is due (0: now)."""

    step: Step
    entries: tuple[Entry, ...] = ()
    due: int = 0


@dataclass(frozen=True, slots=True)
class Ledger:
    """See the module's text."""

    entries: tuple[Entry, ...] = ()

    def of(self, state: State) -> tuple[Entry, ...]:
        """The keys in a state, in the order in which they were made."""
        return tuple(entry for entry in self.entries if entry.state is state)

    def with_new(self, entries: Iterable[Entry]) -> Ledger:
        """With further keys."""
        return Ledger((*self.entries, *entries))

    def using(self, chosen: Sequence[Entry], now: int) -> Ledger:
        """These sign from now on; those that did by the same algorithms are retired."""
        algorithms = {entry.algorithm for entry in chosen}
        return Ledger(
            tuple(
                replace(entry, used=now)
                if entry in chosen
                else replace(entry, retired=now)
                if entry.state is State.ACTIVE and entry.algorithm in algorithms
                else entry
                for entry in self.entries
            )
        )

    def retiring(self, selector: str, now: int) -> Ledger:
        """With this key used no more; without it, if it never was.  Raises ``KeyError``."""
        found = next((entry for entry in self.entries if entry.selector == selector), None)
        if found is None:
            raise KeyError(selector)
        if found.state is State.NEW:
            return self.without((found,))
        retired = replace(found, retired=found.retired or now)
        return Ledger(tuple(retired if entry is found else entry for entry in self.entries))

    def without(self, chosen: Sequence[Entry]) -> Ledger:
        """Without these."""
        return Ledger(tuple(entry for entry in self.entries if entry not in chosen))

    def free_selector(self, algorithm: Algorithm, now: int) -> str:
        """A name that no key here has: the day and the algorithm's first letter."""
        day = f"{datetime.fromtimestamp(now / 1000, UTC):%Y%m%d}{algorithm.value[0]}"
        taken = {entry.selector for entry in self.entries}
        return next(name for name in (day, *(f"{day}{n}" for n in range(2, len(taken) + 3))) if name not in taken)


def next_step(ledger: Ledger, now: int, rotate_after: int, retire_after: int) -> Plan:
    """What comes next; the periods are milliseconds.  ``Step.USE`` is due when DNS shows the records, whenever."""
    if new := ledger.of(State.NEW):
        return Plan(Step.USE, new)
    if retired := ledger.of(State.RETIRED):
        due = max(entry.retired for entry in retired) + retire_after
        return Plan(Step.FORGET if due <= now else Step.WAIT, retired, due)
    active = ledger.of(State.ACTIVE)
    due = min((entry.used for entry in active), default=-rotate_after) + rotate_after
    return Plan(Step.MAKE if due <= now else Step.WAIT, active, due)


def loads(text: str) -> Ledger:
    """From the text of the file.  Raises ``WrongLedger``."""
    try:
        tables = tomllib.loads(text).get("key", [])
        if not isinstance(tables, list):
            raise WrongLedger("key is no list of tables")
        ledger = Ledger(tuple(_entry(table) for table in tables))
    except tomllib.TOMLDecodeError as error:
        raise WrongLedger(f"it is not TOML: {error}") from None
    selectors = [entry.selector for entry in ledger.entries]
    if len(set(selectors)) < len(selectors):
        raise WrongLedger("a selector stands twice")
    return ledger


def dumps(ledger: Ledger) -> str:
    """The text of the file."""
    blocks = [_HEAD]
    for entry in ledger.entries:
        block = (
            f'\n[[key]]\nselector = "{entry.selector}"\nalgorithm = "{entry.algorithm}"\nmade = {_time(entry.made)}\n'
        )
        block += f"used = {_time(entry.used)}\n" if entry.used else ""
        block += f"retired = {_time(entry.retired)}\n" if entry.retired else ""
        blocks.append(f'{block}public = "{entry.public}"\n')
    return "".join(blocks)


def _time(at: int) -> str:
    return f"{datetime.fromtimestamp(at // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _entry(table: Any) -> Entry:
    if not isinstance(table, dict):
        raise WrongLedger("a key is no table")
    if unknown := set(table) - {"selector", "algorithm", "made", "used", "retired", "public"}:
        raise WrongLedger(f"{sorted(unknown)[0]} is nothing that a key has")
    selector, public = str(table.get("selector", "")), str(table.get("public", ""))
    if not SELECTOR.match(selector):
        raise WrongLedger(f"{selector[:80]!r} is no selector")
    if not _PUBLIC.match(public):
        raise WrongLedger(f"public of {selector} is not base64")
    try:
        algorithm = Algorithm(str(table.get("algorithm")))
    except ValueError:
        raise WrongLedger(f"algorithm of {selector} is none of {', '.join(Algorithm)}") from None
    made, used, retired = (
        _milliseconds(table.get(name), f"{name} of {selector}") for name in ("made", "used", "retired")
    )
    if retired and not used:
        raise WrongLedger(f"{selector} is retired and was never used")
    return Entry(selector=selector, algorithm=algorithm, public=public, made=made, used=used, retired=retired)


def _milliseconds(value: Any, what: str) -> int:
    if value is None:
        return 0
    if not isinstance(value, datetime):
        raise WrongLedger(f"{what} is no date and time, such as 2027-03-31T12:00:00Z")
    return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()) * 1000
