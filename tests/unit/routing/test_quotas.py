"""Mailboxes that are full: 452 or 552 5.2.2 at RCPT."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from routing_cases import RoutingCase, address

from mta.routing.router import Router
from mta.routing.rules import DomainRule
from mta.routing.values import CannotKnow, UsageQuestion

LATER = "452 4.2.2 The mailbox is full, please try again later"
GIB = 1 << 30
RULE = DomainRule(
    name="example.org",
    mailboxes="users",
    aliases="aliases",
    deliver="local",
    separators="+",
    quota="quota",
    services="services",
)


class Quotas(RoutingCase):
    def setUp(self) -> None:
        self.held: dict[UsageQuestion, Any] = {}
        self.asked: list[UsageQuestion] = []
        self.make(RULE)

    def make(self, rule: DomainRule) -> None:
        self.world(
            rule,
            tables={
                "users": {"ann": "home=/a", "bob": "", "eve": "", "joe": "", "odd": ""},
                "aliases": {
                    "info": "eve",
                    "chain": "info",
                    "boss": "ann",
                    "team": "eve, bob",
                    "far": "eve@far.example",
                },
                "quota": {"ann": "2GiB", "eve": "full", "joe": "1KiB", "odd": "2G"},
                "services": {"joe": "other"},
            },
        )
        self.answerer = self.answerer.with_others({UsageQuestion: self.usage})

    def usage(self, question: UsageQuestion) -> Any:
        self.asked.append(question)
        return self.held.get(question, CannotKnow("nobody knows"))

    def test_by_table_alone(self) -> None:
        self.assertEqual(self.admit("eve@example.org"), LATER)
        self.assertEqual(self.admit("Eve+x@example.org"), LATER)
        self.assertEqual(self.admit("bob@example.org"), "taken")
        self.assertEqual(self.asked, [])

    def test_for_good_where_that_was_chosen(self) -> None:
        self.make(replace(RULE, over_quota="reject"))
        self.assertEqual(self.admit("eve@example.org"), "552 5.2.2 The mailbox is full")

    def test_by_what_the_mailbox_holds(self) -> None:
        question = UsageQuestion("local", address("ann@example.org"), "home=/a")
        for held, reply in ((0, "taken"), (2 * GIB - 1, "taken"), (2 * GIB, LATER)):
            self.held[question] = held
            self.assertEqual(self.admit("ann@example.org"), reply)
            self.assertEqual(self.admit("ann+x@example.org"), reply)
        self.assertEqual(set(self.asked), {question})

    def test_the_service_of_the_mailbox_is_asked_and_who_cannot_say_delays_nothing(self) -> None:
        self.assertEqual(self.admit("joe@example.org"), "taken")
        self.assertEqual(self.asked[0].service, "other")

    def test_trouble_with_the_table(self) -> None:
        self.assertIn("451 4.3.5", self.admit("odd@example.org"))
        self.tables["quota"].failing = "away"
        self.assertIn("451 4.3.0", self.admit("bob@example.org"))

    def test_behind_an_alias_that_leads_to_no_other(self) -> None:
        self.assertEqual(self.admit("info@example.org"), LATER)
        self.assertEqual(self.admit("info+x@example.org"), LATER)
        self.assertEqual(self.admit("chain@example.org"), LATER)
        self.make(replace(RULE, over_quota="reject"))
        self.assertEqual(self.admit("info@example.org"), "552 5.2.2 The mailbox is full")
        self.held[UsageQuestion("local", address("ann@example.org"), "home=/a")] = 2 * GIB
        self.assertEqual(self.admit("boss@example.org"), "552 5.2.2 The mailbox is full")

    def test_behind_one_that_leads_to_several_the_delivery_tells(self) -> None:
        self.assertEqual(self.admit("team@example.org"), "taken")
        self.assertEqual(self.admit("far@example.org"), "taken")

    def test_behind_another_name_of_the_domain(self) -> None:
        self.router = Router(
            replace(
                self.router.rules, domains={RULE.name: RULE, "b.test": DomainRule(name="b.test", alias_of=RULE.name)}
            )
        )
        self.assertEqual(self.admit("eve@b.test"), LATER)
        self.assertEqual(self.admit("info@b.test"), LATER)

    def test_with_a_file_of_the_home(self) -> None:
        self.make(replace(RULE, dot_forward="/home/{local_part}/.forward"))
        self.assertEqual(self.admit("eve@example.org"), LATER)
