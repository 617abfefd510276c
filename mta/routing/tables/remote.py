"""Questions to tables that have to be waited for: one way for all of them.

What it is: ``Remote`` stands before what asks a database, a directory or another host.  It remembers answers for a
time, joins equal questions that are under way, ends each after ``timeout``, and lets a far end that cannot be
reached rest, for longer each time.
Contract: what is remembered is answered at once, without a Deferred.  Cancelling one answer ends no question that
others wait for.  A question is asked by the key in the form of
``mta.routing.keys.table_key``; an answer that is older than ``cache`` is never given.
How it fails: every failure is ``TemporaryFailure`` with the reason: nobody is unknown because a database is down.
Failures are not remembered, but while a far end rests (``Unreachable``) a question fails at once; ``TABLE_FAILS``
and ``TABLE_ANSWERS`` say so in the log, once each.
Limits: ``cache_entries`` answers, ``questions`` under way; a key of ``MAX_KEY`` characters, without controls (which
no protocol need ever carry); a value of ``MAX_VALUE``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.python.failure import Failure

from mta import events
from mta.config.option import Duration, Options, at_least, option
from mta.interfaces import Maybe
from mta.plugin import Services
from mta.reply import MailFailure, TemporaryFailure
from mta.routing.keys import table_key
from mta.routing.tables.watched import CONTROL, TABLE_FAILED

MAX_KEY: Final = 1000
MAX_VALUE: Final = 1 << 20
#: Seconds for which a far end rests after it could not be reached: at first, and at most.
REST_FIRST: Final = 1.0
REST_MOST: Final = 60.0
#: So many questions in a row without an answer in time: the far end rests as well.
MOST_LATE: Final = 3


class Unreachable(Exception):
    """The far end cannot be reached at all: the next question need not try at once.  ``str()`` says why."""


class RemoteOptions(Options):
    """Options of every table that has to be waited for."""

    timeout: Duration = option(
        Duration(5.0),
        doc="How long a question may take. Then the table cannot know, and mail waits.",
        check=at_least(0.001, "1ms"),
    )
    cache: Duration = option(
        Duration(60.0), doc='How long a value that was found is remembered. With "0s" each question is asked.'
    )
    cache_unknown: Duration = option(Duration(10.0), doc="How long it is remembered that there is nothing under a key.")
    cache_entries: int = option(
        10_000,
        doc="How many answers are remembered; the one not used for longest goes.",
        unit="answers",
        check=at_least(1),
    )
    questions: int = option(
        1000, doc="The most questions under way. Beyond, the table cannot know.", unit="questions", check=at_least(1)
    )


class _Known(NamedTuple):
    value: str | None
    until: float


class Remote:
    """See the module's text.  ``ask`` is given the key and returns its value, or a Deferred of it."""

    def __init__(self, options: RemoteOptions, services: Services, ask: Callable[[str], Any]) -> None:
        self._options = options
        self._services = services
        self._seconds: Callable[[], float] = services.reactor.seconds
        self._ask = ask
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._asked: dict[str, list[Deferred[str | None]]] = {}
        self._rest = 0.0  # seconds that the far end rests when it next cannot be reached; 0: it can
        self._rests_until = 0.0
        self._why = ""
        self._late = 0  # questions in a row that were not answered in time

    def lookup(self, key: str) -> Maybe[str | None]:
        """See ``ITable``."""
        if len(key) > MAX_KEY or CONTROL.search(key):
            raise TemporaryFailure(TABLE_FAILED, f"a key that is too long or has control characters: {key[:60]!r}")
        key = table_key(key)
        known = self._known.get(key)
        if known is not None:
            if self._seconds() < known.until:
                self._known.move_to_end(key)
                return known.value
            del self._known[key]
        waiters = self._asked.get(key)
        if waiters is not None:
            return _joined(waiters)
        if self._rest and self._seconds() < self._rests_until:
            raise TemporaryFailure(TABLE_FAILED, self._why)
        if len(self._asked) >= self._options.questions:
            raise TemporaryFailure(TABLE_FAILED, f"{len(self._asked)} questions are under way")
        waiters = self._asked[key] = []
        answer = _joined(waiters)
        self._start(key)
        return answer

    def _start(self, key: str) -> None:
        asked: Deferred[Any] = maybeDeferred(self._ask, key)
        late = self._services.reactor.callLater(self._options.timeout, asked.cancel)
        asked.addBoth(self._ended, key, late)

    def _ended(self, result: Any, key: str, late: Any) -> None:
        if late.active():
            late.cancel()
        waiters = self._asked.pop(key)
        try:
            value = self._value(result)
        except TemporaryFailure as failure:
            for waiter in waiters:
                waiter.errback(failure)
            return
        self._remember(key, value)
        for waiter in waiters:
            waiter.callback(value)

    def _value(self, result: Any) -> str | None:
        """What was answered.  Raises ``TemporaryFailure`` for whatever went wrong."""
        if isinstance(result, Failure):
            raise self._failed(result.value)
        self._late = 0
        if self._rest:
            self._rest = 0.0
            self._services.emit(events.TABLE_ANSWERS(table=self._services.name), "")
        if result is None:
            return None
        if not isinstance(result, str):
            raise TemporaryFailure(TABLE_FAILED, f"the value is no text but {type(result).__name__}")
        if len(result) > MAX_VALUE or CONTROL.search(result):
            raise TemporaryFailure(TABLE_FAILED, "the value is too long, or has control characters")
        return result

    def _failed(self, error: BaseException | None) -> TemporaryFailure:
        if isinstance(error, MailFailure):
            return TemporaryFailure(TABLE_FAILED, error.reason or error.reply.text)
        if isinstance(error, CancelledError):
            why = f"no answer within {self._options.timeout:g} s"
            self._late += 1
            if self._late >= MOST_LATE:
                self._let_rest(why)
        else:
            why = str(error) or type(error).__name__
            self._late = 0
            if isinstance(error, Unreachable):
                self._let_rest(why)
        return TemporaryFailure(TABLE_FAILED, why)

    def _let_rest(self, why: str) -> None:
        if self._seconds() < self._rests_until:
            return  # one that was asked before it came to rest
        if not self._rest:
            self._services.emit(events.TABLE_FAILS(table=self._services.name, error=why), "")
        self._rest = min(self._rest * 2 or REST_FIRST, REST_MOST)
        self._rests_until = self._seconds() + self._rest
        self._why = why

    def _remember(self, key: str, value: str | None) -> None:
        seconds = self._options.cache_unknown if value is None else self._options.cache
        if seconds <= 0:
            return
        self._known[key] = _Known(value, self._seconds() + seconds)
        if len(self._known) > self._options.cache_entries:
            self._known.popitem(last=False)


def _joined(waiters: list[Deferred[str | None]]) -> Deferred[str | None]:
    """One more that waits for the answer; it may be cancelled by itself."""
    waiter: Deferred[str | None] = Deferred()
    waiters.append(waiter)
    return waiter
