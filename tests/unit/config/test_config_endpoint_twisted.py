"""What our reader lets pass, Twisted's takes, and listens where it should."""

from __future__ import annotations

from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from mta.config.endpoint import endpoint


class TwistedTakesIt(SynchronousTestCase):
    def test_tcp(self) -> None:
        for text, port, interface in (
            ("tcp:25", 25, ""),
            ("tcp:2525:interface=127.0.0.1", 2525, "127.0.0.1"),
            (r"tcp6:25:interface=\:\:1", 25, "::1"),
        ):
            reactor = MemoryReactor()
            self.successResultOf(serverFromString(reactor, endpoint(text, "/")).listen(Factory()))
            ((found, _, _, where),) = reactor.tcpServers
            self.assertEqual((found, where), (port, interface))

    def test_unix_with_a_colon_in_the_path(self) -> None:
        reactor = MemoryReactor()
        text = endpoint(r"unix:a\:b.sock:mode=600", "/run/mta")
        self.successResultOf(serverFromString(reactor, text).listen(Factory()))
        self.assertEqual(reactor.unixServers[0][0], "/run/mta/a:b.sock")
