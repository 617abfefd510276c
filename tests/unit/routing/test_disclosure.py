"""Who is told what by VRFY and EXPN (RFC 5321 7.3)."""

from __future__ import annotations

from typing import get_args

from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.envelope import Right
from mta.lists.values import ListRule, by_local_part
from mta.routing.disclosure import SEARCHED, Askers, Disclosure, disclosure, may, same, shown
from mta.routing.rules import DomainRule
from mta.routing.values import Target

NETWORK = frozenset({Right.NETWORK})
LOGIN = frozenset({Right.AUTHENTICATED})
NOBODY: frozenset[Right] = frozenset()


def address(text: str) -> Address:
    return Address.parse(text)


def rules(**domains: DomainRule) -> Disclosure:
    return disclosure({f"{name}.example": rule for name, rule in domains.items()}, "networks", "networks")


class Words(SynchronousTestCase):
    def test_each_is_wider_than_the_one_before(self) -> None:
        told = [[may(word, rights) for rights in (NOBODY, NETWORK, LOGIN)] for word in get_args(Askers)]
        self.assertEqual(told, [[False, False, False], [False, False, True], [False, True, True], [True, True, True]])

    def test_word_that_is_not_known_is_nobody(self) -> None:
        self.assertFalse(may("everybody", LOGIN))


class Nearest(SynchronousTestCase):
    """The list's word, the domain's, that of the domain it is another name of, that for all."""

    def setUp(self) -> None:
        team = ListRule(address=address("team@a.example"), owner=address("ann@a.example"), expn="anyone")
        crew = ListRule(address=address("crew@a.example"), owner=address("ann@a.example"))
        self.rules = rules(
            a=DomainRule(name="a.example", deliver="x", vrfy="nobody", lists=by_local_part([team, crew], "a.example")),
            b=DomainRule(name="b.example", deliver="x", expn="authenticated"),
            c=DomainRule(name="c.example", alias_of="a.example"),
            d=DomainRule(name="d.example", alias_of="a.example", vrfy="anyone"),
        )

    def test_vrfy(self) -> None:
        found = {name: self.rules.vrfy_of(f"{name}.example") for name in "abcdx"}
        self.assertEqual(found, {"a": "nobody", "b": "networks", "c": "nobody", "d": "anyone", "x": "networks"})

    def test_expn(self) -> None:
        for text, word in (
            ("ann@a.example", "networks"),
            ("Team@a.example", "anyone"),
            # RFC 2142 6
            ("team-owner@c.example", "anyone"),
            ("crew@c.example", "nobody"),
            ("x@b.example", "authenticated"),
            ("x@else.example", "networks"),
        ):
            self.assertEqual(self.rules.expn_of(address(text)), word, text)

    def test_widest(self) -> None:
        self.assertEqual(self.rules.expn_widest, "anyone")
        only = disclosure({"a.example": DomainRule(name="a.example", expn="authenticated")}, "anyone", "nobody")
        self.assertEqual(only.expn_widest, "authenticated")


class Searched(SynchronousTestCase):
    def test_those_with_names_come_first(self) -> None:
        found = rules(
            a=DomainRule(name="a.example", deliver="x"),
            b=DomainRule(name="b.example", relay=True, names="n"),
            c=DomainRule(name="c.example", deliver="x", names="n"),
            d=DomainRule(name="d.example", null=True),
            e=DomainRule(name="e.example", alias_of="a.example"),
        )
        self.assertEqual(found.searched, ("c.example", "a.example"))

    def test_many_domains(self) -> None:
        domains = {f"d{n}.example": DomainRule(name=f"d{n}.example", deliver="x") for n in range(100)}
        found = disclosure(domains, "anyone", "anyone")
        self.assertEqual((len(found.searched), found.all_searched), (SEARCHED, False))


class Shown(SynchronousTestCase):
    def test_what_is_behind_a_closed_address_stays_there(self) -> None:
        found = rules(
            a=DomainRule(name="a.example", deliver="x"), b=DomainRule(name="b.example", deliver="x", expn="nobody")
        )
        first, second = address("one@b.example"), address("two@b.example")
        path = ("alias:all@a.example", "alias:staff@b.example")
        targets = [Target(first, path), Target(second, path), Target(address("c@a.example"), path[:1])]
        self.assertEqual([str(one) for one in shown(found, targets, NETWORK)], ["staff@b.example", "c@a.example"])

    def test_postmaster_alone(self) -> None:
        targets = [Target(address("ann@a.example"), ("postmaster:postmaster", "alias:all@a.example"))]
        self.assertEqual(shown(rules(), targets, NETWORK), (address("ann@a.example"),))

    def test_same(self) -> None:
        self.assertTrue(same(address("Ann@a.example"), address("ann@a.example")))
        self.assertFalse(same(address("ann@b.example"), address("ann@a.example")))
