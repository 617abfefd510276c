"""Decisions of a router over tables in memory, in short forms that tests can compare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.dns.fake import FakeResolver
from mta.envelope import Destination, Right
from mta.reply import MailFailure
from mta.routing.ask import Answerer, resolve
from mta.routing.router import Router
from mta.routing.rules import DomainRule, RoutingRules
from mta.routing.tables import MemoryTable
from mta.routing.values import DayQuestion, HomeFileQuestion, IncludeQuestion

STRANGER: frozenset[Right] = frozenset()


def address(text: str) -> Address:
    return Address.parse(text, utf8=True) if "@" in text else Address(text, "")


class RoutingCase(SynchronousTestCase):
    """``world`` makes the router; then ``admit``, ``expand`` and ``route`` ask it."""

    today = "2027-01-01"

    def world(self, *rules: DomainRule, tables: Mapping[str, Mapping[str, str]], **more: Any) -> None:
        self.files: dict[str, Any] = {}
        self.tables = {name: MemoryTable(entries) for name, entries in tables.items()}
        others = {
            IncludeQuestion: lambda question: self.files[question.path],
            DayQuestion: lambda question: self.today,
            HomeFileQuestion: self.home,
        }
        self.answerer = Answerer(self.tables, FakeResolver(), others)
        self.router = Router(
            RoutingRules(
                **{
                    "postmaster": Address("ann", "example.org"),
                    "services": frozenset({"local", "internet", "other"}),
                    "final": frozenset({"local"}),
                    "domains": {rule.name: rule for rule in rules},
                    **more,
                }
            )
        )

    def home(self, question: HomeFileQuestion) -> Any:
        return ""

    def decide(self, decision: Any) -> Any:
        return resolve(decision, {}, self.answerer)

    def admit(self, text: str) -> str:
        """The reply, "taken" for a plain yes."""
        admission = self.decide(lambda facts: self.router.admit(address(text), STRANGER, facts))
        reply = admission.reply or admission.told
        return "taken" if reply is None else str(reply)

    def expand(self, text: str) -> dict[str, tuple[str, ...]]:
        """Ends and their paths; the reply where there are none."""
        try:
            expansion = self.decide(lambda facts: self.router.expand(address(text), facts))
        except MailFailure as failure:
            return {str(failure.reply): ()}
        found = {str(target.destination or target.address): target.path for target in expansion.targets}
        self.assertEqual(len(found), len(expansion.targets))
        return found

    def ends(self, text: str) -> set[str]:
        return set(self.expand(text))

    def route(self, text: str, before: str = "") -> Any:
        waiting = Destination(before, address(text).domain) if before else None
        return self.decide(lambda facts: self.router.route(address(text), waiting, facts))
