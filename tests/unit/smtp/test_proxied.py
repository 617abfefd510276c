"""Connections of proxies: the header first, then the session of the client that it names."""

from __future__ import annotations

from dataclasses import replace

from harness import Client, Server
from twisted.trial.unittest import SynchronousTestCase

from mta.smtp.proxied import Proxied

PROXY = "198.51.100.200"
HEADER = b"PROXY TCP4 203.0.113.9 198.51.100.200 4711 25\r\n"
INSIDE = b"PROXY TCP4 10.1.2.3 198.51.100.200 4711 25\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server()

    def codes(self) -> list[str]:
        return [event.code for _, event in self.server.events]

    def dropped(self, client: Client) -> None:
        """Closed without a word, and nothing of it is left."""
        self.assertEqual(client.seen(), b"")
        self.assertTrue(client.transport.aborted)
        client.leave()
        self.assertEqual(self.server.connections.total, 0)
        self.assertEqual(dict(self.server.connections.by_client), {})


class Listed(Case):
    def test_nothing_is_said_before_the_header(self) -> None:
        client = self.server.connect(PROXY)
        self.assertEqual(client.seen(), b"")
        for octet in HEADER[:-1]:
            client.send(bytes([octet]))
            self.assertEqual(client.seen(), b"")
        client.send(HEADER[-1:])
        self.assertTrue(client.seen().startswith(b"220 "))

    def test_session_is_the_clients(self) -> None:
        client = self.server.connect(PROXY)
        client.send(INSIDE)
        client.greet()
        self.assertTrue(client.message("a@b.example", "x@foreign.example").startswith("250"))
        ((lease, octets),) = self.server.messages()
        origin = lease.message.envelope.origin
        self.assertEqual((origin.client, origin.port), ("10.1.2.3", 4711))
        self.assertIn(b"[10.1.2.3]", octets)
        self.assertNotIn(PROXY.encode(), octets)

    def test_proxy_of_our_own_network_gives_its_clients_no_rights(self) -> None:
        # RFC 5321 7.1
        self.server.factory.context = replace(self.server.context, networks=self.server.context.proxy)
        for header in (HEADER, b"PROXY UNKNOWN\r\n"):
            client = self.server.connect(PROXY)
            client.send(header)
            client.greet()
            client.say("MAIL FROM:<a@b.example>")
            self.assertTrue(client.say("RCPT TO:<x@foreign.example>").startswith("550 5.7.1"))

    def test_mapped_addresses_on_both_sides(self) -> None:
        # RFC 4291 2.5.5.2
        client = self.server.connect(f"::ffff:{PROXY}")
        client.send(b"PROXY TCP6 ::ffff:10.1.2.3 2001:db8::1 4711 25\r\n")
        client.greet()
        self.assertTrue(client.message("a@b.example", "x@foreign.example").startswith("250"))

    def test_octets_behind_the_header_go_on(self) -> None:
        octets = HEADER + b"EHLO client.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<ann@ours.example>\r\n"
        for cut in range(len(octets) + 1):
            self.server = Server()
            client = self.server.connect(PROXY)
            client.send(octets[:cut])
            client.send(octets[cut:])
            seen = [line for line in client.seen().splitlines() if line[3:4] == b" "]
            self.assertEqual([line[:9] for line in seen[2:]], [b"250 2.1.0", b"250 2.1.5"], cut)
            self.assertEqual(seen[0][:3], b"220")
            client.leave()
            self.assertEqual(self.server.connections.total, 0)

    def test_who_speaks_before_the_greeting_is_counted(self) -> None:
        # RFC 5321 4.3.1
        client = self.server.connect(PROXY)
        client.send(HEADER)
        self.assertNotIn("spoke-early", self.codes())
        client = self.server.connect(PROXY)
        client.send(HEADER + b"EHLO a\r\n")
        self.assertIn("spoke-early", self.codes())
        self.assertEqual(client.protocol.session.errors, 1)

    def test_health_check_is_the_proxys_own(self) -> None:
        # PROXY 2.2, LOCAL
        client = self.server.connect(PROXY)
        client.send(LOCAL)
        self.assertTrue(client.seen().startswith(b"220 "))
        self.assertEqual(client.protocol.client, PROXY)

    def test_proxy_that_only_looks_whether_we_live(self) -> None:
        client = self.server.connect(PROXY)
        client.leave()
        self.assertEqual(self.server.connections.total, 0)
        self.assertEqual(self.codes(), [])

    def test_without_a_header_it_is_dropped(self) -> None:
        for octets in (
            b"EHLO client.example\r\n",
            b"QUIT\r\n",
            b"\r\n\r\n\r\n",
            b"\0",
            b"PROXY TCP4 x\r\n",
            b"x" * 70000,
        ):
            self.server = Server()
            client = self.server.connect(PROXY)
            client.send(octets)
            client.send(HEADER)
            self.assertIn("proxy-refused", self.codes())
            self.dropped(client)

    def test_header_has_its_time(self) -> None:
        client = self.server.connect(PROXY)
        client.send(HEADER[:-1])
        self.server.clock.pump([1.0] * 9)
        self.assertFalse(client.transport.aborted)
        self.server.clock.pump([1.0] * 2)
        self.assertIn("proxy-refused", self.codes())
        self.dropped(client)

    def test_time_of_the_session_begins_then(self) -> None:
        client = self.server.connect(PROXY)
        self.server.clock.pump([1.0] * 8)
        client.send(HEADER)
        self.server.clock.pump([1.0] * 290)
        self.assertFalse(client.closed)
        self.server.clock.pump([1.0] * 12)
        self.assertTrue(client.seen().endswith(b"421 4.4.2 Timed out waiting for you\r\n"))

    def test_service_that_stops_waits_for_no_header(self) -> None:
        client = self.server.connect(PROXY)
        self.successResultOf(self.server.factory.shut_down())
        self.dropped(client)


