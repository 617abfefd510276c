"""Domains that are another name of one of ours, and domains that take no mail."""

from __future__ import annotations

from routing_cases import RoutingCase

from mta.routing.rules import DomainRule

NO_MAILBOX = "550 5.1.1 No such mailbox here"
# RFC 7504
TAKES_NONE = "556 5.1.10 This domain takes no mail"


class Domains(RoutingCase):
    def setUp(self) -> None:
        self.world(
            DomainRule(name="example.org", mailboxes="users", aliases="aliases", deliver="local", separators="+"),
            DomainRule(name="other.example", alias_of="example.org", separators="+"),
            DomainRule(name="silent.example", null=True),
            tables={
                "users": {"ann": "", "bob": ""},
                "aliases": {"info": "ann, bob@other.example", "odd": "x@silent.example"},
            },
        )

    def test_every_address_of_another_name_is_that_of_the_domain(self) -> None:
        self.assertEqual(self.admit("ann@other.example"), "taken")
        self.assertEqual(self.admit("nobody@other.example"), NO_MAILBOX)
        self.assertEqual(self.admit("info@other.example"), "taken")
        step = "alias-domain:Ann+x@other.example"
        self.assertEqual(self.expand("Ann+x@other.example"), {"Ann+x@example.org": (step,)})
        self.assertEqual(self.ends("info@other.example"), {"ann@example.org", "bob@example.org"})

    def test_one_address_by_two_names_is_delivered_to_once(self) -> None:
        self.tables["aliases"].entries["both"] = "ann@example.org, ann@other.example, ANN"
        self.assertEqual(len(self.ends("both@example.org")), 1)

    def test_postmaster_of_another_name(self) -> None:
        """RFC 5321 4.5.1."""
        self.assertEqual(self.admit("postmaster@other.example"), "taken")
        self.assertEqual(self.ends("postmaster@other.example"), {"ann@example.org"})

    def test_a_domain_that_takes_no_mail(self) -> None:
        """RFC 7505 4.1: postmaster neither, since no mail service is there (RFC 5321 4.5.1)."""
        for text in ("ann@silent.example", "postmaster@silent.example"):
            self.assertEqual(self.admit(text), TAKES_NONE)

    def test_mail_that_was_accepted_for_it_is_held(self) -> None:
        self.assertEqual(self.ends("odd@example.org"), {"x@silent.example"})
        self.assertIn("no mailboxes of its own", self.route("x@silent.example").hold)
        self.assertIn("no mailboxes of its own", self.route("x@other.example", "local").hold)
