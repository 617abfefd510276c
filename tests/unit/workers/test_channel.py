"""The worker's end of the pipes."""

from __future__ import annotations

import json

from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mta.workers.channel import Channel


class Asked(SynchronousTestCase):
    def setUp(self) -> None:
        self.gone = 0
        self.channel = Channel({}, self.leave)
        self.transport = StringTransport()
        self.channel.makeConnection(self.transport)

    def leave(self) -> None:
        self.gone += 1

    def test_a_sign_of_life(self) -> None:
        self.channel.dataReceived(b'{"command": "alive", "by": "the service", "n": 1}\n')
        self.assertEqual(json.loads(self.transport.value()), {"ok": True, "result": "yes", "n": 1})

    def test_the_end_is_told_once(self) -> None:
        self.channel.readConnectionLost()
        self.channel.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.gone, 1)