class Counted(Case):
    def test_by_the_clients_address(self) -> None:
        for n in range(3):
            client = self.server.connect(PROXY)
            client.send(HEADER)
            self.assertTrue(client.seen().startswith(b"220 "), n)
        fourth = self.server.connect(PROXY)
        fourth.send(HEADER + b"EHLO a\r\n")
        self.assertTrue(fourth.seen().startswith(b"421 4.7.0"))
        self.assertTrue(fourth.closed)
        other = self.server.connect(PROXY)
        other.send(HEADER.replace(b"203.0.113.9", b"203.0.113.8"))
        self.assertTrue(other.seen().startswith(b"220 "))
        self.assertTrue(self.server.connect("203.0.113.9").seen().startswith(b"421 4.7.0"), "the same client by itself")

    def test_all_together_with_those_that_wait_for_a_header(self) -> None:
        waiting = [self.server.connect(PROXY) for _ in range(10)]
        self.assertIsInstance(waiting[9].protocol, Proxied)
        self.assertTrue(self.server.connect(PROXY).seen().startswith(b"421 4.3.2"))
        self.assertTrue(self.server.connect("203.0.113.9").seen().startswith(b"421 4.3.2"))
        waiting[0].leave()
        waiting[1].send(HEADER)
        self.assertTrue(waiting[1].seen().startswith(b"220 "), "its own place is free for it")
        for client in waiting[1:]:
            client.leave()
        self.assertEqual(self.server.connections.total, 0)
        self.assertEqual(dict(self.server.connections.by_client), {})


class Others(Case):
    def test_a_header_ends_their_connection(self) -> None:
        # PROXY 2: believed from listed peers alone
        for header in (HEADER, b"PROXY UNKNOWN\r\n", SIGNATURE + b"\x21\x11\x00\x0c" + bytes(12), LOCAL):
            for client in (self.server.connect(), self.server.connect().greet()):
                client.send(header)
                self.assertTrue(client.seen().endswith(b"421 4.7.0 Your address is not that of a proxy of ours\r\n"))
                self.assertTrue(client.closed)
                client.leave()

    def test_without_one_they_are_clients_like_any(self) -> None:
        self.assertTrue(self.server.connect("198.51.100.127").seen().startswith(b"220 "))
