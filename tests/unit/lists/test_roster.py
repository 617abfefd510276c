"""The members of a list, in order and one by one."""

from __future__ import annotations

from list_cases import ANN, CARL, Table, a_list
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from mta.interfaces import ITable
from mta.lists.roster import CannotTell, Wrong, roster
from mta.lists.values import ListRule
from mta.routing.tables import MemoryTable


class Roster(SynchronousTestCase):
    def found(self, rule: ListRule, limit: int = 100, **tables: ITable) -> list[str]:
        work = Deferred.fromCoroutine(roster(rule, tables.__getitem__, limit))
        return [str(one) for one in self.successResultOf(work)]

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
        work = Deferred.fromCoroutine(roster(a_list(tables=("t",)), lambda name: Table({"a b": "", "x@": ""}), 10))
        self.assertEqual([type(one) for one in self.successResultOf(work)], [Wrong, Wrong])

    def test_a_table_is_read_no_further_than_the_limit(self) -> None:
        table = Table({f"u{n}@m.example": "" for n in range(50)})
        self.assertEqual(len(self.found(a_list(tables=("t",)), 5, t=table)), 5)
        self.assertEqual(table.listed, 5)

    def test_a_table_may_have_to_wait(self) -> None:
        class Slow(Table):
            def items(self, limit: int) -> Deferred[list[tuple[str, str]]]:
                return succeed([("bob", "")])

        self.assertEqual(self.found(a_list(tables=("t",)), t=Slow()), ["bob@example.org"])

    def test_one_that_cannot_list_says_so(self) -> None:
        work = Deferred.fromCoroutine(roster(a_list(tables=("t",)), lambda name: MemoryTable(), 10))
        self.assertEqual(str(self.failureResultOf(work, CannotTell).value), "the table t cannot tell its members")
