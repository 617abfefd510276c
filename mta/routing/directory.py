"""Answers who bears a name, and who is on a list: for VRFY and EXPN (RFC 5321 3.5).

What it is: ``Directory`` answers ``NameQuestion`` and ``MembersQuestion``.  A table of names is ``address: Full Name``;
an index of its words is made when somebody first asks for a name, and anew when the table has changed.
Contract: a name is found by its words, whole or some of them, in any order, without regard to case and accents; where
somebody's full name is just that, others are not.  The index is made outside of the reactor's thread.
How it fails: ``TemporaryFailure`` where the table cannot answer; None in place of an answer where it can never tell
all that it holds, or has more than is looked at.
Limits: the first ``MAX_PEOPLE`` entries, ``MAX_WORDS`` words of each name and of what is asked.  Measured: 200,000
names take 70 MB beside the table and a second of a thread; a question takes under a millisecond.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from itertools import islice
from typing import Any, Final
from unicodedata import combining, normalize

from twisted.internet.defer import Deferred, DeferredLock

from mta.address import Address, AddressError
from mta.envelope import Destination
from mta.interfaces import ISearchedTable, ITable
from mta.lists.roster import roster
from mta.lists.values import SERVICE
from mta.routing.keys import table_key
from mta.routing.rules import RoutingRules
from mta.routing.tables.listing import CannotTell
from mta.routing.values import MembersQuestion, NameQuestion, Person

MAX_PEOPLE: Final = 200_000
MAX_WORDS: Final = 8
_WORD: Final = re.compile(r"[^\W_]+")
_LONGEST: Final = 1000


def words_of(name: str) -> tuple[str, ...]:
    """The words of a name, folded: "Jos\u00e9 O'Brien" has jose, o and brien."""
    plain = "".join(char for char in normalize("NFKD", name[:_LONGEST].casefold()) if not combining(char))
    return tuple(_WORD.findall(plain)[:MAX_WORDS])


class Index:
    """The words of all names of a table."""

    def __init__(self, entries: Iterable[tuple[str, str]]) -> None:
        self._entries: list[tuple[str, str]] = []
        self._words: dict[str, array[int]] = {}
        self.whole = True
        names: list[tuple[int, int]] = []
        for key, name in entries:
            if len(self._entries) == MAX_PEOPLE:
                self.whole = False
                break
            number = len(self._entries)
            self._entries.append((table_key(key), name))
            words = words_of(name)
            names.append((hash(words), number))
            for word in set(words):
                self._words.setdefault(word, array("I")).append(number)
        names.sort()
        # All words of each name, as one number: those of equal names lie side by side.
        self._hashes = array("q", [whole for whole, _ in names])
        self._numbers = array("I", [number for _, number in names])

    def find(self, name: str, domain: str, limit: int) -> tuple[Person, ...]:
        """Who of a domain bears the name, in the order of the table."""
        words = words_of(name)
        if not words:
            return ()
        exact = tuple(islice(self._people(self._called(words), domain), limit))
        return exact or tuple(islice(self._people(self._with(words), domain), limit))

    def _people(self, numbers: Iterable[int], domain: str) -> Iterator[Person]:
        for number in numbers:
            key, name = self._entries[number]
            address = _address(key, domain)
            if address is not None:
                yield Person(address, name)

    def _called(self, words: tuple[str, ...]) -> Iterator[int]:
        """The numbers of the entries that have these words and no others."""
        whole = hash(words)
        for place in range(bisect_left(self._hashes, whole), bisect_right(self._hashes, whole)):
            number = self._numbers[place]
            if words_of(self._entries[number][1]) == words:
                yield number

    def _with(self, words: Sequence[str]) -> Iterator[int]:
        """The numbers of the entries that have all of them."""
        rows = sorted((self._words.get(word, array("I")) for word in set(words)), key=len)
        if not rows or not rows[0]:
            return
        others = [set(row) for row in rows[1:]]
        for number in rows[0]:
            if all(number in row for row in others):
                yield number


def _address(key: str, domain: str) -> Address | None:
    """The address of an entry, where it is one of the domain."""
    if "@" in key and not key.endswith(f"@{domain}"):
        return None
    try:
        return Address.parse(key if "@" in key else f"{key}@{domain}", utf8=True)
    except AddressError:
        return None


class Directory:
    """See the module's text.  ``table`` gives tables by their names; ``in_thread`` is that of ``Services``."""

    def __init__(
        self, table: Callable[[str], ITable], rules: RoutingRules, in_thread: Callable[..., Deferred[Any]]
    ) -> None:
        self._table = table
        self._rules = rules
        self._in_thread = in_thread
        self._indexes: dict[str, tuple[object, Index]] = {}
        self._lock = DeferredLock()  # two who ask at once need one index

    async def people(self, question: NameQuestion) -> tuple[Person, ...] | None:
        """Who bears the name."""
        table = self._table(question.table)
        if not ISearchedTable.providedBy(table):
            return None
        await self._lock.acquire()
        try:
            index = await self._index(question.table, ISearchedTable(table))
        finally:
            self._lock.release()
        found = index.find(question.name, question.domain, question.limit)
        return found if found or index.whole else None

    async def _index(self, name: str, table: ISearchedTable) -> Index:
        version = table.version()
        known = self._indexes.get(name)
        if known is None or known[0] != version:
            made: Index = await self._in_thread(Index, table.items(MAX_PEOPLE + 1))
            known = self._indexes[name] = (version, made)
        return known[1]

    async def members(self, question: MembersQuestion) -> tuple[Address, ...] | None:
        """Who is on the list, each once, in its order; what is no address is left out."""
        rule = self._rules.list_at(Destination(SERVICE, str(question.address)))
        if rule is None:
            return ()
        addresses: dict[Address, None] = {}
        try:
            async with aclosing(roster(rule, self._table, question.limit)) as pages:
                async for page in pages:
                    addresses.update(dict.fromkeys(one for one in page if isinstance(one, Address)))
                    if len(addresses) >= question.limit:
                        break
        except CannotTell:
            return None
        return tuple(islice(addresses, question.limit))
