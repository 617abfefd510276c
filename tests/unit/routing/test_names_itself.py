"""Addresses that lead to their own mailbox by another of its names, and what may not be followed."""

from __future__ import annotations

from routing_cases import RoutingCase
from twisted.internet.defer import Deferred

from mta.address import Address
from mta.routing.recipients import Forward, lead
from mta.routing.rules import DomainRule

LOOP = "554 5.4.6 The address leads back to itself"
NO_ROUTING = "550 5.7.1 Relaying denied: no routing in the local part"


class NamesItself(RoutingCase):
    def aliases(self, **aliases: str) -> None:
        self.world(
            DomainRule(name="example.org", mailboxes="users", aliases="aliases", deliver="local", separators="+"),
            DomainRule(name="b.example", alias_of="example.org"),
            tables={"users": {"bob": "", "ann": "", "t+x": ""}, "aliases": aliases},
        )

    def test_by_a_tag_its_mailbox_has_a_copy(self) -> None:
        self.aliases(bob="bob+keep, x@far.example", team="bob, ann")
        self.assertEqual(self.ends("bob@example.org"), {"bob@example.org", "x@far.example"})
        self.assertEqual(self.ends("team@example.org"), {"bob@example.org", "ann@example.org", "x@far.example"})

    def test_by_an_alias_domain(self) -> None:
        self.aliases(bob="bob@b.example, x@far.example")
        for asked in ("bob@example.org", "bob@b.example"):
            self.assertEqual(self.ends(asked), {"bob@example.org", "x@far.example"}, asked)

    def test_alone_it_is_the_mailbox(self) -> None:
        self.aliases(bob="bob+keep")
        self.assertEqual(self.admit("bob@example.org"), "taken")
        self.assertEqual(self.ends("bob@example.org"), {"bob@example.org"})

    def test_without_a_mailbox_it_is_none(self) -> None:
        self.aliases(nobox="nobox+1, x@far.example", one="two", two="one")
        self.assertEqual(self.ends("nobox@example.org"), {"x@far.example"})
        self.assertEqual(self.ends("one@example.org"), {LOOP})

    def test_a_tag_that_a_table_has_is_another(self) -> None:
        self.aliases(x="t+x, ann+1, ann+2")
        self.assertEqual(self.ends("x@example.org"), {"t+x@example.org", "ann+1@example.org", "ann+2@example.org"})


class Followed(RoutingCase):
    def test_a_catch_all_is_followed_when_it_is_admitted(self) -> None:
        self.world(
            DomainRule(
                name="example.org",
                mailboxes="users",
                aliases="aliases",
                moved="moved",
                deliver="local",
                catch_all=Address("office", "example.org"),
            ),
            tables={"users": {"ann": ""}, "aliases": {"office": "eve"}, "moved": {"eve": "; reply=550"}},
        )
        self.assertTrue(self.admit("nobody@example.org").startswith("5"), self.admit("nobody@example.org"))
        self.assertEqual(self.admit("ann@example.org"), "taken")

    def test_no_routing_through_a_domain_of_ours_that_another_host_has(self) -> None:
        self.world(
            DomainRule(name="there.example", deliver="other"),
            DomainRule(name="here.example", deliver="local"),
            tables={},
        )
        for local in ("u%x.org", '"u@x.org"', "x.org!u"):
            self.assertEqual(self.admit(f"{local}@there.example"), NO_ROUTING, local)
            self.assertEqual(self.admit(f"{local}@here.example"), "taken", local)
        self.assertEqual(self.admit("u@there.example"), "taken")

    def test_a_relayed_domain_knows_its_capitals(self) -> None:
        """RFC 5321 2.4: only the host that has the mailbox may say that two spellings are one."""
        self.world(DomainRule(name="r.example", relay=True), tables={})
        forwards = [Forward(Address(name, "r.example")) for name in ("Bob", "bob")]
        leads = self.successResultOf(Deferred.fromCoroutine(lead(self.router, self.answerer, forwards, {}, 0)))
        self.assertEqual([str(one.address) for one in leads.recipients], ["Bob@r.example", "bob@r.example"])

    def test_the_longest_chain_is_decided(self) -> None:
        for depth, end in ((9, "ann@example.org"), (11, "554 5.4.6 The address leads on over too many steps")):
            self.world(
                DomainRule(name="example.org", mailboxes="users", aliases="aliases", moved="moved", deliver="local"),
                tables={
                    "users": {"ann": ""},
                    "aliases": {**{f"a{n}": f"a{n + 1}" for n in range(depth)}, f"a{depth}": "ann"},
                    "moved": {},
                },
            )
            self.assertEqual(self.ends("a0@example.org"), {end}, depth)
