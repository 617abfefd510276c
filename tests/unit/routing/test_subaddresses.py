"""``user+tag``, catch-all, and a delivery service of a mailbox's own."""

from __future__ import annotations

from routing_cases import RoutingCase, address

from mta.address import Address
from mta.routing.rules import DomainRule

NO_MAILBOX = "550 5.1.1 No such mailbox here"


class Subaddresses(RoutingCase):
    def setUp(self) -> None:
        self.world(
            DomainRule(
                name="example.org",
                mailboxes="users",
                aliases="aliases",
                moved="moved",
                deliver="local",
                separators="+-",
                services="services",
            ),
            DomainRule(name="plain.example", mailboxes="users", deliver="local"),
            DomainRule(name="any.example", aliases="aliases", deliver="local", separators="+"),
            tables={
                "users": {
                    "ann": "home=/srv/ann",
                    "mary-ann": "m",
                    "mary": "x",
                    "bob+exact": "e",
                    "bob": "b",
                    "josé": "j",
                },
                "aliases": {"info": "ann, x@far.example", "info+special": "bob"},
                "moved": {"eve": "eve@far.example; reply=551"},
                "services": {"bob": "other", "mary": "vanished"},
            },
        )

    def facts(self, text: str) -> dict[str, str]:
        route = self.route(text)
        self.assertEqual(route.hold, "", text)
        return dict(route.facts)

    def test_the_tag_is_kept_for_the_delivery(self) -> None:
        """RFC 5233 1; the address keeps its form, so that LMTP servers see it."""
        self.assertEqual(self.admit("Ann+News.x@example.org"), "taken")
        self.assertEqual(self.expand("Ann+News.x@example.org"), {"Ann+News.x@example.org": ()})
        self.assertEqual(
            self.facts("Ann+News.x@example.org"), {"local_part": "Ann", "tag": "News.x", "mailbox": "home=/srv/ann"}
        )
        self.assertEqual(self.facts("ann@example.org"), {"mailbox": "home=/srv/ann"})

    def test_what_stands_as_it_is_comes_first(self) -> None:
        self.assertEqual(self.facts("bob+exact@example.org"), {"mailbox": "e"})
        self.assertEqual(self.ends("info+special@example.org"), {"bob@example.org"})

    def test_the_longest_name_comes_first(self) -> None:
        self.assertEqual(self.facts("mary-ann+x@example.org"), {"local_part": "mary-ann", "tag": "x", "mailbox": "m"})
        self.assertEqual(self.facts("mary-ann-x@example.org"), {"local_part": "mary-ann", "tag": "x", "mailbox": "m"})
        self.assertEqual(dict(self.route("mary-eve@example.org").facts)["tag"], "eve")

    def test_where_the_name_leads_to_others_the_tag_ends(self) -> None:
        path = ("subaddress:info+x@example.org", "alias:info@example.org")
        self.assertEqual(self.expand("info+x@example.org"), {"ann@example.org": path, "x@far.example": path})
        self.assertEqual(self.admit("info+x@example.org"), "taken")

    def test_an_alias_that_names_its_own_tag_keeps_a_copy(self) -> None:
        self.tables["aliases"].entries["ann+list"] = "ann+list, x@far.example"
        self.assertEqual(self.ends("ann+list@example.org"), {"ann+list@example.org", "x@far.example"})

    def test_of_one_who_moved(self) -> None:
        self.assertEqual(self.admit("eve+x@example.org"), "551 5.1.6 User not local; please try <eve@far.example>")

    def test_case_and_normal_form(self) -> None:
        self.assertEqual(self.facts("JOSE\u0301+x@example.org")["tag"], "x")

    def test_none_of_ours(self) -> None:
        for text in (
            "nobody+x@example.org",
            "+x@example.org",
            "ann+@example.org",
            "+@example.org",
            "ann#x@example.org",
            "ann+x@plain.example",
            "-".join("abcdefghij") + "@example.org",
        ):
            self.assertEqual(self.admit(text), NO_MAILBOX, text)

    def test_a_long_local_part_costs_few_questions(self) -> None:
        self.admit("+-" * 60 + "x@example.org")
        self.assertLess(len(self.tables["users"].asked), 12)

    def test_where_every_address_exists_only_aliases_are_told_apart(self) -> None:
        self.assertEqual(self.expand("who+ever@any.example"), {"who+ever@any.example": ()})
        self.assertEqual(self.ends("info+x@any.example"), {"ann@any.example", "x@far.example"})

    def test_the_service_of_a_mailbox(self) -> None:
        self.assertEqual(self.route("ann@example.org").destination.service, "local")
        self.assertEqual(self.route("bob@example.org").destination.service, "other")
        self.assertEqual(self.route("bob+x@example.org").destination.service, "other")
        self.assertIn("vanished is not in the configuration", self.route("mary@example.org").hold)


class CatchAll(RoutingCase):
    def setUp(self) -> None:
        rule = DomainRule(
            name="example.org",
            mailboxes="users",
            aliases="aliases",
            deliver="local",
            separators="+",
            catch_all=Address("rest", "example.org"),
        )
        self.world(
            rule,
            DomainRule(
                name="far-away.example", mailboxes="users", deliver="local", catch_all=Address("x", "far.example")
            ),
            DomainRule(
                name="none.example", mailboxes="users", deliver="local", catch_all=Address("no", "none.example")
            ),
            tables={"users": {"ann": "", "rest@example.org": ""}, "aliases": {"info": "ann"}},
        )

    def with_catch_all(self, name: str, text: str) -> DomainRule:
        return DomainRule(name=name, mailboxes="users", deliver="local", catch_all=address(text))

    def test_after_everything_else(self) -> None:
        self.assertEqual(self.expand("nobody@example.org"), {"rest@example.org": ("catch-all:nobody@example.org",)})
        for text, end in (
            ("ann@example.org", "ann@example.org"),
            ("ann+x@example.org", "ann+x@example.org"),
            ("info@example.org", "ann@example.org"),
            ("info+x@example.org", "ann@example.org"),
            ("postmaster@example.org", "ann@example.org"),
            ("rest@example.org", "rest@example.org"),
            ("any@far-away.example", "x@far.example"),
        ):
            self.assertEqual(self.admit(text), "taken", text)
            self.assertEqual(self.ends(text), {end}, text)

    def test_one_that_is_not_there_holds(self) -> None:
        self.assertEqual(self.admit("any@none.example"), "taken")
        self.assertEqual(self.ends("any@none.example"), {"no@none.example"})
        self.assertIn("not in users", self.route("no@none.example").hold)

    def test_an_alias_to_an_unknown_name_reaches_it_too(self) -> None:
        self.tables["aliases"].entries["old"] = "gone"
        self.assertEqual(
            self.expand("old@example.org"),
            {"rest@example.org": ("alias:old@example.org", "catch-all:gone@example.org")},
        )

    def test_a_table_that_cannot_tell_is_not_nobody(self) -> None:
        self.tables["users"].failing = "disk away"
        self.assertIn("451 4.3.0", self.admit("nobody@example.org"))
