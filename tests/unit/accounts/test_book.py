"""All sources together: who has whom, what is answered when, and the brakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fixed_accounts import FixedAccounts
from twisted.cred.checkers import ICredentialsChecker, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import IUsernamePassword
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mta.accounts.book import Book
from mta.accounts.checker import as_source
from mta.accounts.credentials import BearerToken, CramMd5, Disproved, IBearerToken, IProved, Password, Proved
from mta.accounts.logins import Logins
from mta.accounts.replies import CANNOT_KNOW
from mta.accounts.source import Identity, refused
from mta.accounts.used import Used, Which, last_used
from mta.accounts.values import Account, Login, ScramKeys, State
from mta.config.account_options import LoginOptions
from mta.interfaces import IAccounts, IAccountSource
from mta.reply import MailFailure, TemporaryFailure
from mta.waiting import as_deferred


@implementer(IAccountSource)
class Source:
    """Passwords in a dictionary; ``failure`` is raised by everything while it is set."""

    def __init__(self, passwords: dict[str, str], *, offers_scram: bool = True, **states: State) -> None:
        self.passwords = passwords
        self.states = states
        self.offers_scram = offers_scram
        self.credentialInterfaces: Any = (IUsernamePassword, IProved)
        self.failure: Exception | None = None
        self.asked: list[Any] = []
        self.waiting: Deferred[Any] | None = None
        self.revoked = False
        self.closed = False

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        self.asked.append(credentials)
        if self.failure is not None:
            return fail(self.failure)
        if self.waiting is not None:
            mine: Deferred[Any] = Deferred()
            self.waiting.addBoth(lambda result: (mine.callback(result), result)[1])
            return mine
        name = credentials.username.decode()
        if isinstance(credentials, Proved) or self.passwords.get(name) == credentials.password.decode():
            return succeed(Identity(name, proof="1"))
        return fail(refused("wrong"))

    def find(self, name: str) -> Any:
        if self.failure is not None:
            raise self.failure
        return Account(name=name, state=self.states.get(name, State.ACTIVE)) if name in self.passwords else None

    def scram(self, name: str, hash_name: str) -> Any:
        return ScramKeys(salt=b"s", iterations=4096, stored_key=b"k", server_key=b"v") if self.offers_scram else None

    def still(self, login: Login) -> Any:
        return not self.revoked

    def close(self) -> None:
        self.closed = True


class Tokens(Source):
    """Bearer tokens: it knows whose they are, and no accounts."""

    def __init__(self, tokens: dict[str, str]) -> None:
        super().__init__({})
        self.tokens = tokens
        self.credentialInterfaces = (IBearerToken,)

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        name = self.tokens.get(credentials.token.decode())
        return succeed(Identity(name, "token", "t")) if name else fail(refused("no such token"))


class Books(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.events: list[str] = []
        self.state = str(Path(self.mktemp()).absolute())
        self.used = Used(0, self.clock.callLater, lambda work, *args: succeed(work(*args)))
        self.logins = Logins(self.used, seconds=self.clock.seconds, emit=self.emit)
        self.first = Source({"bob": "b", "ann": "a", "eve": "e"}, ann=State.DISABLED, eve=State.HELD)
        self.second = Source({"bob": "other", "carol": "c"})
        self.book = self.made()

    def emit(self, event: Any, id: str) -> None:
        self.events.append(str(event))

    def made(self, **options: Any) -> Book:
        self.options = LoginOptions(**options)
        self.logins.configure(self.options)
        return self.with_sources(first=self.first, second=self.second)

    def with_sources(self, **sources: Any) -> Book:
        return Book(sources, self.options, reactor=self.clock, now=lambda: 1_000, logins=self.logins, emit=self.emit)

    def ask(self, credentials: Any, client: str = "192.0.2.7") -> Deferred[Login]:
        return as_deferred(self.book.login(credentials, client))

    def login(self, name: str, password: str, client: str = "192.0.2.7", wait: float = 2) -> Any:
        """The login, or the reply; after ``wait`` seconds."""
        asked = self.ask(Password(name.encode(), password.encode()), client)
        self.assertFalse(asked.called and wait and hasattr(asked.result, "value") and self.is_refused(asked))
        self.clock.advance(wait)
        found: list[Any] = []
        asked.addCallbacks(found.append, lambda failure: found.append(failure.value))
        (result,) = found
        return str(result.reply) if isinstance(result, MailFailure) else result

    def is_refused(self, asked: Any) -> bool:
        value = asked.result.value
        return isinstance(value, MailFailure) and value.reply.code == 535

    REFUSED = "535 5.7.8 Authentication credentials invalid"
    CANNOT = "454 4.7.0 Temporary authentication failure"


class WhoHasWhom(Books):
    def test_it_keeps_to_the_interface(self) -> None:
        self.assertTrue(verifyObject(IAccounts, self.book))
        self.assertTrue(verifyObject(IAccounts, FixedAccounts()))

    def test_the_first_that_knows_a_name_has_it_alone(self) -> None:
        login = self.login("bob", "b")
        self.assertEqual((login.account.name, login.source, login.mechanism), ("bob", "first", "PLAIN"))
        self.assertEqual(self.login("bob", "other"), self.REFUSED)
        self.assertEqual(self.login("carol", "c").source, "second")

    def test_one_that_cannot_be_asked_is_not_passed_over(self) -> None:
        self.first.failure = TemporaryFailure(CANNOT_KNOW, "it is down")
        self.assertEqual(self.login("carol", "c", wait=0), self.CANNOT)
        self.assertIn("192.0.2.7 as anybody known: it is down", self.events[-1])
        self.assertRaises(TemporaryFailure, self.book.find, "carol")

    def test_what_a_source_raises_is_temporary(self) -> None:
        self.first.failure = RuntimeError("a mistake")
        self.assertEqual(self.login("bob", "b", wait=0), self.CANNOT)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_a_source_that_is_silent_is_temporary(self) -> None:
        self.first.waiting = Deferred()
        self.assertEqual(self.login("bob", "b", wait=31), self.CANNOT)

    def test_states(self) -> None:
        self.assertEqual(self.login("ann", "a"), self.REFUSED)
        self.assertEqual(self.login("eve", "e").account.state, State.HELD)
        found: Any = self.book.find("ann")
        self.assertEqual(found.state, State.DISABLED)
        self.assertIsNone(self.book.find("nobody"))
        self.assertIsNone(self.book.find("a\0b"))

    def test_an_unknown_name_has_a_source_work_for_it(self) -> None:
        self.assertEqual(self.login("nobody", "x"), self.REFUSED)
        self.assertEqual(len(self.first.asked), 1)

    def test_tokens_are_of_accounts_of_other_sources(self) -> None:
        self.book = self.with_sources(tokens=Tokens({"T1": "bob", "T2": "ann", "T3": "nobody"}), first=self.first)
        login = self.successResultOf(self.ask(BearerToken(token=b"T1", username=b"bob")))
        self.assertEqual((login.source, login.credential, login.account.name), ("tokens", "token", "bob"))
        self.assertEqual(self.book.current(login), login.account)
        for token in (b"T2", b"T3", b"T4"):
            asked = self.ask(BearerToken(token=token))
            self.clock.advance(2)
            self.assertEqual(str(self.failureResultOf(asked).value.reply), self.REFUSED)

    def test_what_nobody_checks_is_refused(self) -> None:
        for credentials in (CramMd5(username=b"bob", challenge=b"c", digest=b"d" * 32), BearerToken(token=b"x")):
            asked = self.ask(credentials)
            self.clock.advance(2)
            self.assertEqual(str(self.failureResultOf(asked).value.reply), self.REFUSED)

    def test_which_credentials(self) -> None:
        self.assertEqual(self.book.takes(), frozenset((IUsernamePassword, IProved)))
        self.second.offers_scram = False
        self.assertEqual(self.book.takes(), frozenset((IUsernamePassword,)))

    def test_scram_of_unknown_names(self) -> None:
        # RFC 5802 9
        async def keys(name: str) -> Any:
            return await self.book.scram(name, "sha-256")

        first = self.successResultOf(as_deferred(keys("nobody")))
        self.assertEqual(first, self.successResultOf(as_deferred(keys("nobody"))))
        self.assertEqual(self.successResultOf(as_deferred(keys("BOB"))).salt, b"s")

    def test_a_login_that_no_longer_counts(self) -> None:
        login = self.login("bob", "b")
        self.assertEqual(self.book.current(login), login.account)
        self.first.revoked = True
        self.assertIsNone(self.book.current(login))
        self.first.revoked = False
        del self.first.passwords["bob"], self.second.passwords["bob"]
        self.assertIsNone(self.book.current(login))
        self.book = self.with_sources(second=self.second)  # a reload took its source away
        self.assertIsNone(self.book.current(login))

    def test_its_sources_end_with_it(self) -> None:
        self.book.close()
        self.assertTrue(self.first.closed and self.second.closed)


class WhatIsAnswered(Books):
    def test_every_refusal_at_the_same_time(self) -> None:
        for name, password in (("bob", "x"), ("nobody", "x"), ("ann", "a"), ("a\0b", "x"), ("", "")):
            asked = self.ask(Password(name.encode(), password.encode()))
            self.clock.advance(1.99)
            self.assertNoResult(asked)
            self.clock.advance(0.02)
            self.assertEqual(str(self.failureResultOf(asked).value.reply), self.REFUSED)

    def test_one_that_took_longer_is_at_the_next(self) -> None:
        self.first.waiting = Deferred()
        asked = self.ask(Password(b"bob", b"x"))
        self.clock.advance(3)
        waiting, self.first.waiting = self.first.waiting, None
        waiting.errback(refused("wrong"))
        waiting.addErrback(lambda failure: None)
        self.clock.advance(0.99)
        self.assertNoResult(asked)
        self.clock.advance(0.02)
        self.failureResultOf(asked)

    def test_too_many_at_once_are_put_off(self) -> None:
        self.book = self.made(at_once=2)
        self.first.waiting = Deferred()
        asked = [self.ask(Password(b"bob", b"b")) for _ in range(3)]
        self.assertEqual(self.failureResultOf(asked.pop()).value.reply.code, 454)
        self.first.waiting.callback(Identity("bob"))
        for one in asked:
            self.successResultOf(one)

    def test_brakes(self) -> None:
        self.book = self.made(account_failures=3, address_failures=5)
        for _ in range(3):
            self.login("bob", f"guess {_}")
        stopped = "454 4.7.0 Too many failed logins, please try again later"
        self.assertEqual(self.login("bob", "b", wait=0), stopped)
        self.assertEqual(self.login("bob", "b", client="198.51.100.1", wait=0), stopped)
        asked = len(self.first.asked)
        self.login("bob", "b", wait=0)
        self.assertEqual(len(self.first.asked), asked, "no source is asked")
        for n in range(2):
            self.login(f"user{n}", "x")
        self.assertEqual(
            self.login("carol", "c", wait=0), "421 4.7.0 Too many failed logins from your network, closing connection"
        )
        self.assertEqual(self.login("carol", "c", client="198.51.100.1").account.name, "carol")
        self.assertIn("too many failed logins: account bob, after one by 192.0.2.7", self.events)
        self.clock.advance(901)
        self.assertEqual(self.login("bob", "b").account.name, "bob")

    def test_scram_counts_as_all_others(self) -> None:
        self.book = self.made(account_failures=1)
        self.first.failure = refused("wrong")
        self.patch(self.first, "find", lambda name: Account(name=name))
        asked = self.ask(Disproved(username=b"bob", mechanism="SCRAM-SHA-1", hash_name="sha-1"))
        self.clock.advance(2)
        self.failureResultOf(asked)
        self.first.failure = None
        self.assertEqual(self.login("bob", "b", wait=0)[:9], "454 4.7.0")

    def test_what_nobody_can_know_does_not_count(self) -> None:
        self.book = self.made(account_failures=1)
        self.first.failure = TemporaryFailure(CANNOT_KNOW, "down")
        for _ in range(5):
            self.assertEqual(self.login("bob", "b", wait=0), self.CANNOT)
        self.first.failure = None
        self.assertEqual(self.login("bob", "b").account.name, "bob")

    def test_passwords_stand_in_no_event(self) -> None:
        self.login("bob", "my-secret-guess")
        self.assertIn("192.0.2.7 is not bob (PLAIN): wrong", self.events)
        self.assertNotIn("my-secret-guess", "".join(self.events))
        self.assertNotIn("my-secret-guess", repr(vars(self.logins.brakes)))


class WhatOutlivesIt(Books):
    def handle(self, command: str, **request: Any) -> Any:
        return self.successResultOf(as_deferred(self.logins.handlers()[command](request, "root")))

    def test_brakes_are_shown_and_lifted(self) -> None:
        self.book = self.made(account_failures=3)
        for n in range(3):
            self.login("bob@example.org", f"{n}")
        shown = self.handle("brakes")
        self.assertEqual(
            {key: shown["brakes"][0][key] for key in ("kind", "name")}, {"kind": "account", "name": "bob@example.org"}
        )
        self.assertGreater(shown["brakes"][0]["seconds"], 0)
        for n in range(3):
            self.login("my-password", f"{n}")
        self.assertNotIn("my-password", str(self.handle("brakes")) + "".join(self.events))
        self.assertEqual(self.handle("lift", which="my-password"), {"lifted": 1})
        self.assertEqual(self.handle("lift", which="BOB@EXAMPLE.ORG"), {"lifted": 1})
        self.assertIn("BOB@EXAMPLE.ORG, 1 counts: by root", self.events[-1])
        self.assertEqual(self.handle("lift", which=""), {"lifted": 2})
        self.assertEqual(self.handle("brakes"), {"brakes": [], "more": 0})

    def test_other_processes_know_of_a_failure(self) -> None:
        self.book = self.made(account_failures=2)
        told: list[Any] = []
        self.logins.tell = told.append
        self.login("bob", "x")
        other = Logins(self.used, seconds=self.clock.seconds, emit=self.emit)
        other.configure(self.options)
        for _ in range(2):
            self.successResultOf(as_deferred(other.handlers()["noted"](told[0]["noted"], "a worker")))
        self.assertEqual(other.brakes.closed("bob", "", 0), ("account", "bob", ""))

    def test_the_secret_stays(self) -> None:
        Path(self.state).mkdir()
        self.logins.open(self.state)
        other = Logins(self.used, seconds=self.clock.seconds, emit=self.emit)
        other.open(self.state)
        self.assertEqual(self.logins.secret, other.secret)
        self.assertEqual(Path(self.state, "login.key").stat().st_mode & 0o777, 0o600)

    def test_last_uses_are_kept(self) -> None:
        Path(self.state).mkdir()
        self.logins.open(self.state)
        self.login("bob", "b")
        self.assertEqual(last_used(self.state), {})
        self.clock.advance(60)
        self.assertEqual(last_used(self.state), {Which("first", "bob", ""): 1_000})
        self.login("carol", "c")
        self.used.close()
        again = Used(0, self.clock.callLater, succeed)
        again.open(self.state)
        again.note(Which("first", "bob", ""), 2_000)
        again.close()
        found = last_used(self.state)
        self.assertEqual(found[Which("first", "bob", "")], 2_000)
        self.assertEqual(found[Which("second", "carol", "")], 1_000)

    def test_last_uses_that_cannot_be_read_are_lost_alone(self) -> None:
        Path(self.state, "logins").mkdir(parents=True)
        Path(self.state, "logins", "0.json").write_text("nonsense")
        self.logins.open(self.state)
        self.login("bob", "b")


class AnyChecker(Books):
    def test_a_checker_of_twisted_is_a_source(self) -> None:
        checker: Any = InMemoryUsernamePasswordDatabaseDontUse(**{"bob@example.org": b"b"})
        source = as_source(checker, "plugin")
        self.assertTrue(verifyObject(IAccountSource, source))
        self.book = self.with_sources(plugin=source)
        login = self.login("bob@example.org", "b")
        self.assertEqual(login.account, Account(name="bob@example.org", addresses=("bob@example.org",)))
        self.assertEqual(self.book.current(login), login.account)
        self.assertEqual(self.login("bob@example.org", "x"), self.REFUSED)

    def test_nobody_in_particular_is_nobody(self) -> None:
        @implementer(ICredentialsChecker)
        class Anybody:
            credentialInterfaces = (IUsernamePassword,)

            def requestAvatarId(self, credentials: Any) -> Any:
                return () if credentials.username == b"bob" else b"a\0b"

        self.book = self.with_sources(plugin=as_source(Anybody(), "plugin"))
        self.assertEqual(self.login("bob", "b"), self.REFUSED)
        self.assertEqual(self.login("ann", "b"), self.REFUSED)

    def test_what_is_no_checker_stops_the_start(self) -> None:
        self.assertRaises(ValueError, as_source, object(), "plugin")
