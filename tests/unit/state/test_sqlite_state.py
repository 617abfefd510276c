"""The state that outlives a restart (``IState``)."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mta.interfaces import IState
from mta.reply import TemporaryFailure
from mta.state.sqlite import NAME, TIDY_EVERY, SqliteState
from mta.state.values import Add, Ask, Get, Mark, Put


def at_once(work: Any, *args: Any) -> Deferred[Any]:
    return succeed(work(*args))


class States(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = self.mktemp()
        os.mkdir(self.folder)
        self.time = 1_700_000_000_000
        self.state = self.open()

    def open(self, most: int = 1000) -> SqliteState:
        state = SqliteState(self.folder, lambda: self.time, at_once, most)
        self.addCleanup(state.close)
        return state

    def now(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def test_it_is_one(self) -> None:
        verifyObject(IState, self.state)

    def test_a_value_is_kept_for_its_time(self) -> None:
        self.assertIsNone(self.now(self.state.get("a")))
        self.now(self.state.put("a", "x", 10))
        self.time += 9_999
        self.assertEqual(self.now(self.state.get("a")), "x")
        self.time += 1
        self.assertIsNone(self.now(self.state.get("a")))

    def test_a_counter_lives_from_its_first_addition(self) -> None:
        self.assertEqual(self.now(self.state.add("n", 2, 10)), 2)
        self.time += 9_000
        self.assertEqual(self.now(self.state.add("n", 3, 10)), 5)
        self.time += 1_000
        self.assertEqual(self.now(self.state.add("n", 1, 10)), 1)

    def test_it_outlives_a_restart_and_is_shared(self) -> None:
        self.now(self.state.add("n", 2, 100))
        other = self.open()
        self.assertEqual(self.now(other.add("n", 1, 100)), 3)
        self.state.close()
        self.assertEqual(self.now(self.open().get("n")), "3")

    def test_several_are_one_transaction(self) -> None:
        found = self.now(self.state.together((Add("n", 1, 9), Put("a", "x", 9), Get("a"), Put("a", "", 0), Get("a"))))
        self.assertEqual(found, ["1", None, "x", None, None])

    def test_a_mark(self) -> None:
        day = 86400
        self.assertEqual(self.now(self.state.together((Mark("m", 9 * day), Mark("m", 9 * day)))), [None, "1"])
        self.time += 5 * day * 1000
        self.assertEqual(self.now(self.state.together((Mark("m", 9 * day),))), ["1"])
        self.time += 8 * day * 1000
        self.assertEqual(self.now(self.state.get("m")), "1")
        self.time += 2 * day * 1000
        self.assertEqual(self.now(self.state.together((Mark("m", 9 * day),))), [None])

    def test_who_asks_may_ask_again(self) -> None:
        found = self.now(self.state.transact(lambda ask: ask((Add("n", int(ask((Add("a", 4, 9),))[0] or 0), 9),))))
        self.assertEqual(found, ["4"])

    def test_what_fails_changes_nothing(self) -> None:
        def work(ask: Ask) -> None:
            ask((Add("n", 1, 9),))
            raise LookupError

        self.failureResultOf(Deferred.fromCoroutine(self.state.transact(work)), LookupError)
        self.assertIsNone(self.now(self.state.get("n")))

    def test_keys_by_their_beginning(self) -> None:
        for key in ("held/b", "held/a", "hel", "helf", "held/\U0001f600"):
            self.now(self.state.put(key, "", 9))
        self.assertEqual(self.now(self.state.keys("held/", 10)), ["held/a", "held/b", "held/\U0001f600"])
        self.assertEqual(self.now(self.state.keys("held/", 1)), ["held/a"])

    def test_it_does_not_grow_for_ever(self) -> None:
        state = self.open(most=10)
        for number in range(50):
            self.now(state.put(f"k{number:02}", "", 1000 + number))
        self.time += TIDY_EVERY
        self.now(state.get("x"))
        self.assertEqual(self.now(state.keys("k", 100)), [f"k{number}" for number in range(40, 50)])

    def test_a_damaged_file_is_put_aside(self) -> None:
        self.state.close()
        path = os.path.join(self.folder, NAME)
        with open(path, "wb") as file:
            file.write(b"nothing of the kind " * 1000)
        self.assertEqual(self.now(self.open().add("n", 1, 9)), 1)
        self.assertTrue(os.path.exists(path + ".damaged"))

    def test_a_disk_that_does_not_take_it_is_trouble_for_now(self) -> None:
        os.chmod(self.folder, 0o700)
        state = SqliteState(os.path.join(self.folder, "gone"), lambda: self.time, at_once)
        self.failureResultOf(Deferred.fromCoroutine(state.get("a")), TemporaryFailure)

    def test_nobody_else_reads_it(self) -> None:
        self.now(self.state.get("a"))
        self.assertEqual(os.stat(os.path.join(self.folder, NAME)).st_mode & 0o777, 0o600)
