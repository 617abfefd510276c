"""``discard``: everything ends at once, as discarded, with the name of who did it."""

from __future__ import annotations

from dataclasses import replace

from delivery_contract import BOB, CAROL, DeliveryContract, services
from twisted.trial.unittest import SynchronousTestCase

from mta.delivery.discard import Discard, Discarded, DiscardOptions
from mta.envelope import Destination, Status
from mta.interfaces import IDeliveryService
from mta.reply import LOCAL_ERROR
from mta.routing.values import DISCARD


class DiscardTests(DeliveryContract, SynchronousTestCase):
    def make_service(self) -> IDeliveryService:
        return Discard(DiscardOptions(), services())

    def test_all_are_discarded_by_a_rule_that_has_a_name(self) -> None:
        batch = self.make_batch(BOB, CAROL)
        self.done(self.make_service().deliver(batch))
        for outcome in batch.close(LOCAL_ERROR):
            self.assertEqual(outcome.status, Status.DISCARDED)
            self.assertEqual(str(outcome.reply), "250 2.0.0 Discarded by out")


class ByPolicies(DeliveryContract, SynchronousTestCase):
    """The place of what policies throw away."""

    def make_service(self) -> IDeliveryService:
        return Discarded()

    def test_it_has_the_name_of_its_section(self) -> None:
        """It has none, and a name that no section can have."""
        self.assertEqual(self.make_service().name, "(discard)")

    def test_all_are_discarded_by_the_policy(self) -> None:
        batch = self.make_batch(BOB, CAROL)
        batch.route = replace(batch.route, destination=Destination(DISCARD, "spam"))
        self.done(self.make_service().deliver(batch))
        for outcome in batch.close(LOCAL_ERROR):
            self.assertEqual(
                (outcome.status, str(outcome.reply)), (Status.DISCARDED, "250 2.0.0 Discarded by policy spam")
            )
