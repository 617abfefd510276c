"""Who may send to which address, where it leads, and how it goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mta.address import Address
from mta.dns.fake import FakeResolver
from mta.envelope import Destination, Right
from mta.interfaces import IRouter
from mta.reply import MailFailure, PermanentFailure, TemporaryFailure
from mta.routing.ask import Answerer, resolve
from mta.routing.router import Router
from mta.routing.rules import DomainRule, RouteRule, RoutingRules
from mta.routing.tables import MemoryTable

USERS = {
    "ann@example.org": "",
    "bob": "home=/srv/bob",
    "josé@example.org": "",
    "bob@other.example": "home=/srv/other",
    "postmaster@other.example": "",
    "boss@example.org": "",
    "self@example.org": "",
}
ALIASES = {
    "info": "ann, Bob, x@far.example",
    "all@example.org": "info, ann@example.org, boss",
    "boss": "ann@example.org",
    "self": "self, x@far.example",
    "a": "b",
    "b": "c@example.org",
    "c": "a",
    "alone": "alone",
    "partly": "a, ann",
    "broken": "|/bin/sh",
    "dangling": "nobody",
    "quoted": '"a b"@far.example, "c,d"@far.example',
    **{f"deep{n}": f"deep{n + 1}" for n in range(12)},
    "deep12": "ann",
    "many": ", ".join(f"m{n}@far.example" for n in range(50)),
}
RULES = RoutingRules(
    postmaster=Address("ann", "example.org"),
    services=frozenset({"local", "internet", "partner", "lists"}),
    final=frozenset({"local", "lists"}),
    domains={
        rule.name: rule
        for rule in (
            DomainRule(name="example.org", mailboxes="users", aliases="aliases", deliver="local"),
            DomainRule(name="other.example", mailboxes="users", deliver="local"),
            DomainRule(name="all.example", deliver="lists"),
            DomainRule(name="named.example", aliases="aliases"),
            DomainRule(name="customer.example", relay=True),
            DomainRule(name="listed.example", relay=True, recipients="customers"),
            DomainRule(name="[192.0.2.25]", mailboxes="users", deliver="local"),
        )
    },
    routes=(
        RouteRule(name="partner", to=("partner.example", "*.partner.example"), via="partner"),
        RouteRule(name="gone", to=("gone.example",), via="vanished"),
    ),
    max_targets=40,
)
NETWORK = frozenset({Right.NETWORK})
STRANGER: frozenset[Right] = frozenset()


class RouterCase(SynchronousTestCase):
    rules = RULES

    def setUp(self) -> None:
        self.users = MemoryTable(USERS)
        self.aliases = MemoryTable(ALIASES)
        self.customers = MemoryTable({"known@listed.example": ""})
        tables = {"users": self.users, "aliases": self.aliases, "customers": self.customers}
        self.answerer = Answerer(tables, FakeResolver())
        self.router = Router(self.rules)
        verifyObject(IRouter, self.router)

    def address(self, text: str) -> Address:
        return Address.parse(text, utf8=True) if "@" in text else Address(text, "")

    def decide(self, decision: Any) -> Any:
        return resolve(decision, {}, self.answerer)

    def admit(self, text: str, rights: frozenset[Right] = STRANGER) -> str:
        """The reply, "taken" for none."""
        admission = self.decide(lambda facts: self.router.admit(self.address(text), rights, facts))
        return "taken" if admission.reply is None else f"{admission.reply.code} {admission.reply.enhanced}"

    def expand(self, text: str) -> dict[str, tuple[str, ...]]:
        expansion = self.decide(lambda facts: self.router.expand(self.address(text), facts))
        targets = {str(target.address): target.path for target in expansion.targets}
        self.assertEqual(len(targets), len(expansion.targets))
        return targets

    def route(self, text: str, before: str = "", home: bool = False) -> Any:
        address = self.address(text)
        waiting = Destination(before, address.domain) if before else None
        return self.decide(lambda facts: self.router.route(address, waiting, facts, home))


class Permission(RouterCase):
    def test_strangers_reach_only_what_is_ours_or_relayed(self) -> None:
        """RFC 5321 3.6.2, 7.1."""
        for text, reply in (
            ("ann@example.org", "taken"),
            ("ANN@example.org", "taken"),
            ("any@all.example", "taken"),
            ("any@customer.example", "taken"),
            ("known@listed.example", "taken"),
            ("ann@[192.0.2.25]", "550 5.1.1"),
            ("bob@[192.0.2.25]", "taken"),
            ("x@far.example", "550 5.7.1"),
            ("x@sub.example.org", "550 5.7.1"),
            ("x@partner.example", "550 5.7.1"),
            ("x@[192.0.2.1]", "550 5.7.1"),
            ("postmaster@far.example", "550 5.7.1"),
            ("postmaster@[192.0.2.1]", "550 5.7.1"),
        ):
            self.assertEqual(self.admit(text), reply, text)

    def test_each_right_permits_foreign_addresses(self) -> None:
        for right in Right:
            self.assertEqual(self.admit("x@far.example", frozenset({right})), "taken")
            self.assertEqual(self.admit("nobody@example.org", frozenset({right})), "550 5.1.1")

    def test_a_route_never_permits(self) -> None:
        """Not even one for everything."""
        routes = (RouteRule(name="all", to=("*",), via="partner"),)
        self.router = Router(RoutingRules(postmaster=RULES.postmaster, services=RULES.services, routes=routes))
        self.assertEqual(self.admit("x@far.example"), "550 5.7.1")

    def test_a_further_hop_in_the_local_part_is_no_way_through(self) -> None:
        """RFC 5321 3.6.1, appendix C: it is a local part like any other."""
        for text in (
            "user%far.example@example.org",
            "far.example!user@example.org",
            '"user@far.example"@example.org',
            '"bob@other.example"@example.org',
            '"ann@example.org"@other.example',
        ):
            self.assertEqual(self.admit(text), "550 5.1.1", text)
        for text in (
            "user%far.example@customer.example",
            '"user@far.example"@customer.example',
            "h!u@customer.example",
        ):
            self.assertEqual(self.admit(text), "550 5.7.1", text)
            self.assertEqual(self.admit(text, NETWORK), "taken")

    def test_reasons(self) -> None:
        for text, rights, reason in (
            ("ann@example.org", STRANGER, "domain example.org is ours"),
            ("x@customer.example", STRANGER, "domain customer.example is relayed for"),
            ("x@far.example", NETWORK, "network"),
        ):
            admission = self.decide(lambda f, t=text, r=rights: self.router.admit(self.address(t), r, f))
            self.assertEqual([str(why) for why in admission.reasons], [reason])


class Validity(RouterCase):
    def test_mailboxes_and_aliases(self) -> None:
        for text, reply in (
            ("nobody@example.org", "550 5.1.1"),
            ("bob@example.org", "taken"),
            ("Info@example.org", "taken"),
            ("info@other.example", "550 5.1.1"),
            ("info@named.example", "taken"),
            ("ann@named.example", "550 5.1.1"),
            ("nobody@listed.example", "550 5.1.1"),
        ):
            self.assertEqual(self.admit(text), reply, text)

    def test_nfc_and_nfd_are_one_mailbox(self) -> None:
        """RFC 6532 3.1."""
        for text in ("josé@example.org", "jose\u0301@example.org", "JOSÉ@example.org"):
            self.assertEqual(self.admit(text), "taken", text)

    def test_postmaster_is_always_taken(self) -> None:
        """RFC 5321 4.5.1: with and without domain, in any case, whatever the tables say."""
        self.users.failing = self.aliases.failing = self.customers.failing = "down"
        for text in ("postmaster", "POSTMASTER", "Postmaster@example.org", "postmaster@listed.example"):
            self.assertEqual(self.admit(text), "taken", text)

    def test_a_table_out_of_order_makes_nobody_unknown(self) -> None:
        self.users.failing = "disk away"
        self.assertEqual(self.admit("nobody@example.org"), "451 4.3.0")
        self.assertEqual(self.admit("boss@example.org"), "taken", "an alias needs no mailbox")
        self.users.failing, self.aliases.failing = "", "disk away"
        self.assertEqual(self.admit("ann@example.org"), "451 4.3.0")
        self.customers.failing = "disk away"
        self.assertEqual(self.admit("known@listed.example"), "451 4.3.0")
        self.answerer = Answerer({}, FakeResolver())
        self.assertEqual(self.admit("ann@example.org"), "451 4.3.0", "the table is not configured any more")

    def test_an_alias_that_leads_nowhere_is_told_at_rcpt(self) -> None:
        self.assertEqual(self.admit("a@example.org"), "554 5.4.6")
        self.assertEqual(self.admit("alone@example.org"), "554 5.4.6")
        self.assertEqual(self.admit("broken@example.org"), "451 4.3.5")
        self.assertEqual(self.admit("many@example.org"), "452 4.5.3")


class Expanding(RouterCase):
    def test_what_leads_nowhere_else_stays(self) -> None:
        for text in ("ann@example.org", "x@far.example", "Nobody@customer.example", "postmaster@customer.example"):
            self.assertEqual(self.expand(text), {text: ()})

    def test_an_alias_with_its_path(self) -> None:
        path = ("alias:info@example.org",)
        self.assertEqual(
            self.expand("info@example.org"),
            {"ann@example.org": path, "Bob@example.org": path, "x@far.example": path},
        )

    def test_nested_and_each_once(self) -> None:
        targets = self.expand("ALL@example.org")
        self.assertEqual(set(targets), {"ann@example.org", "Bob@example.org", "x@far.example"})
        self.assertEqual(targets["ann@example.org"], ("alias:ALL@example.org",))
        self.assertEqual(targets["x@far.example"], ("alias:ALL@example.org", "alias:info@example.org"))

    def test_reasons(self) -> None:
        expansion = self.decide(lambda f: self.router.expand(self.address("boss@example.org"), f))
        self.assertEqual([str(why) for why in expansion.reasons], ["boss@example.org -> ann@example.org   alias"])

    def test_quoted_targets(self) -> None:
        self.assertEqual(set(self.expand("quoted@example.org")), {'"a b"@far.example', '"c,d"@far.example'})

    def test_itself_among_its_targets_is_its_mailbox(self) -> None:
        targets = self.expand("self@example.org")
        self.assertEqual(set(targets), {"self@example.org", "x@far.example"})

    def test_loops(self) -> None:
        """RFC 5321 6.3."""
        for text in ("a@example.org", "b@example.org", "alone@example.org"):
            error = self.assertRaises(PermanentFailure, self.expand, text)
            self.assertEqual((error.reply.code, error.reply.enhanced), (554, "5.4.6"))
        self.assertEqual(set(self.expand("partly@example.org")), {"ann@example.org"})

    def test_depth(self) -> None:
        self.assertEqual(set(self.expand("deep3@example.org")), {"ann@example.org"})
        error = self.assertRaises(PermanentFailure, self.expand, "deep0@example.org")
        self.assertEqual(error.reply.enhanced, "5.4.6")

    def test_trouble_is_temporary(self) -> None:
        for text, enhanced in (("broken@example.org", "4.3.5"), ("many@example.org", "4.5.3")):
            self.assertEqual(self.assertRaises(TemporaryFailure, self.expand, text).reply.enhanced, enhanced)
        self.aliases.failing = "disk away"
        error = self.assertRaises(TemporaryFailure, self.expand, "info@example.org")
        self.assertEqual(error.reason, "table aliases: disk away")

    def test_an_alias_to_nobody_goes_on_to_be_held(self) -> None:
        self.assertEqual(set(self.expand("dangling@example.org")), {"nobody@example.org"})
        self.assertIn("is not in users", self.route("nobody@example.org").hold)

    def test_postmaster(self) -> None:
        """RFC 5321 4.5.1."""
        self.assertEqual(self.expand("PostMaster"), {"ann@example.org": ("postmaster:PostMaster",)})
        self.assertEqual(set(self.expand("postmaster@example.org")), {"ann@example.org"})
        self.assertEqual(self.expand("postmaster@other.example"), {"postmaster@other.example": ()})
        self.assertEqual(self.expand("postmaster@all.example"), {"postmaster@all.example": ()})

    def test_postmaster_that_reaches_nobody_is_kept_for_the_operator(self) -> None:
        self.aliases.entries["ann"] = "postmaster"
        self.assertEqual(self.expand("postmaster"), {"ann@example.org": ()})
        self.router = Router(RoutingRules(postmaster=Address("postmaster", "example.org"), services=RULES.services))
        self.assertEqual(set(self.expand("postmaster")), {"postmaster@example.org"})


class Routing(RouterCase):
    def test_service_and_next_hop(self) -> None:
        for text, destination in (
            ("ann@example.org", "local:example.org"),
            ("x@all.example", "lists:all.example"),
            ("x@customer.example", "internet:customer.example"),
            ("x@partner.example", "partner:partner.example"),
            ("x@a.b.partner.example", "partner:a.b.partner.example"),
            ("x@notpartner.example", "internet:notpartner.example"),
            ("x@[192.0.2.1]", "internet:[192.0.2.1]"),
        ):
            route = self.route(text)
            self.assertEqual((str(route.destination), route.hold), (destination, ""), text)

    def test_reasons(self) -> None:
        for text, reason in (
            ("ann@example.org", "domain example.org is ours"),
            ("x@partner.example", "route partner"),
            ("x@far.example", "no rule for far.example"),
        ):
            self.assertEqual([str(why) for why in self.route(text).reasons], [reason])

    def test_the_mailbox_s_value_goes_along(self) -> None:
        self.assertEqual(self.route("Bob@example.org").facts, {"mailbox": "home=/srv/bob"})
        self.assertEqual(self.route("bob@other.example").facts, {"mailbox": "home=/srv/other"})
        self.assertEqual(self.route("ann@example.org").facts, {})

    def test_what_vanished_is_held(self) -> None:
        for text, before, reason in (
            ("nobody@example.org", "local", "the mailbox is not in users"),
            ("x@was.example", "local", "the domain was.example is no longer in the configuration"),
            ("x@far.example", "smart", "the delivery service smart is no longer in the configuration"),
            ("x@gone.example", "", "the delivery service vanished is not in the configuration"),
            ("x@named.example", "", "the domain named.example has no delivery service"),
            ("x", "", "the address has no domain"),
        ):
            route = self.route(text, before)
            self.assertEqual(route.hold, reason)
            self.assertTrue(route.destination.service)
        self.assertEqual(self.route("x@was.example", "local").destination.service, "local")

    def test_what_was_ours_does_not_leave_by_a_route_for_everything(self) -> None:
        routes = (RouteRule(name="all", to=("*",), via="partner"),)
        rules = RoutingRules(postmaster=RULES.postmaster, services=RULES.services, final=RULES.final, routes=routes)
        self.router = Router(rules)
        self.assertIn("no longer", self.route("x@was.example", "local").hold)
        self.assertEqual(self.route("x@far.example").destination.service, "partner")
        routes = (*routes, RouteRule(name="moved", to=("was.example",), via="partner"))
        self.router = Router(
            RoutingRules(postmaster=RULES.postmaster, services=RULES.services, final=RULES.final, routes=routes)
        )
        route = self.route("x@was.example", "local")
        self.assertEqual((route.destination.service, route.hold), ("partner", ""), "the operator moved it")

    def test_what_was_ours_at_another_host_does_not_leave_by_mx(self) -> None:
        """Neither by a route for everything: who has the domain now is somebody else."""
        self.router = Router(
            replace(RULES, domains={"hosted.example": DomainRule(name="hosted.example", deliver="partner")})
        )
        self.assertTrue(self.route("x@hosted.example").home)
        self.assertFalse(self.route("x@partner.example").home)
        every = (RouteRule(name="all", to=("*",), via="other"),)
        for routes in ((), every):
            for services in (RULES.services, RULES.services - {"partner"}):
                # The domain is gone, with the service or without.
                self.router = Router(replace(RULES, routes=routes, services=services | {"other"}))
                route = self.route("x@hosted.example", "partner", home=True)
                self.assertEqual(route.destination, Destination("partner", "hosted.example"))
                self.assertEqual(route.hold, "the domain hosted.example is no longer in the configuration")
        self.router = Router(replace(RULES, routes=(RouteRule(name="m", to=("hosted.example",), via="internet"),)))
        route = self.route("x@hosted.example", "partner", home=True)
        self.assertEqual((route.destination.service, route.hold), ("internet", ""), "the operator moved it")

    def test_a_corrected_configuration_frees_what_waits(self) -> None:
        self.assertEqual(self.route("x@far.example", "partner").destination.service, "internet")
        self.assertEqual(self.route("x@partner.example", "internet").destination.service, "partner")
        self.assertEqual(self.route("ann@example.org", "internet").destination.service, "local")

    def test_a_table_out_of_order_waits(self) -> None:
        self.users.failing = "disk away"
        error = self.assertRaises(MailFailure, self.route, "ann@example.org", "local")
        self.assertEqual(error.reply.code, 451)

    def test_a_wrong_pattern_is_told(self) -> None:
        rules = RoutingRules(
            postmaster=RULES.postmaster,
            services=RULES.services,
            routes=(RouteRule(name="x", to=("a*b",), via="y"),),
        )
        self.assertIn("first label", str(self.assertRaises(ValueError, Router, rules)))
