"""The driver: asks what a decision needs, at once where it can, and always comes to an end."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from mta.dns.fake import FakeResolver
from mta.reply import TemporaryFailure
from mta.routing.ask import ROUNDS, Answerer, resolve
from mta.routing.tables import MemoryTable
from mta.routing.values import AddressQuestion, CannotKnow, Found, MxQuestion, Needs, TableQuestion


class WaitingTable:
    """A table that answers later, like one over the network."""

    def __init__(self) -> None:
        self.asked: dict[str, Deferred[str | None]] = {}
        self.cancelled: list[str] = []

    def lookup(self, key: str) -> Deferred[str | None]:
        deferred = self.asked[key] = Deferred(lambda _: self.cancelled.append(key))
        return deferred


def both(facts: Any) -> Any:
    questions = (TableQuestion("t", "one"), TableQuestion("t", "two"))
    missing = tuple(question for question in questions if question not in facts)
    return Needs(missing) if missing else [facts[question] for question in questions]


class Asking(SynchronousTestCase):
    def setUp(self) -> None:
        self.dns = FakeResolver("a.example MX 5 b.example\na.example A 192.0.2.1")
        self.facts: dict[Any, Any] = {}

    def test_at_once_without_a_deferred(self) -> None:
        answerer = Answerer({"t": MemoryTable({"one": "1"})}, self.dns)
        self.assertEqual(resolve(both, self.facts, answerer), ["1", None])
        self.assertEqual(self.facts[TableQuestion("t", "one")], "1")

    def test_nothing_to_ask(self) -> None:
        self.assertEqual(resolve(lambda facts: "done", self.facts, Answerer({}, self.dns)), "done")

    def test_dns_that_knows_at_once(self) -> None:
        mx, address = MxQuestion("a.example"), AddressQuestion("a.example")

        def decision(facts: Any) -> Any:
            return (facts[mx], facts[address]) if address in facts else Needs((mx, address))

        found_mx, found_address = resolve(decision, self.facts, Answerer({}, self.dns))
        self.assertEqual(found_mx.records[0].host, "b.example")
        self.assertEqual(found_address.records, ("192.0.2.1",), "two questions of one name are two")

    def test_questions_of_a_round_are_asked_together(self) -> None:
        table = WaitingTable()
        waiting = resolve(both, self.facts, Answerer({"t": table}, self.dns))
        self.assertEqual(set(table.asked), {"one", "two"})
        table.asked["two"].callback("2")
        self.assertNoResult(waiting)
        table.asked["one"].callback("1")
        self.assertEqual(self.successResultOf(waiting), ["1", "2"])

    def test_what_fails_cannot_be_known(self) -> None:
        table = MemoryTable(failing="disk away")
        self.assertEqual(resolve(both, {}, Answerer({"t": table}, self.dns)), [CannotKnow("disk away")] * 2)
        self.assertEqual(resolve(both, {}, Answerer({}, self.dns)), [CannotKnow("there is no table t")] * 2)

    def test_what_fails_later(self) -> None:
        table = WaitingTable()
        waiting = resolve(both, self.facts, Answerer({"t": table}, self.dns))
        table.asked["two"].errback(ZeroDivisionError("what"))
        table.asked["one"].callback(None)
        self.assertEqual(self.successResultOf(waiting), [None, CannotKnow("ZeroDivisionError: what")])

    def test_cancelling_cancels_all_questions(self) -> None:
        table = WaitingTable()
        waiting = resolve(both, self.facts, Answerer({"t": table}, self.dns))
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(sorted(table.cancelled), ["one", "two"])

    def test_what_the_decision_raises_is_passed_on(self) -> None:
        def decision(facts: Any) -> Any:
            both(facts)
            raise TemporaryFailure(None, "no")  # type: ignore[arg-type]

        self.assertRaises(TemporaryFailure, resolve, decision, self.facts, Answerer({}, self.dns))

    def test_a_decision_that_never_decides_is_ended(self) -> None:
        rounds = []

        def curious(facts: Any) -> Any:
            rounds.append(1)
            return Needs((TableQuestion("t", str(len(rounds))),))

        error = self.assertRaises(
            TemporaryFailure, resolve, curious, self.facts, Answerer({"t": MemoryTable()}, self.dns)
        )
        self.assertEqual(error.reply.code, 451)
        self.assertEqual(len(rounds), ROUNDS + 1)

    def test_dns_in_the_facts_as_it_failed(self) -> None:
        self.dns.add("dead.example", "servfail")
        question = MxQuestion("dead.example")
        resolve(lambda facts: 1 if question in facts else Needs((question,)), self.facts, Answerer({}, self.dns))
        self.assertEqual(self.facts[question].found, Found.FAILED)
