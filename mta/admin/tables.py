"""One look into a table of the configuration, without the service.

Contract: the table is built as the service builds it, from the same section, so the answer is the same.
How it fails: ``ValueError`` for a name that no table has and for a table that has to wait for a network; ``OSError``,
``ValueError`` and ``MailFailure`` as the table does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from random import SystemRandom
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from mta.config.load import Configuration
from mta.config.option import Path
from mta.config.values import nearest
from mta.dns.fake import FakeResolver
from mta.events import Event
from mta.interfaces import ITable
from mta.plugin import Services
from mta.routing.tables import FileTable, FileTableOptions


def look_up(configuration: Configuration, name: str, key: str, now: Callable[[], int]) -> str | None:
    """The value under a key of ``NAME``, ``table:NAME`` or ``file:PATH``; None where there is none."""
    found: list[Any] = []
    table = _table(configuration, name, now)
    maybeDeferred(table.lookup, key).addBoth(found.append)
    if not found:
        raise ValueError(f"the table {name} has to wait for something that only the service has")
    if isinstance(found[0], Failure):
        found[0].raiseException()
    value: str | None = found[0]
    return value


def _table(configuration: Configuration, name: str, now: Callable[[], int]) -> ITable:
    def services(name: str) -> Services:
        return Services(
            name=name,
            hostname=configuration.hostname,
            reactor=Clock(),
            now=now,
            random=SystemRandom(),
            resolver=FakeResolver(),  # no table of ours asks it
            in_thread=_at_once,
            table=lambda other: _table(configuration, other, now),
            emit=_forget,
        )

    kind, colon, rest = name.partition(":")
    if kind == "file" and colon:
        made: ITable = FileTable(FileTableOptions(path=Path(os.path.abspath(rest))), services(name))
        return made
    plain = rest if kind == "table" and colon else name
    section = configuration.tables.get(plain)
    if section is None:
        raise ValueError(f"there is no [tables.{plain}]: {nearest(plain, configuration.tables)}")
    table: ITable = section.provider(section.options, services(plain))
    return table


def _at_once(work: Callable[..., Any], *args: Any) -> Deferred[Any]:
    return maybeDeferred(work, *args)


def _forget(event: Event, id: str) -> None:
    """Nobody reads the events of a single look."""
