"""Who answers the questions of decisions on trial: the configuration's own tables, or what a test gives in their place.

Contract: what a test gives (entries of tables, DNS, the day) is all that is known of it; the other tables of the
configuration are asked where they answer at once.  Nothing goes over a network and nothing is waited for, so a test
comes out alike wherever and whenever it is run.
How it fails: what would have to be waited for cannot be known (``CannotKnow``, which decisions turn into 4yz), and is
in ``lacking``.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from copy import copy
from typing import Any, Final, Self

from zope.interface import implementer

from mta.config.schema import Configuration
from mta.interfaces import IResolver, ITable, Maybe
from mta.reply import LOCAL_ERROR, Reply, TemporaryFailure
from mta.routing.ask import Answerer
from mta.routing.calling import CANNOT_ASK, Called, CallQuestion, Heard, Word, handed_on, judge
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
_NO_CALLS: Final[Mapping[str, str]] = {}
_REPLY: Final = re.compile(r"([245]\d\d)(?: ([245]\.\d{1,3}\.\d{1,3}))?(?: (.*))?\Z")
_LOCAL: Final = (IncludeQuestion, HomeFileQuestion, DayQuestion, NameQuestion, MembersQuestion)


def read_reply(text: str) -> Reply:
    """A reply as it stands on a line: ``550 5.1.1 no such user``.  Raises ``ValueError``."""
    found = _REPLY.match(text)
    if found is None:
        raise ValueError('is no reply; write such as "250" or "550 5.1.1 no such user"')
    return Reply.of(int(found[1]), found[2] or "", found[3] or "")


@implementer(ITable)
class AskedTable:
    """A table of a policy, answered as those of decisions are."""

    def __init__(self, answerer: Answerer, name: str) -> None:
        self._answerer = answerer
        self._name = name

    def lookup(self, key: str) -> Maybe[str | None]:
        """See ``ITable``."""
        found: Any = self._answerer.ask(TableQuestion(self._name, key))
        if isinstance(found, CannotKnow):
            raise TemporaryFailure(LOCAL_ERROR, found.error)
        answer: Maybe[str | None] = found
        return answer


class GivenAnswers(Answerer):
    """See the module's text.  ``tables``: entries by the name of the table, "table:NAME" or "file:PATH"; ``used``:
    octets that each mailbox holds; ``calls``: what next hosts say of addresses, as ``read_reply`` reads it."""

    __slots__ = ("_calls", "_day", "_given", "_more", "_real", "_remote", "_used", "lacking")

    def __init__(
        self,
        configuration: Configuration,
        real: Answerer,
        resolver: IResolver,
        tables: Mapping[str, Mapping[str, str]],
        day: str = "",
        used: int = 0,
        calls: Mapping[str, str] = _NO_CALLS,
    ) -> None:
        super().__init__({}, resolver)
        self._real = real
        self._given = {name: MemoryTable(entries) for name, entries in tables.items()}
        self._day = day
        self._used = used
        self._calls = calls
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
        if isinstance(question, CallQuestion):
            return self._called(question)
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

    def _called(self, question: CallQuestion) -> Called | CannotKnow:
        said = self._calls.get(str(question.address))
        if said is None:
            return self._lacks(question)
        reply = read_reply(said)
        word = judge(reply)
        if word is Word.YES:
            return Called(Heard.YES, said)
        if word is Word.POLICY:
            return Called(Heard.UNSURE, said, CANNOT_ASK)
        return Called(Heard.NO if word is Word.NO else Heard.UNSURE, said, handed_on(reply))

    def _lacks(self, question: Question) -> CannotKnow:
        if isinstance(question, TableQuestion):
            name = question.table.removeprefix("table:")
            what = f"{question.table} has to be waited for; give what it holds for the test: tables.{name} = {{ ... }}"
        elif isinstance(question, CallQuestion):
            what = f'the next host has to be asked; give what it says for the test: calls."{question.address}" = "250"'
        else:
            what = f"nobody answers {question!r} in a test"
        self.lacking[what] = None
        return CannotKnow(what)
