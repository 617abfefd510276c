"""The policy in docs/policies.rst as it stands there, through a whole session: ``mta route`` and tests see it."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from trial_cases import NOW, Site
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.dns.fake import FakeResolver
from mta.routing.ask import Answerer
from mta.routing.rules import RoutingRules
from mta.submission.identity import Mode
from mta.submission.made import ACCOUNT, IDENTITY, Listening, Submission
from mta.trial.prove import prove
from mta.trial.trial import Trial
from mta.trial.values import Mail, Result
from mta.waiting import as_deferred

PAGE = Path(__file__).parents[3] / "docs/policies.rst"
USED = """
[plugins]
paths = ["plugins"]
[tables.plans]
type = "static"
entries = { "bob@ours.example" = "suspended" }
[policy.plan-quota]
type = "plan-quota"
plans = "table:plans"
timeout = "2s"
[policy.senders]
type = "table"
table = "file:senders"
[service.mx]
policy = ["senders", "plan-quota"]
"""
SENDERS = (
    "new@b.example: HOLD new customer\nodd@b.example: QUARANTINE\nspam@b.example: DISCARD\nbad@b.example: REJECT\n"
)


def example() -> str:
    """The plugin on the page."""
    lines = PAGE.read_text(encoding="utf-8").partition("folder of ``plugins.paths``::\n")[2].splitlines()
    end = next(number for number, line in enumerate(lines) if line and not line.startswith("    "))
    return textwrap.dedent("\n".join(lines[:end]))


class Tried(SynchronousTestCase):
    def setUp(self) -> None:
        self.site = Site(self, USED)
        self.site.write("plugins/plan.py", example())
        self.site.write("senders", SENDERS)

    def mail(self, *to: str, sender: str = "ann@b.example", **more: str) -> Result:
        resolver = FakeResolver()
        trial = Trial(self.site.decides(), resolver=resolver, names=resolver, now=lambda: NOW)
        mail = Mail(recipients=to, sender=sender, **more)  # type: ignore[arg-type]
        return self.successResultOf(as_deferred(trial.run(mail)))

    def test_it_is_as_short_as_promised(self) -> None:
        self.assertLessEqual(len(example().strip().splitlines()), 15)

    def test_what_it_answers(self) -> None:
        result = self.mail("bob@ours.example", "Bob@Ours.Example", "ann@ours.example")
        self.assertEqual([str(reply) for reply in result.rcpt], ["550 5.2.1 mailbox suspended"] * 2 + ["250 2.1.5 Ok"])
        whys = [event.args["why"] for event in result.events if event.code == "recipient-refused"]
        self.assertEqual(whys[0], ["policy plan-quota: plan"])

    def test_a_sender(self) -> None:
        self.assertEqual(
            str(self.mail("ann@ours.example", sender="bad@b.example").mail), "550 5.7.1 Refused by a policy"
        )
        (held,) = self.mail("ann@ours.example", sender="new@b.example").copies
        self.assertEqual(held.recipient.hold, "policy senders: sender new@b.example: new customer")
        marked = self.mail("ann@ours.example", sender="odd@b.example")
        self.assertIn(b"\r\nX-Quarantine: senders (mail.site.example)\r\n", marked.header)
        (thrown,) = self.mail("ann@ours.example", sender="spam@b.example").copies
        self.assertEqual(str(thrown.route.destination), "(discard):senders")

    def test_another_listener_asks_nobody(self) -> None:
        result = self.mail("bob@ours.example", sender="bad@b.example", listener="inner")
        self.assertEqual(str(result.mail), "250 2.1.0 Ok")

    def test_tests_beside_the_configuration(self) -> None:
        case = '[[case]]\nname = "one"\nto = "bob@ours.example"\n[case.expect]\nreply = "{}"\n'
        self.site.tests(case.format("550 5.2.1"))
        self.assertEqual(prove(self.site.decides(), lambda: NOW, lambda: 0.0).problems, [])
        self.site.tests(case.format("250"))
        self.assertEqual(len(prove(self.site.decides(), lambda: NOW, lambda: 0.0).problems), 1)

    def test_tables_that_a_test_gives(self) -> None:
        given = '[case.tables.plans]\n"ann@ours.example" = "suspended"\n'
        case = f'[[case]]\nname = "one"\nto = "ann@ours.example"\n{given}[case.expect]\nreply = "550 5.2.1"\n'
        self.site.tests(case)
        self.assertEqual(prove(self.site.decides(), lambda: NOW, lambda: 0.0).problems, [])

    def test_a_wrong_option_is_told_with_its_key(self) -> None:
        with self.assertRaises(Exception) as caught:
            Site(
                self,
                USED.replace('plans = "table:plans"', "plan = 3").replace('"plugins"', f'"{self.site.path}/plugins"'),
            ).load()
        self.assertIn("policy.plan-quota.plan: is not known", str(caught.exception))
        self.assertIn("policy.plan-quota: plans is missing", str(caught.exception))


class Brakes(SynchronousTestCase):
    def test_a_trial_counts_nothing_on_an_account(self) -> None:
        """The tests of a configuration run in the service too, at a reload."""
        brakes: Any = object()
        accounts: Any = object()
        submission = Submission(
            rules=RoutingRules(postmaster=Address("ann", "ours.example"), services=frozenset()),
            answerer=Answerer({}, FakeResolver()),
            hostname="mail.site.example",
            listeners={"in": Listening(mode=Mode.STRICT, accounts=accounts)},
            accounts=None,
            brakes=brakes,
        )
        self.assertIn(ACCOUNT, [policy.name for policy in submission.of_listener("in")])
        apart = submission.apart()
        self.assertEqual({policy.name for policy in apart.of_listener("in")}, {IDENTITY})
        self.assertEqual(apart.of_queue(), ())
        self.assertNotEqual(submission.of_queue(), ())
