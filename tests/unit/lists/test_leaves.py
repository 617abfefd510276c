"""How many a list leads to, counted at RCPT: RFC 5321 3.9.2."""

from __future__ import annotations

from typing import Any

from list_cases import CARL, TEAM, Lists, Table, a_list
from twisted.internet.defer import Deferred
from zope.interface import implementer

from mta.address import Address
from mta.interfaces import ISearchedTable
from mta.lists.leaves import Leaves
from mta.lists.posting import TOO_MANY, may_post
from mta.routing.ask import resolve
from mta.routing.values import Admission, LeavesQuestion
from mta.waiting import as_deferred


@implementer(ISearchedTable)
class InMemory(Table):
    """A table that can be counted."""

    number = 0

    def count(self) -> int:
        if self.failing:
            self.lookup("")
        return len(self.entries)

    def version(self) -> object:
        return self.number


def members(count: int, domain: str = "m.example") -> dict[str, str]:
    return {f"u{n}@{domain}": "" for n in range(count)}


class Counts(Lists):
    def leaves(self, limit: int = 100, name: str = "team") -> int | None:
        counted = self.counter.answer(LeavesQuestion(Address(name, "example.org"), limit))
        return counted if counted is None or isinstance(counted, int) else self.successResultOf(as_deferred(counted))

    def begin(self, *lists: Any, **tables: Any) -> None:
        super().begin(*lists, **tables)
        self.counter = Leaves(self.rules, self.tables.__getitem__, self.breathe)
        self.answerer = self.answerer.with_others({LeavesQuestion: self.counter.answer})

    def reply(self) -> Any:
        facts: dict[Any, Any] = {}
        admission = resolve(lambda known: self.router.admit(TEAM, frozenset(), known), facts, self.answerer)
        assert isinstance(admission, Admission)
        decided = resolve(lambda known: may_post(admission, CARL, frozenset(), known), facts, self.answerer)
        return decided if isinstance(decided, Admission) else self.successResultOf(as_deferred(decided))

    def test_members_tables_and_lists_within(self) -> None:
        self.begin(
            a_list("team", CARL, "sub@example.org", tables=("table:one",)),
            a_list("sub", CARL, "team@example.org", tables=("table:two",)),
            a_list("third", tables=("table:two",)),
            one=InMemory({**members(10), "Third@example.org": ""}),
            two=InMemory({**members(5, "n.example"), "sub": ""}),
        )
        # Who is on two of them counts twice as long as that makes no difference.
        self.assertEqual(self.leaves(), 17)
        self.assertEqual(self.leaves(16), 16)
        self.assertEqual(self.leaves(name="third"), 17, "the same lists, from another on")
        self.assertIsNone(self.leaves(name="other"))

    def test_a_large_table_is_not_read(self) -> None:
        self.begin(a_list("team", tables=("table:one",)), one=InMemory(members(1000)))
        self.assertEqual(self.leaves(), 1000)
        self.assertEqual((self.tables["table:one"].listed, self.breaths), (0, 0))  # type: ignore[attr-defined]

    def test_an_exact_count_is_remembered_until_a_table_changes(self) -> None:
        one, two = InMemory(members(60)), InMemory(members(70))
        self.begin(a_list("team", tables=("table:one", "table:two")), one=one, two=two)
        self.assertEqual(self.leaves(), 70)
        one.listed = 0
        self.assertEqual((self.leaves(), one.listed), (70, 0))
        one.entries, one.number = members(60, "n.example"), 1
        self.assertGreater(self.leaves() or 0, 100)

    def test_others_go_on_meanwhile(self) -> None:
        names = ("table:one", "table:two")
        self.begin(a_list("team", tables=names), one=InMemory(members(2000)), two=InMemory(members(2000)))
        self.breath = Deferred()
        counted = as_deferred(self.counter.answer(LeavesQuestion(TEAM, 3000)))  # type: ignore[arg-type]
        self.assertNoResult(counted)
        counted.cancel()
        self.failureResultOf(counted)

    def test_what_cannot_be_counted_at_once_is_counted_later(self) -> None:
        self.begin(a_list("team", CARL, tables=("table:one",)), one=Table(members(1000)))
        self.assertIsNone(self.leaves())
        self.begin(a_list("team", CARL, tables=("table:one",)), one=InMemory(failing="no disk"))
        self.assertIsNone(self.leaves())

    def test_lists_within_lists_are_refused_at_rcpt(self) -> None:
        """Ten lists of a thousand each, on one that may have five thousand."""
        subs = [a_list(f"sub{n}", tables=(f"table:t{n}",)) for n in range(10)]
        tables = {f"t{n}": InMemory(members(1000, f"m{n}.example")) for n in range(10)}
        every = [str(one.address) for one in subs]
        self.begin(a_list("team", *every, max_members=5000), *subs, **tables)
        decided = self.reply()
        self.assertEqual(decided.reply, TOO_MANY)
        self.assertIn("over max_members = 5000", str(decided.reasons[0]))
        self.begin(a_list("team", *every, max_members=10_000), *subs, **tables)
        self.assertIsNone(self.reply().reply)
