"""Any graph of aliases: the expansion ends, is bounded, and gives nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.reply import MailFailure
from mta.routing.aliases import Allowed
from mta.routing.expand import LOOP, TOO_DEEP, TOO_MANY, expand
from mta.routing.ours import NO_MAILBOX, identity
from mta.routing.router import Router
from mta.routing.rules import DomainRule, RoutingRules
from mta.routing.values import DayQuestion, Expansion, Facts, IncludeQuestion, Needs, Question, TableQuestion

NAMES = ("a", "b", "c", "d", "ann", "bob", "a+x", "ann+y", "postmaster")
DOMAINS = ("example.org", "other.example", "far.example", "silent.example")
TARGETS = st.one_of(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(DOMAINS)).map("@".join),
    st.sampled_from(NAMES).map(str.upper),
    st.sampled_from(("|/bin/x", "/var/mail/x", ":include:one", ":include:two")),
)
LINE = st.lists(TARGETS, min_size=1, max_size=5).map(", ".join)
MEMBERS = st.lists(TARGETS.filter(lambda one: one[0] not in "|/"), max_size=5).map(", ".join)
MOVED = st.sampled_from(("reply=550", "a@far.example; reply=251", "c@example.org", "d@example.org; reply=551"))
WORLD = st.fixed_dictionaries(
    {
        "aliases": st.dictionaries(st.sampled_from(NAMES), LINE),
        "moved": st.dictionaries(st.sampled_from(NAMES), MOVED, max_size=2),
        "users": st.dictionaries(st.sampled_from(NAMES), st.just("")),
        "files": st.fixed_dictionaries({"/l/one": MEMBERS, "/l/two": MEMBERS}),
        "catch_all": st.sampled_from((None, Address("a", "example.org"), Address("z", "far.example"))),
        "depth": st.integers(1, 10),
        "most": st.integers(2, 12),
    }
)


class Graphs(SynchronousTestCase):
    def answers(self, world: dict[str, dict[str, str]], needs: Needs) -> Facts:
        found: dict[Question, Any] = {}
        for question in needs.questions:
            if isinstance(question, TableQuestion):
                found[question] = world[question.table].get(question.key)
            elif isinstance(question, IncludeQuestion):
                found[question] = world["files"][question.path]
            else:
                self.assertEqual(question, DayQuestion())
                found[question] = "2027-01-01"
        return found

    @settings(max_examples=300)
    @given(WORLD, st.sampled_from(NAMES), st.sampled_from(DOMAINS[:2]))
    def test_ends_bounded_and_without_a_duplicate(self, world: dict[str, Any], local: str, domain: str) -> None:
        rule = DomainRule(
            name="example.org",
            mailboxes="users",
            aliases="aliases",
            moved="moved",
            deliver="local",
            separators="+",
            catch_all=world["catch_all"],
        )
        rules = RoutingRules(
            postmaster=Address("root", "example.org"),
            services=frozenset({"local", "internet"}),
            domains={
                "example.org": rule,
                "other.example": DomainRule(name="other.example", alias_of="example.org", separators="+"),
                "silent.example": DomainRule(name="silent.example", null=True),
            },
            allowed={"aliases": Allowed(commands=True, folder="/l")},
            max_depth=world["depth"],
            max_targets=world["most"],
        )
        recipient = Address(local, domain)
        result = self.walk(rules, recipient, world)
        if isinstance(result, MailFailure):
            self.assertIn(result.reply.code, {LOOP.code, TOO_DEEP.code, TOO_MANY.code, NO_MAILBOX.code, 551})
            return
        same = [(identity(rules, one.address), one.destination) for one in result.targets]
        self.assertEqual(len(same), len(set(same)))
        self.assertLessEqual(len(same), rules.max_targets)
        for target in result.targets:
            self.assertLessEqual(len(target.path), rules.max_depth)
            self.assertTrue(all(step.partition(":")[2] for step in target.path))
            # Nothing is delivered under the name of a domain that has no mailboxes of its own.
            self.assertNotEqual(target.address.domain, "other.example")

    def walk(
        self, rules: RoutingRules, recipient: Address, world: dict[str, dict[str, str]]
    ) -> Expansion | MailFailure:
        """Also: what RCPT says of it is a yes wherever there is an expansion."""
        facts: dict[Question, Any] = {}
        try:
            expansion = self.decided(lambda: expand(rules, recipient, facts), facts, world)
            admission = self.decided(lambda: Router(rules).admit(recipient, frozenset(), facts), facts, world)
        except MailFailure as failure:
            return failure
        if expansion.targets[0].address != rules.postmaster:
            self.assertIn(admission.reply, {None, NO_MAILBOX})
        return expansion  # type: ignore[no-any-return]  # what ``expand`` decided

    def decided(self, decide: Callable[[], Any], facts: dict[Question, Any], world: dict[str, dict[str, str]]) -> Any:
        for _ in range(50):
            result = decide()
            if not isinstance(result, Needs):
                return result
            facts.update(self.answers(world, result))
        self.fail("it asks for ever")
