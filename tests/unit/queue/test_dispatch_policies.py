"""Policies that the queue asks before an attempt."""

from __future__ import annotations

from typing import Any

from policy_cases import policies, policy
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.delivery.values import Batch
from mta.envelope import Destination, Outcome, Recipient, Status
from mta.policy.engine import Stage
from mta.queue.policing import deliver
from mta.reply import Reply
from mta.routing.values import Route
from mta.verdict import Verdict
from mta.waiting import as_deferred

HERE = Destination("internet", "b.example")


class Service:
    """Delivers to all that it gets."""

    def __init__(self) -> None:
        self.got: list[list[int]] = []
        self.error: Exception | None = None

    async def deliver(self, batch: Batch) -> None:
        self.got.append([one.id for one in batch.recipients])
        batch.report_all(Status.RELAYED, Reply.of(250, "2.0.0", "Ok"))
        if self.error is not None:
            raise self.error


class Dispatch(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.service = Service()
        self.told: list[Any] = []

    def attempt(self, verdict: Any, **more: Any) -> tuple[Deferred[None], Batch]:
        address = Address("bob", "b.example")
        some = [Recipient(id=n, address=address, original=address, destination=HERE, due=0) for n in (3, 5)]
        message: Any = type("Message", (), {"id": "0000000000001"})()
        batch = Batch(message, some, Route(destination=HERE), 100.0)
        asked = policies(self.clock, policy(Stage.DISPATCH, verdict, **more), told=self.told)
        service: Any = self.service
        return as_deferred(deliver(service, batch, asked)), batch

    def outcomes(self, verdict: Any, **more: Any) -> list[Outcome]:
        done, batch = self.attempt(verdict, **more)
        self.successResultOf(done)
        return sorted(batch.outcomes, key=lambda one: one.recipient)

    def test_nothing_to_say(self) -> None:
        seen: list[Any] = []

        def check(context: Any) -> Verdict:
            seen.append(context)
            return Verdict.none()

        self.assertEqual([one.status for one in self.outcomes(check)], [Status.RELAYED] * 2)
        self.assertEqual((self.service.got, seen[0].route.destination, self.told), ([[3, 5]], HERE, []))

    def test_what_becomes_of_it(self) -> None:
        for verdict, status, reply, hold in (
            (Verdict.hold(reason="off"), Status.DEFERRED, 451, "policy one: off"),
            (Verdict.quarantine(), Status.DEFERRED, 451, "policy one: quarantine"),
            (Verdict.defer(450, "4.7.1", "night"), Status.DEFERRED, 450, ""),
            (Verdict.reject(550, "5.7.1", "never"), Status.FAILED, 550, ""),
            (Verdict.discard(), Status.DISCARDED, 250, ""),
        ):
            for one in self.outcomes(verdict):
                self.assertEqual((one.status, one.reply.code, one.hold), (status, reply, hold))
                self.assertTrue(one.attempt["stage"].startswith("policy one: "))
        self.assertEqual(self.service.got, [])
        self.assertEqual(len(self.told), 5)

    def test_some_alone(self) -> None:
        first, second = self.outcomes(Verdict(per_recipient={5: Verdict.hold(reason="off")}))
        self.assertEqual((first.status, second.hold), (Status.RELAYED, "policy one: off"))
        self.assertEqual(self.service.got, [[3]])

    def test_what_the_service_raises_loses_nothing(self) -> None:
        self.service.error = ValueError("oh")
        done, batch = self.attempt(Verdict(per_recipient={5: Verdict.hold()}))
        self.failureResultOf(done, ValueError)
        self.assertEqual([one.recipient for one in batch.outcomes], [5, 3])

    def test_a_hang_comes_again_by_default(self) -> None:
        done, batch = self.attempt(lambda context: Deferred(), timeout=2.0)
        self.assertNoResult(done)
        self.clock.advance(2.0)
        self.successResultOf(done)
        self.assertEqual([one.status for one in batch.outcomes], [Status.DEFERRED] * 2)

    def test_shadow(self) -> None:
        self.assertEqual([one.status for one in self.outcomes(Verdict.hold(), shadow=True)], [Status.RELAYED] * 2)
        self.assertEqual(len(self.told), 1)
