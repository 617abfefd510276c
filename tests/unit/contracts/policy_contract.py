"""The contract of every policy, built in or a plugin's.

A provider's test inherits from ``PolicyContract`` and ``SynchronousTestCase`` and says how to make a policy
(``make_policy``) and a context that it can be asked about (``make_context``).
"""

from __future__ import annotations

from typing import Any

from policy_cases import policies
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from mta.interfaces import (
    IConnectPolicy,
    IDispatchPolicy,
    IGreetingPolicy,
    IMessagePolicy,
    IRecipientPolicy,
    ISenderPolicy,
)
from mta.policy.engine import Policy, Ruling, Stage
from mta.waiting import as_deferred

SEAMS: dict[Stage, Any] = {
    Stage.CONNECT: IConnectPolicy,
    Stage.GREETING: IGreetingPolicy,
    Stage.SENDER: ISenderPolicy,
    Stage.RECIPIENT: IRecipientPolicy,
    Stage.MESSAGE: IMessagePolicy,
    Stage.DISPATCH: IDispatchPolicy,
}


class PolicyContract:
    """See the module's text."""

    stage: Stage

    def make_policy(self) -> Any:
        raise NotImplementedError

    def make_context(self) -> Any:
        raise NotImplementedError

    def ask(self, policy: Any) -> Ruling:
        clock = Clock()
        asked = policies(clock, Policy(name="one", stage=self.stage, check=policy.check, on_error="reject"))
        ruling: Ruling = self.successResultOf(  # type: ignore[attr-defined]  # of the TestCase
            as_deferred(asked.check(self.stage, self.make_context()))
        )
        self.assertEqual(clock.getDelayedCalls(), [])  # type: ignore[attr-defined]
        return ruling

    def test_it_keeps_to_the_interface(self) -> None:
        self.assertTrue(verifyObject(SEAMS[self.stage], self.make_policy(), tentative=True))  # type: ignore[attr-defined]

    def test_what_it_says_is_sound_and_the_same_each_time(self) -> None:
        policy = self.make_policy()
        first, second = self.ask(policy), self.ask(policy)
        self.assertFalse(any("it failed" in why for why in first.events[0].args["why"]))  # type: ignore[attr-defined]
        self.assertEqual(first.verdict, second.verdict)  # type: ignore[attr-defined]
