"""Who answers the questions of decisions on trial: the configuration's own tables, or what a test gives in their place.

Contract: what a test gives (entries of tables, DNS, the day) is all that is known of it; the other tables of the
configuration are asked where they answer at once.  Nothing goes over a network and nothing is waited for, so a test
comes out alike wherever and whenever it is run.
How it fails: what would have to be waited for cannot be known (``CannotKnow``, which decisions turn into 4yz), and is
in ``lacking``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from copy import copy
from typing import Any, Final, Self

from mta.config.schema import Configuration
from mta.interfaces import IResolver, Maybe
from mta.routing.ask import Answerer
from mta.routing.tables import MemoryTable
from mta.routing.tables.remote import RemoteOptions
from mta.routing.values import (
    AddressQuestion,
    CannotKnow,
    DayQuestion,
    HomeFileQuestion,
    IncludeQuestion,
    MembersQuestion,
    MxQuestion,
    NameQuestion,
    Question,
    TableQuestion,
    TxtQuestion,
    UsageQuestion,
)
from mta.waiting import as_deferred

_DNS: Final = (MxQuestion, AddressQuestion, TxtQuestion)
#: What is answered from files and tables of this machine; of others (a call to another host) nothing is known here.
_LOCAL: Final = (IncludeQuestion, HomeFileQuestion, DayQuestion, NameQuestion, MembersQuestion)


class GivenAnswers(Answerer):
    """See the module's text.  ``tables``: entries by the name of the table, "table:NAME" or "file:PATH"; ``used``:
    octets that each mailbox holds."""

    __slots__ = ("_day", "_given", "_more", "_real", "_remote", "_used", "lacking")

    def __init__(
        self,
        configuration: Configuration,
        real: Answerer,
        resolver: IResolver,
        tables: Mapping[str, Mapping[str, str]],
        day: str = "",
        used: int = 0,
    ) -> None:
        super().__init__({}, resolver)
        self._real = real
        self._given = {name: MemoryTable(entries) for name, entries in tables.items()}
        self._day = day
        self._used = used
        self._more: Mapping[type, Callable[[Any], Any]] = {}
        self._remote = {
            f"table:{name}"
            for name, section in configuration.tables.items()
            if isinstance(section.options, RemoteOptions)
        }
        self.lacking: dict[str, None] = {}

    def with_others(self, others: Mapping[type, Callable[[Any], Any]]) -> Self:
        """See ``Answerer``."""
        made = copy(self)
        made._more = {**self._more, **others}
        return made

    def ask(self, question: Question) -> Maybe[Any]:
        """See ``Answerer``."""
        if (more := self._more.get(type(question))) is not None:
            return more(question)
        if isinstance(question, _DNS):
            return super().ask(question)
        if isinstance(question, DayQuestion) and self._day:
            return self._day
        if isinstance(question, UsageQuestion):
            return self._used
        if isinstance(question, TableQuestion):
            given = self._given.get(question.table)
            if given is not None:
                return given.lookup(question.key)
            if question.table in self._remote:
                return self._lacks(question)
        elif not isinstance(question, _LOCAL):
            return self._lacks(question)
        answer = self._real.ask(question)
        if not isinstance(answer, Awaitable):
            return answer
        waiting = as_deferred(answer)
        if waiting.called:
            return waiting
        waiting.addErrback(lambda failure: None)
        waiting.cancel()
        return self._lacks(question)

    def _lacks(self, question: Question) -> CannotKnow:
        if isinstance(question, TableQuestion):
            name = question.table.removeprefix("table:")
            what = f"{question.table} has to be waited for; give what it holds for the test: tables.{name} = {{ ... }}"
        else:
            what = f"nobody answers {question!r} in a test"
        self.lacking[what] = None
        return CannotKnow(what)
