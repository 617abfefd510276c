"""What stands before tables that have to be waited for: cache, joined questions, time limit, rest."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.config.option import Duration
from mta.reply import TemporaryFailure
from mta.routing.tables.query import for_psycopg, names, value_of, wrong
from mta.routing.tables.remote import MAX_VALUE, Remote, RemoteOptions, Unreachable


class Remotes(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.events: list[str] = []
        self.asked: list[tuple[str, Deferred[Any]]] = []
        self.remote = self.make()

    def make(self, **options: Any) -> Remote:
        services: Any = SimpleNamespace(
            name="users", reactor=self.clock, emit=lambda event, id: self.events.append(str(event))
        )
        return Remote(RemoteOptions(**options), services, self.ask)

    def ask(self, key: str) -> Deferred[Any]:
        answer: Deferred[Any] = Deferred()
        self.asked.append((key, answer))
        return answer

    def lookup(self, key: str = "bob") -> Any:
        return self.remote.lookup(key)

    def why(self, answer: Any) -> str:
        failure = self.failureResultOf(answer, TemporaryFailure).value
        self.assertEqual(failure.reply.code, 451)
        return str(failure.reason)

    def test_remembered_for_a_time(self) -> None:
        first = self.lookup("Bob")
        self.asked.pop()[1].callback("x")
        self.assertEqual(self.successResultOf(first), "x")
        self.assertEqual(self.lookup(), "x", "at once, without a Deferred")
        self.clock.advance(59.9)
        self.assertEqual(self.lookup("BOB"), "x")
        self.clock.advance(0.2)
        again = self.lookup()
        self.asked.pop()[1].callback("y")
        self.assertEqual(self.successResultOf(again), "y")

    def test_nothing_is_remembered_for_a_shorter_time(self) -> None:
        first = self.lookup()
        self.asked.pop()[1].callback(None)
        self.assertIsNone(self.successResultOf(first))
        self.clock.advance(9.9)
        self.assertIsNone(self.lookup())
        self.clock.advance(0.2)
        self.assertNoResult(self.lookup())

    def test_not_remembered_if_not_wanted(self) -> None:
        self.remote = self.make(cache=Duration(0.0), cache_unknown=Duration(0.0))
        for value in ("x", None):
            first = self.lookup()
            self.asked.pop()[1].callback(value)
            self.assertEqual(self.successResultOf(first), value)
            self.assertNoResult(self.lookup())
            self.asked.pop()[1].callback(value)

    def test_the_one_not_used_for_longest_goes(self) -> None:
        self.remote = self.make(cache_entries=2)
        for key in "ab":
            self.lookup(key)
            self.asked.pop()[1].callback(key)
        self.assertEqual(self.lookup("a"), "a")
        self.lookup("c")
        self.asked.pop()[1].callback("c")
        self.assertEqual((self.lookup("a"), self.lookup("c")), ("a", "c"))
        self.assertNoResult(self.lookup("b"))

    def test_equal_questions_are_asked_once(self) -> None:
        answers = [self.lookup(key) for key in ("bob", "BOB", "bob")]
        self.assertEqual(len(self.asked), 1)
        answers[0].cancel()
        self.failureResultOf(answers[0], CancelledError)
        self.asked[0][1].callback("x")
        self.assertEqual([self.successResultOf(answer) for answer in answers[1:]], ["x", "x"])

    def test_each_gets_a_failure_of_its_own(self) -> None:
        answers = [self.lookup() for _ in range(2)]
        self.asked[0][1].errback(ValueError("odd"))
        self.assertEqual([self.why(answer) for answer in answers], ["odd", "odd"])
        self.assertNoResult(self.lookup())  # failures are not remembered

    def test_time_limit(self) -> None:
        answer = self.lookup()
        self.clock.advance(5)
        self.assertEqual(self.why(answer), "no answer within 5 s")
        self.assertFalse(self.clock.getDelayedCalls())

    def test_too_many_questions(self) -> None:
        self.remote = self.make(questions=2)
        waiting = [self.lookup(key) for key in "ab"]
        self.assertIn("under way", self.assertRaises(TemporaryFailure, self.lookup, "c").reason)
        self.asked[0][1].callback("x")
        self.assertEqual(self.successResultOf(waiting[0]), "x")
        self.assertNoResult(self.lookup("c"))

    def test_a_far_end_that_cannot_be_reached_rests_for_longer_each_time(self) -> None:
        for rest in (1, 2, 4, 8, 16, 32, 60, 60):
            first, second = self.lookup("a"), self.lookup("b")
            for _ in range(2):
                self.asked.pop()[1].errback(Unreachable("refused"))
            self.assertEqual((self.why(first), self.why(second)), ("refused", "refused"))
            self.clock.advance(rest - 0.1)
            self.assertEqual(self.assertRaises(TemporaryFailure, self.lookup).reason, "refused")
            self.assertEqual(self.asked, [])
            self.clock.advance(0.2)
        self.assertEqual(self.events, ["table users: refused"])
        answer = self.lookup()
        self.asked.pop()[1].callback("x")
        self.assertEqual(self.successResultOf(answer), "x")
        self.assertEqual(self.events[1:], ["table users: it answers again"])

    def test_what_is_remembered_is_answered_while_it_rests(self) -> None:
        self.lookup("a")
        self.asked.pop()[1].callback("x")
        self.why_of_unreachable()
        self.assertEqual(self.lookup("a"), "x")

    def why_of_unreachable(self) -> None:
        answer = self.lookup("b")
        self.asked.pop()[1].errback(Unreachable("refused"))
        self.why(answer)

    def test_one_that_is_silent_three_times_rests_too(self) -> None:
        for _ in range(3):
            answer = self.lookup()
            self.clock.advance(5)
            self.why(answer)
        self.assertIn("no answer", self.assertRaises(TemporaryFailure, self.lookup).reason)

    def test_values_that_cannot_be(self) -> None:
        for value, hint in ((7, "int"), (b"x", "bytes"), ("a\nb", "control"), ("x" * (MAX_VALUE + 1), "too long")):
            answer = self.lookup()
            self.asked.pop()[1].callback(value)
            self.assertIn(hint, self.why(answer))

    def test_keys_that_nobody_is_asked(self) -> None:
        for key in ("a\0", "a\r\n", "b" * 2000, "\ud800"):
            self.assertRaises(TemporaryFailure, self.lookup, key)
        self.assertEqual(self.asked, [])


class Queries(SynchronousTestCase):
    def test_parameters(self) -> None:
        query = (
            "SELECT a::text, ':no', \":nor\" FROM t -- :this\nWHERE k = :key /* :not */ AND d=:domain AND m LIKE '%x'"
        )
        self.assertEqual(names(query), {"key", "domain"})
        self.assertEqual(
            for_psycopg(query),
            "SELECT a::text, ':no', \":nor\" FROM t -- :this\nWHERE k = %(key)s /* :not */ AND d=%(domain)s"
            " AND m LIKE '%%x'",
        )
        self.assertEqual(for_psycopg("SELECT $a$ :x % $a$, 5 % :local"), "SELECT $a$ :x %% $a$, 5 %% %(local)s")

    def test_mistakes(self) -> None:
        self.assertIsNone(wrong("SELECT x FROM t WHERE k = :key"))
        self.assertIn("no parameter", wrong("SELECT x FROM t WHERE k = ':key'") or "")
        self.assertIn(":user", wrong("SELECT x FROM t WHERE k = :user") or "")

    def test_values(self) -> None:
        self.assertEqual(value_of([("a", 1), ("b", 2)]), "a, b")
        self.assertEqual(value_of([(7,), (None,), (b"x",)]), "7, x")
        self.assertIsNone(value_of([(None,)]))
        self.assertIsNone(value_of([]))
        self.assertRaises(ValueError, value_of, [("x",)] * 1001)
        self.assertRaises(ValueError, value_of, [(b"\xff",)])
