"""Clients that speak too early, and clients that try names."""

from __future__ import annotations

from harness import Client, Server
from twisted.trial.unittest import SynchronousTestCase

from mta.smtp.patience import wait_for


class Greeting(SynchronousTestCase):
    """RFC 5321 3.1, 4.3.1."""

    def setUp(self) -> None:
        self.server = Server(greet_delay=5.0)
        self.client = self.server.connect()

    def test_comes_when_the_time_is_over(self) -> None:
        self.server.clock.advance(4.9)
        self.assertEqual(self.client.seen(), b"")
        self.server.clock.advance(0.1)
        self.assertEqual(self.client.seen(), b"220 mail.ours.example ESMTP\r\n")
        self.client.greet()
        self.assertTrue(self.client.message("a@b.example", "ann@ours.example").startswith("250"))

    def test_who_speaks_before_it_gets_554_and_may_only_leave(self) -> None:
        self.client.send(b"EHLO client.example\r\nMAIL FROM:<a@b.example>\r\n")
        self.assertEqual(self.client.transport.producerState, "paused")
        self.assertEqual(self.client.seen(), b"")
        self.server.clock.advance(5.0)
        seen = self.client.seen().splitlines()
        self.assertEqual([line[:9] for line in seen], [b"554 5.5.1", b"503 5.5.1", b"503 5.5.1"])
        self.assertEqual(self.client.transport.producerState, "producing")
        for line in ("EHLO client.example", "RSET", "NOOP", "XCLIENT ADDR=10.1.2.3"):
            self.assertTrue(self.client.say(line).startswith("503 5.5.1"), line)
        self.assertIn("spoke-early", [event.code for _, event in self.server.events])
        self.assertTrue(self.client.say("QUIT").startswith("221"))
        self.assertTrue(self.client.closed)

    def test_one_octet_is_enough(self) -> None:
        self.client.send(b"\r")
        self.server.clock.advance(5.0)
        self.assertTrue(self.client.seen().startswith(b"554 5.5.1"))

    def test_who_goes_on_is_thrown_out(self) -> None:
        self.client.send(b"EHLO client.example\r\n" * 30)
        self.server.clock.advance(5.0)
        seen = self.client.seen().splitlines()
        self.assertTrue(seen[-1].startswith(b"421 4.7.0"))
        self.assertLess(len(seen), 12)
        self.assertTrue(self.client.closed)

    def test_who_leaves_meanwhile(self) -> None:
        self.client.leave()
        self.assertEqual(self.server.connections.total, 0)
        self.server.clock.advance(1.0)
        self.assertEqual(self.server.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_service_that_stops_meanwhile(self) -> None:
        gone = self.server.factory.shut_down()
        self.assertTrue(self.client.seen().endswith(b"421 4.3.2 The service is stopping\r\n"), "at once")
        self.client.leave()
        self.successResultOf(gone)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_behind_a_proxy_it_begins_with_the_header(self) -> None:
        header = b"PROXY TCP4 203.0.113.9 198.51.100.200 4711 25\r\n"
        good, early = self.server.connect("198.51.100.200"), self.server.connect("198.51.100.200")
        self.server.clock.advance(4.0)
        good.send(header)
        early.send(header + b"EHLO a\r\n")
        self.server.clock.advance(5.0)
        self.assertTrue(good.seen().startswith(b"220 "))
        self.assertTrue(early.seen().startswith(b"554 5.5.1"))
        self.assertEqual([event.code for _, event in self.server.events].count("spoke-early"), 1)


class Dictionary(SynchronousTestCase):
    """RFC 5321 7.3, 7.8."""

    def try_names(self, client: Client, count: int) -> list[int]:
        """So many unknown names; the seconds that each reply took."""
        waits = []
        for n in range(count):
            client.send(f"RCPT TO:<user{n}@ours.example>\r\n".encode())
            seconds = 0
            while not (seen := client.seen()):
                self.server.clock.advance(1.0)
                seconds += 1
                self.assertLess(seconds, 30)
            self.assertTrue(seen.startswith(b"550 5.1.1"), seen)
            waits.append(seconds)
        return waits

    def test_replies_come_slower_and_slower(self) -> None:
        self.server = Server(slow_after=3, slow_most=6.0, errors=20, recipients=20)
        client = self.server.connect().greet()
        client.say("MAIL FROM:<>")
        self.assertEqual(self.try_names(client, 8), [0, 0, 0, 1, 2, 4, 6, 6])
        # Another transaction begins nothing anew; a good name is not slowed.
        client.say("RSET")
        client.say("MAIL FROM:<>")
        self.assertTrue(client.say("RCPT TO:<ann@ours.example>").startswith("250"))
        self.assertEqual(self.try_names(client, 1), [6])
        other = self.server.connect().greet()
        other.say("MAIL FROM:<>")
        self.assertEqual(self.try_names(other, 1), [0])

    def test_then_421(self) -> None:
        self.server = Server(slow_after=3, slow_most=2.0, errors=6)
        client = self.server.connect().greet()
        client.say("MAIL FROM:<>")
        client.send(b"".join(b"RCPT TO:<user%d@ours.example>\r\n" % n for n in range(9)))
        self.assertEqual(len(client.seen().splitlines()), 3)
        self.assertEqual(client.transport.producerState, "producing")
        client.send(b"NOOP\r\n")
        self.assertEqual(client.transport.producerState, "paused", "and nothing more of it is read")
        self.server.clock.pump([1.0] * 6)
        self.assertTrue(client.seen().endswith(b"421 4.7.0 Too many errors\r\n"))
        self.assertTrue(client.closed)

    def test_who_leaves_meanwhile(self) -> None:
        self.server = Server(slow_after=1)
        client = self.server.connect().greet()
        client.say("MAIL FROM:<>")
        client.say("RCPT TO:<x@ours.example>")
        client.say("RCPT TO:<y@ours.example>")
        client.leave()
        self.server.clock.pump([1.0] * 5)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_service_that_stops_meanwhile(self) -> None:
        self.server = Server(slow_after=1)
        client = self.server.connect().greet()
        client.say("MAIL FROM:<>")
        client.send(b"RCPT TO:<x@ours.example>\r\n" * 5)
        client.seen()
        self.server.factory.shut_down()
        self.assertEqual([line[:9] for line in client.seen().splitlines()], [b"550 5.1.1", b"421 4.3.2"])
        self.assertTrue(client.closed)

    def test_time_that_is_over_for_the_session(self) -> None:
        self.server = Server(slow_after=1, slow_most=60.0, session_timeout=30.0)
        client = self.server.connect().greet()
        client.say("MAIL FROM:<>")
        client.send(b"RCPT TO:<x@ours.example>\r\n" * 8)
        self.server.clock.pump([1.0] * 40)
        self.assertTrue(client.seen().endswith(b"421 4.4.3 A lookup took too long, try again later\r\n"))
        self.assertTrue(client.closed)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_what_may_change_is_not_counted(self) -> None:
        self.server = Server(slow_after=1, tables={"boxes": Broken()})
        client = self.server.connect().greet()
        client.say("MAIL FROM:<>")
        for n in range(4):
            self.assertTrue(client.say(f"RCPT TO:<user{n}@ours.example>").startswith("451"))

    def test_waits_are_bounded(self) -> None:
        self.assertEqual(wait_for(10_000, 1, 20.0), 20.0)
        self.assertEqual(wait_for(1, 1, 20.0), 0.0)
        self.assertEqual(wait_for(2, 1, 0.0), 0.0)
        self.assertEqual(wait_for(2, 1, 0.5), 0.5)


class Broken:
    """A table that cannot know."""

    def lookup(self, key: str) -> str | None:
        raise ValueError("down")
