"""``discard``: everything ends at once, as discarded, with the name of who did it."""

from __future__ import annotations

from delivery_contract import BOB, CAROL, DeliveryContract, services
from twisted.trial.unittest import SynchronousTestCase

from mta.delivery.discard import Discard, DiscardOptions
from mta.envelope import Status
from mta.interfaces import IDeliveryService
from mta.reply import LOCAL_ERROR


class DiscardTests(DeliveryContract, SynchronousTestCase):
    def make_service(self) -> IDeliveryService:
        return Discard(DiscardOptions(), services())

    def test_all_are_discarded_by_a_rule_that_has_a_name(self) -> None:
        batch = self.make_batch(BOB, CAROL)
        self.done(self.make_service().deliver(batch))
        for outcome in batch.close(LOCAL_ERROR):
            self.assertEqual(outcome.status, Status.DISCARDED)
            self.assertEqual(str(outcome.reply), "250 2.0.0 Discarded by out")
