"""The members of a list, in order and page by page."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from list_cases import ANN, CARL, Table, a_list
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mta.address import Address
from mta.interfaces import IPagedTable, ITable
from mta.lists.roster import Wrong, roster
from mta.lists.values import ListRule
from mta.routing.tables import MemoryTable
from mta.routing.tables.listing import PAGE, CannotTell


async def all_of(rule: ListRule, table: Callable[[str], ITable], limit: int) -> list[list[Address | Wrong]]:
    async with aclosing(roster(rule, table, limit)) as pages:
        return [page async for page in pages]


class Roster(SynchronousTestCase):
    def pages(self, rule: ListRule, limit: int = 100, **tables: ITable) -> list[list[Address | Wrong]]:
        return self.successResultOf(Deferred.fromCoroutine(all_of(rule, tables.__getitem__, limit)))

    def found(self, rule: ListRule, limit: int = 100, **tables: ITable) -> list[str]:
        return [str(one) for page in self.pages(rule, limit, **tables) for one in page]

    def test_those_of_the_configuration_come_first_then_each_table(self) -> None:
        rule = a_list("team", CARL, ANN, tables=("one", "two"))
        one, two = Table({"dora@c.example": "", "bob": ""}), Table({"eve@e.example": "Eve"})
        self.assertEqual(
            self.found(rule, one=one, two=two),
            ["Carl@b.example", "ann@example.org", "dora@c.example", "bob@example.org", "eve@e.example"],
        )

    def test_capitals_that_matter_stand_in_the_value(self) -> None:
        table = Table({"Dora@c.example": "Dora@C.example", "eve@e.example": "mallory@e.example"})
        self.assertEqual(self.found(a_list(tables=("t",)), t=table), ["Dora@c.example", "eve@e.example"])

    def test_what_is_no_address_comes_out_as_that(self) -> None:
        (page,) = self.pages(a_list(tables=("t",)), t=Table({"a b": "", "x@": ""}))
        self.assertEqual([type(one) for one in page], [Wrong, Wrong])

    def test_a_table_is_read_no_further_than_the_limit(self) -> None:
        table = Table({f"u{n}@m.example": "" for n in range(50)})
        self.assertEqual(len(self.found(a_list(tables=("t",)), 5, t=table)), 5)
        self.assertEqual(table.listed, 5)

    def test_a_page_has_no_more_than_can_be_done_at_once(self) -> None:
        table = Table({f"u{n}@m.example": "" for n in range(2 * PAGE + 1)})
        pages = self.pages(a_list(tables=("t",)), 10_000, t=table)
        self.assertEqual([len(page) for page in pages], [PAGE, PAGE, 1])

    def test_a_table_may_have_to_wait(self) -> None:
        @implementer(IPagedTable)
        class Slow(MemoryTable):
            async def pages(self, limit: int) -> AsyncGenerator[list[tuple[str, str]], None]:
                yield [("bob", "")]
                yield await succeed([("dora@c.example", "")])

        self.assertEqual(self.found(a_list(tables=("t",)), t=Slow()), ["bob@example.org", "dora@c.example"])

    def test_one_that_cannot_list_says_so(self) -> None:
        work = Deferred.fromCoroutine(all_of(a_list(tables=("t",)), lambda name: MemoryTable(), 10))
        self.assertEqual(str(self.failureResultOf(work, CannotTell).value), "the table t cannot tell its members")
