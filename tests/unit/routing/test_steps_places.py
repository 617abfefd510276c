"""Targets that are places: fixed at acceptance, told apart by where they are, held without their service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.dns.fake import FakeResolver
from mta.envelope import Destination, Recipient
from mta.routing.ask import Answerer, resolve
from mta.routing.recipients import Forward, lead
from mta.routing.router import Router
from mta.routing.rules import DomainRule, RoutingRules
from mta.routing.steps.step import Place, Step
from mta.routing.tables import MemoryTable
from mta.routing.values import EXPANSION
from mta.waiting import step

ONE = Destination("(command)", "/usr/bin/one")
TWO = Destination("(command)", "/usr/bin/two")
FILE = Destination("(file)", "/var/mail/archive")
ALIAS = Address("alias", "example.org")
ANN = Address("ann", "example.org")
STEPS: Mapping[Address, tuple[Address | Place, ...]] = {
    ALIAS: (Place(ONE), Place(TWO), ANN, Place(ONE), Place(FILE, "not today")),
    Address("all", "example.org"): (ALIAS, Place(ONE)),
}


def made_up(rules: Any, address: Address, facts: Any) -> Step | None:
    targets = STEPS.get(address)
    return None if targets is None else Step("test", targets, "t")


class Places(SynchronousTestCase):
    def setUp(self) -> None:
        rules = RoutingRules(
            postmaster=ANN,
            services=frozenset({"local", "internet"}),
            places=frozenset({"(command)", "(expansion)", "(file)"}),
            domains={"example.org": DomainRule(name="example.org", mailboxes="users", deliver="local")},
        )
        self.router = Router(rules)
        self.answerer = Answerer({"users": MemoryTable({"ann": ""})}, FakeResolver())
        self.patched = patch("mta.routing.expand.STEPS", (made_up,))
        self.patched.start()
        self.addCleanup(self.patched.stop)

    def lead(self, *texts: str, notify: str = "") -> tuple[Recipient, ...]:
        forwards = [Forward(Address.parse(text), "", notify) for text in texts]
        done, leads = step(lead(self.router, self.answerer, forwards, {}, 1000))
        assert done
        return leads.recipients

    def test_a_recipient_waits_at_its_place_under_the_name_that_led_there(self) -> None:
        found = {
            (str(r.destination), str(r.address), str(r.original), r.path, r.hold)
            for r in self.lead("alias@example.org")
        }
        path = ("test:alias@example.org",)
        alias = "alias@example.org"
        self.assertEqual(
            found,
            {
                (str(ONE), alias, alias, path, ""),
                (str(TWO), alias, alias, path, ""),
                (str(FILE), alias, alias, path, "not today"),
                ("local:example.org", "ann@example.org", alias, path, ""),
            },
        )

    def test_one_place_under_two_names_is_two_recipients_and_under_one_name_once(self) -> None:
        """A list is named after its address, a command after the alias: both tell whom it is for."""
        found = sorted((str(r.destination), str(r.address)) for r in self.lead("all@example.org", "alias@example.org"))
        self.assertEqual(
            found,
            [
                (str(ONE), "alias@example.org"),
                (str(ONE), "all@example.org"),
                (str(TWO), "alias@example.org"),
                (str(FILE), "alias@example.org"),
                ("local:example.org", "ann@example.org"),
            ],
        )

    def test_a_place_is_not_found_anew(self) -> None:
        """Whatever became of the tables; and it is held without its service, and freed with it."""
        route = resolve(lambda facts: self.router.route(ALIAS, ONE, facts), {}, Answerer({}, FakeResolver()))
        self.assertEqual((route.destination, route.hold), (ONE, ""))
        gone = Destination("(gone)", "team@example.org")
        route = resolve(lambda facts: self.router.route(ALIAS, gone, facts), {}, self.answerer)
        self.assertEqual((route.destination, route.hold), (gone, "there is no delivery service (gone)"))

    def test_success_is_told_by_the_expansion(self) -> None:
        """RFC 3461 5.2.7.3 (c): also where the targets are places."""
        recipients = self.lead("alias@example.org", notify="SUCCESS,FAILURE")
        self.assertEqual(
            [(r.destination, r.notify) for r in recipients if r.notify != "FAILURE"], [(EXPANSION, "SUCCESS")]
        )
