"""One look into a table of the configuration, without the service.

Contract: the table is built as the service builds it, from the same section, so the answer is the same; what the
service remembers of earlier answers it does not know.
How it fails: ``ValueError`` for a name that no table has; ``OSError``, ``ValueError`` and ``MailFailure`` as the table
does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from random import SystemRandom
from typing import Any, NamedTuple

from twisted.internet.defer import maybeDeferred
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import installReactor
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from mta.config.load import Configuration
from mta.config.values import nearest
from mta.dns.fake import FakeResolver
from mta.events import Event
from mta.interfaces import ITable
from mta.plugin import Services
from mta.routing.tables.made import Tables, where
from mta.waiting import as_deferred


class Look(NamedTuple):
    """The value, None where there is none; and the file and line of its entry, "" where there is none to tell."""

    value: str | None
    where: str


def look_up(configuration: Configuration, name: str, key: str, now: Callable[[], int]) -> Look:
    """What is under a key of ``NAME``, ``table:NAME`` or ``file:PATH``."""
    kind, colon, rest = name.partition(":")
    full = f"file:{os.path.abspath(rest)}" if kind == "file" and colon else f"table:{name.removeprefix('table:')}"
    plain = full.removeprefix("table:")
    if plain != full and plain not in configuration.tables:
        raise ValueError(f"there is no [tables.{plain}]: {nearest(plain, configuration.tables)}")
    with opened(configuration, now) as (tables, reactor):
        table = tables.get(full)
        value = _answered(table, key, reactor)
    return Look(value, where(table, key) if value is not None else "")


@contextmanager
def opened(configuration: Configuration, now: Callable[[], int]) -> Iterator[tuple[Tables, Any]]:
    """The tables, and the reactor in which they may wait."""
    reactor = _reactor()

    def services(name: str) -> Services:
        return _services(name, configuration, reactor, now, lambda other: tables.get(other))

    try:
        tables = Tables(configuration.tables, services)
        yield tables, reactor
        tables.close()
    finally:
        reactor.disconnectAll()


def _reactor() -> Any:
    """One of its own: a table may have to wait for a network.  Twisted's TLS wants it to be the process's, too."""
    reactor: Any = EPollReactor()
    if "twisted.internet.reactor" not in sys.modules:
        installReactor(reactor)
    return reactor


def _answered(table: ITable, key: str, reactor: Any) -> str | None:
    answer = table.lookup(key)
    if answer is None or isinstance(answer, str):
        return answer
    awaited = answer
    value: str | None = waited_for(lambda: awaited, reactor)
    return value


def waited_for(work: Callable[[], Awaitable[Any]], reactor: Any) -> Any:
    """What an awaitable comes to, in a reactor that runs as long as it has to be waited for."""
    found: list[Any] = []
    running = maybeDeferred(lambda: as_deferred(work())).addBoth(found.append)
    if not found:
        running.addBoth(lambda _: reactor.stop())
        reactor.run(installSignalHandlers=False)
    (value,) = found
    if isinstance(value, Failure):
        value.raiseException()
    return value


def _services(
    name: str, configuration: Configuration, reactor: Any, now: Callable[[], int], table: Callable[[str], ITable]
) -> Services:
    return Services(
        name=name,
        hostname=configuration.hostname,
        reactor=reactor,
        now=now,
        random=SystemRandom(),
        resolver=FakeResolver(),  # no table of ours asks it
        in_thread=lambda work, *args: deferToThreadPool(reactor, reactor.getThreadPool(), work, *args),
        table=table,
        emit=_forget,
    )


def _forget(event: Event, id: str) -> None:
    """Nobody reads the events of a single look."""
