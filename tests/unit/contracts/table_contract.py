"""The contract of ``ITable``, for any provider: see mta/interfaces.py.

A provider's test inherits from ``TableContract`` and ``SynchronousTestCase``, and says how to make a table with
``ENTRIES`` in it (``make_table``), one that cannot know (``make_failing``; None where nothing can fail), and one that
can tell all that it holds (``make_listing``: of so many members; None where that is the same, or can never be).
``World`` is a reactor of its own, with real threads and sockets, for what has to wait for them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import aclosing
from random import Random
from typing import Any, Final

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mta.config.option import Path
from mta.dns.fake import FakeResolver
from mta.events import Event
from mta.interfaces import IListedTable, IPagedTable, IPlacedTable, ITable
from mta.plugin import Services
from mta.reply import TemporaryFailure
from mta.routing.tables.listing import PAGE, CannotTell, pages_of
from mta.waiting import as_deferred

ENTRIES: Final = {
    "bob@example.org": "home=/srv/bob",
    "info@example.org": "bob@example.org, ann@far.example",
    "josé@example.org": "jose",
}
#: What a stranger may write into an address, to be more than a key: for SQL, LDAP, a pattern, a URL, a shell.
HOSTILE: Final = (
    "x' OR '1'='1",
    "x' OR '1'='1'@example.org",
    "bob@example.org'--",
    ":key",
    "%(key)s",
    "%",
    "bob%",
    "bob_example.org",
    "*",
    "bob*",
    "bob@example.*",
    "*)(uid=*",
    "\\2a",
    "b?b@example.org",
    ".*",
    "^bob@example.org$",
    "bob@example.org/../info@example.org",
    "../bob@example.org",
    "bob@example.org?x=y",
    "bob@example.org#x",
    "bob%40example.org",
    "$(id)@example.org",
    "`id`@example.org",
    "-x@example.org",
    "",
    " ",
    "@",
    ".",
    "..",
    "bob@example.org,info@example.org",
    "\u2028",
    "😀@example.org",
)


class World:
    """See the module's text."""

    def __init__(self, test: Any) -> None:
        self.reactor: Any = EPollReactor()
        self.reactor.seconds = time.monotonic
        self.reactor.startRunning(installSignalHandlers=False)
        self.events: list[str] = []
        test.addCleanup(self._end)

    def services(self, name: str = "users", tables: Mapping[str, ITable] | None = None) -> Services:
        def emit(event: Event, id: str) -> None:
            self.events.append(str(event))

        return Services(
            name=name,
            hostname="mx.example.org",
            reactor=self.reactor,
            now=lambda: time.time_ns() // 1_000_000,
            random=Random(1),
            resolver=FakeResolver(),
            in_thread=lambda work, *args: deferToThreadPool(self.reactor, self.reactor.getThreadPool(), work, *args),
            table=(tables or {}).__getitem__,
            emit=emit,
        )

    def wait(self, deferred: Deferred[Any]) -> Any:
        """What it comes to; a failure is raised."""
        found: list[Any] = []
        deferred.addBoth(found.append)
        end = time.monotonic() + 60
        while not found and time.monotonic() < end:
            self.reactor.iterate(0.1)
        if not found:
            raise AssertionError("nothing came of it in a minute")
        if isinstance(found[0], Failure):
            found[0].raiseException()
        return found[0]

    def _end(self) -> None:
        self.reactor.fireSystemEvent("shutdown")
        self.reactor.iterate(0)
        self.reactor.disconnectAll()


