"""The contract of ``IAccountSource``, for any provider: see mta/interfaces.py.

A provider's test inherits from ``SourceContract`` and ``SynchronousTestCase``, and says how to make a source in which
``bob@example.org`` has the password ``PASSWORD`` and ``ann@example.org`` is disabled (``make_source``), and one that
cannot know (``make_failing``; None where nothing can fail).
"""

from __future__ import annotations

from typing import Any, Final

from table_contract import World
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from mta.accounts.book import there
from mta.accounts.credentials import Password
from mta.accounts.values import Account, Login, State
from mta.interfaces import IAccountSource
from mta.reply import TemporaryFailure

BOB: Final = "bob@example.org"
ANN: Final = "ann@example.org"
PASSWORD: Final = b"Geheim 1 \xc3\xa4"
#: What a stranger may say to be more than a name: for a database, a directory, a line protocol, a shell, a path.
NAMES: Final = (
    b"",
    b" ",
    b"\0",
    b"bob@example.org\0",
    b"bob@example.org\r\nOK",
    b"bob@example.org\tuser=ann@example.org",
    b"\xff\xfe",
    b"bob@example.org'--",
    b"x' OR '1'='1",
    b"*",
    b"bob*",
    b"*)(uid=*",
    b"bob@example.org,dc=example",
    b"../bob@example.org",
    b"$(id)",
    b"-bob@example.org",
    b"root",
    b"bob",
    b"carol@example.org",
    "bob@example.org\u200d".encode(),
    b"a" * 100_000,
)
PASSWORDS: Final = (
    b"",
    b"\0",
    PASSWORD + b"\0",
    PASSWORD + b" ",
    PASSWORD.lower(),
    PASSWORD[:-1],
    b"\xff",
    b"*",
    b"x" * 100_000,
)


class SourceContract:
    """See the module's text.  Mixed into a ``SynchronousTestCase``."""

    assertEqual: Any
    assertIsNone: Any
    assertTrue: Any
    assertFalse: Any
    assertNotIn: Any
    assertRaises: Any
    addCleanup: Any
    world: World

    def setUp(self) -> None:
        self.world = World(self)

    def make_source(self) -> Any:
        raise NotImplementedError

    def make_failing(self) -> Any:
        return None

    def made(self) -> Any:
        source = self.make_source()
        self.addCleanup(source.close)
        return source

    def later(self, maybe: Any) -> Any:
        """What there is, or comes."""
        return self.world.wait(Deferred.fromCoroutine(there(maybe)))

    def login(self, source: Any, name: bytes, password: bytes) -> str:
        """Whom the source recognises; "" for nobody."""
        try:
            return str(self.world.wait(source.requestAvatarId(Password(name, password))).decode())
        except UnauthorizedLogin:
            return ""

    def test_it_keeps_to_the_interfaces(self) -> None:
        source = self.made()
        self.assertTrue(verifyObject(IAccountSource, source))
        self.assertTrue(verifyObject(ICredentialsChecker, source))

    def test_who_knows_the_password(self) -> None:
        source = self.made()
        self.assertEqual(self.login(source, BOB.encode(), PASSWORD), BOB)
        self.assertEqual(self.login(source, BOB.encode(), b"wrong"), "")
        self.assertEqual(self.login(source, BOB.encode(), PASSWORD), BOB)

    def test_a_name_in_another_spelling(self) -> None:
        self.assertEqual(self.login(self.made(), b"BOB@Example.ORG", PASSWORD), BOB)

    def test_strangers(self) -> None:
        source = self.made()
        for name in NAMES:
            self.assertEqual(self.login(source, name, PASSWORD), "", name[:40])
        for password in PASSWORDS:
            self.assertEqual(self.login(source, BOB.encode(), password), "", password[:40])

    def test_accounts(self) -> None:
        source = self.made()
        bob = self.later(source.find(BOB))
        self.assertEqual((bob.name, bob.state, bob.addresses), (BOB, State.ACTIVE, (BOB,)))
        self.assertEqual(self.later(source.find(ANN)).state, State.DISABLED)
        self.assertIsNone(self.later(source.find("carol@example.org")))

    def test_what_counts_still(self) -> None:
        source = self.made()
        identity = self.world.wait(source.requestAvatarId(Password(BOB.encode(), PASSWORD)))
        login = Login(account=Account(name=BOB), mechanism="PLAIN", proof=getattr(identity, "proof", ""))
        self.assertTrue(self.later(source.still(login)))

    def test_one_that_cannot_know_says_so(self) -> None:
        source = self.make_failing()
        if source is None:
            return
        self.addCleanup(source.close)
        for _ in range(3):
            self.assertRaises(TemporaryFailure, self._ask, source)

    def _ask(self, source: Any) -> None:
        async def ask() -> None:
            await there(source.find(BOB))
            await source.requestAvatarId(Password(BOB.encode(), PASSWORD))

        self.world.wait(Deferred.fromCoroutine(ask()))
