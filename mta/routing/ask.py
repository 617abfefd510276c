"""The driver of decisions: asks tables and DNS what a pure decision needs, and calls it again.

Contract: ``resolve`` runs without a Deferred as long as everything it asks answers at once (tables in memory,
DNS answers from the cache); otherwise it returns an awaitable.  Questions of one round are asked together.
How it fails: a question that cannot be answered becomes ``CannotKnow`` in the facts, and the decision turns
that into 4yz; what the decision itself raises is passed on.
Limits: a decision has ``ROUNDS`` rounds to come to an end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final, TypeVar, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from mta.address import Address, AddressError
from mta.interfaces import IPlacedTable, IResolver, ITable, Maybe
from mta.reply import LOCAL_ERROR, MailFailure, TemporaryFailure
from mta.routing.calling import Called
from mta.routing.keys import address_keys
from mta.routing.values import (
    AddressQuestion,
    Answer,
    CannotKnow,
    Facts,
    MxQuestion,
    Needs,
    Question,
    TableQuestion,
    TxtQuestion,
)
from mta.waiting import as_deferred, step

log = Logger()
R = TypeVar("R")

#: More than the deepest decision needs: each level of an alias chain asks two keys of each of its domain's tables, a
#: tag those of its base too, and ``max_depth`` is ten.
ROUNDS: Final = 200


_NONE: Final[Mapping[type, Callable[[Any], Any]]] = {}


class Answerer:
    """Where questions are answered: the tables of the configuration by name, DNS, and what else is there."""

    __slots__ = ("_others", "_resolver", "_tables")

    def __init__(
        self, tables: Mapping[str, ITable], resolver: IResolver, others: Mapping[type, Callable[[Any], Any]] = _NONE
    ) -> None:
        """``others``: who answers further kinds of questions, as ``ask`` does."""
        self._tables = tables
        self._resolver = resolver
        self._others = others

    def with_others(self, others: Mapping[type, Callable[[Any], Any]]) -> Answerer:
        """One that answers these too."""
        return Answerer(self._tables, self._resolver, {**self._others, **others})

    def where(self, table: str, address: str) -> str:
        """``FILE:LINE`` of what a table has under an address, "" where nobody can tell without waiting."""
        known = self._tables.get(table)
        if known is None or not IPlacedTable.providedBy(known):
            return ""
        try:
            keys = address_keys(Address.parse(address, utf8=True))
        except AddressError:
            keys = (address,)
        try:
            return next((place for key in keys if (place := IPlacedTable(known).where(key))), "")
        except MailFailure:
            return ""  # it answered a moment ago

    def ask(self, question: Question) -> Maybe[Any]:
        """The answer, or an awaitable of it.  Both may fail."""
        if isinstance(question, TableQuestion):
            table = self._tables.get(question.table)
            if table is None:
                return CannotKnow(f"there is no table {question.table}")
            return table.lookup(question.key)
        if isinstance(question, MxQuestion):
            return self._resolver.mx(question.domain)
        if isinstance(question, AddressQuestion):
            return self._resolver.addresses(question.host)
        if isinstance(question, TxtQuestion):
            return self._resolver.txt(question.name)
        other = self._others.get(type(question))
        if other is None:
            return CannotKnow(f"nobody here can answer {question!r}")
        return other(question)


def resolve(
    decision: Callable[[Facts], R | Needs], facts: MutableMapping[Question, Any], answerer: Answerer
) -> Maybe[R]:
    """Call the decision until it decides; ``facts`` grows by what was asked.

    Raises, or the awaitable fails with, what the decision raises; ``TemporaryFailure`` when it comes to no end.
    """
    result = decision(facts)
    if not isinstance(result, Needs):
        return result
    done, value = step(_rounds(decision, result, facts, answerer))
    return cast("R", value) if done else cast("Deferred[R]", value)


async def _rounds(
    decision: Callable[[Facts], R | Needs],
    needs: Needs,
    facts: MutableMapping[Question, Any],
    answerer: Answerer,
) -> R:
    for _ in range(ROUNDS):
        waiting = _start(needs, facts, answerer)
        if waiting:
            await _collect(waiting, facts)
        result = decision(facts)
        if not isinstance(result, Needs):
            return result
        needs = result
    raise TemporaryFailure(LOCAL_ERROR, f"a decision still asks after {ROUNDS} rounds: {needs.questions[:3]}")


def _start(
    needs: Needs, facts: MutableMapping[Question, Any], answerer: Answerer
) -> list[tuple[Question, Deferred[Any]]]:
    """Ask all; the answers that are there at once go into the facts, the others come back."""
    waiting: list[tuple[Question, Deferred[Any]]] = []
    for question in needs.questions:
        try:
            answer = answerer.ask(question)
            if answer is None or isinstance(answer, str | bytes | int | Answer | CannotKnow | Called):
                facts[question] = answer
            else:
                waiting.append((question, as_deferred(answer)))
        except Exception as error:
            facts[question] = _cannot_know(question, error)
    return waiting


async def _collect(waiting: list[tuple[Question, Deferred[Any]]], facts: MutableMapping[Question, Any]) -> None:
    try:
        for question, deferred in waiting:
            try:
                facts[question] = await deferred
            except CancelledError:
                raise
            except Exception as error:
                facts[question] = _cannot_know(question, error)
    finally:
        for _, deferred in waiting:  # without effect on those that are over
            deferred.addErrback(lambda failure: None)
            deferred.cancel()


def _cannot_know(question: Question, error: Exception) -> CannotKnow:
    if isinstance(error, MailFailure):
        return CannotKnow(error.reason or error.reply.text)
    log.error("{question} failed: {error!r}", question=question, error=error)
    return CannotKnow(f"{type(error).__name__}: {error}")