class TableContract:
    """See the module's text.  Mixed into a ``SynchronousTestCase``."""

    assertEqual: Any
    assertIn: Any
    assertTrue: Any
    assertIsNone: Any
    assertRaises: Any
    addCleanup: Any
    world: World

    def setUp(self) -> None:
        self.world = World(self)

    def make_table(self) -> Any:
        raise NotImplementedError

    def make_failing(self) -> Any:
        return None

    def make_listing(self, members: list[str]) -> Any:
        return None

    def listed(self, table: Any, limit: int = 100_000) -> list[list[str]]:
        """The keys of a table, in its pages."""

        async def all_of() -> list[list[str]]:
            async with aclosing(pages_of("t", table, limit)) as pages:
                return [[key for key, _ in page] async for page in pages]

        found: list[list[str]] = self.world.wait(Deferred.fromCoroutine(all_of()))
        return found

    def answer(self, table: Any, key: str) -> str | None:
        """What the table has under the key, as whoever asks it would see it."""

        def asked() -> Any:
            answer = table.lookup(key)
            return answer if answer is None or isinstance(answer, str) else as_deferred(answer)

        value: str | None = self.world.wait(maybeDeferred(asked))
        return value

    def made(self) -> Any:
        table = self.make_table()
        self.addCleanup(getattr(table, "close", lambda: None))
        return table

    def test_it_keeps_to_the_interface(self) -> None:
        self.assertTrue(verifyObject(ITable, self.made()))

    def test_what_is_there(self) -> None:
        table = self.made()
        for key, value in ENTRIES.items():
            self.assertEqual(self.answer(table, key), value)
            self.assertEqual(self.answer(table, key), value, "also when it was asked before")

    def test_what_is_not_there(self) -> None:
        table = self.made()
        for key in ("carol@example.org", "bob", "example.org", "bob@example.net", "obob@example.org"):
            self.assertIsNone(self.answer(table, key))

    def test_keys_that_mean_the_same(self) -> None:
        table = self.made()
        self.assertEqual(self.answer(table, "BOB@Example.ORG"), "home=/srv/bob")
        self.assertEqual(self.answer(table, "jose\u0301@example.org"), "jose")  # RFC 6532 3.1

    def test_a_key_is_nothing_but_a_key(self) -> None:
        # CVE-2025-26794 for SQL, RFC 4515 3 for LDAP
        table = self.made()
        for key in HOSTILE:
            try:
                self.assertIsNone(self.answer(table, key), key)
            except TemporaryFailure as failure:
                self.assertIn("control characters", failure.reason)
        self.assertEqual(self.answer(table, "bob@example.org"), "home=/srv/bob")

    def test_controls_and_length_find_nothing(self) -> None:
        table = self.made()
        for key in ("bob@example.org\0", "bob@example.org\n", "bob\r\n@example.org", "b" * 5000, "\ud800@x"):
            try:
                self.assertIsNone(self.answer(table, key))
            except TemporaryFailure:
                pass

    def test_who_cannot_know_says_so(self) -> None:
        table = self.make_failing()
        if table is None:
            return
        self.addCleanup(getattr(table, "close", lambda: None))
        for _ in range(2):
            failure = self.assertRaises(TemporaryFailure, self.answer, table, "bob@example.org")
            self.assertEqual(failure.reply.code, 451)
            self.assertTrue(failure.reason)

    def test_what_it_tells_of_itself(self) -> None:
        table = self.made()
        if IPlacedTable.providedBy(table):
            self.assertTrue(verifyObject(IPlacedTable, table))
            self.assertEqual(table.where("nobody@example.org"), "")
        if IListedTable.providedBy(table):
            self.assertTrue(verifyObject(IListedTable, table))
            self.assertEqual(dict(table.items(1000)), ENTRIES)
            self.assertEqual(len(list(table.items(2))), 2)

    def test_all_that_it_holds(self) -> None:
        table = self.made()
        if IListedTable.providedBy(table):
            self.assertEqual(self.listed(table), [list(ENTRIES)])
        elif self.make_listing([]) is None:
            self.assertRaises(CannotTell, self.listed, table)

    def test_many_members(self) -> None:
        members = [f"U{number}@Example.org" for number in range(2 * PAGE + 1)]
        table = self.make_listing(members)
        if table is None:
            return
        self.addCleanup(getattr(table, "close", lambda: None))
        self.assertTrue(verifyObject(IPagedTable, table))
        for limit in (len(members) + 1, len(members), PAGE + 1, 1):
            pages = self.listed(table, limit)
            self.assertEqual([key for page in pages for key in page], [one.lower() for one in members[:limit]])
            self.assertTrue(max(map(len, pages)) <= PAGE)
        self.assertEqual(self.answer(table, "nobody@example.net"), None, "look-ups go on")

    def test_two_listings_at_once_and_one_that_is_left(self) -> None:
        table = self.make_listing([f"u{number}@example.org" for number in range(PAGE + 1)])
        if table is None:
            return
        self.addCleanup(getattr(table, "close", lambda: None))

        async def first_of() -> int:
            async with aclosing(pages_of("t", table, 100_000)) as pages:
                async for page in pages:
                    return len(page)
            return 0

        together = gatherResults([Deferred.fromCoroutine(first_of()) for _ in range(5)])
        self.assertTrue(all(self.world.wait(together)))


class InFolder(SynchronousTestCase):
    """A test that writes files."""

    def folder(self) -> str:
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        return folder

    def written(self, text: str) -> Path:
        path = os.path.join(self.folder(), "table")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return Path(path)
