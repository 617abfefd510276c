"""Users of this machine as accounts."""

from __future__ import annotations

import os
import pwd
from typing import Any

from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mta.accounts.values import Account, Login
from mta.interfaces import ITable
from mta.local.accounts import BY_SYSTEM, KNOWN, LocalAccounts, Users
from mta.reply import PermanentFailure, Reply, TemporaryFailure
from mta.routing.tables import MemoryTable
from mta.sendmail.users import User, user_of

USERS = {
    0: User(0, "root"),
    33: User(33, "www-data", "Web"),
    1000: User(1000, "ann", "Ann Smith"),
}
DOMAINS = ("ours.example", "mail.ours.example")


@implementer(ITable)
class Slow:
    """A table that one has to wait for, or that fails."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def lookup(self, key: str) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return succeed(self.answer.get(key))


class Accounts(SynchronousTestCase):
    def accounts(self, table: Any = None, trusted: frozenset[str] = frozenset({"root"})) -> LocalAccounts:
        users = Users(Clock().seconds, lambda uid: USERS.get(uid, User(uid, str(uid))))
        return LocalAccounts(users, DOMAINS, trusted, table)

    def find(self, accounts: LocalAccounts, name: str) -> Account | None:
        found: Any = accounts.find(name)
        if found is None or isinstance(found, Account):
            return found
        from mta.waiting import as_deferred

        done: Account | None = self.successResultOf(as_deferred(found))
        return done

    def test_a_user_has_its_own_name(self) -> None:
        self.assertEqual(
            self.find(self.accounts(), "uid:1000"),
            Account(name="uid:1000", full_name="Ann Smith", addresses=("ann@ours.example", "ann@mail.ours.example")),
        )

    def test_the_table_says_what_else(self) -> None:
        for table in (
            MemoryTable({"www-data": "shop@ours.example, @shop.example"}),
            MemoryTable({"33": "shop@ours.example @shop.example"}),
            Slow({"33": "shop@ours.example,@shop.example"}),
        ):
            found = self.find(self.accounts(table), "uid:33")
            assert found is not None
            self.assertEqual(found.delegated, ("shop@ours.example", "@shop.example"))
            self.assertEqual(self.find(self.accounts(table), "uid:1000").delegated, ())  # type: ignore[union-attr]

    def test_the_name_goes_before_the_number(self) -> None:
        found = self.find(self.accounts(MemoryTable({"www-data": "a@x.example", "33": "*"})), "uid:33")
        assert found is not None
        self.assertEqual(found.delegated, ("a@x.example",))

    def test_who_is_trusted_is_anybody(self) -> None:
        for trusted in ({"root"}, {"0"}):
            found = self.find(self.accounts(trusted=frozenset(trusted)), "uid:0")
            assert found is not None
            self.assertEqual(found.delegated, ("*",))

    def test_a_table_that_cannot_answer(self) -> None:
        failure = TemporaryFailure(Reply.of(451, "4.3.0", "later"))
        from mta.waiting import as_deferred

        found: Any = self.accounts(Slow(failure)).find("uid:1000")
        self.failureResultOf(as_deferred(found), TemporaryFailure)

    def test_a_number_that_is_nobodys(self) -> None:
        found = self.find(self.accounts(), "uid:4711")
        assert found is not None
        self.assertEqual(found.addresses[0], "4711@ours.example")

    def test_no_other_name_is_a_user(self) -> None:
        for name in ("ann", "uid:", "uid:-1", "uid:x", "1000", "uid:\u0661"):
            self.assertIsNone(self.find(self.accounts(), name))

    def test_nobody_logs_in(self) -> None:
        accounts = self.accounts()
        self.assertEqual(accounts.takes(), frozenset())
        self.assertRaises(PermanentFailure, accounts.scram, "ann", "sha-256")
        from mta.waiting import as_deferred

        self.failureResultOf(as_deferred(accounts.login(None, "")), PermanentFailure)

    def test_who_is_there_stays_as_the_table_changes(self) -> None:
        table = MemoryTable({"ann": "x@far.example"})
        accounts = self.accounts(table)
        login = Login(account=Account(name="uid:1000"), mechanism=BY_SYSTEM)
        found: Any = accounts.current(login)
        from mta.waiting import as_deferred

        self.assertEqual(self.successResultOf(as_deferred(found)).delegated, ("x@far.example",))


class Known(SynchronousTestCase):
    def test_the_system_is_asked_again_after_a_while(self) -> None:
        asked: list[int] = []
        clock = Clock()

        def ask(uid: int) -> User:
            asked.append(uid)
            return User(uid, "ann")

        users = Users(clock.seconds, ask)
        users.get(1)
        users.get(1)
        clock.advance(KNOWN)
        users.get(1)
        self.assertEqual(asked, [1, 1])

    def test_what_is_remembered_is_bounded(self) -> None:
        users = Users(Clock().seconds, lambda uid: User(uid, "x"))
        for uid in range(2500):
            users.get(uid)
        self.assertLessEqual(len(users._known), 1000)

    def test_as_the_system_knows_them(self) -> None:
        entry = pwd.getpwuid(os.getuid())
        self.assertEqual(user_of(os.getuid()).name, entry.pw_name)
        self.assertEqual(user_of(4_000_000_000 - 1), User(3_999_999_999, "3999999999"))
