"""Who bears a name, and who is on a list (RFC 5321 3.5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mta.address import Address
from mta.interfaces import ISearchedTable
from mta.lists.values import ListRule, by_local_part
from mta.routing import directory
from mta.routing.directory import Directory, Index, words_of
from mta.routing.rules import DomainRule, RoutingRules
from mta.routing.tables import MemoryTable
from mta.routing.tables.static import StaticTable, StaticTableOptions
from mta.routing.values import MembersQuestion, NameQuestion, Person

DOMAIN = "ours.example"


def found(index: Index, name: str, domain: str = DOMAIN, limit: int = 10) -> list[str]:
    return [str(person.address) for person in index.find(name, domain, limit)]


@implementer(ISearchedTable)
class Changing:
    """A table that changes."""

    def __init__(self, entries: dict[str, str]) -> None:
        self.entries = entries
        self.number = 0
        self.read = 0

    def lookup(self, key: str) -> str | None:
        return self.entries.get(key)

    def items(self, limit: int) -> Iterable[tuple[str, str]]:
        self.read += 1
        return list(self.entries.items())[:limit]

    def version(self) -> object:
        return self.number

    def count(self) -> int:
        return len(self.entries)


class Indexes(SynchronousTestCase):
    def test_words(self) -> None:
        for name, words in (
            ("Jos\u00e9 O'Brien", ("jose", "o", "brien")),
            ("  M\u00fcller-L\u00fcdenscheid,  Dr. ", ("muller", "ludenscheid", "dr")),
            ("STRASSE Stra\u00dfe", ("strasse", "strasse")),
            ("\u5c71\u7530 \u592a\u90ce", ("\u5c71\u7530", "\u592a\u90ce")),
            ("\uff21nn", ("ann",)),
            ("a_b 7", ("a", "b", "7")),
            ("!?\r\n", ()),
            (" ".join("abcdefghijkl"), tuple("abcdefgh")),
        ):
            self.assertEqual(words_of(name), words)

    def test_parts_in_any_order(self) -> None:
        index = Index([("ann", "Ann Mary Lee"), ("bo", "Bo Lee"), ("cy@ours.example", "Cy Ann")])
        self.assertEqual(found(index, "lee"), ["ann@ours.example", "bo@ours.example"])
        self.assertEqual(found(index, "LEE ann"), ["ann@ours.example"])
        self.assertEqual(found(index, "ann"), ["ann@ours.example", "cy@ours.example"])
        self.assertEqual(found(index, "ann cy lee"), [])
        self.assertEqual(found(index, ""), [])
        self.assertEqual(found(index, "lee", limit=1), ["ann@ours.example"])

    def test_who_is_called_just_that_comes_alone(self) -> None:
        index = Index([("a", "Ann Mary Lee"), ("b", "Ann Lee"), ("c", "Lee Ann"), ("d", "ANN L\u00c9E")])
        self.assertEqual(found(index, "Ann Lee"), ["b@ours.example", "d@ours.example"])

    def test_addresses_of_other_domains_and_what_is_none(self) -> None:
        index = Index([("a@other.example", "Ann"), ("b@notours.example", "Ann"), ("x y", "Ann"), ("ok", "Ann")])
        self.assertEqual(found(index, "ann"), ["ok@ours.example"])
        self.assertEqual(found(index, "ann", "other.example"), ["a@other.example", "ok@other.example"])

    def test_more_people_than_are_looked_at(self) -> None:
        self.patch(directory, "MAX_PEOPLE", 2)
        index = Index([("a", "Ann"), ("b", "Ann"), ("c", "Ann")])
        self.assertEqual(found(index, "ann"), ["a@ours.example", "b@ours.example"])
        self.assertFalse(index.whole)
        self.assertTrue(Index([("a", "Ann"), ("b", "Ann")]).whole)

    @given(names=st.lists(st.text("aAb\u00e4 -", max_size=6), max_size=12), asked=st.text("aAb\u00e4 -", max_size=6))
    def test_as_one_would_look_by_hand(self, names: list[str], asked: str) -> None:
        index = Index((f"u{number}", name) for number, name in enumerate(names))
        words = words_of(asked)
        equal = [f"u{n}@ours.example" for n, name in enumerate(names) if words and words_of(name) == words]
        parts = [f"u{n}@ours.example" for n, name in enumerate(names) if words and set(words) <= set(words_of(name))]
        self.assertEqual(found(index, asked, limit=100), equal or parts)


class Directories(SynchronousTestCase):
    def directory(self, in_thread: Callable[..., Deferred[Any]] | None = None, **tables: Any) -> Directory:
        team = ListRule(
            address=Address("team", DOMAIN),
            owner=Address("ann", DOMAIN),
            members=(Address("bob", DOMAIN), Address("ann", "x.example")),
            tables=("members",),
        )
        rules = RoutingRules(
            postmaster=Address("ann", DOMAIN),
            services=frozenset({"local"}),
            domains={DOMAIN: DomainRule(name=DOMAIN, deliver="local", lists=by_local_part([team], DOMAIN))},
        )
        return Directory(tables.__getitem__, rules, in_thread or (lambda work, *args: succeed(work(*args))))

    def people(self, directory: Directory, name: str) -> tuple[Person, ...] | None:
        return self.successResultOf(Deferred.fromCoroutine(directory.people(NameQuestion("names", DOMAIN, name, 5))))

    def test_tables_of_ours_can_be_searched(self) -> None:
        options = StaticTableOptions(entries={"ann": "Ann Lee"})
        services: Any = None
        table = StaticTable(options, services)
        verifyObject(ISearchedTable, table)
        self.assertEqual(self.people(self.directory(names=table), "lee"), (Person(Address("ann", DOMAIN), "Ann Lee"),))

    def test_index_is_made_when_it_is_needed(self) -> None:
        table = Changing({"ann": "Ann Lee"})
        directory = self.directory(names=table)
        self.assertEqual(table.read, 0)
        self.assertEqual(self.people(directory, "lee"), (Person(Address("ann", DOMAIN), "Ann Lee"),))
        self.assertEqual(self.people(directory, "bo"), ())
        self.assertEqual(table.read, 1)
        table.entries, table.number = {"bo": "Bo Lee"}, 1
        self.assertEqual(self.people(directory, "lee"), (Person(Address("bo", DOMAIN), "Bo Lee"),))
        self.assertEqual(table.read, 2)

    def test_two_who_ask_at_once_need_one(self) -> None:
        started: list[tuple[Deferred[Any], Any]] = []

        def in_thread(work: Any, *args: Any) -> Deferred[Any]:
            deferred: Deferred[Any] = Deferred()
            started.append((deferred, lambda: work(*args)))
            return deferred

        directory = self.directory(in_thread, names=Changing({"ann": "Ann"}))
        asked = [Deferred.fromCoroutine(directory.people(NameQuestion("names", DOMAIN, "ann", 5))) for _ in range(3)]
        asked[1].cancel()  # its client went away
        self.failureResultOf(asked[1])
        ((deferred, work),) = started
        deferred.callback(work())
        self.assertEqual(len(self.successResultOf(asked[0]) or ()), 1)
        self.assertEqual(len(self.successResultOf(asked[2]) or ()), 1)
        self.assertEqual(len(started), 1)

    def test_table_that_cannot_be_searched(self) -> None:
        self.assertIsNone(self.people(self.directory(names=MemoryTable({"ann": "Ann"})), "ann"))

    def test_nobody_among_the_first_is_not_nobody(self) -> None:
        self.patch(directory, "MAX_PEOPLE", 1)
        directory_ = self.directory(names=Changing({"a": "Ann", "b": "Bob"}))
        self.assertIsNone(self.people(directory_, "bob"))
        self.assertEqual(len(self.people(directory_, "ann") or ()), 1)

    def members(self, directory: Directory, name: str = "team", limit: int = 9) -> Any:
        return self.successResultOf(
            Deferred.fromCoroutine(directory.members(MembersQuestion(Address(name, DOMAIN), limit)))
        )

    def test_members(self) -> None:
        directory = self.directory(members=Changing({"bob": "", "cy": "", "not an address@": "", "d@x.example": ""}))
        self.assertEqual(
            [str(address) for address in self.members(directory)],
            ["bob@ours.example", "ann@x.example", "cy@ours.example", "d@x.example"],
        )
        self.assertEqual(len(self.members(directory, limit=2)), 2)
        self.assertEqual(self.members(directory, "nolist"), ())

    def test_members_that_nobody_can_tell(self) -> None:
        self.assertIsNone(self.members(self.directory(members=MemoryTable({"bob": ""}))))
