"""A client that sends thousands of commands at once does not keep the others from their turn."""

from __future__ import annotations

from harness import Server
from twisted.trial.unittest import SynchronousTestCase

from mta.smtp.turns import AT_ONCE

CHUNK = b"BDAT 4\r\nab\r\n"


class Turns(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server(idle_commands=10_000)
        self.client = self.server.connect().greet()

    def begin(self) -> None:
        self.client.say("MAIL FROM:<a@b.example>")
        self.client.say("RCPT TO:<ann@ours.example>")
        self.client.send(b"BDAT 2\r\n\r\n")
        self.client.seen()

    def test_many_commands_take_several_turns(self) -> None:
        self.client.send(b"NOOP\r\n" * (2 * AT_ONCE + 10))
        self.assertEqual(self.client.seen().count(b"250 "), AT_ONCE)
        self.server.clock.advance(0.0)
        self.assertEqual(self.client.seen().count(b"250 "), AT_ONCE + 10)
        self.assertEqual(self.client.transport.producerState, "producing")

    def test_what_comes_meanwhile_comes_behind_the_rest(self) -> None:
        self.begin()
        self.client.send(CHUNK * (AT_ONCE + 20) + CHUNK[:-3])
        self.client.send(b"b\r\nBDAT 6 LAST\r\nc")
        self.assertEqual(self.client.transport.producerState, "paused", "and nothing more of it is read")
        self.server.clock.advance(0.0)
        self.client.send(b"end\r\nQUIT\r\n")
        self.server.clock.advance(0.0)
        self.assertTrue(self.client.seen().endswith(b"221 2.0.0 Bye\r\n"))
        ((_, octets),) = self.server.messages()
        self.assertTrue(octets.endswith(b"\r\n\r\n" + b"ab\r\n" * (AT_ONCE + 21) + b"cend\r\n"))

    def test_who_leaves_meanwhile(self) -> None:
        self.begin()
        self.client.send(CHUNK * (AT_ONCE + 20))
        self.client.leave()
        self.server.clock.pump([0.0, 1.0])
        self.assertEqual((self.server.memory.used, self.server.connections.total), (0, 0))
        self.assertEqual(self.server.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_who_has_said_all_meanwhile(self) -> None:
        self.client.send(b"NOOP\r\n" * (AT_ONCE + 20))
        self.client.protocol.readConnectionLost()
        self.assertFalse(self.client.closed)
        self.server.clock.advance(0.0)
        self.assertEqual(self.client.seen().count(b"250 "), AT_ONCE + 20)
        self.assertTrue(self.client.closed)

    def test_service_that_stops_meanwhile(self) -> None:
        self.client.send(b"NOOP\r\n" * (AT_ONCE + 20))
        self.client.seen()
        self.server.factory.shut_down()
        self.server.clock.advance(0.0)
        self.assertEqual(self.client.seen(), b"421 4.3.2 The service is stopping\r\n")
        self.assertTrue(self.client.closed)


class Unreadable(SynchronousTestCase):
    def test_a_chunk_of_unknown_size_ends_the_session(self) -> None:
        # RFC 3030 2: nobody knows where its octets end, so none of them is taken for a command.
        for line in (
            b"BDAT\t9\r\n",
            b"BDAT\t9 9\r\n",
            b"BDAT 9\n",
            b"bdat\0 9\r\n",
            b"BDAT 9\r9\r\n",
            b"BDAT " + b"9" * 3000 + b"\r\n",
        ):
            for cut in (0, 3, len(line) - 1):
                client = Server().connect().greet()
                client.seen()
                client.send(line[:cut])
                client.send(line[cut:] + b"NOOP\r\nNOOP\r\n")
                self.assertRegex(client.seen(), rb"\A501 5\.5\.4 [^\r\n]*\r\n\Z", line[:20])
                self.assertTrue(client.transport.disconnecting, line[:20])
