"""What decides on mail in a configuration, without the service: for ``mta route`` and for ``mta check``.

Contract: made as the service makes it (mta/deciding.py); nothing is bound, sent or stored.  ``on_trial`` gives no way
to a network; ``Outside.run`` gives a reactor of its own for as long as something has to be waited for.
How it fails: ``OSError``, ``ValueError`` and their kind where something of it cannot be made; ``TimeoutError`` from
``run``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import SystemRandom
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from mta.admin.setting import now_ms
from mta.config.load import Configuration
from mta.deciding import Deciding, deciding
from mta.delivery.call_ahead import Memory
from mta.dns.fake import FakeResolver
from mta.dns.resolver import Resolver
from mta.events import Event
from mta.interfaces import IResolver, ITable
from mta.plugin import Services
from mta.routing.own import is_own
from mta.waiting import as_deferred

T = TypeVar("T")
#: Seconds that a command waits in all.
WAIT: Final = 60.0


class Outside:
    """The outside world of one command: a reactor that runs only in ``run``, and DNS."""

    def __init__(self) -> None:
        self.reactor: Any = EPollReactor()
        self._made: list[Deciding] = []

    def resolver(self, configuration: Configuration) -> Resolver:
        """As the service asks DNS."""
        dns = configuration.dns
        servers = [f"[{server.host}]:{server.port}" for server in dns.servers]
        return Resolver(self.reactor, servers, timeout=dns.timeout, trust_ad=dns.trust_ad)

    def deciding(self, configuration: Configuration, resolver: IResolver, call_ahead: bool = False) -> Deciding:
        """What decides, with the network.  ``call_ahead``: next hosts are asked whether they take addresses."""
        called = Memory() if call_ahead else None
        services = replace(_services(self.reactor, resolver, self._in_thread), is_own=is_own)
        made = deciding(configuration, services, called=called)
        self._made.append(made)
        return made

    def _in_thread(self, work: Callable[..., Any], *args: Any) -> Deferred[Any]:
        return deferToThreadPool(self.reactor, self.reactor.getThreadPool(), work, *args)

    def run(self, work: Callable[[], Awaitable[T]], most: float | None = WAIT) -> T:
        """Wait for something, for so many seconds at most.  Once."""
        found: list[Any] = []

        def start() -> None:
            running = as_deferred(work())
            if most is not None:
                running.addTimeout(most, self.reactor)
            running.addBoth(found.append).addBoth(lambda _: self.reactor.stop())

        self.reactor.callWhenRunning(start)
        try:
            self.reactor.run(installSignalHandlers=False)
        finally:
            for made in self._made:
                made.policies.close()
                made.tables.close()
            self.reactor.disconnectAll()
        (result,) = found
        if isinstance(result, Failure):
            if result.check(TimedOut):
                raise TimeoutError(f"there was no answer within {most:g} s")
            result.raiseException()
        answer: T = result
        return answer


def on_trial(configuration: Configuration) -> Deciding:
    """What decides, for what needs no network."""
    # A thread could not be waited for: whoever asks one waits for ever, and a trial does not wait.
    return deciding(configuration, _services(Clock(), FakeResolver(), lambda work, *args: Deferred()))


def _services(reactor: Any, resolver: IResolver, in_thread: Callable[..., Deferred[Any]]) -> Services:
    return Services(
        name="",
        hostname="",
        reactor=reactor,
        now=now_ms,
        random=SystemRandom(),
        resolver=resolver,
        in_thread=in_thread,
        table=_no_table,
        emit=_forget,
    )


def _no_table(name: str) -> ITable:
    raise KeyError(name)


def _forget(event: Event, id: str) -> None:
    """Nobody reads what happens beside the answer."""
