"""Mail with a new author is signed before it is delivered; keys that cannot be used are no trouble of a host."""

from __future__ import annotations

import os
from typing import Any

from delivery_contract import recipient
from dkim_signer import signer, verified
from twisted.trial.unittest import SynchronousTestCase

from mta import events
from mta.address import Address
from mta.delivery.rewritten import rewritten
from mta.delivery.values import Batch
from mta.envelope import Destination, Envelope, Origin, Scope, Status
from mta.message.reading import read_whole
from mta.queue.attempts import attempt
from mta.queue.poison import Poison
from mta.reply import Reply
from mta.routing.values import Rewrite, Route
from mta.spool.message import StoredMessage
from mta.waiting import as_deferred

INFO = Address("info", "example.org")
OCTETS = b"From: Ann <ann@a.example>\r\nSubject: x\r\n\r\nbody\r\n"


class Service:
    """Takes everything, and keeps what it was given."""

    name = "internet"
    octets = b""

    async def deliver(self, batch: Batch) -> None:
        self.octets = await read_whole(batch.message)
        batch.report_all(Status.RELAYED, Reply.of(250, "2.0.0", "ok"))


class Setup:
    """As much of a setup as an attempt looks at."""

    policies = login_policies = None

    def __init__(self, signer: Any) -> None:
        self.signer = signer


class Signed(SynchronousTestCase):
    def attempt(self, signer: Any) -> Any:
        self.service: Any = Service()
        envelope = Envelope(origin=Origin(listener="mx", protocol="ESMTP"), reverse_path=INFO, arrived=0)
        bodies: Any = None
        message = StoredMessage("ID", 1, envelope, (), len(OCTETS), False, bodies, OCTETS)
        rewrite = Rewrite(INFO, INFO, events.REWRITE(how="x", why="y"))
        to = recipient(0, Address("bob", "b.example"))
        route = Route(destination=Destination("internet", "b.example"), rewrite=rewrite)
        batch = Batch(rewritten(message, rewrite), [to], route, 1e9)
        setup: Any = Setup(signer)
        work = attempt(self.service, batch, Poison(), lambda: 0, lambda: 0.0, setup)
        (outcome,) = self.successResultOf(as_deferred(work)).outcomes
        return outcome

    def test_in_the_name_of_the_new_author(self) -> None:
        self.assertEqual(self.attempt(signer()).status, Status.RELAYED)
        self.assertIn(b"<info@example.org>", self.service.octets)
        self.assertEqual(verified(self.service.octets), [True, True])

    def test_keys_that_cannot_be_used(self) -> None:
        broken = signer()
        os.chmod("dkim/example.org/r.pem", 0o666)
        outcome = self.attempt(broken)
        self.assertEqual((outcome.status, outcome.scope), (Status.DEFERRED, Scope.MESSAGE))
        self.assertEqual(self.service.octets, b"")
        self.assertIn("chmod 600", outcome.attempt["error"])

    def test_without_keys(self) -> None:
        self.assertEqual(self.attempt(signer("elsewhere.example")).status, Status.RELAYED)
        self.assertNotIn(b"DKIM-Signature", self.service.octets)
